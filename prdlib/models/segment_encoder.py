"""Segment-structured reports: words see their own segment, segments see each other, and the report is what they add up to.

    words      each segment is a short sequence for the text encoder; equal segments of a batch are encoded once
    segments   the mean of a segment's pieces (or its first token, as ``text_pooling`` says)
    report     a class token among the segments, after one transformer block without positions: the order of segments, which
               means nothing, cannot be seen

What is said of a finding therefore cannot move to another one: "left effusion; right nodule" and "right effusion; left nodule"
are different sets of segments, while for an encoder of all words they are nearly one bag.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from prdlib.models.published import WeightsError


class ReportBlock(nn.Module):
    """A class token and transformer blocks (pre-norm, heads of 32) over the segments of a report."""

    def __init__(self, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // 32), 4 * width, dropout, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, blocks, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, segments: Tensor, mask: Tensor) -> Tensor:
        """Segment states [N, S, H], mask [N, S] bool (True for segments) -> report states [N, H]."""
        first = self.class_token.to(segments.dtype).expand(len(segments), 1, -1)
        seen = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        return self.blocks(torch.cat([first, segments], dim=1), src_key_padding_mask=~seen)[:, 0]


class SegmentRegionHead(nn.Module):
    """The space in which segments are looked for in images: regions with a learnt position, the whole image as one place more,
    and segments, all in D_l dimensions."""

    def __init__(
        self, region_dim: int, pooled_dim: int, text_width: int, dim: int, regions: int, positions: bool
    ) -> None:
        super().__init__()
        self.region_projection = nn.Linear(region_dim, 2 * dim)
        self.image_projection = nn.Linear(pooled_dim, 2 * dim)
        self.place_projection = nn.Linear(2 * dim, dim, bias=False)
        self.segment_projection = nn.Sequential(
            nn.Linear(text_width, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim, bias=False)
        )
        self.position = nn.Parameter(torch.randn(regions, 2 * dim) * 0.02) if positions else None

    def places(self, pooled: Tensor, regions: Tensor) -> Tensor:
        """pooled [B, C], region map [B, C_r, h, w] -> place_embeds [B, h w + 1, D_l], L2-normalised, the whole image last."""
        grid = self.region_projection(regions.flatten(2).transpose(1, 2))
        if self.position is not None:
            _check_regions(grid.shape[1], len(self.position))
            grid = grid + self.position
        hidden = torch.cat([grid, self.image_projection(pooled)[:, None].to(grid.dtype)], dim=1)
        return normalize(self.place_projection(nn.functional.gelu(hidden)).float(), dim=-1)

    def segments(self, states: Tensor) -> Tensor:
        """Segment states [..., H] -> segment_embeds [..., D_l], L2-normalised."""
        return normalize(self.segment_projection(states).float(), dim=-1)


class PlacePooling(nn.Module):
    """What is where, added to the pooled vector of an image: regions with a learnt position, through one hidden layer, averaged.

    The mean of a map forgets what stood beside what; here a feature counts for itself at each position.
    """

    def __init__(self, region_dim: int, dim: int, regions: int) -> None:
        super().__init__()
        self.region_projection = nn.Linear(region_dim, 2 * dim, bias=False)
        self.position = nn.Parameter(torch.randn(regions, 2 * dim) * 0.02)
        self.output = nn.Linear(2 * dim, dim, bias=False)

    def forward(self, regions: Tensor) -> Tensor:
        """Region map [B, C_r, h, w] -> [B, D]."""
        hidden = self.region_projection(regions.flatten(2).transpose(1, 2))
        _check_regions(hidden.shape[1], len(self.position))
        return self.output(nn.functional.gelu(hidden + self.position).mean(dim=1))


class TextPrior(nn.Module):
    """A text-only expert: how much a report looks like an original, whatever the image. It learns from detached embeddings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, report_embeds: Tensor) -> Tensor:
        """report_embeds [B, 1 + K, D] -> logits [B, 1 + K]."""
        return self.net(report_embeds.detach()).squeeze(-1)


def _check_regions(found: int, known: int) -> None:
    if found != known:
        raise WeightsError(
            f"The model has positions for {known} regions, the image has {found}: give images of the size that it was trained on."
        )


def regions_of(image_size: int, stride: int = 16) -> int:
    """Regions of an image whose sides have ``image_size`` pixels."""
    return (-(-image_size // stride)) ** 2


def words_of_reports(states: Tensor, word_ids: Tensor, segment_index: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces of segments in the order of their reports: states [U, L, H], word_ids [U, L] (-1: no word) and the segments of each
    report [N, S] (-1: none) -> (states [N, S L, H], word_ids [N, S L] counted through each report)."""
    inside = segment_index.clamp(min=0)
    here = word_ids[inside].masked_fill((segment_index < 0)[..., None], -1)  # [N, S, L]
    words = here.amax(dim=2) + 1
    before = words.cumsum(dim=1) - words
    numbered = torch.where(here >= 0, here + before[..., None], here)
    return states[inside].flatten(1, 2), numbered.flatten(1)
