"""How far a map can be believed: does what it marks carry the score, does training change it, do methods agree?

    insertion, deletion   the score while the most important parts are put into an empty input, or taken out of the whole one
                          (Petsiuk et al. 2018, arXiv 1806.07421), and the areas under both; a random order has equal areas
    energy                share of a map's positive part that lies in the true box (Wang et al. 2020, arXiv 1910.01279)
    rank correlation      Spearman's, of two maps of one item: with those of an untrained model (Adebayo et al. 2018,
                          arXiv 1810.03292), of another image, of another method
    completeness          sum of contributions minus change of the score (Sundararajan et al. 2017), as share of the change

Pure functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from prdlib.evaluation.localisation import table_with_controls, without_missing
from prdlib.evaluation.statistics import bootstrap_weights, mean_interval

FRACTIONS = tuple(np.linspace(0, 1, 5).tolist())


def energy_inside(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Share [P], 0 to 1, of the positive part of maps [P, S, S] in boxes [P, S, S] bool; 0 where nothing is positive."""
    positive = np.maximum(maps.astype(np.float64), 0)
    total = positive.sum(axis=(1, 2))
    return np.divide((positive * inside).sum(axis=(1, 2)), total, out=np.zeros(len(maps)), where=total > 0)


def most_important(
    importance: np.ndarray, fractions: Sequence[float] = FRACTIONS, valid: np.ndarray | None = None
) -> np.ndarray:
    """Which parts are among the most important ones: bool [N, T, F].

    importance: [N, F]; fractions: T shares between 0 and 1 of the valid parts [N, F] bool (None: all), rounded to whole parts. Of
    equal parts the first comes first.
    """
    valid = np.ones(importance.shape, dtype=bool) if valid is None else valid
    order = np.argsort(-np.where(valid, importance, -np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(importance.shape[1])[None], axis=1)
    most = np.rint(np.asarray(fractions) * valid.sum(axis=1, keepdims=True))  # [N, T]
    return (rank[:, None] < most[..., None]) & valid[:, None]


def insertion_deletion(
    importance: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    fractions: Sequence[float] = FRACTIONS,
    valid: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(insertion [N, T], deletion [N, T]): scores with the most important parts alone, and without them.

    score: parts that are there, bool [N, T, F] -> scores [N, T]; others as of :func:`most_important`.
    """
    chosen = most_important(importance, fractions, valid)
    everything = np.ones(importance.shape, dtype=bool) if valid is None else valid
    return score(chosen), score(everything[:, None] & ~chosen)


def with_known_ends(
    score: Callable[[np.ndarray], np.ndarray], everything: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """``score`` for many orders of the same parts: with all of them, bool [N, F], and with none it is asked once for all."""
    ends = score(np.stack([np.zeros_like(everything), everything], axis=1))  # [N, 2]

    def remembered(kept: np.ndarray) -> np.ndarray:
        whole, empty = (kept == everything[:, None]).all(axis=(0, 2)), ~kept.any(axis=(0, 2))
        scores = np.empty(kept.shape[:2], dtype=ends.dtype)
        scores[:, empty], scores[:, whole] = ends[:, :1], ends[:, 1:]
        between = ~(whole | empty)
        if between.any():
            scores[:, between] = score(kept[:, between])
        return scores

    return remembered


def area(curve: np.ndarray, fractions: Sequence[float] = FRACTIONS) -> np.ndarray:
    """Area [N] under curves [N, T] by the trapezoid rule, over the fractions' range: in the score's unit."""
    return np.trapezoid(curve, np.asarray(fractions), axis=1) / (fractions[-1] - fractions[0])


def rank_correlation(one: np.ndarray, other: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Spearman's correlation [N], -1 to 1, of the parts [N, F] of each item; 0 where one is constant, which has no order."""
    valid = np.ones(one.shape, dtype=bool) if valid is None else valid
    number = valid.sum(axis=1, keepdims=True)
    centred = []
    for values in (one, other):  # what is not valid comes last and takes no rank from the others
        ranks = stats.rankdata(np.where(valid, values, np.inf), axis=1)
        centred.append(np.where(valid, ranks - (number + 1) / 2, 0.0))
    a, b = centred
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), size, out=np.zeros(len(a)), where=size > 0)


