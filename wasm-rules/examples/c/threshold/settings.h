// What the operator may write: JSON, read once, when the settings are given. From then on they are an array of
// `struct threshold`, which needs no reading at all.

#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

// No operator writes more by hand, and the array has a place in memory from the beginning.
#define MOST_THRESHOLDS 64

// The longest name of a metric that the host knows is 200 bytes.
#define METRIC_ROOM 204

// Numbered as in the contract.
enum severity { OK, UNKNOWN, WARNING, ALERT };

// Where it begins to be bad, and where it is good again.
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
    // Which way is bad.
    bool below;
    // What it means when the metric is not there; an `enum severity`.
    uint8_t missing;
    char metric[METRIC_ROOM];
};

struct settings {
    struct threshold thresholds[MOST_THRESHOLDS];
    size_t count;
};

// Something that cannot be meant: where, as a JSON Pointer, and what to write instead.
struct mistake {
    struct text at;
    struct text what;
};

extern const char settings_schema[];

// Whether the settings could be read; `mistake` is filled in where not.
bool settings_read(const char *json, size_t length, struct settings *settings, struct mistake *mistake);

#endif
