"""The 5-option test with scorers whose answer is known."""

import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prdlib.evaluation import structure
from prdlib.evaluation.overview import missing_runs, overview
from prdlib.models import build_model
from prdlib.text import tag

TEXTS = [
    "Small left pleural effusion. The heart is enlarged. No pneumothorax or focal consolidation.",
    "There is a large right nodule in the upper zone. Mild pulmonary edema is present today.",
    "Normal chest. Yes.",
] * 12
IDS = [f"s{i}" for i in range(len(TEXTS))]


class Scorer:
    """A stand-in for a model: embeds texts by ``embed`` (words -> vector), images as the vector (1, 0)."""

    config = SimpleNamespace(segments="none")

    def __init__(self, embed):
        self.embed, self.device = embed, torch.device("cpu")

    def eval(self):
        return self

    def encode_images(self, images):
        return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)

    def encode_reports(self, reports):
        return torch.stack([self.embed(words) for words in reports])


def run(embed):
    images = np.zeros((len(TEXTS), 4, 4), np.uint8)
    outcomes = structure.structure_outcomes(Scorer(embed), images, tag(TEXTS), IDS, images[0])
    return structure.structure_table(outcomes).set_index("input")


def test_an_oracle_scores_100_per_cent():
    originals = {tuple(t.words) for t in tag(TEXTS)}
    table = run(lambda words: torch.tensor([float(tuple(words) in originals), 0.0]))
    assert table.loc["image", "value"] == 1
    assert table.loc["image - mean image", "value"] == 0  # it needs no image, and the control says so


def test_a_bag_of_words_scores_0_because_a_tie_is_wrong():
    table = run(lambda words: torch.tensor([float(sum(len(w) for w in words)), 0.0]))
    assert table.loc["image", "value"] == 0
    assert table.loc["image", "ties"] == table.loc["image", "n"]


def test_a_random_scorer_scores_chance():
    def embed(words):
        return torch.tensor([zlib.crc32(" ".join(words).encode()) / 2**32, 0.0])

    values = [
        structure.original_wins(torch.rand(400, 5, generator=torch.Generator().manual_seed(s)))[0].mean()
        for s in range(20)
    ]
    assert np.mean(values) == pytest.approx(0.2, abs=0.02)
    assert run(embed).loc["image", "chance"] == pytest.approx(0.2)


def test_studies_with_a_no_op_leave_the_test_and_are_counted():
    table = run(lambda words: torch.tensor([1.0, 0.0]))
    assert table.loc["image", "n"] + table.loc["image", "no_ops"] == len(TEXTS)
    assert table.loc["image", "no_ops"] >= 12  # three words have one trigram: nothing to exchange


def test_overview_of_a_model_and_what_is_missing(tiny_config, tiny_data):
    from prdlib.data.batches import EvaluationData
    from prdlib.evaluation.embeddings import mean_image

    data = EvaluationData.first_views(tiny_data["train"])
    model = build_model(tiny_config, 0, [" ".join(w) for w in data.words])[0].eval()
    table, outcomes = overview(
        model, data.images, data.tagged, data.study_ids, data.groups, mean_image(data.images), 100
    )
    assert {"value", "ci_low", "ci_high", "n", "chance"} <= set(table.columns)
    assert table["metric"].nunique() == 7
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()
    import pandas as pd

    both = pd.concat([outcomes.assign(method=m, seed=s) for m in ("clip", "prd") for s in (0, 1)])
    assert "missing" in missing_runs(both, ("clip", "gloria"), (0,)).to_string()
