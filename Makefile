# Two commands: `make run` and `make test`; both set up .venv first.
PROFILE ?= cpu
DATA ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DATA_OPTION = $(if $(DATA),--data "$(DATA)")

.PHONY: run test lint unit quick nbval lab notebooks figures reference format clean

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

# The README's figure, from the newest quick run.
figures: quick
	cp papermill_runs/latest/figures/01_contact_sheet.png figures/contact_sheet.png
	cp papermill_runs/latest/figures/01_contact_sheet.json figures/contact_sheet.json

# Keep the numbers and score plots of the newest run in git (no image and no report): make run PROFILE=cpu, then this.
REFERENCE := papermill_runs/reference/$(PROFILE)
reference: $(STAMP)
	@case "$$(readlink papermill_runs/latest)" in $(PROFILE)-*) ;; \
	  *) echo "papermill_runs/latest is no $(PROFILE) run: 'make run PROFILE=$(PROFILE)' first"; exit 1;; esac
	mkdir -p $(REFERENCE)
	cd papermill_runs/latest && cp metrics/summary.csv metrics/03_scores.csv metrics/03_differences.csv metrics/04_pointing.csv \
	  metrics/05_*.csv figures/03_*.png figures/03_*.json figures/04_pointing.* figures/05_*.png figures/05_*.json \
	  ../reference/$(PROFILE)/
	rm -f $(REFERENCE)/*.pdf
	$(PY) tests/test_readme.py

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
