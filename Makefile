# Two commands: `make run` and `make test`; both set up .venv first.
PROFILE ?= cpu
DATA ?=
OPTIONS ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DATA_OPTION = $(if $(DATA),--data "$(DATA)")

.PHONY: run test lint unit quick nbval lab notebooks figures reference format clean

run: $(STAMP)
	$(PY) -m prdlib run --profile $(PROFILE) $(DATA_OPTION) $(OPTIONS)

test: lint unit quick nbval

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Two processes on two cores: more threads in each only wait for each other.
unit nbval notebooks: export OMP_NUM_THREADS = 1

unit: $(STAMP)
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests

quick: $(STAMP)
	$(PY) -m prdlib run --profile quick

nbval: $(STAMP)
	$(PY) -m pytest -q -n 2 --dist loadscope --nbval --nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 600 \
	  -p no:cacheprovider --rootdir . -c tests/notebooks/nbval.ini notebooks
	$(PY) -m pytest -q -p no:cacheprovider tests/notebooks/check_numbers.py

lab: $(STAMP)
	$(VENV)/bin/jupyter lab notebooks

# Execute the committed notebooks again, in place, on the quick run.
notebooks: quick
	$(PY) tests/notebooks/refresh.py

# The README's figures and tables of results from the stored reference tables; films and scales from the newest quick run.
figures: quick
	$(PY) -m prdlib.reference_figures
	$(PY) tests/test_readme.py
	cp papermill_runs/latest/figures/01_contact_sheet.png figures/contact_sheet.png
	cp papermill_runs/latest/figures/01_contact_sheet.json figures/contact_sheet.json
	cp papermill_runs/latest/figures/04_scales.png figures/three_scales.png
	cp papermill_runs/latest/figures/04_scales.json figures/three_scales.json

# Keep the numbers and score plots of the newest run in git (no image and no report): make run PROFILE=cpu, then this. Seeds
# beyond the profile's: make run PROFILE=cpu OPTIONS='--set seeds=[0,1,2]'. Before this, the tables of all seeds: python -m prdlib
# evaluate --profile cpu --set 'seeds=[0,1,2]' --output papermill_runs/latest/structure; with --task auroc, localisation or
# matching, .../auroc and so on. NAME: of the folder, where it is not the profile's.
# GRID=grounded keeps the rows of an ablation (run --grid) instead: see prdlib/reference.py.
reference: $(STAMP)
	$(PY) -m prdlib.reference $(or $(GRID),$(PROFILE)) $(NAME)
	$(PY) -m prdlib.reference_figures
	$(PY) tests/test_readme.py
	$(PY) tests/test_pages.py

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
