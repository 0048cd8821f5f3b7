# `make demo` and `make test` set everything up in .venv and run; `make help` lists the rest.
# On a machine with a GPU, `make test-gpu` and `make bench-gpu` need a Torch with CUDA. Without .venv they make one with what
# pip finds first; `make test-gpu TORCH='torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cu130'` says which. An
# environment of your own that has this package with its extra `dev` is taken by `make test-gpu BIN=$(dirname $(which python))`.
PYTHON ?= python3
BIN ?= .venv/bin
STAMP := $(if $(filter .venv/bin,$(BIN)),.venv/.installed)
DEMO := $(if $(filter .venv/bin,$(BIN)),.venv/.demo)
TORCH ?= torch==2.13.0
FUZZ ?= 50000

.DEFAULT_GOAL := help
.PHONY: help install demo test test-gpu check fuzz filecheck lint types layout docs bench bench-quick bench-gpu evaluation clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The CPU build of torch comes first: a bare requirement may pull the CUDA build, gigabytes larger.
define installed
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@began=$$(date +%s) && $(BIN)/pip install --quiet --disable-pip-version-check $(TORCH) && \
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(1)]' && \
	echo "installed in $$(($$(date +%s) - began)) s"
	@touch $@
endef

.venv/.demo: pyproject.toml
	$(call installed,train)

.venv/.installed: pyproject.toml
	$(call installed,dev)
	@touch .venv/.demo

install: $(STAMP)  ## create .venv with the package and everything its tests need

demo: $(DEMO)  ## price options: collect, train, deploy, compare (the main job)
	$(BIN)/python -m examples.binomial_options

test: lint types  ## all tests
	$(BIN)/pytest -n 2 --dist worksteal
	$(BIN)/lit -q tests/filecheck

test-gpu: install  ## the tests on a GPU: TORCH= or BIN= bring a Torch with CUDA
	@$(BIN)/python -c "import sys; from tests.machines import missing_gpu; sys.exit(missing_gpu())"
	$(BIN)/python -m pytest -rs -m gpu tests

check: install  ## the quick tests
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow'

fuzz: install  ## random maps, networks, kernels and directive text; FUZZ=N for the number of maps
	$(BIN)/python -m tests.fuzz --examples $(FUZZ) --jobs 2 bridge
	$(BIN)/python -m tests.fuzz --examples 1000 --jobs 2 models
	$(BIN)/python -m tests.fuzz --examples $$(($(FUZZ) / 50)) --jobs 2 programs
	$(BIN)/python -m tests.fuzz --examples $$(($(FUZZ) / 50)) --jobs 2 parallel
	$(BIN)/python -m tests.fuzz --examples 200000 text

filecheck: install  ## the IR tests alone
	$(BIN)/lit -v tests/filecheck

lint: install  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## types
	$(BIN)/pyright --project pyproject.toml

layout: install  ## the layers of imports, and whether the pages in docs/ are fresh and true
	$(BIN)/pytest -q tests/test_layers.py tests/test_docs.py tests/test_package.py

docs: install  ## write the generated parts of docs/
	$(BIN)/python docs/generate.py

bench: install  ## benchmarks against the alternatives, which write benchmarks/results/full.*
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks

bench-quick: install  ## those of two minutes, which write benchmarks/results/quick.*
	$(BIN)/python -m benchmarks --quick

bench-gpu: install  ## benchmarks on a GPU, which write benchmarks/results/gpu-<device>.json
	$(BIN)/python -m benchmarks.gpu

evaluation: $(DEMO)  ## the paper's evaluation of its five applications, which writes benchmarks/results/evaluation
	$(BIN)/python -m examples evaluate --all

clean:  ## remove everything that was made
	rm -rf .venv out .pytest_cache .ruff_cache .hypothesis
