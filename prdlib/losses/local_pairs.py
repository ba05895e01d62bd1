"""The local similarity of every image with every report of a batch: exact, in bounded memory, with its own backward.

For all valid words of the reports, packed without padding [V, D], and all regions [N, R, D]:

    S = words regions^T [V, N, R] in one product per chunk of reports; A, alpha as in ``local``
    <c, w>  = sum_r alpha S          |c|^2 = alpha^T G alpha, G = regions regions^T [N, R, R]

Neither the contexts c nor anything of size N x M x R x W x D is ever made. A chunk is a few whole reports: on a CPU its S is as
large as the regions, which every chunk reads again, within ``CHUNK_BYTES`` (a small chunk stays in the cache); on a GPU the
larger of the two. Where the whole batch needs no more than ``KEEP_BYTES``, S, A, alpha and G alpha are kept for the backward
pass, otherwise each chunk is computed again there. So peak memory is the inputs', G's, a constant (or one long report), and a
few arrays [V, N], R times smaller than S.

Written by hand since autograd would keep several arrays of the size of S for each softmax, product and sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = (2 << 20, 64 << 20)  # least and most of S in one chunk
KEEP_BYTES = 512 << 20  # of the four arrays of S's size that are kept for the backward pass when they fit
EPSILON = 1e-8


class _Chunk(NamedTuple):
    """scores S, attention over words A, alpha: [Vc, N, R]; alpha_gram: G alpha [N, Vc, R]."""

    scores: Tensor
    over_words: Tensor
    alpha: Tensor
    alpha_gram: Tensor


class PairSimilarity(torch.autograd.Function):
    """tau3 log sum_w exp(tau2 cos(w, c_w)) [N, M]; see :func:`pair_similarity`."""

    @staticmethod
    def forward(
        ctx: Any,
        regions: Tensor,
        words: Tensor,
        counts: Sequence[int],
        temperatures: tuple[float, float, float],
        chunk_bytes: int,
        keep_bytes: int,
    ) -> Tensor:
        n_images, n_regions, _ = regions.shape
        tau1, tau2, tau3 = temperatures
        row_bytes = n_images * n_regions * regions.element_size()
        keep = any(ctx.needs_input_grad) and 4 * len(words) * row_bytes <= keep_bytes
        gram = regions @ regions.transpose(1, 2)
        word_norm = words.norm(dim=1)
        cosines = words.new_empty(len(words), n_images)
        context_norms = torch.empty_like(cosines)
        logsums, kept = [], []
        for reports, rows in _chunks(counts, row_bytes, chunk_bytes):
            chunk = _attend(regions, words[rows], [counts[m] for m in reports], gram, tau1)
            inner = torch.einsum("vnr,vnr->vn", chunk.alpha, chunk.scores)
            square = torch.einsum("nvr,vnr->vn", chunk.alpha_gram, chunk.alpha)
            norm = square.clamp(min=0).add(EPSILON**2).sqrt()
            context_norms[rows] = norm
            cosines[rows] = inner / (norm * word_norm[rows, None]).clamp(min=EPSILON)
            logsums += [part.logsumexp(dim=0) for part in (tau2 * cosines[rows]).split([counts[m] for m in reports])]
            if keep:
                kept += chunk
        logsum = torch.stack(logsums, dim=1)
        ctx.save_for_backward(regions, words, gram, word_norm, cosines, context_norms, logsum, *kept)
        ctx.settings = (tuple(counts), temperatures, chunk_bytes)
        return tau3 * logsum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        regions, words, gram, word_norm, cosines, context_norms, logsum, *kept = ctx.saved_tensors
        counts, (tau1, tau2, tau3), chunk_bytes = ctx.settings
        n_images, n_regions, width = regions.shape
        flat = regions.reshape(-1, width)
        d_flat, d_words, d_gram = torch.zeros_like(flat), torch.empty_like(words), torch.zeros_like(gram)
        row_bytes = n_images * n_regions * regions.element_size()
        report_of_word = torch.repeat_interleave(
            torch.arange(len(counts)), torch.tensor(counts), output_size=len(words)
        ).to(regions.device)
        share = (tau2 * cosines - logsum.T[report_of_word]).exp()
        d_cosine = tau3 * tau2 * grad.T[report_of_word] * share  # [V, N]
        denominator = context_norms * word_norm[:, None]
        floored = denominator < EPSILON  # there the denominator is a constant
        d_inner = d_cosine / denominator.clamp(min=EPSILON)
        pull = (d_cosine * cosines).masked_fill(floored, 0.0)
        d_square = -pull / (2 * context_norms.square())
        d_word_norm = -(pull.sum(dim=1) / word_norm.clamp(min=EPSILON))
        for number, (reports, rows) in enumerate(_chunks(counts, row_bytes, chunk_bytes)):
            sizes = [counts[m] for m in reports]
            chunk = (
                _Chunk(*kept[4 * number : 4 * number + 4]) if kept else _attend(regions, words[rows], sizes, gram, tau1)
            )
            inner, square = d_inner[rows, :, None], d_square[rows, :, None]
            d_alpha = inner * chunk.scores
            d_alpha.addcmul_(chunk.alpha_gram.transpose(0, 1), square, value=2)
            weighted = (chunk.alpha * square).transpose(0, 1)
            d_gram.baddbmm_(weighted.transpose(1, 2), chunk.alpha.transpose(0, 1))
            d_attention = _softmax_backward(d_alpha, chunk.alpha, 2).mul_(tau1)
            d_scores = torch.empty_like(chunk.scores)
            for part, gradient, over_words in zip(
                d_scores.split(sizes), d_attention.split(sizes), chunk.over_words.split(sizes), strict=True
            ):
                part.copy_(_softmax_backward(gradient, over_words, 0))
            d_scores = d_scores.addcmul_(chunk.alpha, inner).view(len(d_scores), -1)
            d_flat.addmm_(d_scores.T, words[rows])
            torch.mm(d_scores, flat, out=d_words[rows])
        d_words.addcmul_(words, (d_word_norm / word_norm.clamp(min=EPSILON))[:, None])
        d_regions = d_flat.view_as(regions).baddbmm_(d_gram, regions, alpha=2)  # d_gram is symmetric
        return d_regions, d_words, None, None, None, None


def pair_similarity(
    regions: Tensor,
    words: Tensor,
    counts: Sequence[int],
    temperatures: tuple[float, float, float],
    chunk_bytes: int | None = None,
    keep_bytes: int = KEEP_BYTES,
) -> Tensor:
    """sim(n, m) of N images and M reports, summed over words.

    regions: [N, R, D]; words: [V, D], the valid words of report 0, then of report 1, ...; counts: M numbers >= 1, their sum V;
    temperatures: tau1, tau2, tau3; chunk_bytes, keep_bytes: see the module. float32 or float64. Returns [N, M].
    """
    if chunk_bytes is None:
        least, most = CHUNK_BYTES
        chunk_bytes = most if regions.is_cuda else min(most, max(least, regions.numel() * regions.element_size()))
    with torch.autocast(regions.device.type, enabled=False):  # its products stay in the type of the inputs
        return PairSimilarity.apply(regions, words, list(counts), temperatures, chunk_bytes, keep_bytes)


def _chunks(counts: Sequence[int], row_bytes: int, chunk_bytes: int) -> Iterator[tuple[range, slice]]:
    """(reports, their rows of words): as many whole reports as fill a chunk, at least one."""
    first = start = end = 0
    for report, count in enumerate(counts):
        if report > first and (end + count - start) * row_bytes > chunk_bytes:
            yield range(first, report), slice(start, end)
            first, start = report, end
        end += count
    yield range(first, len(counts)), slice(start, end)


def _attend(regions: Tensor, words: Tensor, sizes: Sequence[int], gram: Tensor, tau1: float) -> _Chunk:
    scores = (words @ regions.reshape(-1, regions.shape[2]).T).view(len(words), *regions.shape[:2])
    over_words = torch.empty_like(scores)
    for part, report in zip(over_words.split(sizes), scores.split(sizes), strict=True):
        torch.softmax(report, dim=0, out=part)
    alpha = torch.softmax(tau1 * over_words, dim=2)
    return _Chunk(scores, over_words, alpha, torch.bmm(alpha.transpose(0, 1), gram))


def _softmax_backward(grad: Tensor, output: Tensor, dim: int) -> Tensor:
    return torch.ops.aten._softmax_backward_data(grad, output, dim, output.dtype)
