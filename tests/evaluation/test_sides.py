from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.sides import side_named, side_scores, sides_named, sides_table
from prdlib.evaluation.statistics import auroc
from prdlib.models import build_model


@pytest.fixture(scope="module")
def splits(tiny_data):
    largest = EvaluationData.first_views(tiny_data["train"])  # the others have too few films with one side
    return dict.fromkeys(("train", "validation", "test"), largest)


@pytest.fixture(scope="module")
def model(tiny_config, tiny_data):
    return build_model(tiny_config.for_method("clip"), 0, [" ".join(words) for words in tiny_data["train"]["words"]])[
        0
    ].eval()


@pytest.mark.parametrize(
    ("report", "expected"),
    [("small left effusion", 1.0), ("right lung and right base", 0.0), ("left and right", math.nan), ("clear", math.nan),
     ("leftward shift", math.nan)],
)  # fmt: skip
def test_a_side_counts_when_it_is_the_only_one(report, expected):
    assert side_named(report.split()) == pytest.approx(expected, nan_ok=True)


def test_scores_are_linear_in_the_image_and_say_which_side_the_texts_say(model):
    towards_left = torch.from_numpy(side_scores(model, torch.eye(model.config.projection_dim)))
    assert towards_left.norm() > 0
    planted = torch.stack([towards_left, -towards_left, towards_left])
    assert (side_scores(model, planted) > 0).tolist() == [True, False, True]


def test_without_the_image_the_auroc_is_one_half(model, splits):
    truth = sides_named(splits["test"])
    judged = np.isfinite(truth)
    same = torch.ones(int(judged.sum()), model.config.projection_dim)
    assert auroc(truth[judged] == 1, side_scores(model, same)) == 0.5


def test_the_table_has_both_tasks_of_every_model_and_counts_films_with_one_side(model, splits):
    table = sides_table({("a", 0): model, ("a", 1): model, ("b", 0): model}, splits, 50)
    assert list(zip(table["model"], table["task"], table["seeds"], strict=True)) == [
        ("a", "zero-shot", 2), ("a", "linear probe", 2), ("b", "zero-shot", 1), ("b", "linear probe", 1)
    ]  # fmt: skip
    texts = [" ".join(words) for words in splits["test"].words]
    left, right = ([bool(re.search(rf"\b{side}\b", text)) for text in texts] for side in ("left", "right"))
    assert (table["n"] == sum(a != b for a, b in zip(left, right, strict=True))).all()
    assert (table["positives"] == sum(a and not b for a, b in zip(left, right, strict=True))).all()
    assert (table["chance"] == 0.5).all()
    inside = (table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])
    assert inside.all()
    assert table["ci_low"].min() >= 0
    assert table["ci_high"].max() <= 1


def test_a_probe_finds_a_side_that_is_painted_into_the_image(model, splits):
    painted = {}
    for name, split in splits.items():
        images, truth = split.images.copy(), sides_named(split)
        images[truth == 1, :, :8], images[truth == 0, :, -8:] = 255, 255
        painted[name] = EvaluationData(images, *(getattr(split, f) for f in list(split.__dataclass_fields__)[1:]))
    table = sides_table({("m", 0): model}, painted, 50).set_index("task")
    assert table.loc["linear probe", "value"] > 0.95
