# make demo: a whole distillation, offline. make test: the tests but the long ones and those of clusters. Both make .venv first.
# make bench-smoke: the main ratios of speed, on a machine that does nothing else.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: install demo checks test test-long test-cluster bench-smoke docs wheel clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/raykd demo --folder demo

checks: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/python -m raykd.config.reference
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/site
	@echo "the site is in build/site/index.html"

# Needs a package index and some minutes: the wheel with all it depends on in a new environment, and the demo, outside this folder.
wheel: install
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	outside=$$(mktemp -d) && $(PYTHON) -m venv $$outside/venv \
	    && $$outside/venv/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl \
	    && cd $$outside && venv/bin/raykd demo && rm -rf $$outside

test: install
	$(BIN)/python -m pytest -n 2 --dist loadscope -m 'not cluster and not long' tests/unit tests/distributed
	$(BIN)/python -m pytest -m 'not cluster and not long' tests/ray

test-long: install
	$(BIN)/python -m pytest -m long

test-cluster: install
	$(BIN)/python -m pytest -m 'cluster and not long'

bench-smoke: install
	$(BIN)/python -m benchmarks.training --rows 4000 --rounds 1
	$(BIN)/python -m benchmarks.peers --rows 500 --work student --rounds 1 --peers trainer-cached --folder build/bench-smoke

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
