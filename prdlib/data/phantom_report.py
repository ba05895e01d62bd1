"""The phantom's reports: findings, then impression, assembled from phrases; says which words name which finding.

The choice of words depends on (seed, study) and on the kinds of findings, never on their sides, zones or grades: when two
findings exchange an attribute, the report keeps its bag of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prdlib.data import phantom_phrases as words
from prdlib.data.phantom_findings import KINDS, Finding
from prdlib.repro import generator

MOST_SENTENCES = 8
LONG = 40  # words after which nothing optional is added


@dataclass(frozen=True)
class Report:
    """text; spans: for each finding (same order) the (start, end) of the words that name it, the full statement first;
    denied: the classes that the text says are absent."""

    text: str
    spans: tuple[tuple[tuple[int, int], ...], ...]
    denied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wording:
    """How one finding is put. noun: which of its nouns; after: place behind the noun ('nodule in the left upper zone');
    margin: which margin word, -1 for none; grade and region: the report's columns of GRADES and REGIONS."""

    noun: int = 0
    after: bool = False
    margin: int = -1
    grade: int = 0
    region: int = 0


@dataclass(frozen=True)
class Part:
    """Text that fills a frame: article and finding (its index in the report, or None)."""

    text: str
    article: str = ""
    finding: int | None = None


def noun(finding: Finding, choice: int = 0) -> tuple[str, bool]:
    """One of the finding's nouns, and whether it takes an article."""
    nouns = words.DEVICES[finding.device] if finding.device else words.NOUNS[finding.name]
    return nouns[choice % len(nouns)]


def place(finding: Finding, region: int = 0) -> str:
    """'left upper zone', 'left', or ''."""
    return " ".join(w for w in (finding.side, finding.zone, finding.zone and words.REGIONS[region]) if w)


def phrase(finding: Finding, wording: Wording = Wording()) -> Part:
    """'small smooth left upper zone nodule' or 'small smooth nodule in the left upper zone', with its article."""
    name, article = noun(finding, wording.noun)
    start = [words.GRADES[finding.grade_word][wording.grade]]
    if wording.margin >= 0 and finding.margin:
        options = words.MARGINS[finding.name, finding.margin]
        start.append(options[wording.margin % len(options)])
    where = place(finding, wording.region)
    behind = [name, "in" if finding.zone else "on", "the", where]
    joined = " ".join(w for w in (*start, *(behind if wording.after and where else (where, name))) if w)
    vowel = "an " if joined[0] in "aeiou" else "a "
    return Part(joined, vowel if article else "")


class _Writer:
    """Collects sentences; remembers where each finding is named."""

    def __init__(self, rng: np.random.Generator, findings: Sequence[Finding]) -> None:
        self.rng, self.findings = rng, findings
        self.text, self.sentences = "", 0
        self.spans: list[list[tuple[int, int]]] = [[] for _ in findings]
        self.denied: list[str] = []

    @property
    def words(self) -> int:
        return len(self.text.split())

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def add(self, frame: str, **parts: Sequence[Part]) -> None:
        """Fill a sentence: {key} becomes the parts of that key, joined as a list; the first letter is a capital."""
        start = len(self.text) + bool(self.text)
        sentence = ""
        for i, piece in enumerate(frame.replace("}", "{").split("{")):
            if i % 2 == 0:
                sentence += piece
                continue
            for k, part in enumerate(parts[piece]):
                if k:
                    sentence += " and " if k == len(parts[piece]) - 1 else ", "
                sentence += part.article
                if part.finding is not None:
                    place = start + len(sentence)
                    self.spans[part.finding].append((place, place + len(part.text)))
                sentence += part.text
        self.text += " " * bool(self.text) + sentence[0].upper() + sentence[1:]
        self.sentences += 1


