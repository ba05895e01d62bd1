"""Sentence pairs of the phantom for natural-language inference, in RadNLI's fields.

Pairs come in Latin squares of three premises and three hypotheses: each premise entails one of the hypotheses, contradicts
another and leaves the third open, and each hypothesis is entailed by one premise, contradicted by another, left open by the
third. Every sentence of a square so stands once under each label, and whatever is told from one sentence alone, premise or
hypothesis, is right of exactly a third of a square's pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from prdlib.data import phantom_phrases as words
from prdlib.data.phantom_findings import KINDS, SIDES, ZONES, Finding, draw_finding
from prdlib.data.phantom_report import Wording, phrase
from prdlib.data.studies import DataError
from prdlib.repro import generator

LABELS = ("entailment", "neutral", "contradiction")
FIELDS = ["pair_id", "sentence1", "sentence2", "gold_label"]
SQUARE = 9  # pairs of a Latin square
STEPS = {"entailment": 0, "contradiction": 1, "neutral": 2}  # from a premise to its hypothesis of that label, cyclic
# Nouns of a premise that imply the class's plain name, which every hypothesis uses (by position in NOUNS).
SPECIFIC = {name: tuple(range(len(nouns))) for name, nouns in words.NOUNS.items()} | {"Edema": (0, 1, 3)}


@dataclass(frozen=True)
class Claim:
    """A hypothesis, and what a premise must state for each label: a finding, the name of a class that it denies, or nothing."""

    hypothesis: str
    stated: dict[str, Finding | str | None]


def sentence_pairs(n: int, seed: int = 0) -> pd.DataFrame:
    """``n`` pairs with pair_id, sentence1 (premise), sentence2 (hypothesis) and gold_label; of every three one of each label.

    Less detail, or other words for the same, is entailed; a detail or a class that the premise leaves open is neutral; a
    denial, an affirmation of what was denied, another side, zone or grade contradicts (a phantom has one finding of a class).
    Pairs SQUARE k to SQUARE k + 8 are a Latin square. Pair i does not depend on ``n``. Raises DataError for n < 1.
    """
    if n < 1:
        raise DataError(f"Sentence pairs need n of at least 1, not {n}.")
    rows = [row for square in range(-(-n // SQUARE)) for row in _square(seed, square)]
    return pd.DataFrame(rows[:n], columns=FIELDS)


def _square(seed: int, square: int) -> list[tuple[str, str, str, str]]:
    rng = generator(seed, square, "sentence pairs")
    claims = [_claim(rng, str(name)) for name in rng.choice(list(KINDS), 3, replace=False)]
    rows = []
    for first in range(3):
        chosen = {label: claims[(first + step) % 3] for label, step in STEPS.items()}
        premise = _premise(rng, [claim.stated[label] for label, claim in chosen.items()])
        for label in LABELS:
            number = square * SQUARE + len(rows)
            rows.append((f"phantom-{seed}-{number:06d}", premise, chosen[label].hypothesis, label))
    return rows


def _claim(rng: np.random.Generator, name: str) -> Claim:
    """A denial of the class, or a finding of it with one of its details or none; half each."""
    finding = draw_finding(rng, name)
    if rng.random() < 0.5:
        return Claim(_deny(rng, [name]), {"entailment": name, "contradiction": finding, "neutral": None})
    bare, details = replace(finding, side="", zone="", grade=-1, margin=""), _details(finding)
    detail = _one(rng, details) if rng.random() < 0.7 else {}
    others = [other for other in details if other != detail] or [{}]
    contrary = replace(finding, **_contrary(rng, detail)) if detail and rng.random() < 0.5 else name
    stated = {
        "entailment": finding if rng.random() < 0.5 else replace(bare, **detail),
        "contradiction": contrary,
        # the class without the detail, so that a class named twice does not mean that something is said of it
        "neutral": replace(bare, **_one(rng, [{}, *others])) if detail and rng.random() < 0.75 else None,
    }
    return Claim(_affirm(rng, [replace(bare, **detail)], plain=True), stated)


def _premise(rng: np.random.Generator, stated: Sequence[Finding | str | None]) -> str:
    """One to three sentences: what is there, two findings in one of them, and what is denied, in any order."""
    order = [stated[i] for i in rng.permutation(len(stated))]
    present, absent = ([item for item in order if isinstance(item, kind)] for kind in (Finding, str))
    sentences = [_affirm(rng, present[i : i + 2]) for i in range(0, len(present), 2)]
    if absent:
        sentences.append(_deny(rng, absent))
    return " ".join(sentences[i] for i in rng.permutation(len(sentences)))


def _affirm(rng: np.random.Generator, findings: Sequence[Finding], plain: bool = False) -> str:
    """One or two findings are there. plain: under the first noun of their class."""
    frame = _one(rng, words.STATEMENTS if len(findings) == 1 else words.PAIRS)
    for key, finding in zip("fb" if len(findings) == 1 else "ab", findings, strict=False):
        noun = 0 if plain else _one(rng, SPECIFIC.get(finding.name, (0,)))
        part = phrase(finding, Wording(noun=noun, after=bool(rng.random() < 0.4)))
        frame = frame.replace("{" + key + "}", part.article + part.text)
    return frame[0].upper() + frame[1:]


def _deny(rng: np.random.Generator, names: Sequence[str]) -> str:
    sentence = _one(rng, words.NEGATIONS[len(names) - 1])
    for key, name in zip("abc", names, strict=False):
        sentence = sentence.replace("{" + key + "}", words.DENIED_NOUNS[name][0])
    return sentence[0].upper() + sentence[1:]


def _details(finding: Finding) -> list[dict[str, Any]]:
    """The finding's details that can stand alone: place, grade."""
    place = [{"side": finding.side, "zone": finding.zone}] if finding.side else []
    return [*place, {"grade": finding.grade}] if finding.grade >= 0 else place


def _contrary(rng: np.random.Generator, detail: dict[str, Any]) -> dict[str, Any]:
    """Another side, zone or grade than ``detail``, which cannot be true beside it."""
    values = {"side": SIDES, "zone": ZONES, "grade": (0, 1, 2)}
    name = _one(rng, [key for key, value in detail.items() if value != ""])
    return detail | {name: _one(rng, [value for value in values[name] if value != detail[name]])}


def _one(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]
