"""Clinical edits that keep the bag of words: two findings exchange a side, a zone or a grade, or their nouns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.text.editing import (
    Draft,
    by_finding,
    details,
    fits,
    grade_level,
    leaned_on,
    level,
    loose_end,
    middle_lobe,
    one_place,
    overlapping,
    removable,
    same_bag,
    sentence_words,
    stated,
    unspoken,
)
from prdlib.text.finding_edits import called_clear, explained
from prdlib.text.perturbation import Operations
from prdlib.text.statements import Mention, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def _pairs(groups: Sequence[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    names = sorted(groups)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    rng.shuffle(pairs)
    return [(str(a), str(b)) for a, b in pairs]


def exchange_attributes(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """Two findings exchange their sides, zones or grades, in all their mentions."""
    words, groups = report.words, stated(report)
    attributes = ["side", "zone", "grade"]
    for a, b in _pairs(list(groups), rng):
        rng.shuffle(attributes)
        for attribute in attributes:
            places = [[i for m in groups[name] for i in getattr(m, attribute)] for name in (a, b)]
            values = [one_place(words, p) for p in places]
            if not all(values) or (attribute != "grade" and unspoken(report, attribute)):
                continue
            told_on = attribute == "grade" and any(leaned_on(report, groups[name]) for name in (a, b))
            if told_on or _cut_at_details(report):
                continue
            if not _may_exchange(report, groups[a], groups[b], attribute, values):
                continue
            third = [x for x in mentions(report) if x.finding.name in (overlapping(a) | overlapping(b)) - {a, b}]
            if attribute != "grade" and {words[i] for x in third for i in getattr(x, attribute)} & set(values):
                continue  # a third name of the same finding keeps its place
            draft = Draft(report)
            for mine, new in zip(places, values[::-1], strict=True):
                source = places[1 - places.index(mine)][0]
                for i in mine:
                    draft.replace(i, i + 1, [source if words[source] == new else new])
            operations = same_bag(report, draft)
            if operations is not None:
                return operations
    return None


def _may_exchange(
    report: TaggedReport, first: list[Mention], second: list[Mention], attribute: str, values: list[str]
) -> bool:
    """Whether the values differ in meaning, and each fits where the other stands."""
    texts = [sentence_words(report, m) for m in (*first, *second)]
    first, second = first[0].finding, second[0].finding
    if attribute == "side":
        fixed = set(rules().raw["anatomy_of_one_side"])
        bound = any(fixed & set(text) or middle_lobe(text) for text in texts)
        return values[0] != values[1] and first.sided and second.sided and not bound
    if attribute == "zone":
        same = level(values[0]) == level(values[1]) or _zone_class(values[0]) != _zone_class(values[1])
        lobes = any("lobe" in text or "lobes" in text for text in texts) and "mid" in map(level, values)
        return not same and first.zoned and second.zoned and not lobes  # there is no left middle lobe
    grades = rules().raw["grades"]
    fit = values[1] in grades.get(first.scale, ()) and values[0] in grades.get(second.scale, ())
    return (
        fit
        and grade_level(values[0]) != grade_level(values[1])
        and values[0].endswith("ly") == values[1].endswith("ly")
    )


def _zone_class(word: str) -> str:
    """Words that can stand in each other's place: 'upper' needs a noun behind it, 'apex' is one."""
    if word in rules().raw["zone_adjectives"]:
        return "adjective"
    return {"base": "noun", "apex": "noun", "bases": "nouns", "apices": "nouns"}.get(word, "plain adjective")


def _cut_at_details(report: TaggedReport) -> bool:
    """Whether the word limit cut a sentence after it named a side, zone or grade, and before it said of what."""
    if report.n_words <= len(report.words):
        return False
    raw, parts = rules().raw, sentences(report)
    known = {*raw["sides"], *raw["zones"], *(word for table in raw["grades"].values() for word in table)}
    spoken = {i for m in mentions(report) for i in (*m.side, *m.zone, *m.grade)}
    return any(report.words[i] in known and i not in spoken for i in parts[-1])


