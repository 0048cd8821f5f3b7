# `make demo` and `make test` set everything up in .venv and run; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
FUZZ ?= 50000

.DEFAULT_GOAL := help
.PHONY: help install demo test check fuzz filecheck lint types docs bench clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The CPU build of torch comes first: a bare requirement may pull the CUDA build, gigabytes larger.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

install: $(STAMP)  ## create .venv with the package and everything its tests need

demo: install  ## price options: collect, train, deploy, compare (the main job)
	$(BIN)/python -m examples.binomial_options

test: lint types  ## all tests
	$(BIN)/pytest -n 2
	$(BIN)/lit -q tests/filecheck

check: install  ## the quick tests
	$(BIN)/pytest -n 2 -m 'not slow'

fuzz: install  ## random maps against nested loops, and random directive text; FUZZ=N for the number of maps
	$(BIN)/python -m tests.fuzz --examples $(FUZZ) --jobs 2 bridge
	$(BIN)/python -m tests.fuzz --examples 200000 text

filecheck: install  ## the IR tests alone
	$(BIN)/lit -v tests/filecheck

lint: install  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## types
	$(BIN)/pyright --project pyproject.toml

docs: install  ## write the generated parts of docs/
	$(BIN)/python docs/generate.py

bench: install  ## benchmarks against the alternatives
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks

clean:  ## remove everything that was made
	rm -rf .venv out .pytest_cache .ruff_cache .hypothesis
