"""The local similarity of every image with every report of a batch: exact, in bounded memory, with its own backward.

For all valid words of the reports, packed without padding [V, D], and all regions [N, R, D]:

    S = words regions^T [V, N, R] in one product per chunk of reports; A: its softmax over the words of a report
    E = exp(tau1 A), the weights of the context c up to a factor, which the cosine does not see: cos(w, c) = P / (|w| sqrt(Q))
    P = <c, w> = sum_r E S          Q = |c|^2 = E^T G E with G = regions regions^T [N, R, R]

Neither the contexts c nor anything of size N x M x R x W x D is ever made. A chunk is a few whole reports: on a CPU its S is as
large as the regions, which every chunk reads again, within ``CHUNK_BYTES`` (a small chunk stays in the cache); on a GPU the
larger of the two. Where the whole batch needs no more than ``KEEP_BYTES``, S, A, E and E G are kept for the backward pass,
otherwise each chunk is computed again there, as on a CPU when that takes less time than fresh memory, which a
:class:`Workspace` spares from one step to the next. So peak memory is the inputs', G's, a constant (or one long report), and a
few arrays [V, N], R times smaller than S.

Written by hand since autograd would keep several arrays of the size of S for each softmax, product and sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = (2 << 20, 64 << 20)  # least and most of S in one chunk
KEEP_BYTES = 512 << 20  # of the four arrays of S's size that are kept for the backward pass when they fit
KEEP_WIDTH = 512  # D + R, multiplications for an element of S and E G, from which a CPU keeps them
EPSILON = 1e-8
LOG2E = 1.4426950408889634
SAFE_TEMPERATURE = 20.0  # A <= 1, so exp(tau1 A) and the sums of its squares are far from float32's largest number


class Workspace:
    """Memory for S, A, E and E G that stays from one step to the next: at most ``KEEP_BYTES``, or one long report's.

    One loss at a time has it. The backward pass of a loss whose memory another has taken since computes again what it needs.
    """

    def __init__(self) -> None:
        self.turn = 0
        self.memory: Tensor | None = None

    def take(self, like: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """Four arrays of ``shape``, of the type and on the device of ``like``; whoever had some has them no longer."""
        self.turn += 1
        numbers = 4 * math.prod(shape)
        fits = self.memory is not None and (self.memory.dtype, self.memory.device) == (like.dtype, like.device)
        if not fits or self.memory.numel() < numbers:
            self.memory = None  # freed before more is asked for
            self.memory = like.new_empty(numbers)
        return self.memory[:numbers].view(4, *shape).unbind()


class PairSimilarity(torch.autograd.Function):
    """tau3 log sum_w exp(tau2 cos(w, c_w)) [N, M]; see :func:`pair_similarity`."""

    @staticmethod
    def forward(
        ctx: Any,
        regions: Tensor,
        words: Tensor,
        counts: Sequence[int],
        temperatures: tuple[float, float, float],
        products: torch.dtype,
        chunk_bytes: int,
        keep_bytes: int,
        workspace: Workspace,
    ) -> Tensor:
        tau1, tau2, tau3 = temperatures
        word_norm = words.norm(dim=1)
        cosines = words.new_empty(len(words), len(regions))
        context_norms = torch.empty_like(cosines)
        logsums = []
        chunks = _Chunks(regions, words, counts, tau1, products, chunk_bytes, workspace)
        needed = 4 * len(words) * chunks.shape.numel() * words.element_size()
        keep = any(ctx.needs_input_grad) and needed <= keep_bytes
        for chunk in chunks.computed(keep):
            norm = torch.linalg.vecdot(chunk.weights, chunk.weights_gram).clamp_(min=0).add_(EPSILON**2).sqrt_()
            inner = torch.linalg.vecdot(chunk.weights, chunk.scores)
            cosine = inner / (norm * word_norm[chunk.rows, None]).clamp_(min=EPSILON)
            context_norms[chunk.rows], cosines[chunk.rows] = norm, cosine
            logsums += [part.logsumexp(dim=0) for part in (tau2 * cosine).split(chunk.sizes)]
        logsum = torch.stack(logsums, dim=1)
        ctx.save_for_backward(regions, words, word_norm, cosines, context_norms, logsum)
        ctx.settings = (counts, temperatures, products, chunk_bytes, workspace)
        ctx.kept = chunks if keep else None
        return tau3 * logsum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        regions, words, word_norm, cosines, context_norms, logsum = ctx.saved_tensors
        counts, (tau1, tau2, tau3), products, chunk_bytes, workspace = ctx.settings
        report_of_word = torch.repeat_interleave(
            torch.arange(len(counts)), torch.tensor(counts), output_size=len(words)
        ).to(regions.device, non_blocking=True)
        share = (tau2 * cosines - logsum.T[report_of_word]).exp_()
        d_cosine = share.mul_(grad.T[report_of_word]).mul_(tau3 * tau2)  # [V, N]
        denominator = context_norms * word_norm[:, None]
        floored = denominator < EPSILON  # there the denominator is a constant
        d_inner = d_cosine / denominator.clamp_(min=EPSILON)
        pull = d_cosine.mul_(cosines).masked_fill_(floored, 0.0)
        d_word_norm = -(pull.sum(dim=1) / word_norm.clamp(min=EPSILON))
        d_square = pull.div_(context_norms.square()).mul_(-0.5)

        d_flat, d_words = regions.new_zeros(regions.shape[:2].numel(), regions.shape[2]), torch.empty_like(words)
        d_gram = regions.new_zeros(len(regions), regions.shape[1], regions.shape[1])
        chunks, ctx.kept = ctx.kept, None  # they are written over here: a second backward pass computes them again
        kept = chunks is not None and chunks.at_hand
        if not kept:
            chunks = _Chunks(regions, words, counts, tau1, products, chunk_bytes, workspace)
        for chunk in chunks.again() if kept else chunks.computed(keep=False):
            inner, square = d_inner[chunk.rows, :, None], d_square[chunk.rows, :, None]
            # In place of S: the gradient of A, tau1 E (dP S + 2 dQ E G). E dQ takes the place of E G, dS that of A.
            d_attention = chunk.scores.mul_(tau1 * inner)
            d_attention.addcmul_(chunk.weights_gram, square, value=2 * tau1).mul_(chunk.weights)
            pulled = torch.mul(chunk.weights, square, out=chunk.weights_gram)
            _accumulate(d_gram, pulled.permute(1, 2, 0), chunk.weights.transpose(0, 1), products)
            d_scores = chunk.over_words
            for gradient, part in zip(d_attention.split(chunk.sizes), d_scores.split(chunk.sizes), strict=True):
                part.copy_(torch.ops.aten._softmax_backward_data(gradient, part, 0, gradient.dtype))
            d_scores = d_scores.addcmul_(chunk.weights, inner).view(len(inner), -1).to(products)
            _accumulate(d_flat, d_scores.T, words[chunk.rows], products)
            _product(d_scores, chunks.flat, d_words[chunk.rows])
        d_words.addcmul_(words, (d_word_norm / word_norm.clamp(min=EPSILON))[:, None])
        d_regions = d_flat.view_as(regions).baddbmm_(d_gram, regions, alpha=2)  # d_gram is symmetric
        return d_regions, d_words, *[None] * 6


def pair_similarity(
    regions: Tensor,
    words: Tensor,
    counts: Sequence[int],
    temperatures: tuple[float, float, float],
    products: torch.dtype | None = None,
    chunk_bytes: int | None = None,
    keep_bytes: int | None = None,
    workspace: Workspace | None = None,
) -> Tensor:
    """sim(n, m) of N images and M reports, summed over words.

    regions: [N, R, D]; words: [V, D], the valid words of report 0, then of report 1, ...; counts: M numbers >= 1, their sum V;
    temperatures: tau1, tau2, tau3. float32 or float64. products: the type of the factors of matrix products, the inputs' own
    or torch.bfloat16 (everything else stays in the inputs' type). chunk_bytes, keep_bytes: see the module.
    workspace: memory to work in on a CPU, else fresh; a GPU's allocator keeps and shares it anyway. Returns [N, M].
    """
    if chunk_bytes is None:
        least, most = CHUNK_BYTES
        chunk_bytes = most if regions.is_cuda else min(most, max(least, regions.numel() * regions.element_size()))
    if keep_bytes is None:
        cheap = regions.is_cuda or workspace is not None
        keep_bytes = KEEP_BYTES if cheap or sum(regions.shape[1:]) >= KEEP_WIDTH else 0
    with torch.autocast(regions.device.type, enabled=False):  # the types are ours to choose
        return PairSimilarity.apply(
            regions,
            words,
            list(counts),
            temperatures,
            products or regions.dtype,
            chunk_bytes,
            keep_bytes,
            Workspace() if workspace is None or regions.is_cuda else workspace,
        )


class _Chunks:
    """Some whole reports at a time, at least one: S, A, E, E G of all their words and all images.

    Every chunk lies in the memory of the one before it (on a CPU, fresh pages cost more than the arithmetic on them), or,
    with ``keep``, beside it, and then :meth:`again` yields what :meth:`computed` left there.
    """

    def __init__(
        self,
        regions: Tensor,
        words: Tensor,
        counts: Sequence[int],
        tau1: float,
        products: torch.dtype,
        limit: int,
        workspace: Workspace,
    ) -> None:
        self.workspace = workspace
        self.words, self.counts, self.tau1, self.products = words, counts, tau1, products
        self.shape = regions.shape[:2]
        factors = regions.to(products)
        self.flat = factors.reshape(-1, regions.shape[2])
        self.gram = factors @ factors.transpose(1, 2)
        self.parts = list(_cut(counts, limit // (self.shape.numel() * regions.element_size())))

    def computed(self, keep: bool) -> Iterator[_Chunk]:
        rows = len(self.words) if keep else max(part.stop - part.start for _, part in self.parts)
        self.arrays = self.workspace.take(self.words, (rows, *self.shape))
        self.turn = self.workspace.turn
        for sizes, rows in self.parts:
            here = rows if keep else slice(0, rows.stop - rows.start)
            chunk = _Chunk(rows, sizes, *(array[here] for array in self.arrays))
            self._attend(chunk)
            yield chunk

    @property
    def at_hand(self) -> bool:
        """Whether what was computed with ``keep`` is still there."""
        return self.turn == self.workspace.turn

    def again(self) -> Iterator[_Chunk]:
        for sizes, rows in self.parts:
            yield _Chunk(rows, sizes, *(array[rows] for array in self.arrays))

    def _attend(self, chunk: _Chunk) -> None:
        _product(self.words[chunk.rows], self.flat.T, chunk.scores.view(len(chunk.scores), -1))
        for over_words, scores in zip(
            chunk.over_words.split(chunk.sizes), chunk.scores.split(chunk.sizes), strict=True
        ):
            torch.softmax(scores, dim=0, out=over_words)
        if self.tau1 <= SAFE_TEMPERATURE:
            torch.mul(chunk.over_words, self.tau1 * LOG2E, out=chunk.weights)
        else:  # a factor more that the cosine does not see
            highest = chunk.over_words.amax(dim=2, keepdim=True)
            torch.sub(chunk.over_words, highest, out=chunk.weights).mul_(self.tau1 * LOG2E)
        chunk.weights.exp2_()  # on CPUs several times faster than exp
        _product(chunk.weights.transpose(0, 1), self.gram, chunk.weights_gram.transpose(0, 1))


class _Chunk(NamedTuple):
    """rows: of the words of some reports, sizes: words of each; S, A, E, E G: [Vc, N, R]."""

    rows: slice
    sizes: list[int]
    scores: Tensor
    over_words: Tensor
    weights: Tensor
    weights_gram: Tensor


def _cut(counts: Sequence[int], most: int) -> Iterator[tuple[list[int], slice]]:
    """(words of each report, their rows): as many whole reports as have ``most`` words together, at least one."""
    sizes: list[int] = []
    start = 0
    for count in counts:
        if sizes and sum(sizes) + count > most:
            yield sizes, slice(start, start := start + sum(sizes))
            sizes = []
        sizes.append(count)
    yield sizes, slice(start, start + sum(sizes))


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """out = left @ right, where ``right`` has the type that products are made in."""
    if right.dtype == out.dtype:
        torch.matmul(left, right, out=out)
    else:
        out.copy_(left.to(right.dtype) @ right)


def _accumulate(total: Tensor, left: Tensor, right: Tensor, products: torch.dtype) -> None:
    """total += left @ right, of matrices or of batches of them, with factors of type ``products``."""
    if products == total.dtype:
        (total.addmm_ if total.ndim == 2 else total.baddbmm_)(left, right)
    else:
        total += left.to(products) @ right.to(products)
