# Two commands, from nothing: `make demo` and `make test`. Each makes its own virtual environment.
# `make campaign` treats preparation, training and scoring badly for as long as it takes: kills, spoiled files, 1,000 spoiled model
# folders, 20,000 nights, 200 kills of training, 16 devices, 60 faults of signals.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test suite campaign lint picture clean

$(BIN)/sleepmami: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sleepmami needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/sleepmami
	$(BIN)/sleepmami demo --out $(OUT)

test: lint suite

suite: $(BIN)/sleepmami
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15

# About three hours on two cores, 2 GB of disk. Ray (340 MB) and PyTorch are installed here and not for the tests.
campaign: $(BIN)/sleepmami
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,ray,torch]'
	$(BIN)/python -m pytest tests/data_pipeline/prepare/test_cluster.py
	$(BIN)/python -m tests.campaign.kill
	$(BIN)/python -m tests.campaign.fuzz
	$(BIN)/python -m tests.campaign.model_folders
	$(BIN)/python -m tests.campaign.scale
	$(BIN)/python -m tests.campaign.kill_training
	$(BIN)/python -m tests.campaign.matrix
	$(BIN)/python -m experiments.shifted

lint: $(BIN)/sleepmami
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The picture of README.md and of the documentation: the report of a simulated night, in chromium.
picture: $(BIN)/sleepmami
	$(BIN)/sleepmami simulate --out build/picture --nights 1 --site a
	$(BIN)/sleepmami score build/picture/sim-a-0000.edf --out build/picture/night
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,1150 --screenshot=docs/report.png \
	    file://$(CURDIR)/build/picture/night/report.html

clean:
	rm -rf $(VENV) build dist site *.egg-info
