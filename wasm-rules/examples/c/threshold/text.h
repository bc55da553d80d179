// Texts that are put together piece by piece. Their memory is never given back: see arena.c.

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

// With two decimals at most, which are what a person reads.
void text_add_number(struct text *text, double number);

#endif
