// Growing strings; see text.h. `snprintf` would link much more of the C library than this rule needs.

#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void text_add_bytes(struct text *text, const void *bytes, size_t length) {
    if (text->room - text->length < length) {
        text->room = 2 * text->room + length + 64;
        text->bytes = realloc(text->bytes, text->room);
        if (text->bytes == NULL) abort();
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void text_add(struct text *text, const char *words) {
    text_add_bytes(text, words, strlen(words));
}

static void add_digits(struct text *text, uint64_t number, int at_least) {
    char digits[20];
    int count = 0;
    for (; number > 0 || count < at_least; number /= 10) {
        digits[sizeof digits - (size_t)++count] = (char)('0' + number % 10);
    }
    text_add_bytes(text, digits + sizeof digits - count, (size_t)count);
}

void text_add_number(struct text *text, double number) {
    if (number < 0) {
        text_add(text, "-");
        number = -number;
    }
    // Hundredths of larger numbers do not fit into 64 bits.
    unsigned power = 0;
    for (; number >= 1e16; power++) number /= 10;
    uint64_t hundredths = (uint64_t)(number * 100 + 0.5);
    add_digits(text, hundredths / 100, 1);
    unsigned rest = (unsigned)(hundredths % 100);
    if (rest > 0) {
        text_add(text, ".");
        add_digits(text, rest % 10 == 0 ? rest / 10 : rest, rest % 10 == 0 ? 1 : 2);
    }
    if (power > 0) {
        text_add(text, "e");
        add_digits(text, power, 1);
    }
}
