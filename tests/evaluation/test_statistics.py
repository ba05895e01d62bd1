"""Intervals and AUROC against simulation, scikit-learn and hand-computed cases."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prdlib.evaluation.statistics import (
    auroc,
    auroc_intervals,
    bootstrap_weights,
    holm,
    mean_interval,
    redraw_crossed,
    redraw_seeds,
    two_sided_p,
    weighted_median,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=3, max_size=40), st.integers(0, 10**6))
def test_auroc_equals_scikit_learn_with_ties_and_with_weights(pairs, seed):
    truth, scores = np.array([t for t, _ in pairs]), np.array([float(s) for _, s in pairs])
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(pairs)))
    for row, value in zip(weights, auroc(truth, scores, weights), strict=True):
        if row[truth].sum() and row[~truth].sum():
            assert value == pytest.approx(roc_auc_score(truth, scores, sample_weight=row))
        else:
            assert np.isnan(value)


def test_mean_interval_covers_the_truth_about_95_times_of_100():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).normal(1.0, 1.0, 80)
        _, low, high = mean_interval(values, resamples=300, seed=trial)
        covered += low <= 1.0 <= high
    assert 178 <= covered <= 199  # 95 % +- 3.5 binomial standard deviations, percentile intervals run a little short


def test_clusters_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=30), 10)
    _, low, high = mean_interval(values, np.repeat(np.arange(30), 10))
    _, low_rows, high_rows = mean_interval(values)
    assert high - low > 2 * (high_rows - low_rows)


def test_mean_interval_of_nothing_and_of_one():
    assert np.isnan(mean_interval(np.array([]))).all()
    assert mean_interval(np.array([0.4])) == (0.4, 0.4, 0.4)


def test_intervals_are_the_same_twice():
    values = np.random.default_rng(3).normal(size=50)
    assert mean_interval(values) == mean_interval(values)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 10**6))
def test_weighted_median_is_that_of_the_repeated_values(values, seed):
    weights = np.random.default_rng(seed).integers(0, 3, size=(4, len(values)))
    weights[:, 0] += 1  # a median needs a value
    expected = [np.median(np.repeat(values, row)) for row in weights]
    assert weighted_median(np.array(values), weights.astype(np.float32)).tolist() == expected


def test_bootstrap_draws_whole_clusters():
    weights = bootstrap_weights(np.array(["a", "b", "a", "c"]), 50)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_auroc_table_reports_a_label_without_positives_and_ignores_unjudged_rows():
    truth = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [np.nan, 0]], dtype=float)
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.8, 0.2], [0.1, 0.4], [5.0, 0.1]])
    table = auroc_intervals(truth, scores, ["effusion", "edema"], np.arange(5)).set_index("label")
    assert table.loc["effusion", "value"] == 1.0
    assert table.loc["effusion", ["n", "positives"]].tolist() == [4, 2]
    assert np.isnan(table.loc["edema", "value"])
    assert "one class" in table.loc["edema", "note"]
    assert table.loc["mean", "value"] == 1.0


def test_auroc_of_shuffled_labels_has_chance_in_its_interval():
    rng = np.random.default_rng(5)
    truth = (rng.random((300, 1)) < 0.3).astype(float)
    row = auroc_intervals(truth, rng.random((300, 1)), ["x"], np.arange(300)).iloc[0]
    assert row.ci_low < 0.5 < row.ci_high


def test_holm_by_hand():
    adjusted = holm(np.array([0.01, 0.04, 0.03, np.nan]))
    assert adjusted[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(adjusted[3])
    assert holm(np.array([0.9, 0.8])).max() <= 1


def test_seeds_are_a_second_level_of_auroc():
    rng = np.random.default_rng(3)
    truth = (rng.random((150, 2)) < 0.4).astype(float)
    good = truth + rng.normal(size=truth.shape)
    same, one = (auroc_intervals(truth, s, ["a", "b"], np.arange(150), 200) for s in (np.stack([good] * 3), good))
    pd.testing.assert_frame_equal(same, one)
    apart = auroc_intervals(truth, np.stack([good, -good]), ["a", "b"], np.arange(150), 200).set_index("label")
    assert np.allclose(apart["value"], 0.5)
    assert apart.loc["mean", "ci_high"] - apart.loc["mean", "ci_low"] > 0.4  # the seeds disagree


def test_trainings_and_draws_move_an_interval_each_by_what_it_varies():
    """The variance of the mean over trainings x draws, from 400 simulated tables of known spread; flat, it is too small."""
    rng, (trainings, draws), spread = np.random.default_rng(0), (3, 4), (1.0, 0.5, 0.1)
    crossed, flat = [], []
    for number in range(400):
        a, b = (s * rng.standard_normal(n) for s, n in zip(spread, (trainings, draws), strict=False))
        table = a[:, None] + b + spread[2] * rng.standard_normal((trainings, draws))
        repeated = np.tile(table.reshape(-1), (200, 1))
        crossed.append(redraw_crossed(repeated, trainings, number).var())
        flat.append(redraw_seeds(repeated, number).var())
    true = spread[0] ** 2 / trainings + spread[1] ** 2 / draws + spread[2] ** 2 / trainings / draws
    assert np.mean(crossed) == pytest.approx(true, rel=0.1)
    assert np.mean(flat) < 0.6 * true


def test_one_training_is_its_draws_alone():
    table = np.random.default_rng(0).random((50, 5))
    np.testing.assert_allclose(redraw_crossed(table, 1, 3), redraw_seeds(table, 4))
    np.testing.assert_allclose(redraw_crossed(table, 5, 3), redraw_seeds(table, 3))


def test_draws_that_are_zero_but_for_rounding_are_on_both_sides_of_it():
    means = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]).sum(axis=1)
    rest = np.array([1.0, 1.0, 1.0, -1.0])
    assert means[0] != means[1]
    for ties in (np.zeros(4), np.full(4, means[0] - means[1]), np.full(4, means[1] - means[0])):
        assert two_sided_p(np.append(rest, ties)) == 1.0
    assert two_sided_p(np.ones(9)) == pytest.approx(2 / 10)
