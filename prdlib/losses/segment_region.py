"""Segment-region contrast: what each segment of a report says is looked for in every image of the batch.

For image n with places p_r [R, D] and report m with segments q_s [S, D], all L2-normalised:

    found(n, s) = 1/tau log mean_r exp(tau <q_s, p_r>)      a soft maximum over places, between their mean and their maximum
    sim(n, m)   = mean over the segments s of report m of found(n, s)                                       in [-1, 1]
    L_seg       = 1/2 [CE(s sim, diag) + CE(s sim^T, diag)] with a learnable scale s
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.losses.contrastive import symmetric_cross_entropy


def segment_region_contrastive(
    place_embeds: Tensor,
    segment_embeds: Tensor,
    segment_mask: Tensor,
    logit_scale: Tensor | float,
    *,
    temperature: float = 10.0,
    positives: Tensor | None = None,
    gather: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """L_seg of aligned pairs.

    place_embeds: [B, R, D], regions of an image and whatever else stands for a place of it; segment_embeds: [B, S, D];
    segment_mask: [B, S] bool, True for segments; neither needs to be normalised. logit_scale: s, already exponentiated;
    temperature: tau. positives: [B, B] bool, see ``symmetric_cross_entropy``.
    gather: as in ``local_attentive_contrastive``; positives is [P B, P B] then.
    Returns a scalar. Raises ValueError when a report has no segment.
    """
    places = gather(place_embeds) if gather else place_embeds
    similarity = segment_region_similarity(places, segment_embeds, segment_mask, temperature=temperature)
    if gather:
        similarity = gather(similarity.T).T
    return symmetric_cross_entropy(logit_scale * similarity, positives)


def segment_region_similarity(
    place_embeds: Tensor, segment_embeds: Tensor, segment_mask: Tensor, *, temperature: float = 10.0
) -> Tensor:
    """sim(n, m) of N images and M reports: place_embeds [N, R, D], segment_embeds [M, S, D], segment_mask [M, S] -> [N, M].

    Only valid segments are compared. A segment_mask on the CPU with embeddings on a GPU spares the host a wait for it.
    Raises ValueError when a report has no segment.
    """
    counts = _counts(segment_embeds, segment_mask)
    rows = segment_mask.flatten().nonzero()[:, 0].to(segment_embeds.device, non_blocking=True)
    found = segments_found(place_embeds, segment_embeds.flatten(0, 1)[rows], temperature=temperature)  # [V, N]
    report = torch.repeat_interleave(torch.arange(len(counts)), counts, output_size=len(rows)).to(found.device)
    share = (1 / counts).to(found, non_blocking=True)
    return (found.new_zeros(len(counts), found.shape[1]).index_add(0, report, found) * share[:, None]).T


def segments_found(place_embeds: Tensor, segments: Tensor, *, temperature: float = 10.0) -> Tensor:
    """found(n, s): place_embeds [N, R, D], segments [V, D] -> [V, N]."""
    places, segments = (normalize(_at_least_float32(x), dim=-1) for x in (place_embeds, segments))
    cosines = segments @ places.flatten(0, 1).T
    scores = temperature * cosines.view(len(segments), *places.shape[:2])
    return (scores.logsumexp(dim=2) - math.log(places.shape[1])) / temperature


def segment_attention(
    place_embeds: Tensor, segment_embeds: Tensor, segment_mask: Tensor, *, temperature: float = 10.0
) -> Tensor:
    """Where in its own image each segment of a report is found: softmax over places of tau <q_s, p_r>.

    place_embeds: [N, R, D]; segment_embeds: [N, S, D]; segment_mask: [N, S] bool. Returns [N, S, R]; each valid segment's row
    sums to 1, rows of padding are 0.
    """
    _counts(segment_embeds, segment_mask)
    places, segments = (normalize(_at_least_float32(x), dim=-1) for x in (place_embeds, segment_embeds))
    attention = torch.softmax(temperature * segments @ places.transpose(1, 2), dim=-1)
    return attention.masked_fill(~segment_mask.to(attention.device)[..., None], 0.0)


def _counts(segment_embeds: Tensor, segment_mask: Tensor) -> Tensor:
    """Segments of each report, int64 [M] where the mask is."""
    if segment_mask.shape != segment_embeds.shape[:2]:
        raise ValueError(f"segment_mask must be {list(segment_embeds.shape[:2])}, not {list(segment_mask.shape)}")
    counts = segment_mask.sum(dim=1)
    empty = counts == 0
    if empty.any():
        raise ValueError(f"report {int(empty.nonzero()[0])} of the batch has no segment: leave empty reports out")
    return counts


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
