"""Intervals: percentile bootstrap over studies (or patients), never over rows of one study as if they were independent."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from prdlib.repro import generator


def mean_interval(
    values: np.ndarray, clusters: np.ndarray | None = None, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``values`` [n] with its 95 % interval: (value, low, high).

    clusters: [n] ids; values of one cluster are resampled together (scipy.stats.bootstrap, percentile method).
    NaN for no value; (v, v, v) when one cluster is all there is (no interval can be given).
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return (float("nan"),) * 3
    ids = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    groups = pd.DataFrame({"value": values, "id": ids}).groupby("id", sort=False)["value"]
    sums, counts = groups.sum().to_numpy(), groups.size().to_numpy()
    value = float(values.mean())
    if len(sums) < 2:
        return value, value, value
    result = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        n_resamples=resamples,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=generator(seed, "bootstrap"),
    )
    return value, float(result.confidence_interval.low), float(result.confidence_interval.high)


def auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve of one label, ties counted half, for every row of ``weights``.

    truth: [n] bool; scores: [n]; weights: [b, n] counts of each sample (a bootstrap), or None for one row of ones.
    Returns [b] (or a 0-d array); NaN where a class is missing.
    """
    positive, negative, below, total = _ranked(truth, scores, weights)
    wins = (positive * (below + negative / 2)).sum(axis=0)
    pairs = positive.sum(axis=0) * total
    area = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return area if weights is not None else area[0]


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Average precision of one label, for every row of ``weights``: the sum over distinct scores, from the highest, of the
    precision there times the recall gained, as scikit-learn's. Shapes as of :func:`auroc`; NaN where no sample is positive."""
    positive, _, below, total = _ranked(truth, scores, weights)
    found = np.cumsum(positive[::-1], axis=0)[::-1]  # positives from this level up
    either = found + (total - below)
    precision = np.divide(found, either, out=np.zeros_like(found), where=either > 0)
    number = positive.sum(axis=0)
    area = np.divide((precision * positive).sum(axis=0), number, out=np.full(len(number), np.nan), where=number > 0)
    return area if weights is not None else area[0]


def _ranked(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """At each distinct score that a positive has, from the lowest: the weight of positives there, of negatives there and of
    negatives below, [levels, b] each; and the weight of all negatives [b]. Fastest where weights.T is contiguous."""
    truth, scores = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=float)
    columns = np.ones((len(truth), 1)) if weights is None else np.asarray(weights).T  # [n, b]
    order = np.argsort(scores, kind="stable")
    ends = np.flatnonzero(
        np.append(np.diff(scores[order]) != 0, True)[: len(order)]
    )  # last place of each distinct score
    level = np.searchsorted(ends, np.arange(len(order)))  # of each place
    hit = np.flatnonzero(truth[order])
    levels, firsts = np.unique(level[hit], return_index=True)
    if not len(levels):
        empty = np.zeros((0, columns.shape[1]))
        return empty, empty, empty, columns.sum(axis=0, dtype=float)
    positive = np.add.reduceat(columns[order[hit]].astype(float), firsts, axis=0)
    others = columns[order]
    others[hit] = 0
    others = np.cumsum(
        others, axis=0, out=others if others.dtype.kind == "f" else None
    )  # whole numbers: exact in float32
    up_to = others[ends[levels]].astype(float)
    before = np.where(levels > 0, ends[levels - 1], 0)
    below = np.where((levels > 0)[:, None], others[before], 0).astype(float)
    return positive, up_to - below, below, others[-1].astype(float)


