"""Zero-shot classification: is the image nearer to the positive than to the negative prompts of a label?

Two ensembles of prompts (prompts.yaml, or a file of one's own), both by the global or the local
similarity (evaluation/similarity.py):

    pairs           as CheXzero (Tiu et al. 2022, Nature Biomedical Engineering 6): of each pair of a positive and a negative
                    prompt the softmax of their two similarities; the mean over pairs is the probability of the label
    class prompts   as GLoRIA's for CheXpert 5x200 (Huang et al. 2021, ICCV): of exclusive classes the one with the highest mean
                    similarity over its prompts, which combine severity, kind and place
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.special import expit

from prdlib.config import ConfigError
from prdlib.repro import find_path
from prdlib.text import normalise

PROMPTS = Path(__file__).with_name("prompts.yaml")
SIDES, LISTS = ("positive", "negative"), ("severity", "kind", "place")
MISSPELT = 0.85  # so alike two labels are one: pneumonia and pneumothorax are not
Words = tuple[str, ...]


@dataclass(frozen=True)
class Prompts:
    """A file of prompts: label -> 'positive' and 'negative', as many of each; 'default' with {name} for every other label;
    'classes': exclusive class -> severity, kind and place, whose combinations are its prompts; 'sides' with {side}.

    ConfigError names the file and the entry that is not of this form.
    """

    source: str
    table: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.table, Mapping) or "default" not in self.table:
            raise ConfigError(
                f"Prompts {self.source} need an entry 'default' (positive, negative), as in {PROMPTS.name}."
            )
        for label, entry in self.table.items():
            if label == "sides":
                self._check_texts(label, entry)
            elif label == "classes":
                for name, parts in (entry if isinstance(entry, Mapping) else {label: None}).items():
                    self._check_lists(f"classes.{name}", parts, LISTS)
            else:
                self._check_lists(label, entry, SIDES)
                if len(entry["positive"]) != len(entry["negative"]):
                    raise ConfigError(
                        f"Prompts {self.source}: {label} needs as many negative prompts as positive ones: they are pairs."
                    )

    def _check_lists(self, label: str, entry: Any, names: Sequence[str]) -> None:
        if not isinstance(entry, Mapping) or set(entry) != set(names):
            raise ConfigError(
                f"Prompts {self.source}: {label} must hold the lists {', '.join(names)}, and nothing else."
            )
        for name in names:
            self._check_texts(f"{label}.{name}", entry[name])

    def _check_texts(self, label: str, texts: Any) -> None:
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"Prompts {self.source}: {label} must be a list of texts (a word such as no in quotes).")
        place = "side" if label == "sides" else "name" if label.endswith(SIDES) else ""
        for text in texts:
            try:
                filled = normalise(text.format(**{place: "left"}) if place else text)
            except (KeyError, IndexError, ValueError):
                raise ConfigError(
                    f"Prompts {self.source}: {label} has {text!r}: the only thing in braces can be {{{place}}}."
                ) from None
            if not filled and not label.startswith("classes."):
                raise ConfigError(f"Prompts {self.source}: {label} has {text!r}, which holds no word.")

    def pairs(self, label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(positive, negative) prompts of a label, normalised as reports are."""
        entry = self.table.get(label, self.table["default"])
        return tuple(tuple(normalise(p.format(name=label.lower())) for p in entry[side]) for side in SIDES)

    @property
    def classes(self) -> list[str]:
        """Classes with prompts of their own: by default the five findings of CheXpert 5x200."""
        return list(self.table.get("classes", {}))

    def class_prompts(self, label: str) -> tuple[str, ...]:
        """Prompts of a class: every combination of its severity, kind and place, normalised, each once; of one that is not
        listed the positive prompts of the pairs."""
        entry = self.table.get("classes", {}).get(label)
        if entry is None:
            return self.pairs(label)[0]
        parts = product(*(entry[name] for name in LISTS))
        return tuple(dict.fromkeys(normalise(" ".join(part for part in words if part)) for words in parts))

    def sides(self, side: str) -> list[Words]:
        """The prompts that name a side ('left' or 'right') as words; ConfigError for a file without them."""
        if "sides" not in self.table:
            raise ConfigError(f"Prompts {self.source} have no 'sides': texts with {{side}}, as in {PROMPTS.name}.")
        return [tuple(normalise(text.format(side=side)).split()) for text in self.table["sides"]]


def load_prompts(path: str = "") -> Prompts:
    """The prompts of a YAML file (evaluation.prompts), read anew; '' for those that come with prdlib.

    ConfigError for a wrong one.
    """
    file = find_path(path) if path else PROMPTS
    if not file.is_file():
        raise ConfigError(f"No file of prompts at {path!r}: set evaluation.prompts to a .yaml file, or leave it empty.")
    try:
        return Prompts(path or PROMPTS.name, yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Prompts {path} are not valid YAML: {str(error).splitlines()[0]}.") from error


def check_labels(prompts: Prompts, labels: Sequence[str]) -> None:
    """ConfigError for an entry of one's own prompts that is nearly, but not quite, one of ``labels``: it would not be read."""
    known = [*labels, *load_prompts().table, *load_prompts().classes]
    for entry in [*prompts.table, *prompts.classes]:
        close = get_close_matches(entry, labels, 1, MISSPELT)
        if entry not in known and close:
            raise ConfigError(
                f"Prompts {prompts.source}: no label {entry!r} in these data, did you mean {close[0]!r}? It would not be read."
            )


def pair_texts(labels: Sequence[str], prompts: Prompts) -> list[Words]:
    """The prompts of every label as words: of each label its positive, then its negative ones."""
    return [tuple(p.split()) for label in labels for side in prompts.pairs(label) for p in side]


def pair_probabilities(found: np.ndarray, labels: Sequence[str], scale: float, prompts: Prompts) -> np.ndarray:
    """Probability of each label by its pairs of prompts: [N, L] in [0, 1].

    found: similarities [N, T] to :func:`pair_texts`; scale: what training multiplies them by. Of each pair the softmax of the
    two, so that 0.5 says that neither prompt is nearer. No label of any image is read.
    """
    ends = np.cumsum([2 * len(prompts.pairs(label)[0]) for label in labels])
    columns = []
    for part in np.split(scale * found, ends[:-1], axis=1):
        positive, negative = np.split(part, 2, axis=1)
        columns.append(expit(positive - negative).mean(axis=1))
    return np.stack(columns, axis=1)


def class_texts(classes: Sequence[str], prompts: Prompts) -> list[Words]:
    """The prompts of every class as words, class after class."""
    return [tuple(p.split()) for name in classes for p in prompts.class_prompts(name)]


def class_similarities(
    found: np.ndarray, classes: Sequence[str], prompts: Prompts, centre: np.ndarray | None = None
) -> np.ndarray:
    """Mean similarity to the prompts of each class: [N, K]; the highest is the answer.

    found: similarities [N, T] to :func:`class_texts`. centre: [M, T] of images other than the ones to classify (no labels), whose
    mean for each class is taken away: prompts of one class may be nearer to every image than those of another.
    """
    ends = np.cumsum([len(prompts.class_prompts(name)) for name in classes])[:-1]

    def means(values: np.ndarray) -> np.ndarray:
        return np.stack([part.mean(axis=1) for part in np.split(values, ends, axis=1)], axis=1)

    return means(found) if centre is None else means(found) - means(centre).mean(axis=0)
