// Reads JSON step by step, in the order in which it is written, into memory of the caller's. It builds no tree, so
// nothing in a text, however deep or long, makes it allocate or call itself.

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

struct json {
    const char *at;
    const char *end;
    // Why reading ended early; NULL while all is well. Once it is set, every function below returns false.
    const char *mistake;
};

// Sets the mistake, unless there is one already, and returns false.
bool json_fail(struct json *json, const char *mistake);

// The first byte of the value that comes next: `{`, `[`, `"`, a digit; 0 at the end.
char json_peek(struct json *json);

// Steps into an object or a list; `open` is its first byte.
bool json_enter(struct json *json, char open);

// Whether one more member follows before the byte `close`, which it passes over. `first` is true before the first
// call and belongs to this function from then on.
bool json_more(struct json *json, char close, bool *first);

// Reads a member's name and the colon after it.
bool json_key(struct json *json, char *text, size_t room);

// Reads a text that fits into `room` bytes with the 0 that ends it.
bool json_text(struct json *json, char *text, size_t room);

// Reads a finite number.
bool json_number(struct json *json, double *number);

// Whether nothing but space is left.
bool json_finish(struct json *json);

#endif
