"""Paraphrases: copies that say the same in other words, so that sensitivity to words is not taken for sensitivity to meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prdlib.text.editing import Draft, course_alone, cut_off, has_verb, stands_alone
from prdlib.text.perturbation import Operations, Perturbation
from prdlib.text.statements import find_phrase, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def _sentence_order(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """Sentences change places; not where one points back to another ('this', 'these', 'it') or they are numbered.

    Full stops are not shown, so a sentence that needs its neighbour to be read rightly moves with it (:func:`_blocks`).
    """
    parts, words, raw = list(sentences(report)), report.words, rules().raw
    if len(parts) < 2 or "otherwise" in words or any(_leans(report, part, raw) for part in parts):
        return None
    polarities = [{m.finding.name for m in mentions(report) if m.polarity == p} for p in ("affirmed", "denied")]
    if polarities[0] & polarities[1]:  # 'a basal infiltrate ... no infiltrates' elsewhere
        return None
    cut = report.n_words > len(words)  # then the last sentence was cut off and stays the last
    last = parts[len(parts) - cut :]
    blocks = _blocks(report, parts[: len(parts) - cut])
    first = []
    while blocks and (not stands_alone(report, blocks[0][0]) or _examined(report, blocks[0])):
        first += blocks.pop(0)
    if len(blocks) < 2 or _breaks_off(report, blocks[-1][-1]):
        return None
    moved = [part for k in rng.permutation(len(blocks)) for part in blocks[k]]
    return [i for part in (*first, *moved, *last) for i in part]


def _blocks(report: TaggedReport, parts: Sequence[range]) -> list[list[range]]:
    """Sentences that stay together: one without a verb with what stands before it, one that breaks off with what follows."""
    blocks: list[list[range]] = []
    for part in parts:
        if blocks and (not stands_alone(report, part) or _breaks_off(report, blocks[-1][-1])):
            blocks[-1].append(part)
        else:
            blocks.append([part])
    return blocks


def _examined(report: TaggedReport, block: Sequence[range]) -> bool:
    """Whether it says what was examined, which is said first."""
    return bool(set(rules().raw["examinations"]) & {report.words[i] for part in block for i in part})


def _leans(report: TaggedReport, part: range, raw: dict[str, Any]) -> bool:
    """Whether a sentence points to another, tells a course without saying of what ('slight progression.'), is a number or a
    heading, and so has its place."""
    words = report.words[part.start : part.stop]
    heading = len(part) <= 2 and (words[0].isdigit() or set(words) <= {*raw["headings"], *raw["examinations"]})
    heading |= (
        len(part) <= 4 and words[-1].isdigit() and not has_verb(report, part)
    )  # 'right foot 1', then its findings
    points = (
        words[:2] == ("no", "change")
        or words[:3] == ("no", "interval", "change")
        or set(raw["pointing_back"]) & set(words[:4])
        or {"this", "these", "they", "those"} & set(words)
    )
    subject = set(raw["pointing_subjects"]) & set(words[:3]) or {"tip", *raw["advice"]} & set(words)
    known = any(
        words[k] == "the" and words[k + 1 : k + 2] and words[k + 1] in raw["devices"] for k in range(len(words))
    )
    named = words[0] == "the" and any(m.start == part.start + 1 for m in mentions(report))  # 'the opacity' came before
    return bool(
        heading or course_alone(report, part) or points or subject or known or words[0] in raw["leaning_openings"]
        or named
    )  # fmt: skip


def _breaks_off(report: TaggedReport, part: range) -> bool:
    """Whether a sentence is one word, or ends in one that waits for another: 'stable from', 'calcified aortic'."""
    word, tag = report.words[part[-1]], report.tags[part[-1]]
    bare = tag.startswith("JJ") and word not in rules().raw["normal_words"] and not has_verb(report, part)
    return len(part) == 1 or tag.startswith(("IN", "DT", "TO", "CC")) or word in rules().raw["waiting"] or bare


def _synonyms(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """Phrases give way to phrases that mean the same: up to three of those that apply."""
    words, draft, taken = report.words, Draft(report), set()
    found = []
    for old, new in rules().raw["synonyms"]:
        phrase = tuple(old.split())
        for part in sentences(report):
            place = find_phrase(words, phrase, part.start, part.stop)
            if place >= 0 and not taken & set(range(place, place + len(phrase))):
                taken |= set(range(place, place + len(phrase)))
                beside = set(rules().raw["only_without"].get(old, ())) & set(words)
                if old != new and not beside:  # a row that stands for itself guards its words
                    found.append((place, len(phrase), new.split()))
    if not found:
        return None
    chosen = rng.permutation(len(found))[: min(3, len(found))]
    for k in chosen:
        place, size, new = found[k]
        if new[0] in ("the", "both") and words[place - 1 : place] == ("the",):
            draft.delete([place - 1])
        draft.replace(place, place + size, new)
    return draft.operations()


def _voice(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """'There is X.' <-> 'X is seen.', in one sentence."""
    options: list[tuple[range, list[int | str]]] = []
    everything, words, verbs = mentions(report), report.words, rules().words["verbs"]
    for number, part in enumerate(sentences(report)):
        inside = [m for m in everything if m.sentence == number]
        text = words[part.start : part.stop]
        if len(inside) != 1 or inside[0].polarity not in ("affirmed", "denied"):
            continue
        m = inside[0]
        if cut_off(report, m):
            continue
        barring = {"and", "also", "visible", "visualized", *rules().raw["events"]}
        if verbs & set(words[m.head_end : m.end]) or barring & set(text[:-1]):
            continue
        bare = m.finding.article and not m.plural and text[0] not in ("a", "an", "the", "no", "there")
        if bare or verbs & set(words[part.start + 2 : m.start]):  # no article to bring along, or a clause of its own
            continue
        if m.plural != bool({"are", "areas"} & set(text)) and not {"seen", "visualized"} & set(text[-1:]):
            continue
        if {"evidence", "greater"} & set(text) or words[part.stop :] == ("there",):  # 'x is seen there'
            continue
        there = text[:2] in (("there", "is"), ("there", "are"))
        around = [p for k, p in enumerate(sentences(report)) if abs(k - number) == 1]
        if not all(stands_alone(report, p) for p in around):
            continue  # 'there is' and 'is seen' hold apart what would run together without them
        if there and m.polarity == "affirmed" and text[2] not in ("a", "an", "the") and _after_denial(report, number):
            continue
        if there and m.end == part.stop and text[2] != "again":
            options.append((part, [*range(part.start + 2, part.stop), part.start + 1, "seen"]))
        elif text[-2:] in (("is", "present"), ("is", "seen"), ("are", "present"), ("are", "seen"), ("is", "noted"),
                           ("are", "noted"), ("is", "identified"), ("are", "identified")):  # fmt: skip
            if m.end == part.stop - 2:
                options.append((part, ["there", part.stop - 2, *range(part.start, part.stop - 2)]))
        elif text[-1] in rules().words["present"] and m.end == part.stop - 1 and text[0] == "no":
            options.append((part, ["there", "are" if m.plural else "is", *range(part.start, part.stop - 1)]))
    if not options:
        return None
    part, new = options[int(rng.integers(len(options)))]
    draft = Draft(report)
    draft.replace(part.start, part.stop, new)
    return draft.operations()


def _after_denial(report: TaggedReport, number: int) -> bool:
    """Whether the sentence before, its full stop not being shown, would take in one that opens with a noun."""
    before = sentences(report)[number - 1] if number else range(0)
    said = report.words[before.start : before.stop]
    qualified = bool(said) and (report.tags[before[-1]].startswith("JJ") or _breaks_off(report, before))
    return qualified or bool({*rules().raw["running_on"], "well", "also"} & set(said))


ENTRIES = (
    Perturbation("paraphrase_sentence_order", "paraphrase", "sentences change places", False, _sentence_order, True),
    Perturbation("paraphrase_synonyms", "paraphrase", "phrases give way to synonyms", False, _synonyms),
    Perturbation("paraphrase_voice", "paraphrase", "'there is X' becomes 'X is seen', or the reverse", False, _voice),
)
