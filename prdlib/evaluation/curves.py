"""Curves of one label with bands: ROC, precision over recall, and reliability. Points for a figure, nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from prdlib.evaluation.statistics import bootstrap_weights

CURVES = ("ROC", "PR", "reliability")
COLUMNS = ["curve", "x", "y", "low", "high", "n"]
GRID = np.linspace(0, 1, 101)
BINS = 10


def roc_at(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, grid: np.ndarray = GRID
) -> np.ndarray:
    """Sensitivity at each share of false positives in ``grid``, between two thresholds on the line that joins them."""
    false, true, _ = roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    return np.interp(grid, false, true)


def precision_at(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, grid: np.ndarray = GRID
) -> np.ndarray:
    """Precision at the highest threshold whose recall is at least each value of ``grid``: a step function, as average precision
    reads it (Davis and Goadrich, ICML 2006: no straight lines between points of this curve)."""
    precision, recall, _ = precision_recall_curve(truth, scores, sample_weight=weights)
    precision, recall = precision[-2::-1], recall[-2::-1]  # thresholds from the highest down, without the point (0, 1)
    return precision[np.minimum(np.searchsorted(recall, grid - 1e-12), len(recall) - 1)]


def curve_bands(
    truth: np.ndarray,
    probabilities: np.ndarray,
    clusters: Sequence[str] | np.ndarray,
    resamples: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The three curves of one label: columns COLUMNS, one row per point, 95 % bands over clusters.

    truth: [n] in {0, 1}, NaN = not judged; probabilities: [n] in [0, 1]; clusters: [n] patients. ROC: x the share of false
    positives, y sensitivity; PR: x recall, y precision; reliability: x the mean probability of a bin of equal width, y the share
    that is positive there, n its studies, empty bins left out. A resample without both classes, or without a bin, says nothing
    of it. Empty without both classes.
    """
    judged = np.isfinite(truth)
    there, p = truth[judged] == 1, np.asarray(probabilities, dtype=float)[judged]
    if not there.any() or there.all():
        return pd.DataFrame(columns=COLUMNS)
    weights = bootstrap_weights(np.asarray(clusters), resamples, seed)[:, judged]
    weights = weights[((weights * there).sum(axis=1) > 0) & ((weights * ~there).sum(axis=1) > 0)]
    parts = []
    for name, curve in (("ROC", roc_at), ("PR", precision_at)):
        drawn = np.stack([curve(there[w > 0], p[w > 0], w[w > 0]) for w in weights])
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        parts.append(
            pd.DataFrame({"curve": name, "x": GRID, "y": curve(there, p), "low": low, "high": high, "n": len(p)})
        )
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    for bin_ in np.unique(place):
        inside = place == bin_
        counted = weights[:, inside].sum(axis=1)
        drawn = (weights[:, inside] * there[inside]).sum(axis=1)[counted > 0] / counted[counted > 0]
        low, high = np.percentile(drawn, [2.5, 97.5])
        parts.append(
            pd.DataFrame({"curve": "reliability", "x": [p[inside].mean()], "y": there[inside].mean(), "low": low, "high": high,
                          "n": int(inside.sum())})
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)[COLUMNS]
