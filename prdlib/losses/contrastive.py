"""Symmetric InfoNCE between images and reports, the global loss of CLIP and of PRD (method.md, 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def symmetric_cross_entropy(logits: Tensor, positives: Tensor | None = None, halved_direction: bool = False) -> Tensor:
    """1/2 [CE(logits, diagonal) + CE(logits^T, diagonal)], the mean over B rows and B columns.

    logits: [B, B], row = image, column = report; the pair (i, i) is the only target.
    positives: [B, B] bool, symmetric or not; True at (i, j), i != j, says that report j is also true of image i: that
        pair leaves both denominators. None: no such pair.
    halved_direction: CE(logits) + 1/2 CE(logits^T) instead, as the paper's released code has it (for ablations).
    Returns a scalar; 0 when B = 1 or when nothing is left to contrast with.
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits must be [B, B], not {list(logits.shape)}")
    if positives is not None:
        if positives.shape != logits.shape:
            raise ValueError(f"positives must be {list(logits.shape)}, not {list(positives.shape)}")
        diagonal = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(positives & ~diagonal, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    by_image, by_report = F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
    return by_image + by_report / 2 if halved_direction else (by_image + by_report) / 2


def image_text_contrastive(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    positives: Tensor | None = None,
    halved_direction: bool = False,
) -> Tensor:
    """L_itc = 1/2 [CE(s v u^T, diag) + CE(s u v^T, diag)].

    image_embeds, text_embeds: [B, D], L2-normalised. logit_scale: s, already exponentiated.
    positives: [B, B] bool, halved_direction: see :func:`symmetric_cross_entropy`. Returns a scalar >= 0.
    """
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(f"image_embeds {list(image_embeds.shape)} and text_embeds {list(text_embeds.shape)} differ")
    return symmetric_cross_entropy(logit_scale * (image_embeds @ text_embeds.T), positives, halved_direction)
