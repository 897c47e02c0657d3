# `make demo` and `make test` need Python 3.11 or later, make and a network; they set up the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test test-slow lint tools clean

help:
	@echo "make demo       set everything up and serve the demo on http://127.0.0.1:$${PORT:-8000}"
	@echo "make test       set everything up and run the tests (make test-slow: the slow ones)"
	@echo "make lint       ruff and mypy alone"
	@echo "make clean      remove what make made; the data folder stays"

demo: $(VENV)/installed
	@exec $(BIN)/python manage.py up --demo

test: lint tools
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/tested tools
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A Chromium and a Redis server, found or installed.
tools: $(VENV)/tested
	$(BIN)/python -m tests.tools

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; PYTHON=… names one (this is $$($(PYTHON) --version))."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "Making a virtual environment failed; on Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }
	@# PyTorch's CPU-only build lies in an index of PyTorch's own: make demo TORCH_INDEX=…
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-saelens .bench *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
