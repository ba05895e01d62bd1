"""Sentence pairs of the phantom for natural-language inference, in RadNLI's fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from prdlib.data import phantom_phrases as words
from prdlib.data.phantom_findings import KINDS, SIDES, ZONES, Finding, draw_finding
from prdlib.data.phantom_report import Wording, phrase
from prdlib.data.studies import DataError
from prdlib.repro import generator

LABELS = ("entailment", "neutral", "contradiction")
# Nouns of a premise that imply the class's plain name, which every hypothesis uses (by position in NOUNS).
SPECIFIC = {name: tuple(range(len(nouns))) for name, nouns in words.NOUNS.items()} | {"Edema": (0, 1, 3)}
FIELDS = ["pair_id", "sentence1", "sentence2", "gold_label"]


def sentence_pairs(n: int, seed: int = 0) -> pd.DataFrame:
    """``n`` pairs with pair_id, sentence1 (premise), sentence2 (hypothesis) and gold_label; each label a third.

    Less detail, or other words for the same, is entailed; a detail or a class that the premise leaves open is neutral; a
    denial, an affirmation of what was denied, another side, zone or grade contradicts (a phantom has one finding of a class).
    Half of the hypotheses of every label deny something, so that a hypothesis alone does not give its label away. Pair i
    does not depend on ``n``. Raises DataError for n < 1.
    """
    if n < 1:
        raise DataError(f"Sentence pairs need n of at least 1, not {n}.")
    rows = []
    for i in range(n):
        rng, label = generator(seed, i, "pair"), LABELS[i % 3]
        premise, hypothesis = _pair(rng, label, denies=(i // 3) % 2 == 1)
        rows.append((f"phantom-{seed}-{i:06d}", premise, hypothesis, label))
    return pd.DataFrame(rows, columns=FIELDS)


def _pair(rng: np.random.Generator, label: str, denies: bool) -> tuple[str, str]:
    about, other = (str(name) for name in rng.choice(list(KINDS), 2, replace=False))
    finding, second = draw_finding(rng, about), draw_finding(rng, other)
    specific = int(rng.choice(SPECIFIC.get(about, (0,))))
    if label == "neutral":
        if not denies and rng.random() < 0.5:
            return _affirm(rng, _bare(finding), specific), _affirm(rng, _one_detail(rng, finding))
        premise = _affirm(rng, finding, specific) if rng.random() < 0.5 else _deny(rng, about)
        return premise, _deny(rng, other) if denies else _affirm(rng, _vague(rng, second))
    if label == "entailment":
        if denies:
            return _deny(rng, about, other), _deny(rng, about)
        return _affirm(rng, finding, specific), _affirm(rng, _vague(rng, finding))
    if denies:
        return _affirm(rng, finding, specific), _deny(rng, about)
    if rng.random() < 0.5:
        return _deny(rng, about, other), _affirm(rng, _vague(rng, finding))
    return _affirm(rng, finding, specific), _affirm(rng, _contrary(rng, finding))


def _affirm(rng: np.random.Generator, finding: Finding, choice: int = 0) -> str:
    part = phrase(finding, Wording(noun=choice, after=bool(rng.random() < 0.4)))
    frame = words.STATEMENTS[int(rng.integers(len(words.STATEMENTS)))]
    return _sentence(frame.replace("{f}", part.article + part.text))


def _deny(rng: np.random.Generator, *names: str) -> str:
    frames = words.NEGATIONS[len(names) - 1]
    sentence = frames[int(rng.integers(len(frames)))]
    for key, i in zip("ab", rng.permutation(len(names)), strict=False):
        sentence = sentence.replace("{" + key + "}", words.DENIED_NOUNS[names[int(i)]][0])
    return _sentence(sentence)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _bare(finding: Finding) -> Finding:
    return replace(finding, side="", zone="", grade=-1, margin="")


def _details(finding: Finding) -> list[dict[str, object]]:
    """The finding's details that can stand alone: place, grade."""
    kept: list[dict[str, object]] = []
    if finding.side:
        kept.append({"side": finding.side, "zone": finding.zone})
    if finding.grade >= 0:
        kept.append({"grade": finding.grade})
    return kept


def _one_detail(rng: np.random.Generator, finding: Finding) -> Finding:
    """The finding with one of its details and nothing else."""
    options = _details(finding)
    return replace(_bare(finding), **options[int(rng.integers(len(options)))])


def _vague(rng: np.random.Generator, finding: Finding) -> Finding:
    """The finding with one of its details, or none."""
    return _one_detail(rng, finding) if rng.random() < 0.6 else _bare(finding)


def _contrary(rng: np.random.Generator, finding: Finding) -> Finding:
    """The finding with one detail that cannot be true of it: another side, zone or grade."""
    options: list[dict[str, object]] = []
    if finding.side:
        options.append({"side": next(s for s in SIDES if s != finding.side), "zone": finding.zone})
    if finding.zone:
        options.append({"side": finding.side, "zone": _another(rng, ZONES, finding.zone)})
    if finding.grade >= 0:
        options.append({"grade": int(_another(rng, (0, 1, 2), finding.grade))})
    return replace(_bare(finding), **options[int(rng.integers(len(options)))])


def _another(rng: np.random.Generator, values: tuple, value: object) -> object:
    rest = [v for v in values if v != value]
    return rest[int(rng.integers(len(rest)))]
