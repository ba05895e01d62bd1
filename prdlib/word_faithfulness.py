"""Every method of word attribution on many reports: insertion and deletion beside controls, correlations, completeness.

The target is the similarity of the whole report and the image. Controls, each an order of the same words: the attribution with
the mean image, with another study's image, and of an untrained model; the model is asked about the study's own image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.attribution import frozen
from prdlib.attribution_masking import METHODS, change_by_words, score_with_words
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import localisation
from prdlib.evaluation.embeddings import embed_images
from prdlib.evaluation.faithfulness import agreement, completeness, randomisation, with_known_ends
from prdlib.evaluation.image_gain import other_rows
from prdlib.faithfulness_report import AREA, FaithfulnessReport, maps_first, random_curves, with_curves
from prdlib.models import PRDModel, random_twin

SHAPLEY_SAMPLES, STEPS = 2, 8  # orders of a report's words, points of a path: many reports are averaged
OPTIONS = {"Shapley values": {"samples": SHAPLEY_SAMPLES}, "Integrated Gradients": {"steps": STEPS}}


def report_on_words(
    model: PRDModel, data: EvaluationData, blind_image: np.ndarray, studies: int = 200, resamples: int = 1000
) -> FaithfulnessReport:
    """Every method of :data:`prdlib.attribution_masking.METHODS`, over the words of ``studies`` reports."""
    number = min(studies, len(data.images))
    lengths = [len(words) for words in data.words[:number]]
    order = np.argsort(lengths, kind="stable")  # texts of like length together
    reports, patients = [data.marked[row] for row in order], [data.patient_ids[row] for row in order]
    valid = np.arange(max(lengths)) < np.array(lengths)[order][:, None]
    images, other = data.images[:number], other_rows(data.groups[:number])
    own, blind, twin = embed_images(model, images), embed_images(model, blind_image[None]), frozen(random_twin(model))
    embeds = torch.stack([own, blind.expand_as(own), own[other]], dim=1)[order]
    unseen = embed_images(twin, images)[order][:, None]

    def score(kept: np.ndarray) -> np.ndarray:
        return _in_parts(
            lambda part: score_with_words(model, embeds[part, :1], reports[part], kept[part])[:, 0], number
        )

    score = with_known_ends(score, valid)
    chance_curves = random_curves(score, valid, patients, resamples)
    scores, curves, parts, changed, complete = [], [], {}, [], []
    changes = {
        source: _in_parts(partial(_of_part, change_by_words, asked, shown, reports), number)[:, 0]
        for source, asked, shown in (("image", model, embeds[:, :1]), ("untrained", twin, unseen))
    }
    for name, method in METHODS.items():
        method = partial(method, **OPTIONS.get(name, {}))
        trained = _in_parts(partial(_of_part, method, model, embeds, reports), number)
        untrained = _in_parts(partial(_of_part, method, twin, unseen, reports), number)
        seen = dict(zip(("image", "mean image", "other image"), trained.swapaxes(0, 1), strict=True))
        seen["untrained"] = untrained[:, 0]
        values, drawn = with_curves(None, seen, score, patients, resamples, valid)
        table = localisation.table_with_controls([values], {AREA: 0.0}, np.arange(number), patients, resamples)
        scores.append(table.assign(maps=name))
        curves += [drawn.assign(maps=name), chance_curves.assign(maps=name)]
        parts[name] = seen
        changed.append(randomisation(name, seen, patients, resamples, valid))
        for source, whole in changes.items() if name != "Word ablation" else ():
            share = completeness(seen[source].sum(axis=1) - whole, whole, patients, resamples)
            complete.append({"maps": name, "input": source, **share})
    return FaithfulnessReport(
        maps_first(scores),
        maps_first(curves),
        pd.concat([agreement(parts, patients, resamples, valid), *changed], ignore_index=True),
        pd.DataFrame(complete),
    )


def _of_part(
    method: Callable[..., np.ndarray],
    model: PRDModel,
    image_embeds: Tensor,
    reports: Sequence[Sequence[str]],
    part: slice,
) -> np.ndarray:
    return method(model, image_embeds[part], reports[part])


def _in_parts(call: Callable[[slice], np.ndarray], number: int, size: int = 16) -> np.ndarray:
    """Results of ``size`` reports at a time, [n, ..., w], below each other, as wide as the longest (0 beyond)."""
    parts = [call(slice(start, start + size)) for start in range(0, number, size)]
    widest = max(part.shape[-1] for part in parts)
    return np.concatenate([np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, widest - part.shape[-1])]) for part in parts])
