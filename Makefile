# Two commands: `make run` and `make test`; both set up .venv first.
PROFILE ?= cpu
DATA ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DATA_OPTION = $(if $(DATA),--data "$(DATA)")

.PHONY: run test lint unit quick nbval lab notebooks format clean

run: $(STAMP)
	$(PY) -m prdlib run --profile $(PROFILE) $(DATA_OPTION)

test: lint unit quick nbval

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

unit: $(STAMP)
	$(PY) -m pytest -q tests

quick: $(STAMP)
	$(PY) -m prdlib run --profile quick

nbval: $(STAMP)
	$(PY) -m pytest -q --nbval --nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 300 \
	  -p no:cacheprovider --rootdir . -c tests/notebooks/nbval.ini notebooks

lab: $(STAMP)
	$(VENV)/bin/jupyter lab notebooks

# Execute the committed notebooks again, in place, on the quick run.
notebooks: quick
	$(PY) tests/notebooks/refresh.py

format: $(STAMP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) papermill_runs/quick-* papermill_runs/cpu-* papermill_runs/openi-* papermill_runs/prepared papermill_runs/latest

# The tagger's model is checked by its hash; pip can only do that for a whole file of requirements, hence two files.
$(STAMP): requirements.lock requirements-tagger.lock pyproject.toml
	@echo "Setting up $(VENV) (a few minutes; torch is large)"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-tagger.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
