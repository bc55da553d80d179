// Parses and checks the settings; see settings.h.

#include "settings.h"

#include <string.h>

#include "json.h"

#define LEVEL                                                                                           \
    "{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"object\",\"additionalProperties\":false,"            \
    "\"required\":[\"enter\",\"clear\"],"                                                               \
    "\"properties\":{\"enter\":{\"type\":\"number\"},\"clear\":{\"type\":\"number\"}}}]}"

const char settings_schema[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","
    "\"additionalProperties\":false,\"properties\":{\"thresholds\":{\"type\":\"array\",\"maxItems\":64,\"items\":{"
    "\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"metric\"],"
    "\"anyOf\":[{\"required\":[\"warning\"]},{\"required\":[\"alert\"]}],\"properties\":{"
    "\"metric\":{\"description\":\"The full name of one metric.\",\"type\":\"string\"},"
    "\"direction\":{\"description\":\"The direction in which values are bad.\",\"enum\":[\"above\",\"below\"]},"
    "\"warning\":" LEVEL ",\"alert\":" LEVEL ","
    "\"missing\":{\"description\":\"The severity when the metric is missing.\","
    "\"enum\":[\"unknown\",\"ok\",\"warning\",\"alert\"]}}}},"
    "\"defaults\":{\"description\":\"Whether the defaults apply to metrics without a threshold.\","
    "\"type\":\"boolean\",\"default\":true}}}";

#define AT(level) {level, level}
static const struct threshold defaults[MAX_DEFAULTS] = {
    {AT(80), AT(90), true, true, false, UNKNOWN, "disk"},
    {AT(80), AT(90), true, true, false, UNKNOWN, "memory"},
    {AT(35), AT(40), true, true, false, UNKNOWN, "active_chunks"},
    {AT(90), AT(95), true, true, false, UNKNOWN, "cpu_mean_1m"},
    {AT(80), AT(90), true, true, false, UNKNOWN, "inodes"},
};

static bool same(const char *one, const char *other) {
    return strcmp(one, other) == 0;
}

// Rejects unknown keys: with a misspelt one, a level would silently not apply.
static bool unknown_key(struct json *json) {
    return json_fail(json, "unknown setting; see the schema of the settings");
}

static bool read_level(struct json *json, struct level *level) {
    if (json_peek(json) != '{') {
        bool is_number = json_number(json, &level->enter);
        level->clear = level->enter;
        return is_number;
    }
    bool has_enter = false, has_clear = false;
    json_enter(json, '{');
    for (bool first = true; json_more(json, '}', &first);) {
        char key[16];
        if (!json_key(json, key, sizeof key)) {
            return false;
        }
        if (same(key, "enter")) {
            has_enter = json_number(json, &level->enter);
        } else if (same(key, "clear")) {
            has_clear = json_number(json, &level->clear);
        } else {
            return unknown_key(json);
        }
    }
    return (has_enter && has_clear) || json_fail(json, "a level must be a number, or an object with enter and clear");
}

static bool read_direction(struct json *json, bool *below) {
    char word[16];
    if (!json_text(json, word, sizeof word)) {
        return false;
    }
    *below = same(word, "below");
    return *below || same(word, "above") || json_fail(json, "direction must be above or below");
}

static bool read_missing(struct json *json, uint8_t *missing) {
    static const char *const words[] = {[OK] = "ok", [UNKNOWN] = "unknown", [WARNING] = "warning", [ALERT] = "alert"};
    char word[16];
    if (!json_text(json, word, sizeof word)) {
        return false;
    }
    for (uint8_t severity = OK; severity <= ALERT; severity++) {
        if (same(word, words[severity])) {
            *missing = severity;
            return true;
        }
    }
    return json_fail(json, "missing must be ok, unknown, warning or alert");
}

static bool is_name(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_:0123456789";
    size_t length = strlen(name);
    return length > 0 && length <= 200 && strspn(name, letters) == length && (name[0] < '0' || name[0] > '9');
}

static bool worse(double one, double than, bool below) {
    return below ? one < than : one > than;
}

// The problem of a threshold as a whole; NULL for none. Its members may come in any order, so they are checked after
// all of them are read.
static const char *threshold_problem(const struct threshold *threshold) {
    bool below = threshold->below;
    if (!is_name(threshold->metric)) {
        return "write the full name of one metric; this rule supports no patterns";
    }
    if (!threshold->has_warning && !threshold->has_alert) {
        return "set a warning level, an alert level, or both";
    }
    if ((threshold->has_warning && worse(threshold->warning.clear, threshold->warning.enter, below)) ||
        (threshold->has_alert && worse(threshold->alert.clear, threshold->alert.enter, below))) {
        return "the clear value of a level is worse than its enter value";
    }
    if (threshold->has_warning && threshold->has_alert &&
        worse(threshold->warning.enter, threshold->alert.enter, below)) {
        return "the warning level is beyond the alert level";
    }
    return NULL;
}

static bool read_threshold(struct json *json, struct threshold *threshold) {
    *threshold = (struct threshold){.missing = UNKNOWN};
    json_enter(json, '{');
    for (bool first = true; json_more(json, '}', &first);) {
        char key[16];
        if (!json_key(json, key, sizeof key)) {
            return false;
        }
        bool is_read = same(key, "metric")      ? json_text(json, threshold->metric, sizeof threshold->metric)
                       : same(key, "direction") ? read_direction(json, &threshold->below)
                       : same(key, "missing")   ? read_missing(json, &threshold->missing)
                       : same(key, "warning")   ? (threshold->has_warning = read_level(json, &threshold->warning))
                       : same(key, "alert")     ? (threshold->has_alert = read_level(json, &threshold->alert))
                                                : unknown_key(json);
        if (!is_read) {
            return false;
        }
    }
    const char *what = json->error == NULL ? threshold_problem(threshold) : NULL;
    return what == NULL ? json->error == NULL : json_fail(json, what);
}

// Whether one of the thresholds that are complete is for this metric.
static bool has_threshold(const struct settings *settings, const char *metric) {
    for (size_t at = 0; at < settings->count; at++) {
        if (same(settings->thresholds[at].metric, metric)) {
            return true;
        }
    }
    return false;
}

static bool read_thresholds(struct json *json, struct settings *settings) {
    settings->count = 0;
    settings->given_text = json_peek(json) == '[' ? json->at + 1 : json->at;
    json_enter(json, '[');
    for (bool first = true; json_more(json, ']', &first); settings->count++) {
        if (settings->count == MAX_THRESHOLDS) {
            return json_fail(json, "at most 64 thresholds are allowed");
        }
        struct threshold *threshold = &settings->thresholds[settings->count];
        if (!read_threshold(json, threshold)) {
            return false;
        }
        if (has_threshold(settings, threshold->metric)) {
            return json_fail(json, "this metric has a threshold already; merge both");
        }
    }
    if (json->error != NULL) {
        return false;
    }
    // Without the closing bracket.
    settings->given = settings->count;
    settings->given_length = (size_t)(json->at - 1 - settings->given_text);
    return true;
}

// A threshold replaces the default for its metric.
static void add_defaults(struct settings *settings) {
    for (size_t at = 0; at < MAX_DEFAULTS; at++) {
        if (!has_threshold(settings, defaults[at].metric)) {
            settings->thresholds[settings->count++] = defaults[at];
        }
    }
}

bool settings_read(const char *text, size_t length, struct settings *settings, struct problem *problem) {
    struct json json = {.at = text, .end = text + length};
    settings->count = settings->given = settings->given_length = 0;
    settings->given_text = "";
    settings->with_defaults = true;
    bool stopped_within = false;
    json_enter(&json, '{');
    for (bool first = true; json_more(&json, '}', &first);) {
        char key[16];
        if (!json_key(&json, key, sizeof key)) {
            break;
        }
        if (same(key, "thresholds")) {
            stopped_within = !read_thresholds(&json, settings);
        } else if (same(key, "defaults")) {
            json_boolean(&json, &settings->with_defaults);
        } else {
            unknown_key(&json);
        }
    }
    if (json_finish(&json)) {
        if (settings->with_defaults) {
            add_defaults(settings);
        }
        return true;
    }
    if (stopped_within) {
        text_add(&problem->at, "/thresholds/");
        text_add_number(&problem->at, (double)settings->count);
    }
    text_add(&problem->what, json.error);
    return false;
}

// The levels of the defaults are whole numbers, and their other members are those of every threshold.
static void write_default(const struct threshold *threshold, struct text *text) {
    text_add(text, "{\"metric\":\"");
    text_add(text, threshold->metric);
    text_add(text, "\",\"warning\":");
    text_add_number(text, threshold->warning.enter);
    text_add(text, ",\"alert\":");
    text_add_number(text, threshold->alert.enter);
    text_add(text, "}");
}

void settings_write_effective(const struct settings *settings, struct text *text) {
    text_add(text, settings->with_defaults ? "{\"defaults\":true" : "{\"defaults\":false");
    text_add(text, ",\"thresholds\":[");
    text_add_bytes(text, settings->given_text, settings->given_length);
    for (size_t at = settings->given; at < settings->count; at++) {
        if (at > 0) {
            text_add(text, ",");
        }
        write_default(&settings->thresholds[at], text);
    }
    text_add(text, "]}");
}
