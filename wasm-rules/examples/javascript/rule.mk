# How a rule in JavaScript becomes a component. A rule's own Makefile says which WORLD it is
# written for, where the contract is (WIT), where the tools go (TOOLS), and where the list of them is (SHARED).

OUT   ?= rule.wasm
CASES ?= cases.toml

NODE      ?= node
NPM       ?= npm
WATCHPOST ?= watchpost
HOME_OF_TOOLS := $(TOOLS)/javascript

# The build script is run beside its node_modules, for that is where Node looks for them.
$(OUT): rule.js $(wildcard $(WIT)/*.wit) $(HOME_OF_TOOLS)/build.mjs
	$(NODE) $(HOME_OF_TOOLS)/build.mjs $(abspath rule.js) $(abspath $(WIT)) $(WORLD) $@

$(HOME_OF_TOOLS)/build.mjs: $(SHARED)/build.mjs $(HOME_OF_TOOLS)/ready
	cp $< $@

# The pinned tools; every rule in JavaScript shares them.
$(HOME_OF_TOOLS)/ready: $(SHARED)/package.json
	mkdir -p $(HOME_OF_TOOLS)
	cp $< $(HOME_OF_TOOLS)/package.json
	cd $(HOME_OF_TOOLS) && $(NPM) install --no-package-lock --no-audit --no-fund
	touch $@

# What it has to do.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

.PHONY: clean
clean:
	rm -f $(OUT)