def write(seed: int, key: str, findings: Sequence[Finding], progression: str = "", compared: int = -1) -> Report:
    """The report of a study. ``progression`` ('improved', 'stable', 'worsened') says how finding ``compared`` changed."""
    rng = generator(seed, key, "report")
    w = _Writer(rng, findings)
    grade, region = int(rng.integers(4) == 0), int(rng.integers(2))
    wordings = [
        Wording(
            int(rng.integers(12)),
            rng.random() < 0.4,
            int(rng.integers(12)) if rng.random() < 0.6 else -1,
            grade,
            region,
        )
        for _ in findings
    ]
    if progression and rng.random() < 0.6:
        w.add(w.pick(words.COMPARISONS))
    elif not progression and rng.random() < 0.25:
        w.add(w.pick(words.OPENINGS))
    _positives(w, findings, wordings, bool(progression))
    if progression:
        w.add(
            w.pick(words.CHANGES[progression]),
            n=[Part(noun(findings[compared], wordings[compared].noun)[0], "", compared)],
        )
    _negatives(w, findings)
    if w.sentences < MOST_SENTENCES - 1 and w.words < LONG and rng.random() < 0.55:
        w.add(w.pick(words.EXTRAS))
    _impression(w, findings, wordings)
    return Report(w.text, tuple(tuple(s) for s in w.spans), tuple(w.denied))


def _positives(w: _Writer, findings: Sequence[Finding], wordings: Sequence[Wording], repeated: bool) -> None:
    parts = []
    for i, (finding, wording) in enumerate(zip(findings, wordings, strict=True)):
        part = phrase(finding, wording)
        parts.append(Part(part.text, part.article, i))
    rest = list(range(len(parts)))
    if len(parts) >= 2 and all(f.certain for f in findings[:2]) and w.rng.random() < 0.4:
        a, b = (int(i) for i in w.rng.permutation(2))
        w.add(w.pick(words.PAIRS), a=[parts[a]], b=[parts[b]])
        rest = rest[2:]
    for i in w.rng.permutation(rest) if rest else ():
        frames = words.STATEMENTS if findings[i].certain else words.UNCERTAIN
        if repeated and findings[i].certain and w.rng.random() < 0.4:
            frames = words.REPEATED
        w.add(w.pick(frames), f=[parts[i]])


def _negatives(w: _Writer, findings: Sequence[Finding]) -> None:
    """One to five absent classes; a normal heart and clear lungs in their own words."""
    rng, present = w.rng, {f.name for f in findings}
    absent = [name for name in KINDS if name not in present]
    if "Cardiomegaly" in absent and rng.random() < 0.4:
        w.add(w.pick(words.NORMAL_HEART))
        w.denied.append("Cardiomegaly")
        absent.remove("Cardiomegaly")
    if not findings and rng.random() < 0.6:
        w.add(w.pick(words.NORMAL_LUNGS))
    number = int(rng.integers(3, 6)) if not findings else int(rng.integers(2, 4)) + (len(findings) < 3)
    names = [str(n) for n in rng.choice(absent, number, replace=False)]
    w.denied += names
    parts = [Part(w.pick(words.DENIED_NOUNS[name])) for name in names]
    while parts:
        most = min(3, len(parts))
        crowded = w.sentences >= MOST_SENTENCES - 3 or w.words >= LONG
        taken = most if crowded else int(rng.integers(1, most + 1))
        w.add(w.pick(words.NEGATIONS[taken - 1]), **{k: [parts.pop()] for k in "abc"[:taken]})


def _impression(w: _Writer, findings: Sequence[Finding], wordings: Sequence[Wording]) -> None:
    if not findings:
        w.add(w.pick(words.NORMAL_IMPRESSIONS))
        return
    located = w.words < LONG and w.rng.random() < 0.5
    parts = []
    for i in w.rng.permutation(len(findings)):
        finding = findings[i]
        where = place(finding, wordings[i].region) if located else ""
        text = " ".join(x for x in (where, noun(finding)[0]) if x)
        parts.append(Part(text, "" if finding.certain else "possible ", int(i)))
    w.add(w.pick(words.IMPRESSIONS), list=parts)
