// A streaming reader of JSON; see json.h.

#include "json.h"

#include <stdint.h>
#include <string.h>

bool json_fail(struct json *json, const char *error) {
    if (json->error == NULL) {
        json->error = error;
    }
    return false;
}

char json_peek(struct json *json) {
    while (json->at < json->end && memchr(" \t\r\n", *json->at, 4) != NULL) {
        json->at++;
    }
    return json->at < json->end && json->error == NULL ? *json->at : 0;
}

// Consumes the byte if it is the next one.
static bool take(struct json *json, char byte) {
    if (json->at == json->end || *json->at != byte) {
        return false;
    }
    json->at++;
    return true;
}

bool json_enter(struct json *json, char open) {
    if (json_peek(json) == open) {
        return take(json, open);
    }
    return json_fail(json, open == '{' ? "write an object" : "write a list");
}

bool json_more(struct json *json, char close, bool *first) {
    char next = json_peek(json);
    if (next == close) {
        take(json, close);
        return false;
    }
    if (!*first) {
        if (next != ',') {
            return json_fail(json, "a comma or the closing bracket is missing");
        }
        take(json, ',');
    }
    *first = false;
    return json->error == NULL;
}

bool json_key(struct json *json, char *text, size_t room) {
    if (!json_text(json, text, room)) {
        return false;
    }
    if (json_peek(json) != ':') {
        return json_fail(json, "a colon is missing after a key");
    }
    return take(json, ':');
}

static int hexadecimal(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

// Reads the escape after a backslash; -1 if it is not one of an ASCII character. The settings need only ASCII.
static int escaped(struct json *json) {
    static const char short_forms[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (json->at == json->end) {
        return -1;
    }
    char letter = *json->at++;
    const char *form = memchr(short_forms, letter, sizeof short_forms - 1);
    if (form != NULL) {
        return meanings[form - short_forms];
    }
    if (letter != 'u' || json->end - json->at < 4) {
        return -1;
    }
    int code = 0;
    for (int digit = 0; digit < 4; digit++) {
        int value = hexadecimal(*json->at++);
        if (value < 0) {
            return -1;
        }
        code = code * 16 + value;
    }
    return code > 0 && code < 0x80 ? code : -1;
}

bool json_text(struct json *json, char *text, size_t room) {
    if (json_peek(json) != '"') {
        return json_fail(json, "write a string in quotes");
    }
    take(json, '"');
    size_t length = 0;
    while (!take(json, '"')) {
        if (json->at == json->end) {
            return json_fail(json, "a string is not terminated");
        }
        int letter = (unsigned char)*json->at++;
        if (letter == '\\') {
            letter = escaped(json);
            if (letter < 0) {
                return json_fail(json, "a string has an escape that this rule does not support");
            }
        } else if (letter < 0x20) {
            return json_fail(json, "a string has a control character");
        }
        if (length + 1 >= room) {
            return json_fail(json, "a string is too long");
        }
        text[length++] = (char)letter;
    }
    text[length] = 0;
    return true;
}

static bool is_digit(const struct json *json) {
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

// Up to 19 digits fit into 64 bits; further digits are dropped, but count for the exponent.
static int digits(struct json *json, uint64_t *mantissa, int *dropped) {
    int count = 0;
    for (; is_digit(json); json->at++, count++) {
        if (*mantissa < UINT64_C(1000000000000000000)) {
            *mantissa = *mantissa * 10 + (uint64_t)(*json->at - '0');
        } else {
            ++*dropped;
        }
    }
    return count;
}

static double scaled(double value, int exponent) {
    // Powers of ten up to 22 are exact, so usual numbers are rounded only once.
    for (; exponent <= -22; exponent += 22) value /= 1e22;
    for (; exponent >= 22; exponent -= 22) value *= 1e22;
    double power = 1;
    for (int step = exponent < 0 ? -exponent : exponent; step > 0; step--) power *= 10;
    return exponent < 0 ? value / power : value * power;
}

bool json_number(struct json *json, double *number) {
    static const char wrong[] = "write a number";
    json_peek(json);
    bool negative = take(json, '-');
    bool zero = json->at < json->end && *json->at == '0';
    uint64_t mantissa = 0;
    int dropped = 0;
    int whole = digits(json, &mantissa, &dropped);
    if (whole == 0 || (zero && whole > 1)) {
        return json_fail(json, wrong);
    }
    int exponent = dropped;
    if (take(json, '.')) {
        dropped = 0;
        int fraction = digits(json, &mantissa, &dropped);
        if (fraction == 0) {
            return json_fail(json, wrong);
        }
        exponent -= fraction - dropped;
    }
    if (take(json, 'e') || take(json, 'E')) {
        bool down = take(json, '-');
        if (!down) take(json, '+');
        if (!is_digit(json)) {
            return json_fail(json, wrong);
        }
        int written = 0;
        for (; is_digit(json); json->at++) {
            // The bound prevents an overflow; a number with such an exponent is infinite or zero.
            if (written < 10000) written = written * 10 + (*json->at - '0');
        }
        exponent += down ? -written : written;
    }
    double value = mantissa == 0 ? 0 : scaled((double)mantissa, exponent);
    if (value > 1.7e308) {
        return json_fail(json, "a number is too large");
    }
    *number = negative ? -value : value;
    return true;
}

static bool take_word(struct json *json, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0) {
        return false;
    }
    json->at += length;
    return true;
}

bool json_boolean(struct json *json, bool *boolean) {
    json_peek(json);
    *boolean = take_word(json, "true");
    return *boolean || take_word(json, "false") || json_fail(json, "write true or false");
}

bool json_finish(struct json *json) {
    json_peek(json);
    if (json->error == NULL && json->at != json->end) {
        return json_fail(json, "unexpected text after the settings");
    }
    return json->error == NULL;
}
