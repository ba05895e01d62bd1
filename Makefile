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

# The README's figures, from the newest quick run.
figures: quick
	cp papermill_runs/latest/figures/01_contact_sheet.png figures/contact_sheet.png
	cp papermill_runs/latest/figures/01_contact_sheet.json figures/contact_sheet.json
	cp papermill_runs/latest/figures/04_scales.png figures/three_scales.png
	cp papermill_runs/latest/figures/04_scales.json figures/three_scales.json

# Keep the numbers and score plots of the newest run in git (no image and no report): make run PROFILE=cpu, then this. Seeds
# beyond the profile's: make run PROFILE=cpu OPTIONS='--set seeds=[0,1,2]'. Before this, the tables of all seeds: python -m prdlib
# evaluate --profile cpu --set 'seeds=[0,1,2]' --output papermill_runs/latest/structure; with --task auroc, localisation or
# matching, .../auroc and so on. NAME: of the
# folder, where it is not the profile's: NAME=grounded for the methods of grounded PRD.
REFERENCE := papermill_runs/reference/$(or $(NAME),$(PROFILE))
KEPT_TABLES := summary 03_cells 03_rows 03_scores 03_differences 04_pointing 04_localisation 05_overview 05_prevalence 05_zero_shot 05_zero_shot_classes \
  05_classification 05_fine_tuning 05_paper 05_subsets 05_sides 05_retrieval 05_generation 05_nli 05_image_gain 05_gain_families 05_gain_differences 05_paraphrases 05_twins
KEPT_FIGURES := 03_curves 03_methods 04_pointing 04_localisation 05_zero_shot 05_label_efficiency 05_curves 05_image_gain 05_dumbbells
# GRID=grounded keeps the rows of an ablation (run --grid) instead, and the outcome of every study that they are made from.
ifdef GRID
REFERENCE := papermill_runs/reference/grids/$(or $(NAME),$(basename $(notdir $(GRID))))
KEPT_TABLES := 03_runs 03_cells 03_rows 03_twins 03_outcomes
KEPT_FIGURES := 03_forest 03_cost
endif
RUN_NAME := $(or $(basename $(notdir $(GRID))),$(PROFILE))
reference: $(STAMP)
	@case "$$(readlink papermill_runs/latest)" in $(RUN_NAME)-*) ;; \
	  *) echo "papermill_runs/latest is no $(RUN_NAME) run: run it first"; exit 1;; esac
	rm -rf $(REFERENCE).new && mkdir -p $(REFERENCE).new
	cd papermill_runs/latest && cp $(KEPT_TABLES:%=metrics/%.csv) $(KEPT_FIGURES:%=figures/%.png) $(KEPT_FIGURES:%=figures/%.json) \
	  $(CURDIR)/$(REFERENCE).new/
	if [ -f $(REFERENCE).new/03_outcomes.csv ]; then gzip -9n $(REFERENCE).new/03_outcomes.csv; fi
	for task in structure auroc localisation matching; do if [ -d papermill_runs/latest/$$task ]; then mkdir $(REFERENCE).new/$$task && \
	  find papermill_runs/latest/$$task -maxdepth 1 -type f ! -name '*.pdf' -exec cp {} $(REFERENCE).new/$$task/ \; ; fi; done
	rm -rf $(REFERENCE) && mv $(REFERENCE).new $(REFERENCE)
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
