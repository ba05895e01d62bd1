"""The nine perturbations of a report: the same words (antonyms aside), another structure (method.md).

Trigrams are consecutive disjoint triples, the rest a shorter one. Nouns are tags NN*, adjectives JJ*, verbs VB*.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prdlib.repro import generator
from prdlib.text.tagging import TaggedReport, lexicon

REDRAWS = 5  # draws before a copy that equals the original is called a no-op
Words = tuple[str, ...]


@dataclass(frozen=True)
class Perturbed:
    """text: the copy as encoders see it; original: the original likewise; is_noop: they are equal."""

    text: str
    original: str
    is_noop: bool


@dataclass(frozen=True)
class Perturbation:
    """name; family ("word_order" or "clinical"); changes: what it does; fixed: the same copy at every draw;
    function: (words, tags, rng) -> words."""

    name: str
    family: str
    changes: str
    fixed: bool
    function: Callable[[Words, tuple[str, ...], np.random.Generator], Sequence[str]]


def _shuffled(words: Sequence[str], where: Sequence[int], rng: np.random.Generator) -> list[str]:
    """``words`` with those at the positions ``where`` shuffled among themselves."""
    result = list(words)
    for place, source in zip(where, rng.permutation(len(where)), strict=True):
        result[place] = words[where[source]]
    return result


def _positions(tags: Sequence[str], *prefixes: str) -> list[int]:
    return [i for i, name in enumerate(tags) if name.startswith(prefixes)]


def _shuffle_all(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    return _shuffled(words, range(len(words)), rng)


def _swap_adjacent(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    result = list(words)
    for i in range(0, len(words) - 1, 2):
        result[i], result[i + 1] = words[i + 1], words[i]
    return result


def _reverse(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    return list(reversed(words))


def _within_trigrams(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    result: list[str] = []
    for start in range(0, len(words), 3):
        part = words[start : start + 3]
        result += _shuffled(part, range(len(part)), rng)
    return result


def _trigrams(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    parts = [words[start : start + 3] for start in range(0, len(words), 3)]
    return [word for i in rng.permutation(len(parts)) for word in parts[i]]


def _nouns_and_adjectives(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    return _shuffled(_shuffled(words, _positions(tags, "NN"), rng), _positions(tags, "JJ"), rng)


def _all_but_nouns_and_adjectives(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    kept = set(_positions(tags, "NN", "JJ"))
    return _shuffled(words, [i for i in range(len(words)) if i not in kept], rng)


def _nouns_verbs_adjectives(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    return _shuffled(words, _positions(tags, "NN", "VB", "JJ"), rng)


def _antonyms(words: Words, tags: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    antonyms = lexicon()["antonyms"]
    return [antonyms.get(w, w) if name.startswith("JJ") else w for w, name in zip(words, tags, strict=True)]


PERTURBATIONS: dict[str, Perturbation] = {
    entry.name: entry
    for entry in (
        Perturbation("shuffle_all_words", "word_order", "all words change places", False, _shuffle_all),
        Perturbation("swap_adjacent_words", "word_order", "words 1 and 2, 3 and 4, ... change places", True, _swap_adjacent),
        Perturbation("reverse_sentence", "word_order", "the whole report is read backwards", True, _reverse),
        Perturbation("shuffle_within_trigrams", "word_order", "words change places in each triple", False, _within_trigrams),
        Perturbation("shuffle_trigrams", "word_order", "triples change places", False, _trigrams),
        Perturbation("shuffle_nouns_and_adjectives", "word_order",
                     "nouns change places among themselves, adjectives among themselves", False, _nouns_and_adjectives),
        Perturbation("shuffle_all_but_nouns_and_adjectives", "word_order",
                     "all words but nouns and adjectives change places", False, _all_but_nouns_and_adjectives),
        Perturbation("shuffle_nouns_verbs_adjectives", "word_order",
                     "nouns, verbs and adjectives change places together", False, _nouns_verbs_adjectives),
        Perturbation("replace_adjectives_with_antonyms", "word_order",
                     "adjectives become their antonyms: the one that changes words", True, _antonyms),
    )
}  # fmt: skip

# The four copies of the paper's zero-shot test ("5-option test").
ZERO_SHOT_KINDS = (
    "shuffle_nouns_and_adjectives",
    "shuffle_all_but_nouns_and_adjectives",
    "shuffle_within_trigrams",
    "shuffle_trigrams",
)


def perturb(tagged: TaggedReport, name: str, rng: np.random.Generator) -> Perturbed:
    """A perturbed copy of a report; redrawn up to REDRAWS times while it equals the original.

    Raises ValueError for an unknown ``name`` (and names the nearest known one).
    """
    if name not in PERTURBATIONS:
        close = difflib.get_close_matches(name, PERTURBATIONS, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"Unknown perturbation {name!r}{hint}: choose one of {', '.join(PERTURBATIONS)}.")
    entry = PERTURBATIONS[name]
    copy: tuple[str, ...] = tagged.words
    for _ in range(1 if entry.fixed else REDRAWS):
        copy = tuple(entry.function(tagged.words, tagged.tags, rng))
        if copy != tagged.words:
            break
    return Perturbed(" ".join(copy), tagged.normalised, copy == tagged.words)


def perturb_reports(
    tagged: Sequence[TaggedReport], names: Sequence[str], seed: int, epoch: int, ids: Sequence[str]
) -> list[list[Perturbed]]:
    """Copies [len(tagged)][len(names)]; each depends on (seed, epoch, id, name) and its report alone."""
    return [
        [perturb(report, name, generator(seed, epoch, str(study), name)) for name in names]
        for report, study in zip(tagged, ids, strict=True)
    ]


def draw_names(names: Sequence[str], number: int, seed: int, epoch: int, study_id: str) -> tuple[str, ...]:
    """``number`` kinds of ``names`` drawn without replacement for one study and epoch; all of them in order when
    ``number`` is not smaller."""
    if number >= len(names):
        return tuple(names)
    drawn = generator(seed, epoch, str(study_id), "kinds").choice(len(names), number, replace=False)
    return tuple(names[i] for i in drawn)
