"""Retrieval between images and reports, with equal reports counted as one: recall at k, median rank, examples.

What the retrieved share with the query by label is in :mod:`prdlib.evaluation.label_retrieval`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.signal import fftconvolve
from scipy.stats import binom, hypergeom
from torch import Tensor

from prdlib.evaluation.statistics import bootstrap_weights, mean_interval, redraw_seeds, weighted_median

DIRECTIONS = ("image to report", "report to image")
RETRIEVAL_COLUMNS = ["metric", "label", "direction", "value", "ci_low", "ci_high", "n", "chance", "blind", "pool", "seeds",
                     "note"]  # fmt: skip


def merged_similarity(
    image_embeds: Tensor, report_embeds: Tensor, groups: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """(similarity float64 [N, M] of the images with one report of each group, row of that report [M], group of each row as a
    position among the M [N]). image_embeds, report_embeds: [N, D]; groups: [N] ints.

    Raises ValueError when the three differ in length, or there is nothing.
    """
    if not 0 < len(groups) == len(image_embeds) == len(report_embeds):
        raise ValueError(
            f"Retrieval needs an image, a report and a group for each study: there are {len(image_embeds)}, "
            f"{len(report_embeds)} and {len(groups)}."
        )
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return image_embeds.double() @ report_embeds[torch.from_numpy(first)].double().T, first, member


def retrieval_ranks(
    image_embeds: Tensor, report_embeds: Tensor, groups: np.ndarray
) -> dict[str, tuple[np.ndarray, ...]]:
    """Rank of the best right answer for every query, in both directions.

    image_embeds, report_embeds: [N, D], row i of one study; groups: [N] ints, equal for reports that say the same.
    The pool of reports has one entry per group (M entries); an image is answered when its group is found, a report when any
    of its images is. Ties rank last: a constant model answers nothing.
    Returns {"image to report": (ranks [N], right answers [N], row of each query [N], pool), "report to image": ([M], ...)}.
    """
    similarity, first, member = merged_similarity(image_embeds, report_embeds, groups)
    truth = torch.zeros_like(similarity, dtype=torch.bool)
    truth[torch.arange(len(groups)), torch.from_numpy(member)] = True
    results = {}
    for direction, scores, right, query in zip(
        DIRECTIONS, (similarity, similarity.T), (truth, truth.T), (np.arange(len(groups)), first), strict=True
    ):
        best = scores.masked_fill(~right, float("-inf")).max(dim=1, keepdim=True).values
        rank = 1 + ((scores >= best) & ~right).sum(dim=1).numpy()
        results[direction] = (rank, right.sum(dim=1).numpy(), query, scores.shape[1])
    return results


def retrieval_outcomes(
    image_embeds: Tensor,
    report_embeds: Tensor,
    groups: np.ndarray,
    ids: Sequence[str] | np.ndarray,
    ks: tuple[int, ...] = (1, 5, 10),
) -> pd.DataFrame:
    """One row per query and k: metric, input ('image'), query (study id), outcome (0 or 1), chance (of a random order), pool."""
    parts = []
    for direction, (rank, right, query, pool) in retrieval_ranks(image_embeds, report_embeds, groups).items():
        for k in ks:
            parts.append(
                pd.DataFrame({"metric": f"R@{k} {direction}", "input": "image", "query": np.asarray(ids)[query],
                              "outcome": (rank <= k).astype(float), "chance": _chance(pool, right, k), "pool": pool})
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def retrieval_table(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """R@k of both directions: metric, input, value, ci_low, ci_high, n (queries), chance, pool (candidates)."""
    rows = []
    for metric, part in outcomes.groupby("metric", sort=False):
        value, low, high = mean_interval(part["outcome"].to_numpy(), None, resamples)
        rows.append({"metric": metric, "input": "image", "value": value, "ci_low": low, "ci_high": high, "n": len(part),
                     "chance": part["chance"].mean(), "pool": int(part["pool"].iloc[0])})  # fmt: skip
    return pd.DataFrame(rows)


def _chance(pool: int, right: np.ndarray, k: int) -> np.ndarray:
    """Probability that a random order of ``pool`` items has one of ``right`` items among the first k."""
    miss = np.ones(len(right))
    for i in range(min(k, pool)):
        miss *= np.clip(pool - right - i, 0, None) / (pool - i)
    return 1 - miss


def expected_median_rank(pool: int, right: np.ndarray) -> float:
    """Expected median, over queries, of the rank of the first right answer when each query's pool is in a random order.

    pool: candidates; right: [n] right answers of each query. Exact: the j-th smallest of n ranks is above k when fewer than j of
    them are k or less, and how many are is a sum of binomial numbers, one for each number of right answers. (pool + 1) / 2
    where each query has one.
    """
    number = len(right)
    values, counts = np.unique(right, return_counts=True)
    ranks = np.arange(pool)
    reached = 1 - hypergeom.pmf(0, pool, values[:, None], ranks)  # [values, pool]: P(rank <= k)
    mean = counts @ reached
    near = np.abs(mean - number / 2) < 5 * np.sqrt(number) + 2  # elsewhere sure, to 1e-20 (Hoeffding)
    among = np.ones((int(near.sum()), 1))  # [ranks, 0 to number]: P(so many queries reach it)
    for count, share in zip(counts, reached[:, near], strict=True):
        among = fftconvolve(among, binom.pmf(np.arange(count + 1), count, share[:, None]), axes=1)
    fewer = among.cumsum(axis=1)[:, [(number + 1) // 2 - 1, number // 2]].mean(
        axis=1
    )  # of an even number the middle two
    return float((~near & (mean < number / 2)).sum() + fewer.sum())


def asking(query: np.ndarray, patients: Sequence[str] | None) -> np.ndarray:
    """What resamples draw together: the patient of each query, a row of the studies; without patients each query."""
    return np.arange(len(query)) if patients is None else np.asarray(patients)[query]


def median_rank_table(
    embeds: Sequence[tuple[Tensor, Tensor]],
    groups: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Median rank of the best right answer in both directions, from 1 (best) to the pool; ties rank last.

    embeds: (image_embeds, report_embeds), [N, D] each, of each training seed of a method; the value is the mean of their
    medians, the interval (95 %) is over patients ([N], None: each study has its own) and seeds. chance:
    :func:`expected_median_rank`.
    Columns: RETRIEVAL_COLUMNS (n: queries; pool: candidates; label and note are empty, and so is blind: an order that is the same
    for every query has each right answer at another place, which is no better than chance).
    """
    found = [retrieval_ranks(images, reports, groups) for images, reports in embeds]
    rows = []
    for direction in DIRECTIONS:
        _, right, query, pool = found[0][direction]
        ranks = np.stack([ranks[direction][0] for ranks in found])  # [S, queries]
        weights = bootstrap_weights(asking(query, patients), resamples, seed)
        drawn = redraw_seeds(np.stack([weighted_median(row, weights) for row in ranks], axis=1), seed).clip(1, pool)
        low, high = np.percentile(drawn, [2.5, 97.5])
        rows.append({"metric": "median rank", "label": "", "direction": direction,
                     "value": float(np.median(ranks, axis=1).mean()), "ci_low": low, "ci_high": high, "n": ranks.shape[1],
                     "chance": expected_median_rank(pool, right), "blind": np.nan, "pool": pool, "seeds": len(embeds),
                     "note": ""})  # fmt: skip
    return pd.DataFrame(rows, columns=RETRIEVAL_COLUMNS)


