"""Scores of probabilities against scikit-learn, hand-computed cases and planted signals; what is not defined says why."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from prdlib.evaluation.class_scores import (
    COLUMNS,
    METRICS,
    balanced_accuracy,
    brier,
    calibration_error,
    choose_threshold,
    multi_label_scores,
)
from prdlib.evaluation.exclusive_scores import NOT_JUDGED, exclusive_classes, exclusive_metrics, exclusive_scores
from prdlib.evaluation.statistics import average_precision

PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40)


def scored(truth, probabilities, clusters=None, thresholds=0.5, constants=0.3, resamples=200, names=None):
    """multi_label_scores with one threshold and constant for all, by (label, metric)."""
    probabilities = np.asarray(probabilities, dtype=float)
    shape = (len(probabilities), probabilities.shape[2])
    table = multi_label_scores(
        truth, probabilities, names or [f"l{i}" for i in range(shape[1])],
        np.arange(len(truth)) if clusters is None else clusters, np.broadcast_to(thresholds, shape),
        np.broadcast_to(constants, shape), resamples,
    )  # fmt: skip
    assert list(table.columns) == COLUMNS
    return table.set_index(["label", "metric"])


def drawn(number, labels, seed=0, seeds=1):
    rng = np.random.default_rng(seed)
    truth = (rng.random((number, labels)) < 0.3).astype(float)
    return truth, np.clip(0.3 * truth + 0.6 * rng.random((seeds, number, labels)), 0, 1)


# -- one label -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(PAIRS, st.integers(0, 10**6))
def test_scores_equal_scikit_learn_with_ties_and_weights(pairs, seed):
    truth, p = np.array([t for t, _ in pairs]), np.array([s / 8 for _, s in pairs])
    weights = np.random.default_rng(seed).integers(0, 4, size=(2, len(pairs))).astype(np.float32)
    found = [
        average_precision(truth, p, weights),
        balanced_accuracy(truth, p >= 0.4, weights),
        brier(truth, p, weights),
    ]
    for i, row in enumerate(weights):
        both = row[truth].sum() > 0 and row[~truth].sum() > 0
        if row[truth].sum():
            assert found[0][i] == pytest.approx(average_precision_score(truth, p, sample_weight=row))
        else:
            assert np.isnan(found[0][i])
        if both:
            assert found[1][i] == pytest.approx(balanced_accuracy_score(truth, p >= 0.4, sample_weight=row))
        else:
            assert np.isnan(found[1][i])
        if row.sum():
            assert found[2][i] == pytest.approx(brier_score_loss(truth, p, sample_weight=row, labels=[False, True]))
        else:
            assert np.isnan(found[2][i])


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_calibration_error_equals_scikit_learns_curve_weighed_by_its_bins(seed):
    rng = np.random.default_rng(seed)
    p, truth = rng.random(60), rng.random(60) < 0.4
    present, said = calibration_curve(truth, p, n_bins=10, strategy="uniform")
    sizes = np.histogram(p, np.linspace(0, 1, 11))[0]
    expected = (np.abs(present - said) * sizes[sizes > 0]).sum() / 60
    assert calibration_error(truth, p, np.ones((1, 60)))[0] == pytest.approx(expected)
    repeated = rng.integers(0, 3, 60)
    by_weight = calibration_error(truth, p, repeated[None])[0]
    assert by_weight == pytest.approx(
        calibration_error(np.repeat(truth, repeated), np.repeat(p, repeated), np.ones((1, repeated.sum())))[0]
    )


def test_calibration_error_by_hand():
    truth, p = np.array([True, False, True, True]), np.array([0.05, 0.05, 0.95, 1.0])
    assert calibration_error(truth, p, np.ones((1, 4)))[0] == pytest.approx((0.9 + 0.05) / 4)


@settings(max_examples=40)
@given(PAIRS)
def test_the_threshold_is_the_best_of_all_and_stands_between_probabilities(pairs):
    truth, p = np.array([t for t, _ in pairs]), np.array([s / 8 for _, s in pairs])
    chosen = choose_threshold(truth, p)
    if truth.all() or not truth.any():
        assert np.isnan(chosen)
        return
    cuts = [*np.unique(p), 2.0]
    best = max(balanced_accuracy_score(truth, p >= cut) for cut in cuts)
    assert balanced_accuracy_score(truth, p >= chosen) == pytest.approx(best)
    assert chosen not in p or chosen == p.min()


# -- many labels -----------------------------------------------------------------------------------------------------------


def test_every_score_is_scikit_learns_beside_n_positives_prevalence_and_chance():
    truth, p = drawn(120, 3)
    truth[:20, 1] = np.nan
    table = scored(truth, p, constants=0.25)
    for c in range(3):
        judged = np.isfinite(truth[:, c])
        y, q = truth[judged, c], p[0, judged, c]
        assert table.loc[(f"l{c}", "AUROC"), "value"] == pytest.approx(roc_auc_score(y, q))
        assert table.loc[(f"l{c}", "AUPRC"), "value"] == pytest.approx(average_precision_score(y, q))
        assert table.loc[(f"l{c}", "balanced accuracy"), "value"] == pytest.approx(balanced_accuracy_score(y, q >= 0.5))
        assert table.loc[(f"l{c}", "Brier"), "value"] == pytest.approx(brier_score_loss(y, q))
        facts = table.loc[f"l{c}"]
        assert (facts["n"] == judged.sum()).all()
        assert (facts["positives"] == y.sum()).all()
        assert facts["prevalence"].to_numpy() == pytest.approx(y.mean())
        constant = np.full(len(y), 0.25)
        expected = [0.5, y.mean(), 0.5, brier_score_loss(y, constant), abs(y.mean() - 0.25)]
        assert facts.loc[list(METRICS), "chance"].tolist() == pytest.approx(expected)
        assert (facts["ci_low"] <= facts["value"]).all()
        assert (facts["value"] <= facts["ci_high"]).all()
    for metric in METRICS:
        parts = [table.loc[(f"l{c}", metric)] for c in range(3)]
        for name in ("value", "chance", "prevalence"):
            assert table.loc[("mean", metric), name] == pytest.approx(np.mean([part[name] for part in parts]))
        assert table.loc[("mean", metric), "note"] == "of 3 of 3 labels"
        widths = [part["ci_high"] - part["ci_low"] for part in parts]
        assert table.loc[("mean", metric), "ci_high"] - table.loc[("mean", metric), "ci_low"] < np.mean(widths)


def test_a_constant_gets_exactly_its_chance():
    truth, _ = drawn(200, 2)
    table = scored(truth, np.full((1, 200, 2), 0.4), constants=0.4)
    assert table["value"].to_numpy() == pytest.approx(table["chance"].to_numpy())


def test_perfect_and_shuffled_probabilities():
    truth, _ = drawn(200, 2)
    perfect = scored(truth, truth[None])["value"].unstack()
    assert perfect.loc["mean", list(METRICS)].tolist() == [1, 1, 1, 0, 0]
    blind = scored(truth, np.random.default_rng(1).random((1, 200, 2)))
    for metric in ("AUROC", "AUPRC", "balanced accuracy"):
        row = blind.loc[("mean", metric)]
        assert row["ci_low"] < row["chance"] < row["ci_high"]
    assert blind.loc[("mean", "Brier"), "ci_low"] > blind.loc[("mean", "Brier"), "chance"]


def test_intervals_cover_the_truth_and_those_of_calibration_hold_their_value():
    """80 experiments of a calibrated model, whose AUROC is known; the plug-in ECE is inside its interval in each."""
    covered = 0
    for trial in range(80):
        rng = np.random.default_rng(trial)
        p = rng.random((1, 150, 1))
        truth = (rng.random((150, 1)) < p[0]).astype(float)
        table = scored(truth, p, resamples=100)
        row = table.loc[("l0", "AUROC")]
        covered += row["ci_low"] <= 5 / 6 <= row["ci_high"]  # of p uniform and calibrated
        ece = table.loc[("l0", "ECE")]
        assert ece["ci_low"] <= ece["value"] <= ece["ci_high"]
    assert 69 <= covered <= 79  # 95 % - 3.5 binomial standard deviations; never wrong would be too wide


def test_intervals_of_mean_precision_are_around_what_is_true():
    """40 experiments with four labels, of which the area is known from 400,000 studies; not recentred, half of them miss it."""
    covered = 0
    for trial in range(40):
        rng = np.random.default_rng(trial)
        truth = (rng.random((200, 4)) < 0.2).astype(float)
        p = 1 / (1 + np.exp(-rng.normal(size=(200, 4)) - 1.2 * truth))
        row = scored(truth, p[None], resamples=100).loc[("mean", "AUPRC")]
        covered += row["ci_low"] <= 0.533 <= row["ci_high"]
    assert covered >= 32


def test_patients_and_seeds_widen_the_interval():
    truth, p = drawn(60, 1)
    width = lambda table: table["ci_high"] - table["ci_low"]  # noqa: E731
    once = scored(np.tile(truth, (8, 1)), np.tile(p, (1, 8, 1)))
    whole = scored(np.tile(truth, (8, 1)), np.tile(p, (1, 8, 1)), np.tile(np.arange(60), 8))
    assert (width(whole) > 2 * width(once)).all()
    same, one = (scored(truth, np.tile(p, (s, 1, 1)))[["value", "ci_low", "ci_high"]].astype(float) for s in (3, 1))
    pd.testing.assert_frame_equal(same, one)
    apart = scored(truth, np.concatenate([p, 1 - p]))
    assert apart.loc[("l0", "AUROC"), "value"] == pytest.approx(0.5)
    assert (width(apart) > width(scored(truth, p)))[("l0", "AUROC")]


def test_what_is_not_defined_says_why():
    truth, p = drawn(80, 5, seeds=2)
    truth[:, 0], truth[:, 1] = 0, np.nan
    p[:, :, 2], p[0, :, 3] = np.nan, np.nan
    thresholds = np.full((2, 5), 0.5)
    thresholds[:, 4] = np.nan
    table = scored(truth, p, thresholds=thresholds)
    assert table[table["value"].isna()]["note"].str.len().min() > 0
    note = table["note"].unstack()
    for metric in ("AUROC", "AUPRC", "balanced accuracy"):
        assert note.loc["l0", metric] == "one class only: not defined"
    assert note.loc["l0", "Brier"] == "one class only"
    assert table.loc[("l0", "Brier"), "value"] == pytest.approx((p[:, :, 0] ** 2).mean())
    assert set(note.loc["l1"]) == {"no study is judged"}
    assert set(note.loc["l2"]) == {"not learnt: one class only in training"}
    assert set(note.loc["l3"]) == {"learnt in 1 of 2 seeds"}
    assert table.loc[("l3", "AUROC"), "value"] == pytest.approx(roc_auc_score(truth[:, 3], p[1, :, 3]))
    assert note.loc["l4", "balanced accuracy"] == "no threshold: one class only in validation"
    assert note.loc["mean", "AUROC"] == "of 2 of 5 labels"
    nothing = scored(truth[:, :1], p[:, :, :1])
    assert nothing.loc[("mean", "AUROC"), "note"] == "no label has this score"


def test_a_rare_label_says_how_often_resamples_miss_it_and_leaves_the_mean_whole():
    truth, p = drawn(100, 2)
    truth[:, 1] = np.arange(100) == 5
    table = scored(truth, p, resamples=400)
    missing = int(table.loc[("l1", "AUROC"), "note"].split()[3])
    assert 100 < missing < 200  # of 400: (1 - 1 / 100) ** 100 = .37
    mean = table.loc[("mean", "AUROC")]
    assert mean["ci_low"] <= mean["value"] <= mean["ci_high"]
    assert "one patient: no interval" in scored(truth, p, np.zeros(100)).loc[("l0", "AUROC"), "note"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"truth": np.full((4, 1), -1.0)}, "truth is 1 (present), 0 (absent) or NaN (not judged): decide on other values first."),
        ({"probabilities": np.full((1, 4, 1), 1.5)}, "probabilities lie in [0, 1]: put scores through a sigmoid first."),
        ({"probabilities": np.array([[[0.1], [np.nan], [0.3], [0.4]]])},
         "probabilities of a label are NaN for some studies: for none, or for all where it was not learnt."),
        ({"thresholds": np.zeros(1)}, "thresholds is [1], not [1, 1]: S seeds, a row for each cluster, L names."),
        ({"clusters": np.arange(3)}, "truth is [4, 1], not [3, 1]: S seeds, a row for each cluster, L names."),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(change, sentence):
    good = {"truth": np.array([[1.0], [0], [1], [0]]), "probabilities": np.full((1, 4, 1), 0.5), "names": ["a"],
            "clusters": np.arange(4), "thresholds": np.full((1, 1), 0.5), "train_prevalence": np.full((1, 1), 0.5)}  # fmt: skip
    assert len(multi_label_scores(**good, resamples=10)) == 10
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        multi_label_scores(**{**good, **change}, resamples=10)


# -- classes that exclude each other -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_exclusive_scores_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = np.append(np.arange(4), rng.integers(4, size=40))
    p = rng.integers(1, 5, size=(44, 4)).astype(float)  # with ties
    p /= p.sum(axis=1, keepdims=True)
    weights = np.stack([np.ones(44), rng.integers(1, 4, 44)])
    found = exclusive_metrics(truth, p, weights)
    for i, row in enumerate(weights):
        said = p.argmax(axis=1)
        assert found["accuracy"][i] == pytest.approx(accuracy_score(truth, said, sample_weight=row))
        assert found["balanced accuracy"][i] == pytest.approx(balanced_accuracy_score(truth, said, sample_weight=row))
        areas = [roc_auc_score(truth == k, p[:, k], sample_weight=row) for k in range(4)]
        assert found["macro AUROC"][i] == pytest.approx(np.mean(areas))
        if not i:
            assert found["macro AUROC"][i] == pytest.approx(roc_auc_score(truth, p, multi_class="ovr"))


def test_exclusive_table_has_chance_majority_and_notes():
    truth = np.array([0] * 30 + [1] * 20 + [2] * 10 + [NOT_JUDGED] * 5)
    p = np.eye(4)[np.where(truth == NOT_JUDGED, 0, truth)][None]
    table = exclusive_scores(truth, p, list("abcd"), np.arange(65), majority=0, resamples=100).set_index("metric")
    assert table["value"].tolist() == [1, 1, 1]
    assert table["n"].tolist() == [60] * 3
    assert table["chance"].tolist() == [0.25, 0.25, 0.5]
    assert table["majority"].tolist() == pytest.approx([0.5, 1 / 3, 0.5])
    assert set(table["note"]) == {"3 of 4 classes are there"}
    blind = np.random.default_rng(0).dirichlet(np.ones(4), (2, 65))
    row = exclusive_scores(truth, blind, list("abcd"), np.arange(65), 0, 200).set_index("metric").loc["macro AUROC"]
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_a_constant_has_no_interval_in_balanced_accuracy_where_classes_are_rare():
    truth, constant = np.array([0] * 10 + [1, 2]), np.tile([0.8, 0.1, 0.1], (1, 12, 1))
    table = exclusive_scores(truth, constant, list("abc"), np.arange(12), 0, 400).set_index("metric")
    row = table.loc["balanced accuracy"]
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert row["note"] == ""
    assert table.loc["accuracy", "note"] == ""


def test_a_study_with_two_classes_or_an_uncertain_one_is_not_judged():
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, -1, 0], [1, np.nan, 0]])
    assert exclusive_classes(labels).tolist() == [0, 2, NOT_JUDGED, NOT_JUDGED, NOT_JUDGED, NOT_JUDGED]


@pytest.mark.parametrize(
    ("truth", "p", "sentence"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, "A class is 0 to 1, or -1 where a study has none."),
        ([0, 1], [[0.5, 0.9]] * 2, "probabilities of a study add up to 1: put logits through a softmax first."),
        ([-1, -1], [[0.5, 0.5]] * 2, "No study has exactly one of the classes: there is nothing to score."),
        ([0], [[0.5, 0.5]] * 2, "truth is [1] and probabilities [1, 2, 2], not [2] and [S, 2, 2]."),
    ],
)
def test_wrong_exclusive_input_is_one_sentence(truth, p, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        exclusive_scores(np.array(truth), np.array([p]), ["a", "b"], np.arange(2), 0, 10)
