# What people run. It needs nothing but make and Python; `make setup` installs the rest into .venv. In another
# environment that is active, or with `make BIN= …`, the tools are taken from there.
PYTHON ?= python3
BIN ?= $(or $(VIRTUAL_ENV),.venv)/bin/

# Lines and branches of core that the quick tests take, in per cent.
CORE_COVERAGE := 97

.PHONY: help setup clients format lint check test slow coverage bench oldest build man

help:
	@echo "make setup    a virtual environment in .venv with everything that is needed here"
	@echo "make clients  the SDKs and agents that tests/clients points at the gateway, from npm and PyPI: 1.2 GB"
	@echo "make check    format, lint, types, layers and the quick tests: before each commit, under two minutes"
	@echo "make test     the whole suite"
	@echo "make slow     the tests that check leaves out: real processes, and what is marked slow"
	@echo "make coverage lines and branches that the quick tests take, with a floor for core"
	@echo "make bench    the programs of benchmarks/ in a clean environment, each a ratio against its baseline"
	@echo "make format   put the source into its format, and mend what ruff can mend"
	@echo "make oldest   the suite with the oldest versions that pyproject.toml allows"
	@echo "make build    wheel and sdist in dist/, checked"
	@echo "make man      the manual page, from the help, as build/llmfail.1"

setup:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/bin/python -m pip install --quiet -e '.[test]' --group dev

clients:
	.ci/install-clients

format:
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

lint:
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy
	$(BIN)lint-imports

check: lint
	$(BIN)pytest -m "not slow"

test:
	$(BIN)pytest

slow:
	$(BIN)pytest -m slow

coverage:
	$(BIN)pytest -m "not slow" --cov --cov-report=term
	$(BIN)coverage report --include='llmfail/core/*' --fail-under=$(CORE_COVERAGE)

bench:
	$(PYTHON) scripts/clean_bench.py

oldest:
	$(PYTHON) scripts/oldest.py

build:
	rm -rf dist
	$(BIN)python -m build --quiet
	$(BIN)twine check --strict dist/*

man:
	mkdir -p build
	$(BIN)python scripts/make_man.py > build/llmfail.1