def recall_table(
    embeds: Sequence[tuple[Tensor, Tensor]],
    groups: np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> pd.DataFrame:
    """R@k in both directions: the share of queries whose best right answer is among the first k; ties rank last.

    embeds, patients: see :func:`median_rank_table`; the interval (95 %) is over patients and seeds. chance: of a random order.
    Columns: RETRIEVAL_COLUMNS.
    """
    found = [retrieval_ranks(images, reports, groups) for images, reports in embeds]
    rows = []
    for direction in DIRECTIONS:
        _, right, query, pool = found[0][direction]
        ranks = np.stack([ranks[direction][0] for ranks in found])  # [S, queries]
        weights = bootstrap_weights(asking(query, patients), resamples, seed)
        weights = weights / weights.sum(axis=1, keepdims=True)
        for k in ks:
            hits = (ranks <= k).astype(float)
            low, high = np.percentile(redraw_seeds(weights @ hits.T, seed).clip(0, 1), [2.5, 97.5])
            rows.append({"metric": f"R@{k}", "label": "", "direction": direction, "value": float(hits.mean()), "ci_low": low,
                         "ci_high": high, "n": ranks.shape[1], "chance": float(_chance(pool, right, k).mean()),
                         "blind": np.nan, "pool": pool, "seeds": len(embeds), "note": ""})  # fmt: skip
    return pd.DataFrame(rows, columns=RETRIEVAL_COLUMNS)


def retrieved_examples(
    image_embeds: Tensor, report_embeds: Tensor, groups: np.ndarray, queries: Sequence[int], k: int = 5
) -> pd.DataFrame:
    """What is retrieved for a few queries, in both directions: a table for a figure.

    image_embeds, report_embeds: [N, D]; groups: [N]; queries: rows of them, as image and as report (of equal reports the first
    stands for all). Of equal scores the wrong one comes first, as in :func:`retrieval_ranks`, then the earlier row.
    Columns: direction, query (row), place (1 to k, or to the pool), row (of the retrieved report or image), score, right.
    Raises ValueError for a row that is not there and for k below 1.
    """
    similarity, first, member = merged_similarity(image_embeds, report_embeds, groups)
    absent = [row for row in queries if not 0 <= row < len(groups)]
    if absent:
        raise ValueError(f"There is no row {absent[0]}: queries are rows of the {len(groups)} studies, from 0.")
    if k < 1:
        raise ValueError(f"The {k} nearest are nothing: ask for one neighbour or more.")
    parts = []
    for direction in DIRECTIONS:
        images = direction == DIRECTIONS[0]
        candidates = first if images else np.arange(len(groups))
        for query in queries:
            scores = (similarity[query] if images else similarity[:, member[query]]).numpy()
            right = member[candidates] == member[query]
            order = np.lexsort((candidates, right, -scores))[:k]
            parts.append(
                pd.DataFrame({"direction": direction, "query": query, "place": np.arange(1, len(order) + 1),
                              "row": candidates[order], "score": scores[order], "right": right[order]})
            )  # fmt: skip
    columns = ["direction", "query", "place", "row", "score", "right"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
