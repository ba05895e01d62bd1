"""Clinical edits of sides, zones and grades: one finding, or all of them, have another value."""

from __future__ import annotations

import numpy as np

from prdlib.text.editing import (
    STATED,
    Draft,
    grade_level,
    leaned_on,
    level,
    middle_lobe,
    one_place,
    overlapping,
    pick,
    sentence_words,
    unspoken,
)
from prdlib.text.finding_edits import called_clear
from prdlib.text.perturbation import Operations
from prdlib.text.statements import Mention, find_phrase, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def swap_laterality(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """All findings change to the other side. Where the report names both sides, or anatomy that only one side has, it does not
    apply: two findings on two sides that became one side would be told by the text alone."""
    words, one_sided = report.words, set(rules().raw["anatomy_of_one_side"])
    found = [m for m in mentions(report) if m.side and m.polarity in STATED]
    if set(rules().raw["names_of_one_side"]) & set(words):
        return None
    if unspoken(report, "side") or len({words[i] for m in found for i in m.side}) != 1:
        return None
    for m in found:
        text = sentence_words(report, m)
        if not m.finding.sided or "than" in text or one_sided & set(text):
            return None
    draft = Draft(report)
    for i in (i for m in found for i in m.side):
        draft.replace(i, i + 1, ["right" if words[i] == "left" else "left"])
    return draft.operations()


def swap_zone(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """The findings of one zone, on one side, go to another zone."""
    words, raw = report.words, rules().raw
    found = [(m, one_place(words, m.side), level(one_place(words, m.zone))) for m in mentions(report)
             if m.polarity in STATED and m.finding.zoned and one_place(words, m.zone)]  # fmt: skip
    anchored = {*raw["anatomy_of_one_side"], *raw["anatomy_of_one_zone"], *raw["tied_zone"]}
    options = [(m, side, zone) for m, side, zone in found if not anchored & set(sentence_words(report, m))]
    options = [(m, side, zone) for m, side, zone in options if not middle_lobe(sentence_words(report, m))]
    chosen = pick(options, rng)
    if chosen is None or unspoken(report, "zone") or leaned_on(report, [m for m, _, _ in found]):
        return None
    if any(m.zone and not m.finding.zoned for m in mentions(report)):  # 'bibasilar infiltrates, bibasilar edema'
        return None
    _, side, zone = chosen
    both = any(z == zone and not s for _, s, z in found)  # 'bibasilar', beside 'right base' and 'left base'
    group = [m for m, s, z in found if z == zone and (both or s == side)]
    target = {"low": "high", "high": "low"}.get(zone) or str(pick(("high", "low"), rng))
    elsewhere = {m.finding.name for m, s, z in found if z == target and (s == side or not s or not side)}
    if elsewhere & {m.finding.name for m in group} or any(anchored & set(sentence_words(report, m)) for m in group):
        return None
    draft = Draft(report)
    for i in (i for m in group for i in m.zone):
        new = raw["zones"][words[i]]
        draft.replace(i, i + 1, [new[0 if target == "high" else 1] if isinstance(new, list) else new])
    return draft.operations()


def change_severity(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """One finding changes its grade, in every mention that has one of the same level."""
    words, raw = report.words, rules().raw
    ranged = {tuple(old.split()): tuple(new.split()) for old, new in raw["ranges"].items()}
    groups: dict[tuple[str, str], list[Mention]] = {}
    for m in mentions(report):
        value = one_place(words, m.grade)
        said_again = {*raw["also"].get(m.finding.name, ()), *raw["graded_by"].get(m.finding.name, ())} & set(words)
        if m.polarity not in STATED or not m.grade or said_again or _sized_otherwise(report, m):
            continue
        span = next((old for old in ranged if find_phrase(words, old, m.start, m.head) >= 0), None)
        if span:  # 'mild to moderate' is one grade of three words
            groups.setdefault((m.finding.name, " ".join(span)), []).append(m)
        elif value and raw["grades"][m.finding.scale][value]:
            groups.setdefault((m.finding.name, grade_level(value)), []).append(m)
    names = [name for name, _ in groups]
    sizes = {word for table in raw["grades"].values() for word in table}
    graded = {m.finding.name for m in mentions(report) if m.grade or sizes & set(words[m.start : m.head])}
    options = [
        key for key in groups
        if names.count(key[0]) == 1 and not overlapping(key[0]) & graded  # not a finding of two grades
        and not any(set(raw["linking"]) & set(sentence_words(report, m)) for m in groups[key])
    ]  # fmt: skip
    barred = {m.finding.name for m in mentions(report) if leaned_on(report, [m]) or _quantity(report, m)}
    key = pick([key for key in options if key[0] not in barred], rng)
    if key is None:
        return None
    draft, span = Draft(report), tuple(key[1].split())
    for m in groups[key]:
        if span in ranged:
            place = find_phrase(words, span, m.start, m.head)
            draft.replace(place, place + len(span), ranged[span])
            continue
        for i in m.grade:
            draft.replace(i, i + 1, [pick(raw["grades"][m.finding.scale][words[i]], rng)])
    return draft.operations()


def _quantity(report: TaggedReport, m: Mention) -> bool:
    """Whether the grade counts where another would not: 'there is minimal effusion', 'some minimal opacity'."""
    before = report.words[m.start - 1] if m.start else ""
    bare = bool(m.finding.article) and not m.plural and before in ("is", "with", "of", "shows", "demonstrates", "has")
    return bare or before == "some"


def _sized_otherwise(report: TaggedReport, m: Mention) -> bool:
    """Whether a sentence that names the finding, or one that may stand for it, says its size in further words, or the lungs are
    called clear beside a finding of the lung."""
    raw, words, parts = rules().raw, report.words, sentences(report)
    if m.finding.name not in raw["outside_the_lung"] and called_clear(report, m.finding.name):
        return True
    if m.finding.name in raw["measured"] and set(raw["units"]) & set(words):
        return True
    about = [x for x in mentions(report) if x.finding.name in {m.finding.name, *overlapping(m.finding.name)}]
    sizes = {*raw["units"], *(word for table in raw["grades"].values() for word in table)}
    spoken = {i for x in about for i in x.grade}
    ranged = {w for old in raw["ranges"] for w in old.split()}
    return any(
        words[i] in sizes and i not in spoken and not (words[i] in ranged and x.start <= i < x.head)
        for x in about for i in parts[x.sentence]
    )  # fmt: skip
