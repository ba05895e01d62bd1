"""Where a pair's similarity <v_i, u_i> comes from: Grad-CAM and Integrated Gradients, over Captum.

The target is always one pair's own similarity, never a softmax over the batch: Integrated Gradients enlarges the batch, so
an in-batch value would not be a function of one example. A map says what the score depends on, not that the model is right.
Methods that cover or leave out parts instead of taking gradients: prdlib.attribution_masking. All of them by name, of images of
any size, and of the lead of a report over a perturbed copy: prdlib.attribution_methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum._utils.gradient import compute_layer_gradients_and_eval
from captum.attr import IntegratedGradients, LayerGradCam, LayerIntegratedGradients
from torch import Tensor
from torch.nn.functional import interpolate

from prdlib.attribution_inputs import check_number
from prdlib.evaluation.grounding import Phrase
from prdlib.models import PRDModel
from prdlib.models.segment_encoder import words_of_reports
from prdlib.models.text_encoder import merge_pieces
from prdlib.text import plain

RULE = "riemann_middle"  # along the path: gradients jump, so Captum's Gauss-Legendre has up to three times the completeness error


@dataclass(frozen=True)
class Attribution:
    """maps: [N, S, S] signed contribution per pixel, or None of a method for words alone; words: [N, W] per word of the report,
    or None; method and target in words; delta: [N] completeness error (sum of contributions - change of the score from the
    baseline), or None of a method that does not promise that they are equal."""

    maps: np.ndarray | None
    words: np.ndarray | None
    method: str
    target: str
    delta: np.ndarray | None = None


def frozen(model: PRDModel) -> PRDModel:
    """``model`` itself, made ready to be explained: in eval mode, parameters without gradients, convolutions channels last. The
    same values up to rounding, in half of the time."""
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def grad_cam(model: PRDModel, images: np.ndarray, reports: Sequence[Sequence[str]]) -> Attribution:
    """Grad-CAM of <v_i, u_i> at the last map of the image encoder, without ReLU, enlarged to the image.

    images: uint8 [N, S, S]; reports: N word lists. Works on convolutional maps and on a ViT's tokens.
    """
    model.eval()
    with torch.no_grad():
        texts = model.encode_reports(reports)
    pixels = model.prepare_images(torch.from_numpy(images))
    layer = model.image_encoder.attribution_layer

    def similarity(values: Tensor) -> Tensor:
        return (model.encode_images(values) * texts).sum(dim=1)

    if hasattr(model.image_encoder, "vit"):
        gradients, tokens = compute_layer_gradients_and_eval(similarity, layer, pixels.requires_grad_())
        weights = gradients[0].mean(dim=1, keepdim=True)
        flat = (weights * tokens[0]).sum(dim=2)[:, 1:]
        side = round(flat.shape[1] ** 0.5)
        coarse = flat.view(len(flat), 1, side, side)
    else:
        coarse = LayerGradCam(similarity, layer).attribute(pixels)
    size = pixels.shape[-2:]
    maps = interpolate(coarse.detach().float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    return Attribution(maps.cpu().numpy(), None, "Grad-CAM", "similarity of the pair")


def phrase_attribution(
    method: Callable[[PRDModel, np.ndarray, Sequence[Sequence[str]]], np.ndarray],
    model: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    items: Sequence[Phrase],
    size: int,
    batch_size: int = 64,
) -> np.ndarray:
    """Maps of the image and a phrase alone ("small left pleural effusion"), for each phrase: [P, size, size].

    method: (model, images [n, S, S], n word lists) -> maps [n, S, S]; images: uint8 [N, S, S]; reports: N marked words; items:
    phrases with rows of these. A map for the whole report cannot point to one of its findings. For
    :func:`prdlib.evaluation.localisation.localisation_maps`.
    """
    if not items:
        return np.zeros((0, size, size), dtype=np.float32)
    words = [plain(report) for report in reports]
    texts = [[words[item.row][w] for w in item.first_mention] for item in items]
    rows = [item.row for item in items]
    parts = [slice(i, i + batch_size) for i in range(0, len(items), batch_size)]
    maps = torch.from_numpy(np.concatenate([method(model, images[rows[part]], texts[part]) for part in parts]))
    return interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


def phrase_grad_cam(model: PRDModel, *asked: Any, **options: Any) -> np.ndarray:
    """:func:`phrase_attribution` by Grad-CAM: (model, images, reports, items, size) -> [P, size, size]."""
    return phrase_attribution(lambda *pairs: grad_cam(*pairs).maps, model, *asked, **options)


def integrated_gradients(
    model: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    baseline_image: np.ndarray,
    steps: int = 32,
    batch_size: int = 32,
) -> Attribution:
    """Integrated Gradients of <v_i, u_i> along one path for pixels and words together.

    images: uint8 [N, S, S]; reports: N word lists; baseline_image: uint8 [S, S], the image of no information (the mean
    image); the words' baseline is [PAD] between the special tokens. steps: points of the path. batch_size: bounds memory.
    """
    check_number("steps", steps)
    model.eval()
    pixels = model.prepare_images(torch.from_numpy(images))
    blank = model.prepare_images(torch.from_numpy(baseline_image[None])).expand_as(pixels)
    tokens = rows_of_reports(model, reports)
    baseline_ids = without_words(model, tokens)

    def similarity(values: Tensor, ids: Tensor, mask: Tensor, there: Tensor) -> Tensor:
        return (model.encode_images(values) * encode_rows(model, ids, mask, there)).sum(dim=1)

    layers = [model.text_encoder.get_input_embeddings(), model.pixel_input]
    fixed = (tokens["attention_mask"], tokens["there"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Multiple layers provided")  # words and pixels do not feed each other
        by_piece, by_pixel = LayerIntegratedGradients(similarity, layers).attribute(
            inputs=(pixels, tokens["input_ids"]),
            baselines=(blank, baseline_ids),
            additional_forward_args=fixed,
            n_steps=steps,
            method=RULE,
            internal_batch_size=batch_size,
        )
    pieces = by_piece.detach().sum(dim=2).view(len(pixels), -1)
    with torch.no_grad():
        change = similarity(pixels, tokens["input_ids"], *fixed) - similarity(blank, baseline_ids, *fixed)
    delta = pieces.sum(dim=1) + by_pixel.detach().sum(dim=(1, 2, 3)) - change
    words = int(tokens["word_ids"].max()) + 1
    by_word = merge_pieces(pieces[..., None], tokens["word_ids"], words)[..., 0]
    return Attribution(
        by_pixel.detach()[:, 0].float().cpu().numpy(),
        by_word.float().cpu().numpy(),
        "Integrated Gradients",
        "similarity of the pair",
        delta.detach().float().cpu().numpy(),
    )


def rows_of_reports(model: PRDModel, reports: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """Tokens with a row for each report, whose segments stand one behind the other: input_ids, attention_mask, word_ids [N, S L]
    and there [N, S] bool. A report that is not divided is one segment."""
    tokens = model.tokenise(reports)
    index = tokens.get("segment_index", torch.arange(len(tokens["input_ids"]), device=model.device)[:, None])
    there, inside = index >= 0, index.clamp(min=0)
    _, word_ids = words_of_reports(tokens["input_ids"][..., None], tokens["word_ids"], index)
    return {
        "input_ids": tokens["input_ids"][inside].flatten(1),
        "attention_mask": tokens["attention_mask"][inside].flatten(1),
        "word_ids": word_ids,
        "there": there,
    }


def without_words(model: PRDModel, tokens: dict[str, Tensor]) -> Tensor:
    """The baseline of reports: input_ids [N, S L] with [PAD] for every piece of a word, special tokens left where they are."""
    return tokens["input_ids"].masked_fill(tokens["word_ids"] >= 0, model.word_tokenizer.pad_id)


def encode_rows(model: PRDModel, ids: Tensor, mask: Tensor, there: Tensor) -> Tensor:
    """report_embeds [N, D] of :func:`rows_of_reports`: ids and mask [N, S L] hold the segments that are there [N, S] one behind
    the other, so that N stays the first dimension, which Captum enlarges."""
    sequences = {"input_ids": ids.reshape(there.numel(), -1), "attention_mask": mask.reshape(there.numel(), -1)}
    if model.config.segments != "none":
        place = torch.arange(there.numel(), device=ids.device).view_as(there)
        sequences["segment_index"] = place.masked_fill(~there, -1)
    return model.encode_reports(sequences)


def pixel_gradients(
    model: PRDModel, images: np.ndarray, texts: Sequence[Sequence[str]], steps: int = 16, batch_size: int = 256
) -> Attribution:
    """Integrated Gradients of <v_i, u_i> over pixels alone, from a black image, which is no other study's.

    images: uint8 [N, S, S]; texts: N word lists; steps: points of the path; batch_size: bounds memory.
    """
    check_number("steps", steps)
    model.eval()
    pixels = model.prepare_images(torch.from_numpy(images))
    with torch.no_grad():
        embeds = model.encode_reports(texts)

    def similarity(values: Tensor, text: Tensor) -> Tensor:
        return (model.encode_images(values) * text).sum(dim=1)

    black = torch.zeros_like(pixels)
    values = IntegratedGradients(similarity).attribute(
        pixels, black, additional_forward_args=(embeds,), n_steps=steps, method=RULE, internal_batch_size=batch_size
    )
    values = values.detach()[:, 0].float()
    with torch.no_grad():
        delta = values.sum(dim=(1, 2)) - (similarity(pixels, embeds) - similarity(black, embeds))
    maps = values.cpu().numpy()
    return Attribution(maps, None, "Integrated Gradients", "similarity of the pair", delta.cpu().numpy())


def phrase_gradients(
    model: PRDModel, images: np.ndarray, texts: Sequence[Sequence[str]], steps: int = 16, cell: int = 16
) -> np.ndarray:
    """:func:`pixel_gradients` summed over cells of ``cell`` pixels: [N, S, S], the cells' means, enlarged as word-to-region maps
    are, so that both kinds of maps point with the same resolution."""
    return by_cell(pixel_gradients(model, images, texts, steps).maps, cell)


def by_cell(maps: np.ndarray, cell: int = 16) -> np.ndarray:
    """Maps [N, S, S] of single pixels as the means of cells of ``cell`` pixels, bilinearly enlarged to [N, S, S] again.

    Contributions of neighbouring pixels cancel or scatter; what the eye can read, and what can point, is their sum over a place.
    """
    cells = interpolate(torch.tensor(maps)[:, None], size=maps.shape[-1] // cell, mode="area")
    return interpolate(cells, size=maps.shape[-2:], mode="bilinear", align_corners=False)[:, 0].numpy()
