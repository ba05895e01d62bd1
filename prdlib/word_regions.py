"""Where the words of a report are found in its image: the word-to-region attention of the local loss, in image coordinates.

No attribution: the report's embedding, and so the similarity of the pair, does not pass through these weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from prdlib.attribution import Attribution
from prdlib.attribution_inputs import check_images, marked_reports
from prdlib.evaluation.grounding import Phrase, word_region_maps
from prdlib.images import fit, resize
from prdlib.models import PRDModel
from prdlib.text import plain

METHOD, TARGET = "Word-to-region attention", "attention above that of a word that looks everywhere alike"


@dataclass(frozen=True)
class WordMaps:
    """maps: float [W, H, W'], one for each of the words, in the image as it was given: attention minus 1 / R, R being the number
    of regions, so that 0 is a word that looks everywhere alike; 0 too where the model's square cut the image off."""

    maps: np.ndarray
    words: tuple[str, ...]
    method: str = METHOD
    target: str = TARGET


def phrase_attention(
    model: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    items: Sequence[Phrase],
    size: int,
    attention_temperature: float = 4.0,
) -> np.ndarray:
    """Mean attention of the words of each phrase, read in its report: [P, size, size], sums to 1 before it is enlarged.

    images: uint8 [N, S, S]; reports: N marked words; items: phrases with rows of these; attention_temperature: tau1. Constant for
    a report of one word, whose attention is a softmax over that word alone.
    """
    if not items:
        return np.zeros((0, size, size), dtype=np.float32)
    attention, side = word_region_maps(model, images, [plain(report) for report in reports], attention_temperature)
    coarse = torch.stack([attention[item.row, list(item.words)].mean(dim=0) for item in items])
    grid = coarse.view(-1, 1, side, side)
    return interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


def word_maps(
    model: PRDModel,
    images: Sequence[np.ndarray],
    reports: Sequence[str | Sequence[str]],
    attention_temperature: float = 4.0,
) -> list[WordMaps]:
    """A map of each word of N reports over their images, uint8 [H, W] of any size; reports: N strings or (marked) word lists."""
    check_images(images)
    size, texts = model.config.image_size, [plain(report) for report in marked_reports(model, reports)]
    squares = np.stack([resize(image, size) for image in images])
    attention, side = word_region_maps(model, squares, texts, attention_temperature)
    above = attention.view(len(texts), -1, side, side) - 1 / side**2
    large = interpolate(above, size=(size, size), mode="bilinear", align_corners=False).numpy()
    return [
        WordMaps(np.stack([fit(*image.shape, size).to_image(values) for values in maps[: len(words)]]), tuple(words))
        for image, maps, words in zip(images, large, texts, strict=True)
    ]


def report_attention(
    model: PRDModel, images: np.ndarray, reports: Sequence[Sequence[str]], attention_temperature: float = 4.0
) -> Attribution:
    """The mean over the words of each report of :func:`word_maps`, for squares: images uint8 [N, S, S]."""
    found = word_maps(model, list(images), reports, attention_temperature)
    return Attribution(np.stack([maps.maps.mean(axis=0) for maps in found]), None, METHOD, TARGET)
