"""Every method by name: maps of phrases for scores, and explanations of pairs in the coordinates of images of any size.

A target is a pair's similarity <v, u>, or its lead over a perturbed copy of the report, <v, u> - <v, u'>. All attributions here
are linear in the score, so a lead's is the report's minus the copy's; a word of the copy counts for the word that it was.
Attention is no attribution (prdlib.word_regions); its difference says whether the words of the copy look elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from prdlib.attribution import (
    Attribution,
    by_cell,
    grad_cam,
    integrated_gradients,
    phrase_attribution,
    phrase_grad_cam,
    phrase_gradients,
)
from prdlib.attribution_inputs import check_copies, check_images, marked_reports
from prdlib.attribution_masking import SeenImages, occlusion, word_attribution
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import grounding, localisation
from prdlib.images import Geometry, fit, resize
from prdlib.models import PRDModel
from prdlib.text import Perturbed, plain
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import SEGMENTS, UNTRAINED, head_of, phrase_attention, report_attention

Method = Callable[..., Attribution]
OWN_MAPS = {ATTENTION: "word maps", SEGMENTS: "segment maps", UNTRAINED: "word maps, untrained head"}  # by head
SIMILARITY, LEAD = "similarity of the pair", "lead over the perturbed report"


def gradients_from_black(
    model: PRDModel, images: np.ndarray, reports: Sequence[Sequence[str]], **options: int
) -> Attribution:
    """:func:`prdlib.attribution.integrated_gradients` from a black image."""
    return integrated_gradients(model, images, reports, np.zeros_like(images[0]), **options)


PAIR_METHODS: dict[str, Method] = {
    ATTENTION: report_attention,
    "Grad-CAM": grad_cam,
    "Integrated Gradients": gradients_from_black,
    "Occlusion": occlusion,
    "Shapley values": partial(word_attribution, method="Shapley values"),
    "Word ablation": partial(word_attribution, method="Word ablation"),
}  # (model, images uint8 [N, S, S], N word lists, **options) -> Attribution


def occlusion_maps(
    model: PRDModel, images: np.ndarray, texts: Sequence[Sequence[str]], seen: SeenImages | None = None
) -> np.ndarray:
    """:func:`prdlib.attribution_masking.occlusion` as smooth maps [N, S, S]: its plateaus point to their corner."""
    found = occlusion(model, images, texts, encode=seen)
    return by_cell(found.maps, max(1, images.shape[-1] // 8))


def map_methods(attention_temperature: float = 4.0, head: str = ATTENTION) -> dict[str, Callable[..., np.ndarray]]:
    """Maps of phrases by name: (model, images, reports, items, size) -> [P, size, size], see prdlib.evaluation.localisation.

    head: what the model has to find words with (:func:`prdlib.word_regions.head_of`). 'word maps' (inner products of words with
    regions) and 'attention' (that of the local loss, with its temperature tau1, in the whole report), or 'segment maps' (cosines
    of segments with regions) are the model's own and no attribution; where no loss taught the head of words, their name says so
    and there is no attention. The others are of the similarity of the image and the phrase alone.
    """
    own = {OWN_MAPS[head]: localisation.phrase_maps}
    if head == ATTENTION:
        own["attention"] = partial(phrase_attention, attention_temperature=attention_temperature)
    return own | {
        "Grad-CAM": phrase_grad_cam,
        "Integrated Gradients": partial(phrase_attribution, phrase_gradients),
        "Occlusion": partial(phrase_attribution, partial(occlusion_maps, seen=SeenImages())),
    }


def study_maps(
    model: PRDModel,
    data: EvaluationData,
    phrases: Sequence[grounding.Phrase],
    row: int,
    attention_temperature: float = 4.0,
) -> tuple[np.ndarray, dict[str, np.ndarray], list[str], list[list[tuple[float, ...]]]]:
    """What :func:`prdlib.faithfulness_plots.methods_by_phrases` draws of study ``row``: its image, the maps of its phrases (or
    its nouns, in a collection without boxes) by every method, the phrases, the true boxes of each."""
    shown = [p._replace(row=0) for p in grounding.shown_phrases(row, phrases, data.tagged[row].tags)]
    asked = (data.images[row : row + 1], [data.marked[row]], shown, data.images.shape[-1])
    maps = {
        name: maps_of(model, *asked) for name, maps_of in map_methods(attention_temperature, head_of(model)).items()
    }
    titles = [" ".join(data.words[row][i] for i in p.first_mention) for p in shown]
    return data.images[row], maps, titles, [[box for box in p.boxes if any(box)] for p in shown]


@dataclass(frozen=True)
class Explanation:
    """map: float [H, W], signed contribution per pixel of the image as it was given (of Integrated Gradients, which adds up, with
    the sum that it has in the model's square), 0 where that square cut the image off, or None of a method for words alone; words
    with their contributions values [W], or () and None of a method for images alone; method, target; delta: completeness error,
    or None (see :class:`prdlib.attribution.Attribution`)."""

    map: np.ndarray | None
    words: tuple[str, ...]
    values: np.ndarray | None
    method: str
    target: str
    delta: float | None


def explain(
    model: PRDModel,
    images: Sequence[np.ndarray],
    reports: Sequence[str | Sequence[str]],
    method: str = "Integrated Gradients",
    against: Sequence[Perturbed] | None = None,
    batch_size: int = 32,
    **options: int,
) -> list[Explanation]:
    """Explanations of N pairs, ``batch_size`` at a time.

    images: N arrays uint8 [H, W] of any size; reports: N strings or (marked) word lists; method: of PAIR_METHODS, with its
    options; against: perturbed copies of the reports, whose lead is then explained: words that only a copy has stand behind the
    report's. Words beyond the model's limit, which it does not read, have the value 0.
    Raises ValueError for an unknown method, lists of different length, an empty report, a copy that equals its report or is
    another's, and steps or samples below 1.
    """
    if method not in PAIR_METHODS:
        raise ValueError(f"Unknown method {method!r}: choose one of {', '.join(PAIR_METHODS)}.")
    check_images(images)
    reports = marked_reports(model, reports)
    lengths = {len(images), len(reports), len(reports if against is None else against)}
    if len(lengths) != 1:
        raise ValueError(
            f"images, reports and against differ in length ({sorted(lengths)}): give one of each for every pair."
        )
    if against is not None:
        check_copies(against, reports)
    found: list[Explanation] = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        found += _explain(model, images[part], reports[part], PAIR_METHODS[method], options)
    if against is None:
        return found
    copies = explain(model, images, [copy.marked for copy in against], method, None, batch_size, **options)
    return [lead(*pair) for pair in zip(found, copies, against, strict=True)]


def _explain(
    model: PRDModel,
    images: Sequence[np.ndarray],
    reports: Sequence[Sequence[str]],
    method: Method,
    options: Mapping[str, int],
) -> list[Explanation]:
    size = model.config.image_size
    result = method(model, np.stack([resize(image, size) for image in images]), reports, **options)
    enlarged = Geometry.to_image if result.delta is None else to_image_with_sum
    found = []
    for i, (image, report) in enumerate(zip(images, reports, strict=True)):
        place = None if result.maps is None else enlarged(fit(*image.shape, size), result.maps[i])
        words = () if result.words is None else tuple(plain(report))
        values = None if result.words is None else np.zeros(len(words), dtype=result.words.dtype)
        if values is not None:
            read = min(len(words), result.words.shape[1])
            values[:read] = result.words[i, :read]
        delta = None if result.delta is None else float(result.delta[i])
        found.append(Explanation(place, words, values, result.method, result.target, delta))
    return found


def to_image_with_sum(geometry: Geometry, values: np.ndarray) -> np.ndarray:
    """Contributions [S, S] of pixels that add up, as those [H, W] of the image: more or fewer pixels, the same sum.

    What raises and what lowers the score is scaled by itself, so that a sum near 0 is kept as well.
    """
    total = np.zeros((geometry.height, geometry.width), dtype=np.float32)
    for sign in (1.0, -1.0):
        part = np.clip(sign * values, 0, None)
        large = geometry.to_image(part)
        if part.any():
            total += sign * large * (part.sum(dtype=float) / large.sum(dtype=float))
    return total


def lead(own: Explanation, other: Explanation, copy: Perturbed) -> Explanation:
    """Of a report's and its perturbed copy's explanations by one method: what makes the report win."""
    place = None if own.map is None else own.map - other.map
    words, values = own.words, None
    if own.values is not None:
        words, values = lead_by_word(own.words, own.values, copy, other.values)
    delta = None if own.delta is None else own.delta - other.delta
    target = LEAD if own.target == SIMILARITY else f"{own.target}, minus that of the perturbed report"
    return Explanation(place, words, values, own.method, target, delta)


def lead_by_word(
    words: Sequence[str], values: np.ndarray, copy: Perturbed, copy_values: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """(words, contributions to the lead): those of the report [W] minus the copy's [V], each at the word that it was.

    Words that only the copy has stand behind, in order; a word that the copy left out keeps its own contribution.
    """
    added = [part for part in copy.operations if isinstance(part, str)]
    places = [part if isinstance(part, int) else None for part in copy.operations]
    total = np.concatenate([np.asarray(values, dtype=float), np.zeros(len(added))])
    new = iter(range(len(words), len(total)))
    for place, value in zip(places, copy_values, strict=False):
        total[next(new) if place is None else place] -= value
    return (*words, *added), total
