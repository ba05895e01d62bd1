"""Points of curves against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from prdlib.evaluation.curves import BINS, COLUMNS, curve_bands, precision_at, roc_at

RNG = np.random.default_rng(0)
FINE = np.linspace(0, 1, 20001)


def planted(number=300, signal=1.5):
    truth = (RNG.random(number) < 0.3).astype(float)
    return truth, 1 / (1 + np.exp(-(signal * truth - 1 + RNG.normal(size=number))))


def test_the_areas_below_the_curves_are_the_scores():
    truth, p = planted()
    p = p.round(2)  # with ties
    assert roc_at(truth, p, grid=FINE).mean() == pytest.approx(roc_auc_score(truth, p), abs=2e-3)
    assert precision_at(truth, p, grid=FINE).mean() == pytest.approx(average_precision_score(truth, p), abs=2e-3)


def test_the_steps_of_precision_by_hand():
    truth, p = np.array([1, 0, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    np.testing.assert_allclose(
        precision_at(truth, p, grid=np.array([0, 1 / 3, 0.34, 2 / 3, 1])), [1, 1, 2 / 3, 2 / 3, 3 / 4]
    )


def test_bands_hold_their_curves_and_bins_say_how_many():
    truth, p = planted()
    truth[:20] = np.nan
    table = curve_bands(truth, p, np.arange(300), 100)
    assert list(table.columns) == COLUMNS
    assert (table["low"] <= table["y"] + 0.03).all()
    assert (table["y"] <= table["high"] + 0.03).all()
    bins = table[table["curve"] == "reliability"]
    assert bins["n"].sum() == 280 == table[table["curve"] == "ROC"]["n"].iloc[0]
    judged = np.isfinite(truth)
    for row in bins.itertuples():
        inside = judged & (np.minimum((p * BINS).astype(int), BINS - 1) == int(row.x * BINS))
        assert (row.x, row.y) == (pytest.approx(p[inside].mean()), pytest.approx(truth[inside].mean()))


def test_without_both_classes_there_is_no_curve():
    assert curve_bands(np.ones(5), np.linspace(0, 1, 5), np.arange(5)).empty


def test_bands_are_over_patients():
    """One patient in many studies is one: the band is as wide as with the patient's studies counted once."""
    truth, p = planted(40)
    one = curve_bands(truth, p, np.arange(40), 300)
    many = curve_bands(np.repeat(truth, 5), np.repeat(p, 5), np.repeat(np.arange(40), 5), 300)
    pd.testing.assert_frame_equal(one.drop(columns="n"), many.drop(columns="n"))
