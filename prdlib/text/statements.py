"""What a report states: its sentences, and where each names a finding, with side, zone, grade and polarity.

Rules and words are those of clinical.yaml; nothing here knows the phantom's templates. Positions are positions of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from prdlib.text.tagging import TaggedReport

RULES = Path(__file__).with_name("clinical.yaml")
SENTENCE_MARKS = frozenset(".;!?\n")
PHRASES = ("negation", "pseudo_negation", "denied_after", "existential", "denial_openings")
MODIFIER_TAGS = ("JJ", "VBN", "VBG", "RB", "NN")


@dataclass(frozen=True)
class Finding:
    """A class of findings in clinical.yaml. forms: (singular, plural or ()) as words; article: 'a' or ''."""

    name: str
    forms: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    article: str
    sided: bool
    zoned: bool
    scale: str


@dataclass(frozen=True)
class Mention:
    """A finding named in a report.

    start, end: the phrase's words [start, end); head, head_end: the noun's words within it; form, plural: which of the finding's
    forms the noun is; side, zone, grade: positions of such words in the phrase; polarity: 'affirmed', 'denied', 'uncertain' or
    'hypothetical'.
    """

    finding: Finding
    sentence: int
    start: int
    head: int
    head_end: int
    end: int
    form: int
    plural: bool
    side: tuple[int, ...]
    zone: tuple[int, ...]
    grade: tuple[int, ...]
    polarity: str


@dataclass(frozen=True)
class Rules:
    """clinical.yaml, ready to use. heads: first word of a form -> (its words, finding, form, plural), longest first;
    phrases: lists of phrases of clinical.yaml as words, longest first; words: its lists of single words that are asked most."""

    raw: dict[str, Any]
    findings: dict[str, Finding]
    heads: dict[str, list[tuple[tuple[str, ...], Finding, int, bool]]]
    phrases: dict[str, list[tuple[str, ...]]]
    words: dict[str, frozenset[str]]


@cache
def rules() -> Rules:
    """The rules of clinical.yaml."""
    raw = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    findings, heads = {}, {}
    for name, entry in raw["findings"].items():
        forms = tuple((tuple(one.split()), tuple(many.split())) for one, many in entry["forms"])
        finding = Finding(name, forms, entry["article"], entry["sided"], entry["zoned"], entry["scale"])
        findings[name] = finding
        for i, pair in enumerate(forms):
            for plural, words in enumerate(pair):
                if words:
                    heads.setdefault(words[0], []).append((words, finding, i, bool(plural)))
    for options in heads.values():
        options.sort(key=lambda option: -len(option[0]))
    phrases = {key: _longest_first(raw[key]) for key in PHRASES}
    words = {key: frozenset(raw[key]) for key in ("verbs", "present", "shows", "not_modifiers")}
    return Rules(raw, findings, heads, phrases, words)


def _longest_first(phrases: Sequence[str]) -> list[tuple[str, ...]]:
    return sorted((tuple(p.split()) for p in phrases), key=len, reverse=True)


@lru_cache(maxsize=65536)
def sentences(report: TaggedReport) -> tuple[range, ...]:
    """The sentences of a report as ranges of words; a number that enumerates ('1.') is a sentence of its own."""
    found, start = [], 0
    for i in range(1, len(report.words)):
        if report.offsets and SENTENCE_MARKS & set(report.text[report.offsets[i - 1][1] : report.offsets[i][0]]):
            found.append(range(start, i))
            start = i
    if start < len(report.words):
        found.append(range(start, len(report.words)))
    return tuple(found)


def find_phrase(words: Sequence[str], phrase: Sequence[str], start: int, stop: int) -> int:
    """First position of ``phrase`` in words[start:stop], or -1."""
    for i in range(start, stop - len(phrase) + 1):
        if tuple(words[i : i + len(phrase)]) == tuple(phrase):
            return i
    return -1


@lru_cache(maxsize=65536)
def mentions(report: TaggedReport) -> tuple[Mention, ...]:
    """The findings that a report names, in order of the words."""
    known = rules()
    found = []
    for number, sentence in enumerate(sentences(report)):
        i = sentence.start
        while i < sentence.stop:
            match = _head(report.words, i, sentence.stop, known)
            if match is None:
                i += 1
                continue
            words, finding, form, plural = match
            previous = found[-1].end if found and found[-1].sentence == number else sentence.start
            start = _left(report, i, max(sentence.start, previous))
            end = _right(report, i + len(words), sentence.stop, known)
            side, zone, grade = _attributes(report.words, start, i, i + len(words), end, sentence.stop, finding, known)
            polarity = _polarity(report.words, sentence, i, end, known)
            found.append(
                Mention(finding, number, start, i, i + len(words), end, form, plural, side, zone, grade, polarity)
            )
            i = end
    return tuple(found)


def _head(words: Sequence[str], i: int, stop: int, known: Rules) -> tuple[tuple[str, ...], Finding, int, bool] | None:
    for option in known.heads.get(words[i], ()):
        size = len(option[0])
        if i + size <= stop and tuple(words[i : i + size]) == option[0]:
            return option
    return None


def _left(report: TaggedReport, head: int, stop: int) -> int:
    """Where the words that modify the noun begin: never across a mark of punctuation."""
    i = head
    while i > stop:
        word, name = report.words[i - 1], report.tags[i - 1]
        apart = report.offsets and report.text[report.offsets[i - 1][1] : report.offsets[i][0]].strip(" -/")
        ranged = word == "to" and i - 2 >= stop and report.words[i - 2] in ("mild", "moderate", "small", "minimal")
        graded = any(word in table for table in rules().raw["grades"].values())  # the tagger takes 'marked' for a verb
        if apart or not (
            ranged or graded or (word not in rules().words["not_modifiers"] and name.startswith(MODIFIER_TAGS))
        ):
            break
        i -= 1
    return i


def _right(report: TaggedReport, start: int, stop: int, known: Rules) -> int:
    """Where a phrase of place behind the noun ends: 'in the left upper zone'; ``start`` when there is none."""
    words, raw = report.words, known.raw
    place = {*raw["place_nouns"], *raw["sides"], *raw["zones"], "sided"}
    if start < stop and words[start] == "bilaterally":
        return start + 1
    i = start
    while (
        i < min(stop, start + 3) and words[i] in known.words["verbs"] and not _gap(report, i)
    ):  # 'opacity is seen in the left base'
        i += 1
    if i < stop and words[i] in raw["place_prepositions"] and not _gap(report, i):
        i += 1
        while i < stop and words[i] in ("the", "a", "both"):
            i += 1
        begin = i
        while (
            i < stop
            and not _gap(report, i)
            and (
                words[i] in place
                or (words[i] in ("and", "or") and i + 1 < stop and words[i + 1] in {*raw["sides"], *raw["zones"]})
            )
        ):
            i += 1
        if i > begin:
            return i
    return start


def _gap(report: TaggedReport, i: int) -> bool:
    """Whether punctuation stands before word ``i``."""
    return bool(report.offsets and i and report.text[report.offsets[i - 1][1] : report.offsets[i][0]].strip(" -/"))


def _attributes(
    words: Sequence[str], start: int, head: int, head_end: int, end: int, stop: int, finding: Finding, known: Rules
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    raw = known.raw
    around = [*range(start, head), *range(head_end, end)]
    side = tuple(i for i in around if words[i] in raw["sides"])
    zone = tuple(i for i in around if words[i] in raw["zones"] and is_zone(words[:stop], i))
    scale = raw["grades"].get(finding.scale, {})
    grade = tuple(i for i in range(start, head) if words[i] in scale and words[i + 1] not in raw["not_a_grade_before"])
    return side, zone, grade


def is_zone(words: Sequence[str], i: int) -> bool:
    """Whether a word of clinical.yaml's zones speaks of the lung where it stands: 'upper lobe', not 'upper abdomen'. ``words``
    end with the sentence."""
    raw = rules().raw
    following = words[i + 1] if i + 1 < len(words) else ""
    if words[i] in raw["zone_adjectives"]:
        second = words[i + 2] if i + 2 < len(words) else ""
        if following in ("and", "or", "to") and second in raw["zone_adjectives"]:  # 'upper and lower lobes'
            return is_zone(words, i + 2)
        return following in raw["zone_nouns"] and second not in raw["not_a_zone"]
    return following not in raw["not_a_zone"]


def _polarity(words: Sequence[str], sentence: range, head: int, end: int, known: Rules) -> str:
    raw, inside = known.raw, words[sentence.start : sentence.stop]
    if set(inside) & set(raw["hypothetical"]):
        return "hypothetical"
    if _denied(words, sentence, head, end, known):
        return "denied"
    if _lost_denial(words, sentence, head, raw):
        return "hypothetical"
    return "uncertain" if set(inside) & set(raw["uncertain"]) else "affirmed"


def _lost_denial(words: Sequence[str], sentence: range, head: int, raw: dict[str, Any]) -> bool:
    """Whether the finding stands in a list of denied ones whose 'no' is missing, as happens where words were struck out:
    'lungs are clear airspace disease', 'pleural effusion or pneumothorax.'"""
    before, inside = words[sentence.start : head], words[sentence.start : sentence.stop]
    behind = before[before.index("clear") + 1 :] if "clear" in before else ()
    clear = "clear" in before and not {*raw["stops"], *raw["leaning"], "than", "with", "and"} & set(behind)
    clear = clear and not {*raw["stops"], "than", "relatively", "not"} & set(before)
    bare = "or" in inside and not {*raw["sides"], *raw["zones"], *raw["uncertain"], *raw["verbs"]} & set(inside)
    graded = any(word in table for table in raw["grades"].values() for word in inside)
    return clear or (bare and not graded and len(inside) <= 8)


def is_denied(report: TaggedReport, sentence: range, head: int, end: int) -> bool:
    """Whether the noun phrase with its head at ``head``, ending before ``end``, is denied in its sentence."""
    return _denied(report.words, sentence, head, end, rules())


def _denied(words: Sequence[str], sentence: range, head: int, end: int, known: Rules) -> bool:
    raw = known.raw
    for phrase in known.phrases["denied_after"]:
        place = find_phrase(words, phrase, end, sentence.stop)
        if place >= 0 and not set(words[end:place]) & set(raw["stops"]):
            return True
    spoken_for: set[int] = set()  # words of 'no change in' deny nothing
    for phrase in known.phrases["pseudo_negation"]:
        place = find_phrase(words, phrase, sentence.start, sentence.stop)
        if place >= 0:
            spoken_for |= set(range(place, place + len(phrase)))
    for phrase in known.phrases["negation"]:
        place = find_phrase(words, phrase, sentence.start, head)
        while place >= 0:
            if place not in spoken_for and not set(words[place:head]) & set(raw["stops"]):
                return True
            place = find_phrase(words, phrase, place + 1, head)
    return False
