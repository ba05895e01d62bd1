"""PRDConfig: the settings of a model alone, as its checkpoint carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

from prdlib.models.text_encoder import small_bert_config


class PRDConfig(PreTrainedConfig):
    """The model's settings alone: encoders, widths, input size, word limit. Built from a RunConfig by ``build_model``."""

    model_type = "prd"

    def __init__(
        self,
        image_encoder: str = "narrow_resnet",
        image_width: int = 16,
        image_size: int = 96,
        region_stride: int = 16,
        text_encoder: Mapping[str, Any] | None = None,
        text_pooling: str = "mean",
        text_projection: str = "linear",
        projection_dim: int = 128,
        local_dim: int = 128,
        word_limit: int = 60,
        initial_logit_scale: float = 1 / 0.07,
        initial_discrimination_scale: float = 1 / 0.07,
        segments: str = "none",
        segment_window: int = 8,
        segment_blocks: int = 1,
        segment_regions: bool = False,
        region_positions: bool = True,
        text_prior: bool = False,
        distance_bias: float = 0.0,
        place_pooling: bool = False,
        pixel_statistics: Sequence[float] | None = None,
        training: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_encoder = image_encoder
        self.image_width = image_width
        self.image_size = image_size
        self.region_stride = region_stride  # pixels between neighbouring regions; other encoders than narrow_resnet: 16
        self.text_encoder = dict(text_encoder or small_bert_config(2, 128, 2500, 128, 0.1).to_dict())
        self.text_pooling = text_pooling
        self.text_projection = text_projection
        self.projection_dim = projection_dim
        self.local_dim = local_dim
        self.word_limit = word_limit
        self.initial_logit_scale = initial_logit_scale
        self.initial_discrimination_scale = initial_discrimination_scale
        self.segments = segments  # what is encoded by itself: none (flat), report, sentence, clause, phrase, window
        self.segment_window = segment_window
        self.segment_blocks = segment_blocks
        self.segment_regions = segment_regions
        self.region_positions = region_positions
        self.text_prior = text_prior
        self.distance_bias = distance_bias
        self.place_pooling = place_pooling
        self.pixel_statistics = (
            list(pixel_statistics) if pixel_statistics else None
        )  # mean, std where not the encoder's own
        self.training = dict(training or {})  # how the weights came about: method, seed, settings, data; for the card
        super().__init__(**kwargs)
