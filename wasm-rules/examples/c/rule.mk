# Builds a rule in C: clang builds a core module from the sources and the contract's BINDINGS, and `watchpost rules
# pack` packs it as a component.

OUT   ?= rule.wasm
CASES ?= cases.toml

CLANG     ?= clang
WATCHPOST ?= watchpost

# Warnings are errors. The strings of the bindings are unsigned bytes, hence -Wno-pointer-sign.
CFLAGS  = -std=c11 -Os -Wall -Wextra -Werror -Wno-pointer-sign
TARGET  = --target=wasm32-wasi
# A reactor is a module without a `main`. wasi-libc is used for its string functions, which need no imports. The stack
# of 64 KiB is at the start of memory, so that a stack overflow traps; 256 KiB of initial memory are enough for an
# ordinary call.
LDFLAGS = -mexec-model=reactor -nodefaultlibs -Wl,--stack-first -Wl,-z,stack-size=65536 -Wl,--initial-memory=262144 \
          -Wl,--strip-all
LDLIBS  = -lc

SOURCES := $(wildcard *.c)
HEADERS := $(wildcard *.h)

# `rules pack` refuses a module that imports anything. The object file of the bindings names the contract.
$(OUT): build/rule.core.wasm
	$(WATCHPOST) rules pack $< -o $@

build/rule.core.wasm: $(SOURCES) $(HEADERS) $(BINDINGS)/watchpost.c Makefile
	mkdir -p build
	$(CLANG) $(TARGET) $(CFLAGS) -I. -I$(BINDINGS) $(SOURCES) $(BINDINGS)/watchpost.c \
	  $(BINDINGS)/watchpost_component_type.o $(LDFLAGS) $(LDLIBS) -o $@

# Runs the test cases.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

.PHONY: clean
clean:
	rm -rf build $(OUT)
