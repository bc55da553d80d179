// A streaming reader of JSON, which writes into memory of the caller. It builds no tree, so no input makes it allocate
// or recurse, however deep or long it is.

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

struct json {
    const char *at;
    const char *end;
    // The first error; NULL for none. Once it is set, every function below returns false.
    const char *error;
};

// Sets the error, unless one is set already, and returns false.
bool json_fail(struct json *json, const char *error);

// The first byte of the next value: `{`, `[`, `"`, a digit; 0 at the end.
char json_peek(struct json *json);

// Enters an object or a list; `open` is its first byte.
bool json_enter(struct json *json, char open);

// Whether another member follows; consumes the byte `close` if not. `first` must be true before the first call, and
// only this function changes it.
bool json_more(struct json *json, char close, bool *first);

// Reads a key and the colon after it.
bool json_key(struct json *json, char *text, size_t room);

// Reads a string into `room` bytes, including the terminating 0.
bool json_text(struct json *json, char *text, size_t room);

// Reads a finite number.
bool json_number(struct json *json, double *number);

// Reads `true` or `false`.
bool json_boolean(struct json *json, bool *boolean);

// Whether only white space is left.
bool json_finish(struct json *json);

#endif
