"""Planted signals: what is there is found, what is not there is not."""

import numpy as np
import pytest

from prdlib.evaluation.classification import linear_probe
from prdlib.evaluation.zero_shot import load_prompts

RNG = np.random.default_rng(0)


def split(number, signal):
    labels = (RNG.random((number, 2)) < 0.4).astype(float)
    features = RNG.normal(size=(number, 12))
    features[:, 3] += signal * labels[:, 0]
    return features, labels


def test_a_planted_label_is_found_and_a_random_one_is_not():
    parts = [split(n, 6) for n in (300, 100, 200)]
    table = linear_probe(*parts, ["planted", "random"], np.arange(200), 200).set_index("label")
    assert table.loc["planted", "value"] > 0.99
    assert table.loc["random", "ci_low"] < 0.5 < table.loc["random", "ci_high"]
    assert table.loc["mean", "n"] == 200


def test_a_label_without_positives_is_reported_not_scored():
    train, validation, test = (split(n, 3) for n in (100, 50, 60))
    train[1][:, 1] = 0
    table = linear_probe(train, validation, test, ["a", "b"], np.arange(60), 100).set_index("label")
    assert np.isnan(table.loc["b", "value"])
    assert table.loc["mean", "note"] == "of 1 labels"


def test_uncertain_and_missing_labels_are_left_out():
    train, validation, test = (split(n, 6) for n in (200, 80, 100))
    test[1][:30, 0], test[1][30:50, 0] = -1, np.nan
    table = linear_probe(train, validation, test, ["a", "b"], np.arange(100), 100).set_index("label")
    assert table.loc["a", "n"] == 50


@pytest.mark.parametrize("label", ["Edema", "Something Rare"])
def test_prompts_exist_for_any_label_and_are_normalised(label):
    positive, negative = load_prompts().pairs(label)
    assert positive
    assert negative
    assert all(p == p.lower() and "." not in p for p in (*positive, *negative))
