// A bump allocator that never frees memory, because an instance of a rule lives for one call. So the result of a rule
// may point into its arguments and into constants: the generated bindings call `free` on all of it, which does nothing.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((size_t)64 << 10)

// The start of free memory, set by the linker.
extern unsigned char __heap_base;

static size_t next;

void *malloc(size_t size) {
    // The size is kept in front of each piece, for `realloc`; 8 bytes keep every piece aligned.
    if (next == 0) {
        next = ((size_t)&__heap_base + 7) & ~(size_t)7;
    }
    size_t end = __builtin_wasm_memory_size(0) * PAGE;
    if (size > (size_t)1 << 30) {
        return NULL;
    }
    size_t needed = (size + 8 + 7) & ~(size_t)7;
    if (needed > end - next) {
        size_t pages = (needed - (end - next) + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) {
            return NULL;
        }
    }
    size_t *piece = (size_t *)next;
    *piece = size;
    next += needed;
    return (char *)piece + 8;
}

// WebAssembly zeroes new memory, and no piece is used twice.
void *calloc(size_t count, size_t size) {
    return size > 0 && count > SIZE_MAX / size ? NULL : malloc(count * size);
}

void free(void *piece) {
    (void)piece;
}

void *realloc(void *piece, size_t size) {
    void *larger = malloc(size);
    if (piece != NULL && larger != NULL) {
        size_t before = *(size_t *)((char *)piece - 8);
        memcpy(larger, piece, before < size ? before : size);
    }
    return larger;
}
