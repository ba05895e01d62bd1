"""Zero-shot classification: is the image nearer to the positive than to the negative prompts of a label?

Two ensembles of prompts (prompts.yaml), both by the global or the local similarity (evaluation/similarity.py):

    pairs           as CheXzero (Tiu et al. 2022, Nature Biomedical Engineering 6): of each pair of a positive and a negative
                    prompt the softmax of their two similarities; the mean over pairs is the probability of the label
    class prompts   as GLoRIA's for CheXpert 5x200 (Huang et al. 2021, ICCV): of exclusive classes the one with the highest mean
                    similarity over its prompts, which combine severity, kind and place
"""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from scipy.special import expit
from torch import Tensor

from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.embeddings import embed_reports
from prdlib.evaluation.similarity import logit_scale, similarities
from prdlib.models import PRDModel
from prdlib.text import normalise

PROMPTS = Path(__file__).with_name("prompts.yaml")


@cache
def prompts(label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(positive, negative) prompts of a label, normalised as reports are."""
    table = yaml.safe_load(PROMPTS.read_text())
    entry = table.get(label, table["default"])
    sides = tuple(tuple(normalise(p.format(name=label.lower())) for p in entry[s]) for s in ("positive", "negative"))
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{PROMPTS.name}: {label} needs as many negative prompts as positive ones: they are pairs.")
    return sides


def zero_shot_scores(model: PRDModel, image_embeds: Tensor, labels: list[str]) -> np.ndarray:
    """Mean similarity to the positive minus mean similarity to the negative prompts: [N, L], image_embeds [N, D]."""
    columns = []
    for label in labels:
        positive, negative = (embed_reports(model, [p.split() for p in side]).mean(dim=0) for side in prompts(label))
        columns.append((image_embeds @ (positive - negative)).numpy())
    return np.stack(columns, axis=1)


def pair_probabilities(model: DualEncoder, images: np.ndarray, labels: list[str], kind: str = "global") -> np.ndarray:
    """Probability of each label by its pairs of prompts: [N, L] in [0, 1], uint8 images [N, S, S].

    Of each pair the softmax of its two similarities times the scale of that similarity, so that 0.5 says that neither prompt is
    nearer. No label of any image is read.
    """
    texts = [[tuple(p.split()) for side in prompts(label) for p in side] for label in labels]
    found = similarities(model, images, [text for part in texts for text in part], kind)
    logits = logit_scale(model, kind) * found
    columns = []
    for part in np.split(logits, np.cumsum([len(part) for part in texts])[:-1], axis=1):
        positive, negative = np.split(part, 2, axis=1)
        columns.append(expit(positive - negative).mean(axis=1))
    return np.stack(columns, axis=1)


def listed_classes() -> list[str]:
    """Classes with prompts of their own: the five findings of CheXpert 5x200."""
    return list(yaml.safe_load(PROMPTS.read_text())["classes"])


@cache
def class_prompts(label: str) -> tuple[str, ...]:
    """Prompts of a class: every combination of severity, kind and place of prompts.yaml, normalised, each once.

    A label that is not listed there has its positive prompts of the pairs.
    """
    entry = yaml.safe_load(PROMPTS.read_text())["classes"].get(label)
    if entry is None:
        return prompts(label)[0]
    parts = product(entry["severity"], entry["kind"], entry["place"])
    return tuple(dict.fromkeys(normalise(" ".join(part for part in words if part)) for words in parts))


def class_similarities(
    model: DualEncoder, images: np.ndarray, classes: list[str], kind: str = "global", centre: np.ndarray | None = None
) -> np.ndarray:
    """Mean similarity to the prompts of each class: [N, K], uint8 images [N, S, S]; the highest is the answer.

    centre: uint8 [M, S, S], images other than the ones to classify (no labels), whose mean for each class is taken away: prompts
    of one class may be nearer to every image than those of another.
    """
    texts = {name: [tuple(p.split()) for p in class_prompts(name)] for name in classes}
    asked = [text for part in texts.values() for text in part]
    ends = np.cumsum([len(part) for part in texts.values()])

    def means(shown: np.ndarray) -> np.ndarray:
        found = similarities(model, shown, asked, kind)
        return np.stack([part.mean(axis=1) for part in np.split(found, ends[:-1], axis=1)], axis=1)

    found = means(images)
    return found if centre is None else found - means(centre).mean(axis=0)
