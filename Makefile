# What people run. It needs nothing but make and Python; `make setup` installs the rest into .venv. In another
# environment that is active, or with `make BIN= …`, the tools are taken from there.
PYTHON ?= python3
BIN ?= $(or $(VIRTUAL_ENV),.venv)/bin/

# Where the tests are quick; the others start real processes. A slow test in a quick place is marked `slow`.
QUICK := $(addprefix tests/,core engine prices providers settings simulator wire)
OTHERS := $(addprefix tests/,cli drill e2e store) $(wildcard tests/test_*.py)

.PHONY: help setup format lint check test slow bench oldest build

help:
	@echo "make setup    a virtual environment in .venv with everything that is needed here"
	@echo "make check    format, lint, types, layers and the quick tests: before each commit, under two minutes"
	@echo "make test     the whole suite"
	@echo "make slow     the tests that check leaves out: real processes, and what is marked slow"
	@echo "make bench    the programs of benchmarks/, one after the other, each a ratio against its baseline"
	@echo "make format   put the source into its format, and mend what ruff can mend"
	@echo "make oldest   the suite with the oldest versions that pyproject.toml allows"
	@echo "make build    wheel and sdist in dist/, checked"

setup:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/bin/python -m pip install --quiet -e '.[test]' --group dev

format:
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

lint:
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy
	$(BIN)lint-imports

check: lint
	$(BIN)pytest -m "not slow" $(QUICK)

test:
	$(BIN)pytest

slow:
	$(BIN)pytest $(OTHERS)
	$(BIN)pytest -m slow $(QUICK) || [ $$? -eq 5 ]  # 5: none of them is marked

bench:
	@failed=0; for program in $$(grep -l 'def main' benchmarks/*.py); do \
	    $(BIN)python $$program || failed=1; done; exit $$failed

oldest:
	$(PYTHON) scripts/oldest.py

build:
	rm -rf dist
	$(BIN)python -m build --quiet
	$(BIN)twine check --strict dist/*
