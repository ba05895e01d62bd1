"""A fusion head: words of a report look at the regions of an image, and one number says whether the two belong together.

As the multimodal encoders of ALBEF (Li et al., NeurIPS 2021, arXiv 2107.07651) and BLIP (Li et al., ICML 2022, arXiv
2201.12086): self-attention of the words, cross-attention to the regions, feed-forward; a class token carries the answer. Unlike
an inner product of two vectors it can ask of each word where it is true.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MatchingHead(nn.Module):
    """width: of the head (heads of 32); layers: one or two; regions: R, each with a learnt position."""

    def __init__(self, word_dim: int, region_dim: int, regions: int, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        if width % 32:
            raise ValueError(f"The width of a matching head is {width}: it must be a multiple of 32.")
        self.words = nn.Sequential(nn.LayerNorm(word_dim), nn.Linear(word_dim, width))
        self.regions = nn.Sequential(nn.LayerNorm(region_dim), nn.Linear(region_dim, width))
        self.position = nn.Parameter(torch.randn(regions, width) * 0.02)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerDecoderLayer(
            width, width // 32, 2 * width, 0.1, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(width))
        self.answer = nn.Linear(width, 1)

    def forward(self, words: Tensor, word_mask: Tensor, regions: Tensor) -> Tensor:
        """word states [N, W, H], word_mask [N, W] (True for words), regions [N, R, C] -> logits [N]: above 0 for a pair."""
        first = self.class_token.expand(len(words), 1, -1)
        read = torch.cat([first, self.words(words)], dim=1)
        seen = torch.cat([torch.ones_like(word_mask[:, :1]), word_mask], dim=1)
        fused = self.layers(read, self.regions(regions) + self.position, tgt_key_padding_mask=~seen)
        return self.answer(fused[:, 0]).squeeze(-1)
