"""A model ready to train from the settings of a run: vocabulary, random weights by seed, published weights laid over them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict

import torch

from prdlib.config import RunConfig
from prdlib.models.dual_encoder import PRDModel
from prdlib.models.image_encoder import build_image_encoder, load_image_weights
from prdlib.models.prd_config import PRDConfig
from prdlib.models.published import image_weights_file, imagenet_weights, text_encoder_folder
from prdlib.models.text_encoder import (
    ProjectionHead,
    load_text_weights,
    max_pieces,
    read_text_config,
    read_tokenizer,
    small_bert_config,
)
from prdlib.text import WordTokenizer, train_wordpiece


def build_model(
    config: RunConfig, seed: int, reports: Sequence[str] = ()
) -> tuple[PRDModel, dict[str, dict[str, list[str]]]]:
    """A model ready to train, and what became of every key of the weights that were loaded.

    reports: normalised training reports, from which small_bert's WordPiece vocabulary is learnt.
    seed: of the random weights. Returns (model, {"image": report, "text": report}), empty for encoders from scratch.
    Raises WeightsError, before anything is built, when published weights that the settings name are not there.
    """
    settings, structured = config.model, config.model.segments not in ("auto", "none")
    if settings.image_weights not in ("", "package"):
        image_weights_file(settings.image_weights)
    positions = 4 * config.data.word_limit + 2  # pieces of a word: four on average is more than any corpus here needs
    if settings.text_encoder == "small_bert":
        tokenizer = train_wordpiece(reports, settings.vocabulary_size)
        text_config = small_bert_config(
            settings.text_layers, settings.text_width, len(tokenizer), positions, settings.dropout
        )
    else:
        folder = text_encoder_folder(settings.text_encoder)
        text_config, tokenizer = read_text_config(folder), read_tokenizer(folder)
    text_pooling = settings.text_pooling
    if text_pooling == "auto":  # the mean learns faster from scratch; published encoders know their first token
        text_pooling = "mean" if settings.text_encoder == "small_bert" else "first"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PRDModel(
            PRDConfig(
                image_encoder=settings.image_encoder,
                image_width=settings.image_width,
                image_size=config.data.image_size,
                region_stride=settings.region_stride,
                text_encoder=text_config.to_dict(),
                text_pooling=text_pooling,
                projection_dim=settings.projection_dim,
                local_dim=settings.local_dim,
                word_limit=config.data.word_limit,
                initial_logit_scale=config.objective.initial_logit_scale,
                initial_discrimination_scale=config.objective.initial_discrimination_scale,
                segments=settings.segments if structured else "none",
                segment_window=settings.segment_window,
                segment_blocks=settings.segment_blocks,
                segment_regions=structured and config.objective.segment_weight > 0,
                region_positions=settings.region_positions,
                place_pooling=settings.place_pooling and structured,
                distance_bias=settings.distance_bias if structured else 0.0,
                text_prior=config.objective.discrimination_weight > 0 and config.objective.discrimination == "debiased",
            )
        )
    keys: dict[str, dict[str, list[str]]] = {}
    if settings.image_weights:
        keys["image"] = load_image_weights(model.image_encoder, settings.image_weights)
        model.config.pixel_statistics = [model.image_encoder.pixel_mean, model.image_encoder.pixel_std]
    if settings.text_encoder != "small_bert":
        keys["text"] = load_text_weights(model.text_encoder, folder)
        projection = keys["text"].pop("projection")
        if projection and projection["dense_to_output.weight"].shape[0] == settings.projection_dim:
            model.text_projection = ProjectionHead(model.text_encoder.config.hidden_size, settings.projection_dim)
            model.text_projection.load_state_dict(projection)
            model.config.text_projection = "cxr_bert"
    model.word_tokenizer = WordTokenizer(tokenizer, max_pieces(model.text_encoder.config))
    model.config.training = {"settings": asdict(config.model)}
    return model, keys


def random_twin(model: PRDModel, seed: int = 1) -> PRDModel:
    """A control: the architecture and vocabulary of ``model`` with random weights, no published ones either; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = PRDModel(copy.deepcopy(model.config))
    twin.word_tokenizer = model.word_tokenizer
    return twin.to(model.device).eval()


def imagenet_twin(model: PRDModel, weights: str = "", seed: int = 1) -> PRDModel:
    """A control: :func:`random_twin` whose image encoder has ImageNet weights and their pixel statistics instead.

    weights: as setting model.image_weights, a file, or 'package' for tf_efficientnet_lite0; empty: what
    :func:`prdlib.models.published.imagenet_weights` finds. Raises WeightsError, which names where to get them, when they are not
    on disk, and for an encoder that has none.
    """
    weights = weights or imagenet_weights(model.config.image_encoder)
    twin = random_twin(model, seed)
    encoder = build_image_encoder(
        model.config.image_encoder, model.config.image_width, model.config.image_size, model.config.region_stride
    )
    load_image_weights(encoder, weights)
    twin.image_encoder = encoder.to(model.device)
    twin.config.pixel_statistics = [encoder.pixel_mean, encoder.pixel_std]  # the model's may be others, as BioViL's are
    return twin.eval()
