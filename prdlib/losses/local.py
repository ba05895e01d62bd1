"""Local attentive contrast between image regions and words, as in GLoRIA (method.md, 3).

For image n and report m, with regions g_r [R, D] and words t_w [W, D]:

    S[r, w]  = <g_r, t_w>                     A[r, .] = softmax over the valid words of S[r, .]
    alpha    = softmax over r of tau1 A[r, w] c_w     = sum_r alpha[r, w] g_r
    sim(n,m) = tau3 log sum_w exp(tau2 cos(t_w, c_w))

The similarity of all pairs is computed in :mod:`prdlib.losses.local_pairs`, without the context vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prdlib.losses.contrastive import symmetric_cross_entropy
from prdlib.losses.local_pairs import Workspace, pair_similarity


def local_attentive_contrastive(
    region_embeds: Tensor,
    word_embeds: Tensor,
    word_mask: Tensor,
    *,
    attention_temperature: float = 4.0,
    word_temperature: float = 5.0,
    similarity_temperature: float = 10.0,
    positives: Tensor | None = None,
    products: torch.dtype | None = None,
    workspace: Workspace | None = None,
    gather: Callable[[Tensor], Tensor] | None = None,
    halved_direction: bool = False,
) -> Tensor:
    """L_local = 1/2 [CE(sim, diag) + CE(sim^T, diag)].

    region_embeds: [B, R, D]; word_embeds: [B, W, D]; word_mask: [B, W] bool, True for words (False for padding).
    The temperatures are tau1, tau2, tau3. positives: [B, B] bool, halved_direction: see ``symmetric_cross_entropy``.
    products, workspace: as below.
    gather: [B, ...] of each process -> [P B, ...] of all (see ``prdlib.distributed``); each process then computes the
        similarity of all images with its own reports, and the loss is that of the whole batch; positives is [P B, P B].
    Returns a scalar. Raises ValueError when a report has no word.
    """
    similarity = local_similarity(
        gather(region_embeds) if gather else region_embeds,
        word_embeds,
        word_mask,
        attention_temperature=attention_temperature,
        word_temperature=word_temperature,
        similarity_temperature=similarity_temperature,
        products=products,
        workspace=workspace,
    )
    if gather:
        similarity = gather(similarity.T).T
    return symmetric_cross_entropy(similarity, positives, halved_direction)


def local_similarity(
    region_embeds: Tensor,
    word_embeds: Tensor,
    word_mask: Tensor,
    *,
    attention_temperature: float = 4.0,
    word_temperature: float = 5.0,
    similarity_temperature: float = 10.0,
    aggregation: str = "sum",
    products: torch.dtype | None = None,
    workspace: Workspace | None = None,
) -> Tensor:
    """sim(n, m) of N images and M reports.

    region_embeds: [N, R, D]; word_embeds: [M, W, D]; word_mask: [M, W] bool.
    aggregation: "sum" over the words as in GLoRIA, for the reports of a batch (grows with log W), or "mean", for texts
        whose lengths differ much, such as prompts.
    products: torch.bfloat16 rounds the factors of matrix products (the loss then differs by about 1e-4 of itself, the gradient
        by 6e-3 of its norm); None: float32, or float64 for inputs in it.
    workspace: memory that training keeps from step to step; without one it is asked for each time.
    A word_mask on the CPU with embeddings on a GPU spares the host a wait for the GPU.
    Returns [N, M], float32 or wider. Raises ValueError when a report has no word.
    """
    if aggregation not in ("sum", "mean"):
        raise ValueError(f"aggregation must be 'sum' or 'mean', not {aggregation!r}")
    counts = _word_counts(word_embeds, word_mask)
    regions, words = _at_least_float32(region_embeds), _at_least_float32(word_embeds).flatten(0, 1)
    temperatures = (attention_temperature, word_temperature, similarity_temperature)
    similarity = pair_similarity(
        regions, words[_rows(word_mask, words.device)], counts, temperatures, products, workspace=workspace
    )
    if aggregation == "mean":
        similarity = similarity - similarity_temperature * similarity.new_tensor(counts).log()
    return similarity


def local_attention(
    region_embeds: Tensor, word_embeds: Tensor, word_mask: Tensor, *, attention_temperature: float = 4.0
) -> Tensor:
    """alpha of aligned pairs: where in its own image each word of a report looks.

    region_embeds: [N, R, D]; word_embeds: [N, W, D]; word_mask: [N, W] bool.
    Returns [N, W, R]; every valid word's row sums to 1, rows of padding are 0.
    """
    _check(word_embeds, word_mask)
    regions, words = _at_least_float32(region_embeds), _at_least_float32(word_embeds)
    attention = words.new_zeros(*words.shape[:2], regions.shape[1])
    for n, mask in enumerate(word_mask):
        over_words = torch.softmax(regions[n] @ words[n][mask].T, dim=1)
        attention[n, mask] = torch.softmax(attention_temperature * over_words, dim=0).T
    return attention


def _rows(word_mask: Tensor, device: torch.device) -> Tensor:
    """Places of the valid words among all [M W]."""
    return word_mask.flatten().nonzero()[:, 0].to(device, non_blocking=True)


def _word_counts(word_embeds: Tensor, word_mask: Tensor) -> list[int]:
    """Valid words of each report."""
    _check(word_embeds, word_mask)
    return word_mask.sum(dim=1).tolist()


def _check(word_embeds: Tensor, word_mask: Tensor) -> None:
    if word_mask.shape != word_embeds.shape[:2]:
        raise ValueError(f"word_mask must be {list(word_embeds.shape[:2])}, not {list(word_mask.shape)}")
    empty = ~word_mask.any(dim=1)
    if empty.any():
        raise ValueError(f"report {int(empty.nonzero()[0])} of the batch has no word: leave empty reports out")


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
