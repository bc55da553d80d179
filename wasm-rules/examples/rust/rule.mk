# Builds a rule in Rust: cargo builds a core module, and `watchpost rules pack` packs it as a component.

OUT   ?= rule.wasm
CASES ?= cases.toml
# The target folder of cargo.
BUILD ?= target

CARGO     ?= cargo
WATCHPOST ?= watchpost

# The library of every rule is named `rule`, whatever the name of its package is.
CORE := $(BUILD)/wasm32-unknown-unknown/release/rule.wasm

$(OUT): $(CORE)
	$(WATCHPOST) rules pack $< -o $@

# A small stack saves time, because the host zeroes the memory of the instance after every call.
$(CORE): Cargo.toml Cargo.lock $(shell find src $(SDK) -name '*.rs' -o -name '*.wit')
	RUSTFLAGS="-Clink-arg=-zstack-size=16384" $(CARGO) build --release --target wasm32-unknown-unknown \
	  --target-dir $(BUILD)
	touch $@

.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

.PHONY: clean
clean:
	$(CARGO) clean --target-dir $(BUILD)
	rm -f $(OUT)
