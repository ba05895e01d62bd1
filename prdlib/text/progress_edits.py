"""Clinical edits of time and measure: what grew has shrunk, what measured 1 cm measures 2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from prdlib.text.editing import Draft, by_finding, cut_off, leaned_on, overlapping, pick, stated
from prdlib.text.perturbation import Operations
from prdlib.text.statements import Mention, find_phrase, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def change_temporal(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """What is said to have grown has shrunk, what was stable has grown: of one finding, wherever the report says so."""
    raw, words, parts = rules().raw, report.words, sentences(report)
    if _whole_chest_is_stable(words) or {"resolved", "developed"} & set(words):
        return None
    groups = {
        n: g for n, g in stated(report).items() if n not in raw["no_time"] and not any(cut_off(report, m) for m in g)
    }
    names = list(groups)
    rng.shuffle(names)
    for name in names:
        draft, done = Draft(report), set()
        for m in groups[name]:
            found = next((f for f in (_said_of_time(report, m, *pair) for pair in _table()) if f), None)
            if found:
                place, old, new = found
                if name in raw["measured"][:3]:
                    new = tuple(raw["of_a_nodule"].get(word, word) for word in new)
                draft.replace(place, place + len(old), new)
                done |= set(range(place, place + len(old)))
        about = {i for m in groups[name] for i in parts[m.sentence]} - done
        left = {words[i] for i in about} & set(raw["course"])
        others = {words[i] for i in about} & set(raw["also"].get(name, ()))
        said = left or others or _course_elsewhere(report, name, {m.sentence for m in groups[name]})
        hedged = set(raw["hedges"]) & {words[i - 1] for i in done}
        if done and not said and not hedged and not leaned_on(report, groups[name]):
            return draft.operations()
    return None


def _whole_chest_is_stable(words: Sequence[str]) -> bool:
    """Whether the report says of the chest as a whole that nothing has changed ('no change in the nodule' does not)."""
    for phrase in (tuple(p.split()) for p in rules().raw["stable_chest"]):
        place = find_phrase(words, phrase, 0, len(words))
        behind = words[place + len(phrase) : place + len(phrase) + 3]
        if place >= 0 and (behind[:1] not in (("of",), ("in",)) or {"chest", "lungs", "appearance"} & set(behind)):
            return True
    return False


def _course_elsewhere(report: TaggedReport, name: str, own: set[int]) -> bool:
    """Whether another sentence tells the course of the same thing by another name, or was cut off while it told one."""
    raw, words = rules().raw, report.words
    if report.n_words > len(words) and set(raw["course"]) & set(words[-4:]):
        return True
    kin = {*overlapping(name), *(other for part in raw["overlaps"] if name in part for other in part)}
    named = {m.sentence for m in mentions(report) if m.finding.name in kin}
    kinds = {
        words[i] for m in by_finding(report)[name] for i in range(m.start, m.end)
        if report.tags[i].startswith(("NN", "JJ")) and words[i] not in raw["course"]
    }  # fmt: skip
    for number, part in enumerate(sentences(report)):
        text = set(words[part.start : part.stop])
        heart = name == "cardiomegaly" and text & {"heart", "silhouette", "cardiac", "cardiomediastinal"}
        same = number in named or heart or set(raw["also"].get(name, ())) & text or {"stable", "chronic"} <= text
        if (same or kinds & text) and number not in own and {*raw["course"], "resolved"} & text:
            return True
    return False


@cache
def _table() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    pairs = [(tuple(old.split()), tuple(new.split())) for old, new in rules().raw["temporal"]]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _said_of_time(
    report: TaggedReport, m: Mention, old: tuple[str, ...], new: tuple[str, ...]
) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
    """(place, old, new) where ``old`` is said of the mention: within its phrase, right before it, or right behind it."""
    raw, words, part = rules().raw, report.words, sentences(report)[m.sentence]
    start = max(part.start, m.start - len(old) - 2)
    place = find_phrase(words, old, start, min(part.stop, m.end + len(old) + 1))
    if place < 0 or m.head <= place < m.head_end:
        return None
    if set(words[place + len(old) : min(m.head, place + len(old) + 3)]) & set(raw["not_temporal_before"]):
        return None
    heads = [x.head for x in mentions(report) if x.sentence == m.sentence and x is not m]
    if any(min(place, m.head) <= head <= max(place, m.head) for head in heads):  # it is said of another finding
        return None
    behind = words[place + len(old) : part.stop]
    if place >= m.head_end and behind and behind[0] not in ("since", "from", "compared", "in"):
        return None  # 'is stable and noted', 'cardiomegaly stable mediastinal contours'
    if behind[:2] == ("in", "appearance") or ("no" in old and "or" in words[m.head_end : part.stop]):
        return None
    rest = set(words[m.end : part.stop])
    joined = heads or set(raw["not_temporal_before"]) & rest
    if place < m.head and "and" in rest and joined:  # 'stable cardiomegaly and contours'
        return None
    if old[0] in ("is", "are", "has", "have") and words[place - 1 : place] == ("there",):  # 'there is stable ...'
        return None
    if " ".join(old) in raw["needs_time"] and not set(raw["time_words"]) & set(words[part.start : part.stop]):
        return None
    return place, old, new


def change_measurement(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """A measurement doubles or halves, everywhere it stands."""
    units, words = set(rules().raw["units"]), report.words
    options = [_measured(report, i, units) for i, word in enumerate(words) if word in units]
    options = [places for places in options if places]
    chosen = pick(options, rng)
    if chosen is None or any(_graded(report, places[0]) for places in options):
        return None
    factor = pick((0.5, 2), rng)
    new = {words[i]: _scaled(words[i], factor) for i in chosen}
    draft = Draft(report)
    for i in (i for places in options for i in places if words[i] in new):
        draft.replace(i, i + 1, [new[words[i]]])
    return draft.operations()


def _measured(report: TaggedReport, unit: int, units: set[str]) -> list[int]:
    """Positions of the numbers of '2.2 x 1.6 cm' or '5.8 cm x 6.0 cm' that end at the unit."""
    words = report.words
    if words[unit + 1 : unit + 2] in (("x",), ("by",)):  # the unit behind the last number ends the measurement
        return []
    places, i = [], unit - 1
    while i >= 0 and _number(words[i]):
        places.append(i)
        i -= 1
        if i < 0 or words[i] not in ("x", "by"):
            break
        i -= 1
        if i >= 0 and words[i] in units:
            i -= 1
    if i >= 0 and places and i == places[-1] - 1 and _number(words[i]) and not _apart(report, i + 1):  # '5-6 mm'
        return []
    return places


def _apart(report: TaggedReport, i: int) -> bool:
    """Whether a sentence ends before word ``i``."""
    return any(part.start == i for part in sentences(report))


def _graded(report: TaggedReport, i: int) -> bool:
    """Whether the sentence, or one beside it, says in words how large it is, or it measures a device."""
    parts, sizes = sentences(report), set(rules().raw["not_measured_with"])
    k = next(k for k, part in enumerate(parts) if i in part)
    return any(sizes & set(report.words[part.start : part.stop]) for part in parts[max(0, k - 1) : k + 2])


def _number(word: str) -> bool:
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) is not None


def _scaled(word: str, factor: float) -> str:
    value = float(word) * factor
    if "." not in word and (factor >= 1 or value.is_integer()):
        return str(int(value))
    return f"{value:.1f}" if f"{value:.1f}" != word and value >= 0.1 else f"{float(word) * 2:.1f}"
