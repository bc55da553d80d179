# How a rule in Rust becomes a component: a core module from cargo, and a component around it.

OUT   ?= rule.wasm
CASES ?= cases.toml
# What cargo makes on the way.
BUILD ?= target

CARGO     ?= cargo
WATCHPOST ?= watchpost

# The library of every rule is called `rule`, whatever its package is called.
CORE := $(BUILD)/wasm32-unknown-unknown/release/rule.wasm

$(OUT): $(CORE)
	$(WATCHPOST) rules pack $< -o $@

# A small stack keeps the instance small; the host wipes all of it after every call.
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
