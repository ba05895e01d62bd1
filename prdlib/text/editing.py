"""What clinical edits share: a draft of the copy, and what may be changed in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from prdlib.text.perturbation import Operations, rebuild
from prdlib.text.statements import Finding, Mention, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport

STATED = ("affirmed", "uncertain")
Option = TypeVar("Option")
LOW, HIGH = (
    ("lower", "basilar", "basal", "bibasilar", "base", "bases"),
    ("upper", "apical", "biapical", "apex", "apices"),
)


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
    return "an" if word[:1] in "aeio" or (word.startswith("un") and not word.startswith("uni")) else "a"


def pick(options: Sequence[Option], rng: np.random.Generator) -> Option | None:
    """One of ``options``, or None when there is none."""
    return options[int(rng.integers(len(options)))] if options else None


def one_place(words: Sequence[str], places: Sequence[int]) -> str:
    """The single word that stands at ``places``; '' for none, or for two different ones ('left and right')."""
    values = {words[i] for i in places}
    return values.pop() if len(values) == 1 else ""


def same_bag(report: TaggedReport, draft: Draft) -> Operations | None:
    operations = draft.operations()
    return operations if Counter(rebuild(report.words, operations)) == Counter(report.words) else None


def by_finding(report: TaggedReport) -> dict[str, list[Mention]]:
    groups: dict[str, list[Mention]] = {}
    for m in mentions(report):
        groups.setdefault(m.finding.name, []).append(m)
    return groups


def stated(report: TaggedReport) -> dict[str, list[Mention]]:
    """Finding -> its mentions, for findings that are stated and nowhere denied."""
    return {name: group for name, group in by_finding(report).items() if all(m.polarity in STATED for m in group)}


def removable(report: TaggedReport) -> list[str]:
    """Findings that are affirmed and that no other word of the report states or could stand for."""
    groups, raw = by_finding(report), rules().raw
    names = []
    for name, group in groups.items():
        overlapping = {other for part in raw["overlaps"] if name in part for other in part} - {name}
        if (
            all(m.polarity == "affirmed" for m in group)
            and not overlapping & set(groups)
            and not set(raw["also"].get(name, ())) & set(report.words)
        ):
            names.append(name)
    return names


def cut_off(report: TaggedReport, m: Mention) -> bool:
    """Whether the word limit cut the mention's sentence."""
    return report.n_words > len(report.words) and m.sentence == len(sentences(report)) - 1


def details(words: Sequence[str], group: Sequence[Mention]) -> dict[str, set[str]]:
    """The sides, zones and grades that a finding is said to have."""
    return {name: {words[i] for m in group for i in getattr(m, name)} for name in ("side", "zone", "grade")}


def fits(finding: Finding, details: dict[str, set[str]]) -> bool:
    grades = rules().raw["grades"].get(finding.scale, {})
    return (
        (finding.sided or not details["side"])
        and (finding.zoned or not details["zone"])
        and all(word in grades for word in details["grade"])
    )


def sentence_words(report: TaggedReport, m: Mention) -> tuple[str, ...]:
    part = sentences(report)[m.sentence]
    return report.words[part.start : part.stop]


def middle_lobe(text: Sequence[str]) -> bool:
    return any(a == "middle" and b == "lobe" for a, b in pairwise(text))


def level(word: str) -> str:
    return "low" if word in LOW else "high" if word in HIGH else "mid"


def grade_level(word: str) -> str:
    small = ("tiny", "trace", "small", "minor", "minimal", "mild", "slight", "mildly", "minimally", "slightly")
    return "low" if word in small else "middle" if word.startswith("moderate") else "high"
