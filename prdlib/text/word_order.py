"""The nine perturbations of a report: the same words (antonyms aside), another structure (method.md).

Trigrams are consecutive disjoint triples, the rest a shorter one. Nouns are tags NN*, adjectives JJ*, verbs VB*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.text.perturbation import Perturbation
from prdlib.text.tagging import TaggedReport, lexicon


def _shuffled(order: Sequence[int], where: Sequence[int], rng: np.random.Generator) -> list[int]:
    """``order`` with what stands at the places ``where`` shuffled among themselves."""
    result = list(order)
    for place, source in zip(where, rng.permutation(len(where)), strict=True):
        result[place] = order[where[source]]
    return result


def _positions(report: TaggedReport, *prefixes: str) -> list[int]:
    return [i for i, name in enumerate(report.tags) if name.startswith(prefixes)]


def _shuffle_all(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    places = range(len(report.words))
    return _shuffled(places, places, rng)


def _swap_adjacent(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    last = len(report.words) - 1
    return [min(i ^ 1, last) if i ^ 1 <= last else i for i in range(len(report.words))]


def _reverse(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    return list(reversed(range(len(report.words))))


def _triples(report: TaggedReport) -> list[range]:
    number = len(report.words)
    return [range(start, min(start + 3, number)) for start in range(0, number, 3)]


def _within_trigrams(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    return [i for triple in _triples(report) for i in _shuffled(triple, range(len(triple)), rng)]


def _trigrams(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    triples = _triples(report)
    return [i for k in rng.permutation(len(triples)) for i in triples[k]]


def _nouns_and_adjectives(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    nouns = _shuffled(range(len(report.words)), _positions(report, "NN"), rng)
    return _shuffled(nouns, _positions(report, "JJ"), rng)


def _all_but_nouns_and_adjectives(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    kept = set(_positions(report, "NN", "JJ"))
    places = range(len(report.words))
    return _shuffled(places, [i for i in places if i not in kept], rng)


def _nouns_verbs_adjectives(report: TaggedReport, rng: np.random.Generator) -> list[int]:
    return _shuffled(range(len(report.words)), _positions(report, "NN", "VB", "JJ"), rng)


def _antonyms(report: TaggedReport, rng: np.random.Generator) -> list[int | str]:
    antonyms, adjectives = lexicon()["antonyms"], set(_positions(report, "JJ"))
    return [antonyms.get(w, i) if i in adjectives else i for i, w in enumerate(report.words)]


ENTRIES = (
    Perturbation("shuffle_all_words", "word_order", "all words change places", False, _shuffle_all, True),
    Perturbation("swap_adjacent_words", "word_order", "words 1 and 2, 3 and 4, ... change places", True, _swap_adjacent, True),
    Perturbation("reverse_sentence", "word_order", "the whole report is read backwards", True, _reverse, True),
    Perturbation("shuffle_within_trigrams", "word_order", "words change places in each triple", False, _within_trigrams, True),
    Perturbation("shuffle_trigrams", "word_order", "triples change places", False, _trigrams, True),
    Perturbation("shuffle_nouns_and_adjectives", "word_order",
                 "nouns change places among themselves, adjectives among themselves", False, _nouns_and_adjectives, True),
    Perturbation("shuffle_all_but_nouns_and_adjectives", "word_order",
                 "all words but nouns and adjectives change places", False, _all_but_nouns_and_adjectives, True),
    Perturbation("shuffle_nouns_verbs_adjectives", "word_order",
                 "nouns, verbs and adjectives change places together", False, _nouns_verbs_adjectives, True),
    Perturbation("replace_adjectives_with_antonyms", "word_order",
                 "adjectives become their antonyms: the one that changes words", True, _antonyms),
)  # fmt: skip

# The four copies of the paper's zero-shot test ("5-option test").
ZERO_SHOT_KINDS = (
    "shuffle_nouns_and_adjectives",
    "shuffle_all_but_nouns_and_adjectives",
    "shuffle_within_trigrams",
    "shuffle_trigrams",
)
