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
	$(BIN)/pytest -m "not long" $(ARGS)

test-all: lint
	$(BIN)/pytest $(ARGS)

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
