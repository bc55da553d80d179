// Growing strings. Their memory is never freed: see arena.c.

#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

struct text {
    char *bytes;
    size_t length;
    size_t room;
};

void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_add(struct text *text, const char *words);

// Appends a number, rounded to two decimals.
void text_add_number(struct text *text, double number);

#endif
