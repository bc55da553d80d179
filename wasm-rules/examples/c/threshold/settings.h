// The settings: JSON from the operator, parsed once when settings are checked. Each later call gets an array of
// `struct threshold`, which needs no parsing.

#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

// The array is allocated statically, so its size is fixed.
#define MAX_THRESHOLDS 64

// The number of default thresholds, which are added to those of the operator.
#define MAX_DEFAULTS 5

// The host accepts metric names of up to 200 bytes.
#define METRIC_ROOM 204

// The values are those of the contract.
enum severity { OK, UNKNOWN, WARNING, ALERT };

// The values at which a level is entered and left.
struct level {
    double enter;
    double clear;
};

// Levels for one metric.
struct threshold {
    struct level warning;
    struct level alert;
    bool has_warning;
    bool has_alert;
    // Whether values below the level are bad, and not those above.
    bool below;
    // The severity when the metric is missing; an `enum severity`.
    uint8_t missing;
    char metric[METRIC_ROOM];
};

struct settings {
    struct threshold thresholds[MAX_THRESHOLDS + MAX_DEFAULTS];
    size_t count;
    // The number of thresholds of the operator, and their text: the members of the JSON list.
    size_t given;
    const char *given_text;
    size_t given_length;
    bool with_defaults;
};

// A problem in the settings: its place as a JSON Pointer, and what to write instead.
struct problem {
    struct text at;
    struct text what;
};

extern const char settings_schema[];

// Parses the settings; false if they are invalid, and then `problem` is set.
bool settings_read(const char *json, size_t length, struct settings *settings, struct problem *problem);

// Appends settings that mean the same, with the defaults that apply in the list, as JSON. The text of the operator is
// still in memory.
void settings_write_effective(const struct settings *settings, struct text *text);

#endif
