# Everything here needs python3 (3.11 or newer) and make, nothing else: each target makes what it needs.
PYTHON ?= python3
VENV := .venv
TORCH := .venv-torch
BIN := $(VENV)/bin
SECONDS ?= 600
ROUNDS ?= 10

# Two spinning threads on one shared core run hundreds of times slower than one thread each.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: help demo test lint types unit test-cluster test-examples soak explore bench docs clean

help:
	@echo "make demo    the width study at laptop scale, start to report, about a minute after set-up"
	@echo "make test    lint, types and every test"
	@echo "make test-cluster   Ray, SLURM, Dask and PostgreSQL for real on this machine; installs Debian packages when run as root"
	@echo "make test-examples  the training templates with PyTorch, Hugging Face and Lightning, in an environment of their own"
	@echo "make soak    kill tests and fuzzing for SECONDS=600"
	@echo "make explore ROUNDS=10 times every property test, on fresh random examples"
	@echo "make bench   the benchmarks that need no other library; see benchmarks/README.md for all"
	@echo "make docs    regenerate the pages that are made from the code"
	@echo "make clean   remove the environment and what the demo wrote"

demo: $(VENV)/.train
	$(BIN)/scalelaw demo

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/ruff format --check src tests tools benchmarks examples

types: $(VENV)/.dev
	$(BIN)/basedpyright

unit: $(VENV)/.dev
	$(BIN)/pytest -n 2 -m "not soak and not cluster"

test-cluster: $(VENV)/.cluster
	tests/cluster/install.sh
	$(BIN)/pytest -m cluster tests/cluster

test-examples: $(TORCH)/.made
	$(TORCH)/bin/pytest tests/test_examples.py

soak: $(VENV)/.dev
	SCALELAW_SOAK_SECONDS=$(SECONDS) $(BIN)/pytest -m soak

explore: $(VENV)/.dev
	for round in $$(seq $(ROUNDS)); do $(BIN)/pytest -q -n 2 -m "hypothesis and not soak" --hypothesis-profile=default || exit 1; done

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.calibration

docs: $(VENV)/.dev
	$(BIN)/python tools/make_cli_page.py
	$(BIN)/python tools/make_laws_page.py
	$(BIN)/python tools/make_pages.py tuning planning importing running

clean:
	rm -rf $(VENV) $(TORCH) demo

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "scalelaw needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 lacks venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@touch $@

# PyTorch and what builds on it, with scalelaw: 2 GB, which nothing but the templates in examples/ needs.
$(TORCH)/.made: pyproject.toml
	@$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers accelerate lightning pytest hypothesis -e '.[train]'
	@touch $@

$(VENV)/.train: $(VENV)/.made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.train

$(VENV)/.cluster: $(VENV)/.made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,ray,slurm,dask,postgres]'
	@touch $@ $(VENV)/.dev $(VENV)/.train
