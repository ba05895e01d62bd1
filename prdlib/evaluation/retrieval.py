"""Retrieval between images and reports, with equal reports counted as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.evaluation.statistics import mean_interval


def retrieval_ranks(
    image_embeds: Tensor, report_embeds: Tensor, groups: np.ndarray
) -> dict[str, tuple[np.ndarray, ...]]:
    """Rank of the best right answer for every query, in both directions.

    image_embeds, report_embeds: [N, D], row i of one study; groups: [N] ints, equal for reports that say the same.
    The pool of reports has one entry per group (M entries); an image is answered when its group is found, a report when any
    of its images is. Ties rank last: a constant model answers nothing.
    Returns {"image to report": (ranks [N], right answers [N], row of each query [N], pool), "report to image": ([M], ...)}.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    similarity = image_embeds.double() @ report_embeds[torch.from_numpy(first)].double().T  # [N, M]
    truth = torch.zeros_like(similarity, dtype=torch.bool)
    truth[torch.arange(len(groups)), torch.from_numpy(member)] = True
    results = {}
    for direction, scores, right, query in (
        ("image to report", similarity, truth, np.arange(len(groups))),
        ("report to image", similarity.T, truth.T, first),
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
