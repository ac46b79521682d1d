# make run       set up once, run the default recipe, say where the report is
# make test      set up once with the test tools, then lint, types and tests (what takes minutes: make test-all)
# make seeds     the accuracy of the default recipe over five seeds
# make kills     kill -9 one run twenty times and compare its bytes with those of a run that nobody touched
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test test-all seeds kills lint clean

run: $(VENV)/installed
	$(BIN)/modelmill run $(ARGS)

test: lint
	$(call pytest,not long)

test-all: lint
	$(call pytest,alone or not alone)

# Tests share the cores, a file of them at a time, but for those that measure. ARGS may choose among them (-k ...), so
# that one of the two finds none (5); not both.
define pytest
	@set +e; \
	  $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "($(1)) and not alone" $(ARGS); beside=$$?; \
	  $(BIN)/pytest -m "($(1)) and alone" $(ARGS); alone=$$?; \
	  if [ $$beside -eq 5 ]; then exit $$alone; fi; \
	  if [ $$beside -ne 0 ] || [ $$alone -eq 5 ]; then exit $$beside; fi; \
	  exit $$alone
endef

seeds: $(VENV)/installed-test
	$(BIN)/pytest -s -k five_seeds tests/end_to_end/test_default_recipe.py

kills: $(VENV)/installed-test
	$(BIN)/python -m tests.end_to_end.kills $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(None if (3, 11) <= v <= (3, 13) else f"modelmill needs Python 3.11 to 3.13, but {sys.executable} is %d.%d; \
	  choose another: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# compiled, as pip does with what it copies: where Python is told to write no byte code, every start would do it again
COMPILE := $(BIN)/python -m compileall -q models pipeline serving

# a stamp is newer than pyproject.toml as long as nothing has to be installed
$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	$(COMPILE)
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(COMPILE)
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV)