def bootstrap_weights(clusters: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """[resamples, n]: how often each sample stands in each resample, whole clusters drawn together."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    number = int(index.max()) + 1
    draws = generator(seed, "bootstrap-weights").multinomial(number, np.full(number, 1 / number), size=resamples)
    return draws[:, index].astype(np.float32)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median of ``values`` [n] for every row of ``weights`` [b, n], counts of each value (a bootstrap): [b]."""
    order = np.argsort(values, kind="stable")
    ends = np.asarray(weights)[:, order].cumsum(axis=1, dtype=np.int64)
    middle = [(ends[:, -1:] - 1) // 2, ends[:, -1:] // 2]  # positions of the middle two, the same one of an odd number
    places = [(ends <= position).sum(axis=1) for position in middle]
    return np.asarray(values, dtype=float)[order][np.stack(places)].mean(axis=0)


@lru_cache(maxsize=2)
def _study_weights(number: int, resamples: int, seed: int) -> np.ndarray:
    """The weights of ``number`` studies: models are compared on the same ones, and drawing them is slow."""
    return bootstrap_weights(np.arange(number), resamples, seed)


def resampled_studies(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Means of [columns, n, seeds] over resampled studies, each whole with all its seeds: [columns, draws, seeds]."""
    studies = _study_weights(values.shape[1], resamples, seed)  # [resamples, n]
    return np.einsum("cns,rn->crs", values, studies, optimize=True) / studies.sum(axis=1)[:, None]


def resampled_means(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Means of shares [columns, n, seeds] over resampled studies and, where there are two or more, seeds: [columns, draws]."""
    return redraw_seeds(resampled_studies(values, resamples, seed), seed).clip(0, 1)


def redraw_seeds(per_seed: np.ndarray, seed: int = 0) -> np.ndarray:
    """Training seeds as a second level of a bootstrap: [..., draws, seeds] -> [..., draws], each the mean of seeds drawn anew.

    S seeds drawn with replacement spread by a factor (S - 1) / S too little, which is put back.
    """
    number = per_seed.shape[-1]
    if number == 1:
        return per_seed[..., 0]
    draws = generator(seed, "seeds").multinomial(number, np.full(number, 1 / number), size=per_seed.shape[-2]) / number
    mean = per_seed.mean(axis=-1)
    return mean + (np.einsum("...rs,rs->...r", per_seed, draws) - mean) * np.sqrt(number / (number - 1))


def redraw_crossed(per_seed: np.ndarray, trainings: int, seed: int = 0) -> np.ndarray:
    """Trainings and draws of labels, each training with every draw, as two levels: [..., b, S] -> [..., b].

    The S columns are trainings, and inside each its S / trainings draws. Either level is drawn anew for what it moves by itself
    (its mean over the other), with the factor of :func:`redraw_seeds`: S of them are no S independent seeds.
    """
    per = per_seed.reshape(*per_seed.shape[:-1], trainings, -1)
    mean = per.mean(axis=(-2, -1))
    moved = [redraw_seeds(per.mean(axis=axis), stream) - mean for axis, stream in ((-1, seed), (-2, seed + 1))]
    return mean + moved[0] + moved[1]


def auroc_intervals(
    truth: np.ndarray, scores: np.ndarray, names: list[str], clusters: np.ndarray, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """AUROC of every label and their mean, with 95 % intervals.

    truth: [n, L] in {0, 1}, NaN = not judged (such rows leave that label); scores: [n, L], or [S, n, L] of S training seeds,
    which are then a second level of the bootstrap and whose mean AUROC is the value; clusters: [n] study ids.
    Returns one row per label and 'mean' (over the labels that have both classes): metric, label, value, ci_low, ci_high,
    n, positives, chance. A label without both classes has value NaN and says so in ``note``.
    """
    rows, samples = [], []
    scores = np.asarray(scores)[None] if np.ndim(scores) == 2 else np.asarray(scores)
    weights = bootstrap_weights(clusters, resamples, seed)
    for column, name in enumerate(names):
        judged = np.isfinite(truth[:, column]) & np.isfinite(scores[:, :, column]).all(axis=0)
        positives = int((truth[judged, column] == 1).sum())
        row = {"metric": "AUROC", "label": name, "n": int(judged.sum()), "positives": positives, "chance": 0.5}
        if 0 < positives < judged.sum():
            is_positive, by_seed = truth[judged, column] == 1, scores[:, judged, column]
            drawn = redraw_seeds(np.stack([auroc(is_positive, s, weights[:, judged]) for s in by_seed], axis=1), seed)
            samples.append(drawn)
            low, high = np.clip(np.nanpercentile(drawn, [2.5, 97.5]), 0, 1)
            value = float(np.mean([auroc(is_positive, s) for s in by_seed]))
            row |= {"value": value, "ci_low": low, "ci_high": high, "note": ""}
        else:
            row |= {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "note": "one class only: not defined"}
        rows.append(row)
    if samples:
        low, high = np.clip(np.nanpercentile(np.mean(samples, axis=0), [2.5, 97.5]), 0, 1)
        mean = float(np.nanmean([row["value"] for row in rows]))
        n = len(truth)
        rows.append(
            {"metric": "AUROC", "label": "mean", "n": n, "positives": pd.NA, "chance": 0.5, "value": mean,
             "ci_low": low, "ci_high": high, "note": f"of {len(samples)} labels"}
        )  # fmt: skip
    return pd.DataFrame(rows)[["metric", "label", "value", "ci_low", "ci_high", "n", "positives", "chance", "note"]]


SURE = 0.05  # a p after Holm's correction below this


def two_sided_p(drawn: np.ndarray) -> float:
    """p of 'no difference' from the draws of a difference: twice the smaller share beyond 0, at least 2 / (1 + draws).

    Draws of equal means, 0 but for the order in which numbers were added, count on both sides, on every machine."""
    drawn = np.round(drawn, 12)
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return min(1.0, 2 * (1 + tail * len(drawn)) / (1 + len(drawn)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values adjusted for the number of tests by Holm's step-down rule (1979); NaN stays NaN and counts as no test."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
