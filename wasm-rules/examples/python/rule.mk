# Builds a rule in Python as a component. The Makefile of the rule sets WORLD, the folder of the contract (WIT), the
# folder for the tools (TOOLS), and the folder of the list of tools (SHARED).

OUT   ?= rule.wasm
CASES ?= cases.toml

PYTHON    ?= python3
WATCHPOST ?= watchpost
VENV      := $(TOOLS)/python

# --stub-wasi removes the imports of the clock, files and random numbers: a rule imports nothing.
$(OUT): $(wildcard *.py) $(wildcard $(WIT)/*.wit) $(VENV)/ready
	$(VENV)/bin/componentize-py -d $(WIT) -w $(WORLD) componentize --stub-wasi rule -o $@

# The pinned tools, shared by all rules in Python.
$(VENV)/ready: $(SHARED)/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Runs the test cases.
.PHONY: test
test: $(OUT)
	$(WATCHPOST) rules test $(OUT) --cases $(CASES)

# Python types for editors; the component does not need them.
.PHONY: bindings
bindings: $(VENV)/ready
	rm -rf bindings
	$(VENV)/bin/componentize-py -d $(WIT) -w $(WORLD) bindings bindings

.PHONY: clean
clean:
	rm -rf bindings __pycache__ $(OUT)
