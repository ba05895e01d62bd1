"""Scores of K classes of which a study has exactly one (CheXpert 5x200): accuracy, balanced accuracy, macro AUROC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from prdlib.evaluation.class_scores import COLUMNS
from prdlib.evaluation.statistics import auroc, bootstrap_weights, redraw_seeds

EXCLUSIVE_METRICS = ("accuracy", "balanced accuracy", "macro AUROC")
ALL = "all classes"
NOT_JUDGED = -1


def exclusive_classes(labels: np.ndarray) -> np.ndarray:
    """The class of each study, int [n]: the one label of labels [n, K] that is 1, the others being 0; NOT_JUDGED elsewhere."""
    one = (labels == 1).sum(axis=1) == 1
    return np.where(one & np.isin(labels, (0, 1)).all(axis=1), np.argmax(labels == 1, axis=1), NOT_JUDGED)


def exclusive_metrics(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """EXCLUSIVE_METRICS of probabilities [n, K] of classes [n], for each row of weights [b, n]: [b] each.

    Balanced accuracy is the mean recall of the classes that are there, macro AUROC that of each class against the rest. A
    resample without a class says nothing of it: there the class keeps what it has in all studies, so that rare classes neither
    drop resamples nor move the mean. The class said is the likeliest, of equal ones the first.
    """
    weights = np.vstack([np.ones(len(truth)), np.asarray(weights, dtype=float)])
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    recalls, areas = [], []
    for k in np.unique(truth):
        is_k = truth == k
        there = weights @ is_k.astype(float)
        recalls.append(np.divide(weights @ (right * is_k), there, out=np.full(len(weights), np.nan), where=there > 0))
        areas.append(auroc(is_k, probabilities[:, k], weights))
    return {
        "accuracy": weights[1:] @ right / weights[1:].sum(axis=1),
        "balanced accuracy": _mean_of_classes(recalls),
        "macro AUROC": _mean_of_classes(areas),
    }


def _mean_of_classes(scores: Sequence[np.ndarray]) -> np.ndarray:
    """[b] of [1 + b] for each class, the first being of all studies; NaN there (one class only) stays NaN."""
    parts = np.stack(scores)
    return np.where(np.isnan(parts[:, 1:]), parts[:, :1], parts[:, 1:]).mean(axis=0)


def exclusive_scores(
    truth: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    clusters: Sequence[str] | np.ndarray,
    majority: int,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """EXCLUSIVE_METRICS with 95 % intervals over clusters and, of two or more, seeds.

    truth: int [n], a position in ``names`` or NOT_JUDGED; probabilities: [S, n, K]; clusters: [n] patients; majority: the class
    that training has most of. Columns: COLUMNS (chance 1 / K, of AUROC .5), and ``majority``: the same score of always saying
    that class. Raises ValueError for shapes that do not fit, an unknown class, rows that do not add up to 1 and no judged study.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=float)
    n, number = len(clusters), len(names)
    if truth.shape != (n,) or probabilities.ndim != 3 or probabilities.shape[1:] != (n, number):
        raise ValueError(
            f"truth is {list(truth.shape)} and probabilities {list(probabilities.shape)}, not [{n}] and [S, {n}, {number}]."
        )
    if not np.isin(truth, [NOT_JUDGED, *range(number)]).all() or majority not in range(number):
        raise ValueError(f"A class is 0 to {number - 1}, or {NOT_JUDGED} where a study has none.")
    if not len(probabilities) or not np.allclose(probabilities.sum(axis=2), 1, atol=1e-4):
        raise ValueError("probabilities of a study add up to 1: put logits through a softmax first.")
    judged = truth != NOT_JUDGED
    if not judged.any():
        raise ValueError("No study has exactly one of the classes: there is nothing to score.")
    truth, probabilities = truth[judged], probabilities[:, judged]
    weights = np.vstack([np.ones(n), bootstrap_weights(np.asarray(clusters), resamples, seed)])[:, judged]
    weights = weights[weights.sum(axis=1) > 0]
    by_seed = [exclusive_metrics(truth, p, weights) for p in probabilities]
    constant = exclusive_metrics(truth, np.eye(number)[np.full(len(truth), majority)], np.ones((1, len(truth))))
    there, rows = len(np.unique(truth)), []
    for metric in EXCLUSIVE_METRICS:
        scores = np.stack([found[metric] for found in by_seed], axis=1)  # [1 + resamples, S]
        draws = redraw_seeds(scores[1:], seed)
        low, high = np.clip(np.percentile(draws, [2.5, 97.5]), 0, 1)
        notes = [f"{there} of {number} classes are there"] * (there < number)
        notes += ["one class only: not defined"] * (metric == "macro AUROC" and there < 2)
        rows.append({"metric": metric, "label": ALL, "value": scores[0].mean(), "ci_low": low, "ci_high": high,
                     "n": len(truth), "positives": pd.NA, "prevalence": np.nan, "note": "; ".join(notes),
                     "chance": 0.5 if metric == "macro AUROC" else 1 / number, "majority": constant[metric][0]})  # fmt: skip
    return pd.DataFrame(rows)[[*COLUMNS, "majority"]]
