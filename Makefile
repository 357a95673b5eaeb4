# Everything a developer or a curious visitor runs. `make demo` and `make test` need only make and Python 3.11+.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test quick lint lock clean

demo: $(STAMP)
	@$(BIN)/scanlight demo $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

quick: $(STAMP)
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Scanlight needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Scanlight needs Python 3.11 or newer; $$($(PYTHON) --version) is too old: install a newer one and name it with make PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Both locks hold for every Python from 3.11 on: all that development needs, and what an appliance runs.
# Needs uv (pip install uv).
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet pyproject.toml

lock:
	$(COMPILE) --extra dev --upgrade --output-file requirements.lock
	$(COMPILE) --extra gpu --constraint requirements.lock --output-file requirements-run.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
