# Two commands, from nothing: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test lint clean

$(BIN)/sleepmami: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sleepmami needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/sleepmami
	$(BIN)/sleepmami demo --out $(OUT)

test: $(BIN)/sleepmami lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15

lint: $(BIN)/sleepmami
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build *.egg-info
