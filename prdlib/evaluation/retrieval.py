"""Retrieval between images and reports, with equal reports counted as one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.evaluation.statistics import mean_interval


def retrieval(
    image_embeds: Tensor,
    report_embeds: Tensor,
    groups: np.ndarray,
    ks: tuple[int, ...] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """R@k in both directions.

    image_embeds, report_embeds: [N, D], row i of one study; groups: [N] ints, equal for reports that say the same.
    The pool of reports has one entry per group (M entries); an image is right when its group ranks among the first k.
    A report (group) is right when any of its images does. Ties rank last: a constant model scores 0.
    Columns: metric, direction, value, ci_low, ci_high, n (queries), pool, chance (of a random ranking), median_rank.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    similarity = image_embeds.double() @ report_embeds[torch.from_numpy(first)].double().T  # [N, M]
    truth = torch.zeros_like(similarity, dtype=torch.bool)
    truth[torch.arange(len(groups)), torch.from_numpy(member)] = True
    rows = []
    for direction, scores, right in (
        ("image to report", similarity, truth),
        ("report to image", similarity.T, truth.T),
    ):
        best = scores.masked_fill(~right, float("-inf")).max(dim=1, keepdim=True).values
        # The rank of the best right answer; every wrong answer that is as good stands before it.
        rank = 1 + ((scores >= best) & ~right).sum(dim=1).numpy()
        pool, right_answers = scores.shape[1], right.sum(dim=1).numpy()
        for k in ks:
            value, low, high = mean_interval(rank <= k, None, resamples, seed)
            rows.append(
                {"metric": f"R@{k}", "direction": direction, "value": value, "ci_low": low, "ci_high": high,
                 "n": len(rank), "pool": pool, "chance": float(np.mean(_chance(pool, right_answers, k))),
                 "median_rank": float(np.median(rank))}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _chance(pool: int, right: np.ndarray, k: int) -> np.ndarray:
    """Probability that a random order of ``pool`` items has one of ``right`` items among the first k."""
    miss = np.ones(len(right))
    for i in range(min(k, pool)):
        miss *= np.clip(pool - right - i, 0, None) / (pool - i)
    return 1 - miss
