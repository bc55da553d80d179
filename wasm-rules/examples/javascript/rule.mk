# Builds a rule in JavaScript as a component. The Makefile of the rule sets WORLD, the folder of the contract (WIT), the
# folder for the tools (TOOLS), and the folder of the list of tools (SHARED).

OUT   ?= rule.wasm
CASES ?= cases.toml

NODE      ?= node
NPM       ?= npm
WATCHPOST ?= watchpost
TOOLS_DIR := $(TOOLS)/javascript

# The build script runs from the folder with its node_modules, where Node looks for them.
$(OUT): rule.js $(wildcard $(WIT)/*.wit) $(TOOLS_DIR)/build.mjs
	$(NODE) $(TOOLS_DIR)/build.mjs $(abspath rule.js) $(abspath $(WIT)) $(WORLD) $@

$(TOOLS_DIR)/build.mjs: $(SHARED)/build.mjs $(TOOLS_DIR)/ready
	cp $< $@

# The pinned tools, shared by all rules in JavaScript.
$(TOOLS_DIR)/ready: $(SHARED)/package.json
	mkdir -p $(TOOLS_DIR)
	cp $< $(TOOLS_DIR)/package.json
	cd $(TOOLS_DIR) && $(NPM) install --no-package-lock --no-audit --no-fund
	touch $@

# Runs the test cases.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

.PHONY: clean
clean:
	rm -f $(OUT)
