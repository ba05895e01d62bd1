"""Clinical edits of time and measure: what grew has shrunk, what measured 1 cm measures 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.text.editing import STATED, Draft, pick
from prdlib.text.perturbation import Operations
from prdlib.text.statements import find_phrase, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def change_temporal(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """What is said to have grown has shrunk, what was stable has grown; in every sentence that says so of the same finding."""
    raw = rules().raw
    table = [(tuple(old.split()), tuple(new.split())) for old, new in raw["temporal"]]
    table.sort(key=lambda pair: -len(pair[0]))
    options = []
    for number, sentence in enumerate(sentences(report)):
        about = [m for m in mentions(report) if m.sentence == number]
        timed = not any(m.finding.name in raw["no_time"] for m in about)
        if about and timed and all(m.polarity in STATED for m in about):
            found = next((f for f in (_said_of_time(report, sentence, *pair) for pair in table) if f), None)
            if found:
                options.append((*found, {m.finding.name for m in about}))
    chosen = pick(options, rng)
    if chosen is None:
        return None
    draft = Draft(report)
    for place, old, new, names in options:
        if old == chosen[1] and names & chosen[3]:
            draft.replace(place, place + len(old), new)
    return draft.operations()


def _said_of_time(
    report: TaggedReport, sentence: range, old: tuple[str, ...], new: tuple[str, ...]
) -> tuple[int, tuple[str, ...], tuple[str, ...]] | None:
    raw, words = rules().raw, report.words
    place = find_phrase(words, old, sentence.start, sentence.stop)
    if place < 0 or set(words[place + len(old) : place + len(old) + 3]) & set(raw["not_temporal_before"]):
        return None
    if old[0] in ("is", "are", "has", "have") and words[place - 1 : place] == ("there",):  # 'there is stable ...'
        return None
    if " ".join(old) in raw["needs_time"] and not set(raw["time_words"]) & set(words[sentence.start : sentence.stop]):
        return None
    return place, old, new


def change_measurement(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """A measurement doubles or halves, everywhere it stands."""
    units, words = set(rules().raw["units"]), report.words
    options = [_measured(words, i, units) for i, word in enumerate(words) if word in units]
    options = [places for places in options if places]
    chosen = pick(options, rng)
    if chosen is None:
        return None
    factor = pick((0.5, 2), rng)
    new = {words[i]: _scaled(words[i], factor) for i in chosen}
    draft = Draft(report)
    for i in (i for places in options for i in places if words[i] in new):
        draft.replace(i, i + 1, [new[words[i]]])
    return draft.operations()


def _measured(words: Sequence[str], unit: int, units: set[str]) -> list[int]:
    """Positions of the numbers of '2.2 x 1.6 cm' or '5.8 cm x 6.0 cm' that end at the unit."""
    places, i = [], unit - 1
    while i >= 0 and _number(words[i]):
        places.append(i)
        i -= 1
        if i < 0 or words[i] not in ("x", "by"):
            break
        i -= 1
        if i >= 0 and words[i] in units:
            i -= 1
    return places


def _number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()


def _scaled(word: str, factor: float) -> str:
    value = float(word) * factor
    if "." not in word and (factor >= 1 or value.is_integer()):
        return str(int(value))
    return f"{value:.1f}" if f"{value:.1f}" != word and value >= 0.1 else f"{float(word) * 2:.1f}"
