# How a rule in Python becomes a component. A rule's own Makefile says which WORLD it is
# written for, where the contract is (WIT), where the tools go (TOOLS), and where the list of them is (SHARED).

OUT   ?= rule.wasm
CASES ?= cases.toml

PYTHON    ?= python3
WATCHPOST ?= watchpost
VENV      := $(TOOLS)/python

# --stub-wasi takes the clock, files and random numbers away: a rule imports nothing.
$(OUT): $(wildcard *.py) $(wildcard $(WIT)/*.wit) $(VENV)/ready
	$(VENV)/bin/componentize-py -d $(WIT) -w $(WORLD) componentize --stub-wasi rule -o $@

# The pinned tools; every rule in Python shares them.
$(VENV)/ready: $(SHARED)/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# What it has to do.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

# Types for an editor; the component does not need them.
.PHONY: bindings
bindings: $(VENV)/ready
	rm -rf bindings
	$(VENV)/bin/componentize-py -d $(WIT) -w $(WORLD) bindings bindings

.PHONY: clean
clean:
	rm -rf bindings __pycache__ $(OUT)
