"""Perturbed report discrimination: the true report among its perturbed copies, given the image (method.md, 2).

Two variants take away what the wording alone decides:

    centred    logits s_p (<v_i, u_k> - mean_j <v_j, u_k>) over the images j of the batch: what every image says of a text is
               no argument for it
    debiased   logits s_p <v_i, u_k> + stopgrad(b_k) with a text-only expert b (product of experts, Clark et al. 2019,
               arXiv 1909.03683): what the expert knows of the text needs no learning, and it learns it by a loss of its own
"""

from __future__ import annotations

import torch
from torch import Tensor

VARIANTS = ("plain", "centred", "debiased")


def perturbed_report_discrimination(
    image_embeds: Tensor,
    report_embeds: Tensor,
    logit_scale: Tensor | float,
    valid: Tensor | None = None,
    *,
    centred: bool = False,
    text_prior: Tensor | None = None,
) -> Tensor:
    """L_prd = mean over images of -log softmax_k(s_p <v_i, u_ik>) at k = 0.

    image_embeds: [B, D]; report_embeds: [B, 1 + K, D], index 0 the original; both L2-normalised.
    logit_scale: s_p, already exponentiated.
    valid: [B, 1 + K] bool; False leaves a copy out (a copy that equals the original). A row without a valid copy leaves
        the mean. None: every copy counts.
    centred: <v_i - mean_j v_j, u_ik> in place of <v_i, u_ik>. text_prior: [B, 1 + K], the logits b of a text-only expert; they
        are added without a gradient, and the expert's own loss, softmax_k(b) at k = 0, is added to the result.
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
    if text_prior is not None and text_prior.shape != shape:
        raise ValueError(f"text_prior must be {list(shape)}, not {list(text_prior.shape)}")
    copies = valid.clone()
    copies[:, 0] = False
    used = copies | _first_column(copies)
    report_embeds = report_embeds.masked_fill(~used[..., None], 0.0)  # what is left out sends no gradient, not even NaN
    if centred:
        image_embeds = image_embeds - image_embeds.mean(dim=0)
    logits = logit_scale * torch.einsum("bd,bkd->bk", image_embeds, report_embeds)
    if text_prior is None:
        return _cross_entropy(logits, copies)
    text_prior = text_prior.masked_fill(~used, 0.0)
    return _cross_entropy(logits + text_prior.detach(), copies) + _cross_entropy(text_prior, copies)


def _cross_entropy(logits: Tensor, copies: Tensor) -> Tensor:
    """Mean of -log softmax_k at k = 0 over the rows with a copy; among the first column and ``copies`` [B, 1 + K]."""
    counted = copies.any(dim=1)
    logits = logits.masked_fill(~(copies | _first_column(copies)), float("-inf"))
    per_row = logits.logsumexp(dim=1) - logits[:, 0]
    return per_row.masked_fill(~counted, 0.0).sum() / counted.sum().clamp(min=1)


def _first_column(copies: Tensor) -> Tensor:
    first = torch.zeros_like(copies)
    first[:, 0] = True
    return first
