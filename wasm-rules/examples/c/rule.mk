# How a rule in C becomes a component: a core module from the sources and from the contract's BINDINGS, and a component
# around it.

OUT   ?= rule.wasm
CASES ?= cases.toml

CLANG     ?= clang
WATCHPOST ?= watchpost

# No warning is passed over. The contract's strings are bytes, and bytes here are unsigned.
CFLAGS  = -std=c11 -Os -Wall -Wextra -Werror -Wno-pointer-sign
TARGET  = --target=wasm32-wasi
# A reactor is a module without a `main`. wasi-libc is there for its string functions, and for nothing that would have
# to be imported. 64 KiB of stack lie below everything else, so that running over it ends the call; 256 KiB are
# there from the start, so that memory need not grow in an ordinary call.
LDFLAGS = -mexec-model=reactor -nodefaultlibs -Wl,--stack-first -Wl,-z,stack-size=65536 -Wl,--initial-memory=262144 \
          -Wl,--strip-all
LDLIBS  = -lc

SOURCES := $(wildcard *.c)
HEADERS := $(wildcard *.h)

# `rules pack` refuses a module that imports anything. The object file beside the bindings tells it which contract it is.
$(OUT): build/rule.core.wasm
	$(WATCHPOST) rules pack $< -o $@

build/rule.core.wasm: $(SOURCES) $(HEADERS) $(BINDINGS)/watchpost.c Makefile
	mkdir -p build
	$(CLANG) $(TARGET) $(CFLAGS) -I. -I$(BINDINGS) $(SOURCES) $(BINDINGS)/watchpost.c \
	  $(BINDINGS)/watchpost_component_type.o $(LDFLAGS) $(LDLIBS) -o $@

# What it has to do.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

.PHONY: clean
clean:
	rm -rf build $(OUT)
