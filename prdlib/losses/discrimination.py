"""Perturbed report discrimination: the true report among its perturbed copies, given the image (method.md, 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def perturbed_report_discrimination(
    image_embeds: Tensor, report_embeds: Tensor, logit_scale: Tensor | float, valid: Tensor | None = None
) -> Tensor:
    """L_prd = mean over images of -log softmax_k(s_p <v_i, u_ik>) at k = 0.

    image_embeds: [B, D]; report_embeds: [B, 1 + K, D], index 0 the original; both L2-normalised.
    logit_scale: s_p, already exponentiated.
    valid: [B, 1 + K] bool; False leaves a copy out (a copy that equals the original). A row without a valid copy leaves
        the mean. None: every copy counts.
    Returns a scalar >= 0; exactly 0, with gradient 0, when no row is left.
    """
    if report_embeds.ndim != 3 or report_embeds.shape[::2] != image_embeds.shape:
        raise ValueError(
            f"report_embeds must be [B, 1 + K, D] with image_embeds [B, D], not {list(report_embeds.shape)} "
            f"with {list(image_embeds.shape)}"
        )
    shape = report_embeds.shape[:2]
    if valid is None:
        valid = torch.ones(shape, dtype=torch.bool, device=report_embeds.device)
    elif valid.shape != shape:
        raise ValueError(f"valid must be {list(shape)}, not {list(valid.shape)}")
    copies = valid.clone()
    copies[:, 0] = False
    used = copies | _first_column(copies)
    report_embeds = report_embeds.masked_fill(~used[..., None], 0.0)  # what is left out sends no gradient, not even NaN
    logits = logit_scale * torch.einsum("bd,bkd->bk", image_embeds, report_embeds)
    counted = copies.any(dim=1)
    logits = logits.masked_fill(~used, float("-inf"))
    per_row = logits.logsumexp(dim=1) - logits[:, 0]
    return per_row.masked_fill(~counted, 0.0).sum() / counted.sum().clamp(min=1)


def _first_column(copies: Tensor) -> Tensor:
    first = torch.zeros_like(copies)
    first[:, 0] = True
    return first
