# `make help` lists the targets. Every target makes the virtual environment first if it has to.

PYTHON ?= python3
# One environment per interpreter: .venv for python3, .venv-python3.12 for PYTHON=python3.12.
VENV ?= .venv$(if $(filter-out python3,$(notdir $(PYTHON))),-$(notdir $(PYTHON)))
# Processes that run tests side by side.
WORKERS ?= 2
# More arguments for pytest, e.g. ARGS="--no-cov -k packing".
ARGS ?=
# What `make quickstart` runs.
EXPERIMENT := experiments/quickstart.py
WORKDIR := runs/quickstart

BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SCRIPTS := $(wildcard tpu_scripts/*.sh) .ci/run

.PHONY: help quickstart test lint venv clean

help:
	@echo 'make quickstart   run experiments/quickstart.py, print its answers, write its report'
	@echo 'make test         run the test suite with coverage; ARGS="--no-cov -k packing" for a part of it'
	@echo 'make lint         ruff, the import contracts between the rooms, shellcheck'
	@echo 'make venv         make the virtual environment, or bring it up to date with setup.py'
	@echo 'make clean        remove caches; environments and runs/ stay'
	@echo
	@echo 'PYTHON=python3.12 uses that interpreter (>= 3.11) and an environment of its own,'
	@echo '.venv-python3.12; plain python3 uses .venv. WORKERS=1 runs the tests in one process.'

quickstart: $(STAMP)
	$(BIN)/bakein run $(EXPERIMENT) --workdir $(WORKDIR)

test: $(STAMP) $(VENV)/gym
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
		--cov --cov-report=term-missing:skip-covered --cov-fail-under=90 $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/shellcheck --external-sources $(SCRIPTS)

venv: $(STAMP)

# The stamp is older than setup.py after a change of the dependencies: then pip runs again.
$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'bakein needs Python 3.11 or newer; $(PYTHON) is older or missing: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo '$(PYTHON) cannot make virtual environments: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# Reasoning Gym's own requirements have to be compiled: where that fails, its tests are skipped.
$(VENV)/gym: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,gym]' || \
		echo 'Reasoning Gym cannot be installed here: its tests are skipped' >&2
	@touch $@

clean:
	rm -rf *.egg-info build dist .coverage .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find bakein benchmarks experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
