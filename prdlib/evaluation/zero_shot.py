"""Zero-shot classification: is the image nearer to the positive than to the negative prompts of a label?

Two ensembles of prompts (prompts.yaml), both by the global or the local similarity (evaluation/similarity.py):

    pairs           as CheXzero (Tiu et al. 2022, Nature Biomedical Engineering 6): of each pair of a positive and a negative
                    prompt the softmax of their two similarities; the mean over pairs is the probability of the label
    class prompts   as GLoRIA's for CheXpert 5x200 (Huang et al. 2021, ICCV): of exclusive classes the one with the highest mean
                    similarity over its prompts, which combine severity, kind and place
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from scipy.special import expit

from prdlib.text import normalise

PROMPTS = Path(__file__).with_name("prompts.yaml")
Words = tuple[str, ...]


@cache
def prompts(label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(positive, negative) prompts of a label, normalised as reports are."""
    table = yaml.safe_load(PROMPTS.read_text())
    entry = table.get(label, table["default"])
    sides = tuple(tuple(normalise(p.format(name=label.lower())) for p in entry[s]) for s in ("positive", "negative"))
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{PROMPTS.name}: {label} needs as many negative prompts as positive ones: they are pairs.")
    return sides


def pair_texts(labels: Sequence[str]) -> list[Words]:
    """The prompts of every label as words: of each label its positive, then its negative ones."""
    return [tuple(p.split()) for label in labels for side in prompts(label) for p in side]


def pair_probabilities(found: np.ndarray, labels: Sequence[str], scale: float) -> np.ndarray:
    """Probability of each label by its pairs of prompts: [N, L] in [0, 1].

    found: similarities [N, T] to :func:`pair_texts`; scale: what training multiplies them by. Of each pair the softmax of the
    two, so that 0.5 says that neither prompt is nearer. No label of any image is read.
    """
    ends = np.cumsum([2 * len(prompts(label)[0]) for label in labels])
    columns = []
    for part in np.split(scale * found, ends[:-1], axis=1):
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


def class_texts(classes: Sequence[str]) -> list[Words]:
    """The prompts of every class as words, class after class."""
    return [tuple(p.split()) for name in classes for p in class_prompts(name)]


def class_similarities(found: np.ndarray, classes: Sequence[str], centre: np.ndarray | None = None) -> np.ndarray:
    """Mean similarity to the prompts of each class: [N, K]; the highest is the answer.

    found: similarities [N, T] to :func:`class_texts`. centre: [M, T] of images other than the ones to classify (no labels), whose
    mean for each class is taken away: prompts of one class may be nearer to every image than those of another.
    """
    ends = np.cumsum([len(class_prompts(name)) for name in classes])[:-1]

    def means(values: np.ndarray) -> np.ndarray:
        return np.stack([part.mean(axis=1) for part in np.split(values, ends, axis=1)], axis=1)

    return means(found) if centre is None else means(found) - means(centre).mean(axis=0)
