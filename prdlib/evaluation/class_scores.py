"""Scores of predicted probabilities of labels, each with its interval and with what a constant guess gets.

Of one label, present or absent:

    AUROC              ties count half; chance .5
    AUPRC              average precision (a step function, as scikit-learn's); chance: the prevalence
    balanced accuracy  mean of sensitivity and specificity at a threshold that the caller chose on validation; chance .5
    Brier              mean squared difference of probability and truth; chance: a constant at the prevalence of training
    ECE                expected calibration error: |mean probability - share present| in 10 bins of equal width of the
                       probability of presence, averaged with the bins' sizes; chance: the same constant

Lower is better for the last two. AUPRC and ECE are biased up in small samples, and more so in a resample, which repeats studies:
their draws are moved back by their mean minus the value, so that the interval is one around the value. In a simulation with a
known mean AUPRC of ten labels, .2 of the studies positive, intervals of 95 % then hold it in 92 % at n = 490 and 85 % at n = 104.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from prdlib.evaluation.statistics import auroc, average_precision, bootstrap_weights, redraw_crossed, redraw_seeds

METRICS = ("AUROC", "AUPRC", "balanced accuracy", "Brier", "ECE")
RANKS = METRICS[:3]  # not defined without both classes
BIASED = ("AUPRC", "ECE")  # in a resample, which repeats studies
BINS = 10
COLUMNS = ["metric", "label", "value", "ci_low", "ci_high", "n", "positives", "prevalence", "chance", "note"]
ONE_CLASS = "one class only: not defined"


# -- one label: truth bool [n], weights [b, n] (how often each study counts) -> [b], NaN where it is not defined ---------------


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of sensitivity and specificity; predicted bool [n]."""
    right = truth == predicted
    counted = weights @ np.stack([right & truth, truth, right & ~truth, ~truth], axis=1).astype(weights.dtype)
    return (_ratio(counted[:, 0], counted[:, 1]) + _ratio(counted[:, 2], counted[:, 3])) / 2