def exchange_findings(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """Two findings exchange their nouns: each stands where the other did, in all mentions. Both are there with other details, or
    one is there and the other denied ('a small left effusion, no pneumothorax')."""
    groups, exchangeable = by_finding(report), rules().raw["exchangeable"]
    there, named, may_go = stated(report), [name for name in groups if name in exchangeable], removable(report)
    denied = {name for name in named if all(m.polarity == "denied" for m in groups[name])}
    for a, b in _pairs(named, rng):
        both = a in there and b in there and _tell_apart(report, there[a], there[b])
        one = (a in may_go and b in denied and _could_stand(report, groups[a], groups[b])) or (
            b in may_go and a in denied and _could_stand(report, groups[b], groups[a])
        )
        if not (both or one):
            continue
        draft = Draft(report)
        for x, y in zip(groups[a], groups[b], strict=True):
            draft.replace(x.head, x.head_end, range(y.head, y.head_end))
            draft.replace(y.head, y.head_end, range(x.head, x.head_end))
        operations = same_bag(report, draft)
        if operations is not None:
            return operations
    return None


def _interchangeable(first: Sequence[Mention], second: Sequence[Mention]) -> bool:
    """Whether the nouns agree in number, mention by mention, and name things that cannot stand for each other."""
    pairs = list(zip(first, second, strict=False))
    apart = not any(x.sentence == y.sentence and (x.end == y.start or y.end == x.start) for x in first for y in second)
    return (
        len(first) == len(second)
        and all(x.plural == y.plural for x, y in pairs)
        and second[0].finding.name not in overlapping(first[0].finding.name)
        and apart
    )


def _has_article(report: TaggedReport, m: Mention) -> bool:
    return m.start > 0 and report.words[m.start - 1] in ("a", "an")


def _telegraphic(report: TaggedReport, m: Mention) -> bool:
    """Whether the mention's sentence has neither a verb nor an article before the mention, as in 'left pneumothorax.'"""
    part = sentences(report)[m.sentence]
    verb = any(report.tags[i] in ("VBZ", "VBP", "VBD", "MD") or report.words[i] in rules().words["verbs"] for i in part)
    return not verb and not _has_article(report, m)


def _tell_apart(report: TaggedReport, first: Sequence[Mention], second: Sequence[Mention]) -> bool:
    """Whether two findings that are there have different details, of which each can have the other's."""
    words, raw = report.words, rules().raw
    linked = any(set(raw["linking"]) & set(sentence_words(report, m)) for m in (*first, *second))
    bound = any(set(raw["bound_modifiers"]) & set(words[m.start : m.head]) for m in (*first, *second))
    loose = loose_end(report, first) or loose_end(report, second)
    if linked or bound or loose or not _interchangeable(first, second):
        return False
    for x, y in zip(first, second, strict=True):
        alike = x.finding.article == y.finding.article or (_has_article(report, x) and _has_article(report, y))
        if not alike and not (_telegraphic(report, x) and _telegraphic(report, y)):
            return False
    said = [details(words, group) for group in (first, second)]
    if said[0] == said[1] or not all(any(d.values()) for d in said):  # nothing to tell them apart
        return False
    return fits(first[0].finding, said[1]) and fits(second[0].finding, said[0])


def _could_stand(report: TaggedReport, present: Sequence[Mention], absent: Sequence[Mention]) -> bool:
    """Whether a denied finding can take the place of one that is there, in its words and beside all that the report says."""
    words, raw, parts = report.words, rules().raw, mentions(report)
    old, new = present[0].finding, absent[0].finding
    others = {m.finding.name for m in parts} - {old.name, new.name}
    if not _interchangeable(present, absent) or overlapping(new.name) & others:
        return False
    if any(
        not m.plural and _has_article(report, m) != bool(new.article) and not _telegraphic(report, m) for m in present
    ):
        return False
    if called_clear(report, new.name) or {*raw["also"].get(new.name, ()), *raw["graded_by"].get(new.name, ())} & set(
        words
    ):
        return False
    if loose_end(report, present) or any(m.start and words[m.start - 1] == "of" for m in present):
        return False
    beside = {word for m in present for word in sentence_words(report, m)}
    if old.name == "cardiomegaly" and {"heart", "cardiac", "silhouette", "cardiomediastinal"} & beside:
        return False
    if any(m.start != m.head for m in absent) or any(explained(report, m) for m in present):
        return False
    described = {words[i] for m in present for i in (*range(m.start, m.head), *range(m.head_end, m.end))}
    plain = {*raw["sides"], *raw["zones"], *raw["neutral_modifiers"], *raw["grades"].get(new.scale, ())}
    return described <= plain and fits(new, details(words, present))
