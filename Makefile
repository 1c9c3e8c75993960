# make demo    render a synthetic street, train on it, evaluate, show where the pictures are
# make test    everything but the long campaigns        make quick   the fast subset
# make soak    kills, resumes, real-frame accuracy      make lint    ruff and pyright
# make parity  the golden tests, and docs/parity.md anew
# make coverage-table  docs/coverage.md anew: which tests exercise which function
#
# PYTHON picks the interpreter (3.11 to 3.13) that the environment in VENV is made from.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/demo
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test quick soak parity coverage-table lint format clean

demo: $(VENV)/.installed
	$(BIN)/python -m packnet_jax.main --config=configs/demo.py --workdir=$(WORKDIR)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak"

quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak and not slow"

soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m soak

parity: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --parity=docs/parity.md

coverage-table: $(VENV)/.installed
	$(BIN)/python -m tests.coverage_table

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "packnet_jax needs Python 3.11 to 3.13; $(PYTHON) is another. Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what packnet_jax needs into $(VENV) (about 2.4 GB, a few minutes the first time)"
	$(PIP) -r requirements.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -c requirements.txt -e ".[dev]"
	@touch $@
