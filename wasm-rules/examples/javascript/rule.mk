# How a rule in JavaScript becomes a component. A rule's own Makefile says which WORLD it is written for.

WIT   ?= ../../../../policies/wit
TOOLS ?= ../../.tools
OUT   ?= rule.wasm

NODE ?= node
NPM  ?= npm
HOME_OF_TOOLS := $(TOOLS)/javascript

# The build script is run beside its node_modules, for that is where Node looks for them.
$(OUT): rule.js $(wildcard $(WIT)/*.wit) $(HOME_OF_TOOLS)/build.mjs
	$(NODE) $(HOME_OF_TOOLS)/build.mjs $(abspath rule.js) $(abspath $(WIT)) $(WORLD) $@

$(HOME_OF_TOOLS)/build.mjs: ../build.mjs $(HOME_OF_TOOLS)/ready
	cp $< $@

# The pinned tools; every rule in JavaScript shares them.
$(HOME_OF_TOOLS)/ready: ../package.json
	mkdir -p $(HOME_OF_TOOLS)
	cp $< $(HOME_OF_TOOLS)/package.json
	cd $(HOME_OF_TOOLS) && $(NPM) install --no-package-lock --no-audit --no-fund
	touch $@

.PHONY: clean
clean:
	rm -f $(OUT)