def brier(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared difference of the probability of presence [n] and the truth."""
    return _ratio(weights @ (probabilities - truth) ** 2, weights.sum(axis=1, dtype=float))


def calibration_error(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """ECE over ``bins`` of equal width, [k / bins, (k + 1) / bins), the last with 1 (Naeini et al., AAAI 2015)."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    off = np.where(place[:, None] == np.arange(bins), (probabilities - truth)[:, None], 0.0)
    return _ratio(np.abs(weights @ off).sum(axis=1), weights.sum(axis=1, dtype=float))


def choose_threshold(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold t at which 'present where p >= t' has the highest balanced accuracy, of equal ones the highest; NaN without
    both classes. truth bool [n], probabilities [n]: of validation. It lies midway between two distinct probabilities."""
    if truth.all() or not truth.any():
        return float("nan")
    false, true, cuts = roc_curve(truth, probabilities, drop_intermediate=False)
    cut = cuts[int(np.argmax(true - false))]
    below = probabilities[probabilities < cut]
    if not np.isfinite(cut):  # nothing told apart: 'never present' is as good as any
        return 1.0 + float(np.max(probabilities))
    return float((cut + below.max()) / 2) if len(below) else float(cut)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), empty, dtype=float), where=whole > 0)


# -- many labels ---------------------------------------------------------------------------------------------------------


def multi_label_scores(
    truth: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    clusters: Sequence[str] | np.ndarray,
    thresholds: np.ndarray,
    train_prevalence: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    trainings: int = 1,
) -> pd.DataFrame:
    """Every one of METRICS for every label and their mean, with 95 % intervals over clusters and, of two or more, seeds.

    truth: [n, L] in {0, 1}, NaN = not judged; probabilities: [S, n, L] of S seeds, whose mean score is the value; a label that a
    seed could not learn is NaN throughout there. clusters: [n] patients. thresholds: [S, L], NaN where validation gives none.
    train_prevalence: [S, L], what the constant of 'chance' says. trainings: of the S seeds, where they are trainings with draws
    of labels inside each (see statistics.redraw_crossed). Columns: COLUMNS. The mean is over the labels for which a score
    is defined; what is not defined is NaN and says why in ``note``.
    Raises ValueError for shapes that do not fit, truth that is no label and probabilities outside [0, 1].
    """
    truth, probabilities = np.asarray(truth, dtype=float), np.asarray(probabilities, dtype=float)
    thresholds, constants = np.asarray(thresholds, dtype=float), np.asarray(train_prevalence, dtype=float)
    _refuse(truth, probabilities, names, clusters, thresholds, constants)
    weights = _weights(clusters, resamples, seed)
    single = len(np.unique(np.asarray(clusters))) < 2
    rows, kept = [], {metric: [] for metric in METRICS}
    for column, name in enumerate(names):
        judged = np.isfinite(truth[:, column])
        there, n = truth[judged, column] == 1, int(judged.sum())
        prevalence = float(there.mean()) if n else np.nan
        facts = {"label": name, "n": n, "positives": int(there.sum()), "prevalence": prevalence}
        one_class = there.all() or not there.any()
        learnt = np.isfinite(probabilities[:, :, column]).all(axis=1)
        for metric in METRICS:
            cut = np.isfinite(thresholds[:, column]) | (metric != "balanced accuracy")
            chance = _chance(metric, prevalence, constants[:, column])
            row = {**facts, "metric": metric, "value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "chance": chance}
            if not n or (one_class and metric in RANKS) or not (learnt & cut).any():
                rows.append(row | {"note": _why(n, one_class and metric in RANKS, learnt)})
                continue
            scores = _score(metric, there, probabilities[learnt & cut][:, judged, column], thresholds[learnt & cut, column],
                            weights[judged].T)  # fmt: skip
            value = float(scores[0].mean())
            whole = scores.shape[1] == len(probabilities)
            draws = redraw_crossed(scores[1:], trainings, seed) if whole else redraw_seeds(scores[1:], seed)
            draws = draws - (np.nanmean(draws) - value) * (metric in BIASED)
            kept[metric].append((value, draws, chance, prevalence))
            notes = ["one class only"] * bool(one_class)
            notes += _count_notes(learnt, cut, np.isnan(draws).sum(), resamples, single)
            low, high = _interval(draws)
            rows.append(row | {"value": value, "ci_low": low, "ci_high": high, "note": "; ".join(notes)})
    rows += [_mean_row(metric, found, len(truth), len(names)) for metric, found in kept.items()]
    return pd.DataFrame(rows)[COLUMNS]


def _weights(clusters: Sequence[str] | np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """[n, 1 + resamples] float32: the studies as they are, then the resamples; a study's row is contiguous."""
    drawn = bootstrap_weights(np.asarray(clusters), resamples, seed)
    return np.ascontiguousarray(np.vstack([np.ones((1, len(clusters)), np.float32), drawn]).T)


def _score(
    metric: str, there: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """[b, S] of probabilities [S, n]."""
    if metric == "balanced accuracy":
        found = [balanced_accuracy(there, p >= t, weights) for p, t in zip(probabilities, thresholds, strict=True)]
    else:
        score = {"AUROC": auroc, "AUPRC": average_precision, "Brier": brier, "ECE": calibration_error}[metric]
        found = [score(there, p, weights) for p in probabilities]
    return np.stack(found, axis=1)


def _chance(metric: str, prevalence: float, constants: np.ndarray) -> float:
    """Of a label of this prevalence in test: what the constants [S] of training get, on average over those that are known."""
    constants = constants[np.isfinite(constants)]
    if metric == "AUPRC":
        return prevalence
    if metric not in ("Brier", "ECE"):
        return 0.5
    off = np.abs(prevalence - constants)
    squared = prevalence * (1 - constants) ** 2 + (1 - prevalence) * constants**2
    return float(np.mean(off if metric == "ECE" else squared)) if len(constants) else np.nan


def _why(n: int, one_class: bool, learnt: np.ndarray) -> str:
    if not n:
        return "no study is judged"
    if one_class:
        return ONE_CLASS
    return (
        "not learnt: one class only in training" if not learnt.any() else "no threshold: one class only in validation"
    )


def _count_notes(learnt: np.ndarray, cut: np.ndarray, undefined: int, resamples: int, single: bool) -> list[str]:
    notes = []
    if not learnt.all():
        notes.append(f"learnt in {learnt.sum()} of {len(learnt)} seeds")
    if not cut.all():
        notes.append(f"threshold in {cut.sum()} of {len(cut)} seeds")
    if undefined:
        notes.append(f"not defined in {undefined} of {resamples} resamples")
    return [*notes, "one patient: no interval"] if single else notes


def _interval(draws: np.ndarray) -> tuple[float, float]:
    """2.5 and 97.5 per cent of the draws that are defined, inside [0, 1]; NaN where none is."""
    defined = draws[np.isfinite(draws)]
    return tuple(map(float, np.clip(np.percentile(defined, [2.5, 97.5]), 0, 1))) if len(defined) else (np.nan, np.nan)


def _mean_row(
    metric: str, found: Sequence[tuple[float, np.ndarray, float, float]], n: int, labels: int
) -> dict[str, Any]:
    """The mean over labels. A resample without a class of a label says nothing of it: its other labels alone move the mean, so
    that a rare label neither drops draws nor shifts them."""
    row = {"metric": metric, "label": "mean", "n": n, "positives": pd.NA, "note": f"of {len(found)} of {labels} labels"}
    if not found:
        undefined = dict.fromkeys(("value", "ci_low", "ci_high", "prevalence", "chance"), np.nan)
        return row | undefined | {"note": "no label has this score"}
    values, draws, chances, shares = zip(*found, strict=True)
    moved = np.stack(draws) - np.array(values)[:, None]
    defined = np.isfinite(moved)
    mean = float(np.mean(values))
    low, high = _interval(mean + np.where(defined, moved, 0).sum(axis=0) / len(values))
    return row | {
        "value": mean,
        "ci_low": low,
        "ci_high": high,
        "prevalence": np.mean(shares),
        "chance": np.mean(chances),
    }


def _refuse(
    truth: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    clusters: Sequence[str] | np.ndarray,
    thresholds: np.ndarray,
    constants: np.ndarray,
) -> None:
    n, labels = len(clusters), len(names)
    seeds = len(probabilities)
    shapes = {"truth": (truth, (n, labels)), "probabilities": (probabilities, (seeds, n, labels)),
              "thresholds": (thresholds, (seeds, labels)), "train_prevalence": (constants, (seeds, labels))}  # fmt: skip
    for name, (array, wanted) in shapes.items():
        if array.shape != wanted:
            raise ValueError(
                f"{name} is {list(array.shape)}, not {list(wanted)}: S seeds, a row for each cluster, L names."
            )
    if not seeds or not n:
        raise ValueError("No probabilities: give those of one seed and one study or more.")
    if not (np.isin(truth, (0, 1)) | np.isnan(truth)).all():
        raise ValueError("truth is 1 (present), 0 (absent) or NaN (not judged): decide on other values first.")
    missing = np.isnan(probabilities)
    if (missing.any(axis=1) & ~missing.all(axis=1)).any():
        raise ValueError(
            "probabilities of a label are NaN for some studies: for none, or for all where it was not learnt."
        )
    if not ((probabilities >= 0) & (probabilities <= 1) | missing).all():
        raise ValueError("probabilities lie in [0, 1]: put scores through a sigmoid first.")