def cells(maps: np.ndarray, side: int = 8) -> np.ndarray:
    """Maps [N, S, S] as the means of side x side cells of equal size, [N, side^2]: what two maps are compared by."""
    edges = np.linspace(0, maps.shape[-1], side + 1).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(maps, edges[:-1], axis=1), edges[:-1], axis=2)
    return (sums / np.outer(np.diff(edges), np.diff(edges))).reshape(len(maps), -1)


def agreement(
    parts: Mapping[str, Mapping[str, np.ndarray]],
    patients: Sequence[str],
    resamples: int = 1000,
    valid: np.ndarray | None = None,
) -> pd.DataFrame:
    """Rank correlation of every two methods, of the maps of each input: methods that agree on the mean image too agree on the
    shape of a chest.

    parts: method -> input ('image' and controls) -> [N, F]. Columns: first, second, input (with 'gain over best control'), value,
    ci_low, ci_high (95 %, patients redrawn), n, patients, chance.
    """
    tables = []
    for first, second in combinations(parts, 2):
        found = {}
        for source, one in parts[first].items():
            other = parts[second][source]
            there = without_missing(source, one) & without_missing(source, other)
            found[source] = np.where(there, rank_correlation(one, other, valid), np.nan)
        values = pd.DataFrame({("correlation", source): column for source, column in found.items()})
        rows = np.arange(len(values))
        table = table_with_controls([values], {"correlation": 0.0}, rows, patients, resamples)
        tables.append(table[["input", "value", "ci_low", "ci_high", "n", "chance"]].assign(first=first, second=second))
    table = pd.concat(tables, ignore_index=True).assign(patients=len(set(patients)))
    return table[["first", "second", "input", "value", "ci_low", "ci_high", "n", "patients", "chance"]]


def randomisation(
    name: str,
    parts: Mapping[str, np.ndarray],
    patients: Sequence[str],
    resamples: int = 1000,
    valid: np.ndarray | None = None,
) -> pd.DataFrame:
    """Rank correlation of a method's maps with its own of every control: 1 is a map that does not know the difference.

    Of the name alone those that have a map, see prdlib.evaluation.localisation; so too in :func:`agreement`.

    parts: input ('image' and controls) -> [N, F]. Columns as of :func:`agreement`, 'second' being the control.
    """
    rows = []
    for control in (source for source in parts if source != "image"):
        there = without_missing(control, parts[control])
        if there.any():
            found = rank_correlation(parts["image"], parts[control], valid)[there]
            told = interval(found, np.asarray(patients)[there], resamples)
            rows.append({"first": name, "second": control, "input": "image", **told, "chance": 0.0})
    return pd.DataFrame(rows)


def interval(values: np.ndarray, patients: Sequence[str], resamples: int = 1000) -> dict[str, float]:
    """value, ci_low, ci_high (95 %, patients redrawn), n, patients of values [N]."""
    value, low, high = mean_interval(values, np.asarray(patients), resamples)
    return {"value": value, "ci_low": low, "ci_high": high, "n": len(values), "patients": len(set(patients))}


def completeness(
    deltas: np.ndarray, changes: np.ndarray, patients: Sequence[str], resamples: int = 1000
) -> dict[str, float]:
    """Mean size of the completeness error [N] as share of the mean size of the change of the score [N], as
    :func:`interval`; chance 1: contributions that are all 0."""
    weights = bootstrap_weights(np.asarray(patients), resamples)
    error, change = np.abs(deltas), np.abs(changes)
    drawn = (weights @ error) / (weights @ change)
    low, high = np.percentile(drawn, [2.5, 97.5])
    share = float(error.mean() / change.mean())
    facts = {"n": len(error), "patients": len(set(patients)), "chance": 1.0}
    return {"value": share, "ci_low": low, "ci_high": high, **facts}


def curve_table(
    curves: Mapping[str, np.ndarray],
    patients: Sequence[str],
    resamples: int = 1000,
    fractions: Sequence[float] = FRACTIONS,
) -> pd.DataFrame:
    """Mean curves with 95 % bands. curves: name -> [N, T]. Columns: curve, fraction, value, ci_low, ci_high, n, patients."""
    weights = bootstrap_weights(np.asarray(patients), resamples)
    weights /= weights.sum(axis=1, keepdims=True)
    tables = []
    for name, values in curves.items():
        low, high = np.percentile(weights @ values, [2.5, 97.5], axis=0)
        row = {"curve": name, "fraction": fractions, "value": values.mean(axis=0), "ci_low": low, "ci_high": high}
        tables.append(pd.DataFrame({**row, "n": len(values), "patients": len(set(patients))}))
    return pd.concat(tables, ignore_index=True)
