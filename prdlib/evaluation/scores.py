"""Scores of an image with several texts, and when two of them are a tie.

A model whose reports are bags of words adds the same numbers in another order for a shuffled copy, so its two scores may differ
in the last digits of float32. Such a difference is no preference: it counts as a tie.
"""

from __future__ import annotations

import torch
from torch import Tensor

TIE = 1e-6  # of |image| |text|: float32 sums of one embedding differ by less, two true scores by far more


def pair_scores(images: Tensor, options: Tensor) -> Tensor:
    """<image_i, text_ik> with ties made exact: images [n, D], options [n, 1 + K, D] -> float64 [n, 1 + K].

    A score that differs from the first text's by no more than TIE |image_i| max_k |text_ik| is set to it.
    """
    images, options = images.double(), options.double()
    scores = (images[:, None] * options).sum(dim=-1)
    return snap_ties(scores, images.norm(dim=-1) * options.norm(dim=-1).max(dim=-1).values)


def snap_ties(scores: Tensor, size: Tensor) -> Tensor:
    """Scores [n, 1 + K], those within TIE ``size`` [n] of the first of their row set to it."""
    first = scores[:, :1]
    return torch.where((scores - first).abs() <= TIE * size[:, None], first, scores)
