"""Where the words of a report are found in its image, in image coordinates, by the head that the model's training taught.

Of a model with a segment-region head the cosine of the word's segment with each region; of others the word-to-region attention of
the local loss. Where neither was trained (clip, prd_no_local, structured), the method's name says so.
No attribution: the report's embedding, and so the similarity of the pair, does not pass through these weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.nn.functional import interpolate

from prdlib.attribution import Attribution
from prdlib.attribution_inputs import check_images, marked_reports
from prdlib.evaluation.grounding import Phrase, word_region_maps
from prdlib.evaluation.localisation import enlarged, phrase_maps
from prdlib.images import fit, resize
from prdlib.models import PRDModel
from prdlib.text import first_words, plain

METHOD, TARGET = "Word-to-region attention", "attention above that of a word that looks everywhere alike"
SEGMENTS, SEGMENT_TARGET = "Segment-to-region cosine", "cosine of the word's segment with the region"
UNTRAINED = f"{METHOD} (untrained word head)"


@dataclass(frozen=True)
class WordMaps:
    """maps: float [W, H, W'], of each word that the model reads, in the image as it was given: attention minus 1 / R,
    R being the number of regions, so that 0 is a word that looks everywhere alike, or the cosine of the word's segment; 0 where
    the model's square cut the image off. method: METHOD, SEGMENTS or UNTRAINED, see :func:`head_of`."""

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
    """Mean attention of the words of each phrase, read in its report: [P, size, size], sums to 1 before it is enlarged; always
    that of the head of words, trained or not.

    images: uint8 [N, S, S]; reports: N marked words; items: phrases with rows of these; attention_temperature: tau1. Constant for
    a report of one word, whose attention is a softmax over that word alone.
    """
    if not items:
        return enlarged([], size)
    attention, _ = word_region_maps(model, images, [plain(report) for report in reports], attention_temperature)
    return enlarged([attention[item.row, list(item.words)].mean(dim=0) for item in items], size)


def word_maps(
    model: PRDModel,
    images: Sequence[np.ndarray],
    reports: Sequence[str | Sequence[str]],
    attention_temperature: float = 4.0,
) -> list[WordMaps]:
    """A map of each word of N reports over their images, uint8 [H, W] of any size; reports: N strings or (marked) word lists."""
    check_images(images)
    size, limit = model.config.image_size, model.config.word_limit
    marked = [first_words(report, limit) for report in marked_reports(model, reports)]
    texts, squares = [plain(report) for report in marked], np.stack([resize(image, size) for image in images])
    method = head_of(model)
    if method == SEGMENTS:
        large, target = _segment_maps(model, squares, marked), SEGMENT_TARGET
    else:
        attention, side = word_region_maps(model, squares, texts, attention_temperature)
        above = attention.view(len(texts), -1, side, side) - 1 / side**2
        large, target = interpolate(above, size=(size, size), mode="bilinear", align_corners=False).numpy(), TARGET
    found = []
    for image, maps, words in zip(images, large, texts, strict=True):
        places = [fit(*image.shape, size).to_image(values) for values in maps[: len(words)]]
        found.append(WordMaps(np.stack(places), words, method, target))
    return found


def head_of(model: PRDModel) -> str:
    """By what word maps are made: SEGMENTS of a model with a segment-region head, else METHOD, or UNTRAINED where the checkpoint
    tells that no loss taught the head of words."""
    if model.config.segment_regions:
        return SEGMENTS
    objective = model.config.training.get("objective", {})
    return METHOD if objective.get("local_weight", 1) else UNTRAINED


def _segment_maps(model: PRDModel, squares: np.ndarray, marked: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Of each report [W, S, S], for each of its words the map of the segment that holds it."""
    lengths = [len(plain(report)) for report in marked]
    words = [Phrase(row, "", (i,), (0.0, 0.0, 1.0, 1.0)) for row, number in enumerate(lengths) for i in range(number)]
    return np.split(phrase_maps(model, squares, marked, words, squares.shape[-1]), np.cumsum(lengths)[:-1])


def report_attention(
    model: PRDModel, images: np.ndarray, reports: Sequence[Sequence[str]], attention_temperature: float = 4.0
) -> Attribution:
    """The mean over the words of each report of :func:`word_maps`, for squares: images uint8 [N, S, S]."""
    found = word_maps(model, list(images), reports, attention_temperature)
    return Attribution(np.stack([maps.maps.mean(axis=0) for maps in found]), None, found[0].method, found[0].target)
