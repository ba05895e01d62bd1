"""What clinical edits share: a draft of the copy, and what may be changed in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from prdlib.text.perturbation import Operations, rebuild
from prdlib.text.statements import Finding, Mention, find_phrase, is_zone, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport

STATED = ("affirmed", "uncertain")
Option = TypeVar("Option")


class Draft:
    """A copy under way: words of the original that are replaced, left out, or have new words before them."""

    def __init__(self, report: TaggedReport) -> None:
        self.report = report
        self.slots: list[list[int | str]] = [[i] for i in range(len(report.words))]
        self.before: dict[int, list[int | str]] = {}

    def replace(self, start: int, stop: int, new: Sequence[int | str]) -> None:
        """Put ``new`` in the place of words [start, stop)."""
        for i in range(start, stop):
            self.slots[i] = []
        self.slots[start] = list(new)

    def delete(self, places: Iterable[int]) -> None:
        for i in places:
            self.slots[i] = []

    def insert(self, place: int, new: Sequence[int | str]) -> None:
        """Put ``new`` before word ``place`` (the end of the report when it is the number of words)."""
        self.before.setdefault(place, []).extend(new)

    def operations(self) -> list[int | str]:
        """The copy, with 'a' and 'an' in agreement wherever the word behind them is another than before."""
        made: list[int | str] = []
        for i in range(len(self.slots) + 1):
            made += self.before.get(i, [])
            if i < len(self.slots):
                made += self.slots[i]
        for k, part in enumerate(made[:-1]):
            article, following = (self._word(p) for p in (part, made[k + 1]))
            moved = not (isinstance(part, int) and made[k + 1] == part + 1)
            if article in ("a", "an") and moved and article != (right := article_of(following)):
                made[k] = right
        return made

    def _word(self, part: int | str) -> str:
        return self.report.words[part] if isinstance(part, int) else part


def article_of(word: str) -> str:
    """'a' or 'an' before ``word``, by its first sound."""
    if word[:1].isdigit():
        return "an" if word.startswith("8") or word.split(".")[0] in ("11", "18") else "a"
    if word.startswith(("unil", "unif", "uniq", "unit", "us", "ut", "eu", "one")):  # a unilateral, a one
        return "a"
    return "an" if word[:1] in "aeiou" else "a"


def pick(options: Sequence[Option], rng: np.random.Generator) -> Option | None:
    """One of ``options``, or None when there is none."""
    return options[int(rng.integers(len(options)))] if options else None


def one_place(words: Sequence[str], places: Sequence[int]) -> str:
    """The single word that stands at ``places``; '' for none, or for two different ones ('left and right')."""
    values = {words[i] for i in places}
    return values.pop() if len(values) == 1 else ""


def same_bag(report: TaggedReport, draft: Draft) -> Operations | None:
    """The draft's operations when it keeps the bag of words, else None."""
    operations = draft.operations()
    return operations if Counter(rebuild(report.words, operations)) == Counter(report.words) else None


def by_finding(report: TaggedReport) -> dict[str, list[Mention]]:
    """Finding -> all its mentions, whatever their polarity."""
    groups: dict[str, list[Mention]] = {}
    for m in mentions(report):
        groups.setdefault(m.finding.name, []).append(m)
    return groups


def stated(report: TaggedReport) -> dict[str, list[Mention]]:
    """Finding -> its mentions, for findings that are stated and nowhere denied."""
    return {name: group for name, group in by_finding(report).items() if all(m.polarity in STATED for m in group)}


def overlapping(name: str) -> set[str]:
    """Findings that may stand for ``name`` in a report."""
    return {other for part in rules().raw["overlaps"] if name in part for other in part} - {name}


def unspoken(report: TaggedReport, attribute: str) -> list[int]:
    """Words of a side or a zone that belong to no stated finding, as in 'the right lung is clear': an edit that does not know
    what they say of could contradict them."""
    raw, words = rules().raw, report.words
    spoken = {i for m in mentions(report) if m.polarity in STATED for i in getattr(m, attribute)}
    if attribute == "side":
        return [i for i, word in enumerate(words) if word in raw["sides"] and i not in spoken]
    found = []
    for part in sentences(report):
        for i in part:
            zone = words[i] in raw["zones"] and (
                is_zone(words[: part.stop], i) or i + 1 == len(words)
            )  # or cut off there
            if i not in spoken and (zone or words[i] in raw["zones_in_a_word"]):
                found.append(i)
    return found


def leaned_on(report: TaggedReport, group: Sequence[Mention]) -> bool:
    """Whether a later sentence points back to a mention ('this measures ...') or leans on it ('otherwise clear')."""
    raw, parts = rules().raw, sentences(report)
    for m in group:
        following = parts[m.sentence + 1 : m.sentence + 3]
        texts = [set(report.words[p.start : p.stop]) for p in following]
        if any(text >= {"change", "position"} for text in texts) or any(course_alone(report, p) for p in following):
            return True
        if any(set(raw["pointing_back"]) & set(report.words[p.start : p.start + 2]) for p in following):
            return True
        if set(raw["leaning"]) & set(report.words[m.head :]):
            return True
    return False


