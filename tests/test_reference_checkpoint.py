"""The stored checkpoint gives the stored outcomes again on test studies drawn anew: from a number of the README to weights."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch

from prdlib.data.groups import report_groups
from prdlib.data.phantom import study
from prdlib.data.studies import split_of
from prdlib.evaluation.overview import overview
from prdlib.models import PRDModel
from prdlib.repro import project_root
from prdlib.text import tag

REFERENCE = project_root() / "papermill_runs" / "reference"
CHECKPOINT = REFERENCE / "checkpoints" / "cpu-prd-seed0"
METRICS = ["R@1 image to report", "R@10 image to report", "5-option accuracy"]
# Where the processor has other kernels for bf16 or float32, a near tie may fall to the other side; else every outcome is equal.
ALLOWED = 0.02


@pytest.fixture(scope="module")
def stored():
    outcomes = pd.read_csv(REFERENCE / "grids" / "paper" / "03_outcomes.csv.xz")
    mine = (outcomes["method"] == "prd") & (outcomes["seed"] == 0) & (outcomes["input"] == "image")
    return outcomes[mine].set_index(["metric", "query"])["outcome"]


@pytest.fixture(scope="module")
def outcomes():
    """Of the checkpoint, over the test studies of the profile's phantom."""
    fit = json.loads((CHECKPOINT / "fit.json").read_text())
    data = fit["settings"]["data"]
    studies = [study(data["seed"], i) for i in range(data["n_studies"])]
    groups = np.asarray(report_groups(pd.Series([item.report for item in studies])))
    test = np.array([split_of(item.patient_id) == "test" for item in studies])
    chosen = [item for item, there in zip(studies, test, strict=True) if there]
    images = np.stack([item.render(data["image_size"]) for item in chosen])
    model = PRDModel.from_pretrained(CHECKPOINT).eval()
    with torch.no_grad():
        found = overview(
            model, images, tag([i.report for i in chosen]), [i.study_id for i in chosen], groups[test], images[0]
        )[1]
    return found[found["input"] == "image"].set_index(["metric", "query"])["outcome"]


def test_the_weights_are_those_of_the_table_of_trainings():
    cells = pd.read_csv(REFERENCE / "grids" / "paper" / "03_cells.csv", dtype={"weights": str})
    row = cells[(cells["method"] == "prd") & (cells["seed"] == 0)].iloc[0]
    assert hashlib.sha256((CHECKPOINT / "model.safetensors").read_bytes()).hexdigest()[:16] == row["weights"]
    assert json.loads((CHECKPOINT / "fit.json").read_text())["commit"].startswith(row["commit"])


@pytest.mark.parametrize("metric", METRICS)
def test_unseen_studies_have_the_stored_outcomes(metric, outcomes, stored):
    now, then = outcomes[metric].sort_index(), stored[metric].sort_index()
    assert list(now.index) == list(then.index)
    assert len(now) > 400
    assert (now != then).mean() <= ALLOWED
