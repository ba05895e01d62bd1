"""PRDModel: an image and a report encoder with a shared global space (D) and a shared region-word space (D_l)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import ModelOutput

from prdlib.images import resize
from prdlib.models.image_encoder import build_image_encoder
from prdlib.models.model_card import model_card
from prdlib.models.prd_config import PRDConfig
from prdlib.models.published import WeightsError
from prdlib.models.report_encoding import ReportEncoding
from prdlib.models.segment_encoder import (
    PlacePooling,
    ReportBlock,
    SegmentRegionHead,
    TextPrior,
    regions_of,
    words_of_reports,
)
from prdlib.models.text_encoder import (
    ProjectionHead,
    buckets,
    build_text_encoder,
    max_pieces,
    merge_pieces,
)
from prdlib.repro import write_atomic
from prdlib.text import WordTokenizer
from prdlib.text.tokenization import padded_index

MAX_SCALE = 100.0
SEGMENT_BUCKETS = {"most": 256, "least": 96, "padding": 1.3}  # short sequences: fewer, larger products


@dataclass
class PRDOutput(ModelOutput):
    """image_embeds [B, D], report_embeds [B, 1 + K, D], s, s_p; with the local loss region_embeds [B, R, D_l],
    word_embeds [B, W, D_l], word_mask [B, W]; with segments and regions place_embeds [B, R + 1, D_l], segment_embeds [B, S, D_l],
    segment_mask [B, S], segment_scale; with a text-only expert text_prior [B, 1 + K]."""

    image_embeds: Tensor | None = None
    report_embeds: Tensor | None = None
    logit_scale: Tensor | None = None
    discrimination_scale: Tensor | None = None
    region_embeds: Tensor | None = None
    word_embeds: Tensor | None = None
    word_mask: Tensor | None = None
    place_embeds: Tensor | None = None
    segment_embeds: Tensor | None = None
    segment_mask: Tensor | None = None
    segment_scale: Tensor | None = None
    text_prior: Tensor | None = None


class PRDModel(ReportEncoding, PreTrainedModel):
    """Encoders with their projections. Images are grey; reports are strings, (marked) words or tokenised batches.

    With ``config.segments`` a report is read in segments (:mod:`prdlib.models.segment_encoder`): words carry the marks where they
    begin, of strings they are found by the parser, words without marks are one segment.
    ``logit_scale`` and ``discrimination_scale`` hold log s and log s_p; :meth:`scales` gives s and s_p, at most 100.
    """

    config_class = PRDConfig
    base_model_prefix = "prd"
    main_input_name = "pixel_values"
    _supports_sdpa = True
    _no_split_modules: tuple[str, ...] = ()

    def __init__(self, config: PRDConfig) -> None:
        super().__init__(config)
        self.image_encoder = build_image_encoder(
            config.image_encoder, config.image_width, config.image_size, config.region_stride
        )
        if config.pixel_statistics:
            self.image_encoder.pixel_mean, self.image_encoder.pixel_std = config.pixel_statistics
        self.pixel_input = nn.Identity()  # a place for attribution to hold on to: gradients at the pixels in [0, 1]
        self.text_encoder = build_text_encoder(config.text_encoder)
        text_width = self.text_encoder.config.hidden_size
        self.image_projection = nn.Linear(self.image_encoder.pooled_dim, config.projection_dim, bias=False)
        head = ProjectionHead if config.text_projection == "cxr_bert" else _linear
        self.text_projection = head(text_width, config.projection_dim)
        self.region_projection = nn.Linear(self.image_encoder.region_dim, config.local_dim, bias=False)
        self.word_projection = nn.Linear(text_width, config.local_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(np.log(config.initial_logit_scale))))
        self.discrimination_scale = nn.Parameter(torch.tensor(float(np.log(config.initial_discrimination_scale))))
        if config.segments != "none":
            self.report_block = ReportBlock(text_width, config.segment_blocks, _dropout(config.text_encoder))
        if config.place_pooling:
            self.place_pooling = PlacePooling(
                self.image_encoder.region_dim,
                config.projection_dim,
                regions_of(config.image_size, config.region_stride),
            )
        if config.segment_regions:
            self.segment_head = SegmentRegionHead(
                self.image_encoder.region_dim,
                self.image_encoder.pooled_dim,
                text_width,
                config.local_dim,
                regions_of(config.image_size, config.region_stride),
                config.region_positions,
            )
            self.segment_scale = nn.Parameter(torch.tensor(float(np.log(config.initial_logit_scale))))
        if config.text_prior:
            self.text_prior = TextPrior(config.projection_dim)
        self.word_tokenizer: WordTokenizer | None = None
        self._frozen: tuple[str, ...] = ()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Every part initialises itself when it is built; only tensors that a checkpoint does not carry come here."""

    def freeze(self, *encoders: str) -> None:
        """Keep 'image' or 'text' encoders as they are, in train mode too: no gradient, no dropout, batch norm's statistics
        neither used nor moved."""
        self._frozen = encoders
        for name in encoders:
            getattr(self, f"{name}_encoder").requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> PRDModel:
        """As of every module; a frozen encoder stays in eval mode."""
        super().train(mode)
        for name in self._frozen:
            getattr(self, f"{name}_encoder").eval()
        return self

    # -- images ------------------------------------------------------------------------------------------------------

    def prepare_images(self, images: Tensor | Sequence[np.ndarray] | np.ndarray) -> Tensor:
        """Grey images as pixel_values, float [B, 1, S, S] in [0, 1] on the model's device.

        images: such a tensor already, or uint8 arrays [H, W] of any size (short side resized to S, centre cropped).
        Raises ValueError when there is no image, for a single one outside a list, and for one that is not grey.
        """
        if not isinstance(images, Tensor):
            if len(images) == 0:
                raise ValueError("No images: give a list of at least one.")
            if np.ndim(images[0]) == 1:
                raise ValueError("images is a single image: give a list of images, e.g. [image].")
            size = self.config.image_size
            images = torch.from_numpy(np.stack([resize(np.asarray(image), size) for image in images]))
        if images.ndim == 3:
            images = images[:, None]
        if images.dtype == torch.uint8:
            images = images.to(self.device).float() / 255
        side = self.config.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (1, side, side):
            raise ValueError(
                f"images must be grey, [B, 1, {side}, {side}], not {list(images.shape)}; a list of arrays may be of any size"
            )
        return images.to(self.device)

    def image_features(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, S, S] in [0, 1] -> (pooled [B, C], region map [B, C_r, h, w]), before the projections."""
        encoder = self.image_encoder
        pixels = (self.pixel_input(pixel_values) - encoder.pixel_mean) / encoder.pixel_std
        pixels = pixels.expand(-1, encoder.in_channels, -1, -1).contiguous(memory_format=torch.channels_last)
        return encoder(pixels)

    def encode_images(self, images: Tensor | Sequence[np.ndarray]) -> Tensor:
        """image_embeds [B, D], L2-normalised, float32."""
        return self.project_images(*self.image_features(self.prepare_images(images)))

    def project_images(self, pooled: Tensor, regions: Tensor) -> Tensor:
        """pooled [B, C], region map [B, C_r, h, w] -> image_embeds [B, D], L2-normalised."""
        embeds = self.image_projection(pooled)
        if self.config.place_pooling:
            embeds = embeds + self.place_pooling(regions)
        return normalize(embeds.float(), dim=-1)

    def encode_regions(self, images: Tensor | Sequence[np.ndarray]) -> Tensor:
        """region_embeds [B, R, D_l], R = h w in row-major order, not normalised, float32."""
        _, regions = self.image_features(self.prepare_images(images))
        return self.project_regions(regions)

    def project_regions(self, regions: Tensor) -> Tensor:
        """Region map [B, C_r, h, w] -> region_embeds [B, R, D_l]."""
        return self.region_projection(regions.flatten(2).transpose(1, 2)).float()

    def encode_places(self, images: Tensor | Sequence[np.ndarray]) -> Tensor:
        """place_embeds [B, R + 1, D_l], L2-normalised: the regions row by row, then the whole image.

        Raises ValueError for a model without the segment-region head.
        """
        self._needs_segment_head()
        return self.segment_head.places(*self.image_features(self.prepare_images(images)))

    # -- scores ------------------------------------------------------------------------------------------------------

    def scales(self) -> tuple[Tensor, Tensor]:
        """(s, s_p): scalars [], exponentiated and at most 100."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE), self.discrimination_scale.exp().clamp(max=MAX_SCALE)

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        word_ids: Tensor,
        report_index: Tensor,
        segment_index: Tensor | None = None,
        local: bool = False,
        segments: bool = False,
        layout: Mapping[str, Sequence[Any]] | None = None,
    ) -> PRDOutput:
        """Every embedding that the losses of one batch need, in one pass over images and one over distinct texts.

        pixel_values: [B, 1, S, S] in [0, 1]; input_ids, attention_mask, word_ids: [U, L], the distinct texts of the batch
        sorted by length, or with segments their distinct segments; segment_index: [T, S] then, the segments of each distinct text
        (-1: none); report_index: [B, 1 + K], the text of each original (index 0) and copy.
        local: whether regions and words are projected; segments: whether places and segments are. layout: lengths, originals,
        words and sequences as ``Collate`` gives them; without it they are read from the tensors: a GPU's host must wait for them.
        word_mask and segment_mask of the output lie on the CPU.
        Raises ValueError when segment_index is given to a model that reads whole reports, or not to one that reads segments.
        """
        if (segment_index is None) != (self.config.segments == "none"):
            raise ValueError(
                "segment_index is for models that read segments, and they need it: use their own tokenise."
            )
        layout = layout or _layout(attention_mask, word_ids, report_index, segment_index)
        place = {s: i for i, s in enumerate(sorted({s for row in layout["sequences"] for s in row}))}
        longest = max(layout["words"])
        pooled_images, regions = self.image_features(pixel_values)
        pooled, merged, kept_ids = [], [], []
        size = {} if segment_index is None else SEGMENT_BUCKETS
        for rows in buckets(layout["lengths"], **size):
            length = layout["lengths"][rows.stop - 1]
            tokens = {"input_ids": input_ids[rows, :length], "attention_mask": attention_mask[rows, :length]}
            state, hidden = self.sequence_features(tokens, words=local)
            pooled.append(state)
            kept = [sequence - rows.start for sequence in place if rows.start <= sequence < rows.stop]
            if local and kept:
                kept = torch.tensor(kept).to(hidden.device, non_blocking=True)
                if segment_index is None:
                    merged.append(merge_pieces(hidden[kept], word_ids[rows, :length][kept], longest))
                else:  # words are merged when their segments stand in their reports
                    merged.append(nn.functional.pad(hidden[kept], (0, 0, 0, input_ids.shape[1] - length)))
                    kept_ids.append(word_ids[rows][kept])
        states = torch.cat(pooled)
        reports = states if segment_index is None else self.report_states(states, segment_index)
        text_embeds = normalize(self.text_projection(reports).float(), dim=-1)
        scale, discrimination_scale = self.scales()
        output = PRDOutput(
            image_embeds=self.project_images(pooled_images, regions),
            report_embeds=text_embeds[report_index],
            logit_scale=scale,
            discrimination_scale=discrimination_scale,
        )
        if local:
            output.region_embeds = self.project_regions(regions)
            index = padded_index(layout["sequences"], place).to(states.device, non_blocking=True)
            if segment_index is None:
                words = normalize(self.word_projection(torch.cat(merged)).float(), dim=-1)[index[:, 0]]
            else:
                joined = words_of_reports(torch.cat(merged), torch.cat(kept_ids), index)
                words = normalize(self.word_projection(merge_pieces(*joined, longest)).float(), dim=-1)
            output.word_embeds = words
            output.word_mask = torch.arange(longest) < torch.tensor(layout["words"])[:, None]
        if segments:
            self._needs_segment_head()
            index = padded_index(layout["sequences"])
            embeds = self.segment_head.segments(states)
            output.place_embeds = self.segment_head.places(pooled_images, regions)
            output.segment_embeds = embeds[index.clamp(min=0).to(embeds.device, non_blocking=True)]
            output.segment_mask = index >= 0
            output.segment_scale = self.segment_scale.exp().clamp(max=MAX_SCALE)
        if self.config.text_prior:
            output.text_prior = self.text_prior(output.report_embeds)
        return output

    # -- disk --------------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """safetensors, config, tokenizer and a model card in one folder."""
        super().save_pretrained(save_directory, **kwargs)
        if self.word_tokenizer is not None:
            self.word_tokenizer.save(save_directory)
        write_atomic(Path(save_directory) / "README.md", model_card(self.config))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any) -> PRDModel:
        """The model with its tokenizer, from a folder of :meth:`save_pretrained` or a hub name (while online)."""
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir() and (folder.is_absolute() or str(pretrained_model_name_or_path).count("/") != 1):
            raise WeightsError(
                f"No model at {str(folder)!r}: give a folder written by save_pretrained, or owner/name of a hub."
            )
        result = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = result[0] if isinstance(result, tuple) else result
        # The class itself: AutoTokenizer would read config.json first and warn that it is no text model's.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path)
        model.word_tokenizer = WordTokenizer(tokenizer, max_pieces(model.text_encoder.config))
        return result


def _layout(
    attention_mask: Tensor, word_ids: Tensor, report_index: Tensor, segment_index: Tensor | None
) -> dict[str, list[Any]]:
    originals, words = report_index[:, 0].tolist(), (word_ids.amax(dim=1) + 1).tolist()
    rows = [[text] for text in range(len(words))] if segment_index is None else segment_index.tolist()
    sequences = [[s for s in rows[text] if s >= 0] for text in originals]
    return {
        "lengths": attention_mask.sum(dim=1).tolist(),
        "originals": originals,
        "sequences": sequences,
        "words": [sum(words[s] for s in row) for row in sequences],
    }


def _dropout(text_encoder: Mapping[str, Any]) -> float:
    return float(text_encoder.get("hidden_dropout_prob") or text_encoder.get("dropout") or 0.0)


def _linear(width: int, dim: int) -> nn.Module:
    return nn.Linear(width, dim, bias=False)
