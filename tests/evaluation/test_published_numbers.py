"""The paper's numbers are those of its README, and ours stand beside the right ones."""

import numpy as np
import pandas as pd
import pytest
import yaml

from prdlib.evaluation.published import COLUMNS, PUBLISHED, beside_the_paper
from prdlib.names import PAPER_METHODS


def test_every_row_of_the_papers_ablation_has_every_score():
    for entry in yaml.safe_load(PUBLISHED.read_text()):
        assert list(entry["published"]) == list(PAPER_METHODS)


def test_ours_stand_beside_theirs_with_interval_chance_and_data():
    gains = pd.DataFrame({"model": ["clip", "prd", "prd"], "test": ["5 options", "5 options", "10 options"],
                          "accuracy": [0.2, 0.5, 0.9], "ci_low": [0.1, 0.4, 0.8], "ci_high": [0.3, 0.6, 1.0],
                          "n": [40, 40, 39], "chance": [0.2, 0.2, 0.1]})  # fmt: skip
    pairs = pd.DataFrame({"task": ["fine-tuned", "zero-shot"], "label": ["accuracy"] * 2, "series": ["prd"] * 2,
                          "pairs": "phantom", "value": [0.6, 0.4], "ci_low": 0.3, "ci_high": 0.7, "n": 54,
                          "chance": 1 / 3})  # fmt: skip
    table = beside_the_paper({"structure": {"image_gain": gains}, "nli": {"nli": pairs}}, "phantom")
    assert list(table) == COLUMNS
    cells = table.set_index(["published on", "model"])
    assert cells.loc[
        ("Open-I", "prd"), ["published", "ours", "ci_low", "chance", "n", "data"]
    ].tolist() == pytest.approx([49.0, 50, 40, 20, 40, "phantom"])
    assert cells.loc[("MedNLI", "prd"), ["published", "ours", "data"]].tolist() == [85.79, 60, "phantom sentence pairs"]
    assert cells.loc[("MedNLI", "clip"), "data"] == "not scored"
    chexpert = table[table["published on"] == "CheXpert"]
    assert np.isnan(chexpert["ours"].to_numpy(float)).all()
    assert (chexpert["data"] == "not scored").all()