def course_alone(report: TaggedReport, part: range) -> bool:
    """Whether a sentence tells a course without saying of what: 'unchanged from prior.'"""
    raw = rules().raw
    nouns = {report.words[i] for i in part if report.tags[i].startswith("NN")}
    known = {*raw["course"], *raw["time_words"], *raw["examinations"]}
    return bool(set(raw["course"]) & set(report.words[part.start : part.stop])) and nouns <= known


def removable(report: TaggedReport) -> list[str]:
    """Findings that are affirmed and that no other word of the report states or could stand for."""
    groups, raw = by_finding(report), rules().raw
    if {*raw["gone"], *raw["told_by"]} & set(report.words):
        return []
    names = []
    for name, group in groups.items():
        if (
            all(m.polarity == "affirmed" for m in group)
            and not leaned_on(report, group)
            and not overlapping(name) & set(groups)
            and not set(raw["also"].get(name, ())) & set(report.words)
            and not loose_end(report, group)
        ):
            names.append(name)
    return names


def loose_end(report: TaggedReport, group: Sequence[Mention]) -> bool:
    """Whether the word limit cut a sentence that was about to speak of the finding again ('1 mild degenerative'), or of the
    whole chest ('no evidence of')."""
    if report.n_words <= len(report.words):
        return False
    parts, raw = sentences(report), rules().raw
    last = parts[-1]
    if report.words[-1] in raw["loose_ends"]:
        return True
    telling = ("NN", "JJ", "VBN")
    said = {
        report.words[i] for m in group if m.sentence != len(parts) - 1 for i in parts[m.sentence]
        if report.tags[i].startswith(telling)
    }  # fmt: skip
    return any(report.words[i] in said for i in last)


def run_on(report: TaggedReport, order: Sequence[range]) -> bool:
    """Whether, the sentences being read in ``order`` and full stops not being shown, one is taken into the denial before it, and
    was not before: 'no effusion' and 'calcified granuloma in the left base'."""
    parts = sentences(report)
    together = set(pairwise(parts))
    return any(
        pair not in together and denies(report, pair[0]) and not stands_alone(report, pair[1])
        for pair in pairwise(order)
    )


def denies(report: TaggedReport, part: range) -> bool:
    """Whether a sentence holds a word that could be read over its end: 'no', 'without', 'versus', 'due'."""
    clear_of = find_phrase(report.words, ("clear", "of"), part.start, part.stop) >= 0
    return clear_of or bool(set(rules().raw["running_on"]) & set(report.words[part.start : part.stop]))


def stands_alone(report: TaggedReport, part: range) -> bool:
    """Whether a sentence has a verb, or opens with a word that no denial runs into."""
    return has_verb(report, part) or report.words[part.start] in rules().raw["stands_alone"]


def has_verb(report: TaggedReport, part: range) -> bool:
    """Whether a finite verb stands in ``part``."""
    return any(report.tags[i] in ("VBZ", "VBP", "VBD", "MD") for i in part)


def cut_off(report: TaggedReport, m: Mention) -> bool:
    """Whether the word limit cut the mention's sentence."""
    return report.n_words > len(report.words) and m.sentence == len(sentences(report)) - 1


def details(words: Sequence[str], group: Sequence[Mention]) -> dict[str, set[str]]:
    """The sides, zones and grades that a finding is said to have."""
    return {name: {words[i] for m in group for i in getattr(m, name)} for name in ("side", "zone", "grade")}


def fits(finding: Finding, details: dict[str, set[str]]) -> bool:
    """Whether all of ``details`` can be said of the finding."""
    grades = rules().raw["grades"].get(finding.scale, {})
    return (
        (finding.sided or not details["side"])
        and (finding.zoned or not details["zone"])
        and all(word in grades for word in details["grade"])
    )


def sentence_words(report: TaggedReport, m: Mention) -> tuple[str, ...]:
    """The words of the mention's sentence."""
    part = sentences(report)[m.sentence]
    return report.words[part.start : part.stop]


def middle_lobe(text: Sequence[str]) -> bool:
    """Whether the middle lobe is named, which only the right lung has."""
    return any(a == "middle" and b == "lobe" for a, b in pairwise(text))


def level(word: str) -> str:
    """'low', 'mid' or 'high': where in the lung a word of a zone lies."""
    return next((name for name, words in rules().raw["levels"].items() if word in words), "mid")


def grade_level(word: str) -> str:
    """'low', 'middle' or 'high': how much a word of a grade says."""
    return next(name for name, words in rules().raw["grade_levels"].items() if word in words)
