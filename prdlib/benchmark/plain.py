"""The plain versions that ours are measured against and must equal: loops over reports, a pass per copy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from prdlib.models import PRDModel
from prdlib.text import WordTokenizer

TAU1, TAU2, TAU3 = 4.0, 5.0, 10.0


def repeating_loop(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The local loss report by report as the released codes of this family compute it: the words repeated for every image,
    attention and contexts of all B images with them, a cosine of two [B n, D] tensors.

    regions [B, R, D], words [B, W, D], mask [B, W] bool; a scalar.
    """
    columns = []
    for report, valid in zip(words, mask, strict=True):
        word = report[valid][None].repeat(len(regions), 1, 1)  # [B, n, D]
        attention = torch.bmm(regions, word.transpose(1, 2))  # [B, R, n]
        attention = attention.softmax(dim=2).transpose(1, 2).contiguous()
        attention = (attention * TAU1).softmax(dim=2)  # [B, n, R]
        context = torch.bmm(regions.transpose(1, 2), attention.transpose(1, 2)).transpose(1, 2)  # [B, n, D]
        flat = word.contiguous().view(-1, word.shape[2]), context.contiguous().view(-1, word.shape[2])
        cosine = cosine_similarity(*flat, dim=1).view(len(regions), -1)
        columns.append((cosine * TAU2).exp().sum(dim=1).log())
    return _contrast(TAU3 * torch.stack(columns, dim=1))


def clean_loop(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The same loop without repeated words: products of [B, R, D] with [n, D], the cosine from sums over D."""
    columns = []
    for report, valid in zip(words, mask, strict=True):
        word = report[valid]
        attention = (regions @ word.T).softmax(dim=2)  # [B, R, n]
        alpha = (attention * TAU1).softmax(dim=1)
        context = alpha.transpose(1, 2) @ regions  # [B, n, D]
        cosine = (context * word).sum(dim=2) / (context.norm(dim=2) * word.norm(dim=1)).clamp(min=1e-8)
        columns.append((cosine * TAU2).exp().sum(dim=1).log())
    return _contrast(TAU3 * torch.stack(columns, dim=1))


def _contrast(similarity: Tensor) -> Tensor:
    target = torch.arange(len(similarity), device=similarity.device)
    return (cross_entropy(similarity, target) + cross_entropy(similarity.T, target)) / 2


def padded_passes(
    model: PRDModel, tokenizer: WordTokenizer, texts: Sequence[Sequence[Sequence[str]]], length: int
) -> Tensor:
    """report_embeds [B, 1 + K, D] in 1 + K passes, each padded to ``length`` pieces, equal texts as often as they occur.

    texts: B lists of 1 + K reports as words.
    """
    columns = []
    for column in zip(*texts, strict=True):
        tokens = tokenizer.pad([tokenizer.encode(report) for report in column])
        missing = max(0, length - tokens["input_ids"].shape[1])
        tokens = {name: nn.functional.pad(tensor, (0, missing)).to(model.device) for name, tensor in tokens.items()}
        pooled, _ = model.text_features(tokens)
        columns.append(normalize(model.text_projection(pooled).float(), dim=-1))
    return torch.stack(columns, dim=1)
