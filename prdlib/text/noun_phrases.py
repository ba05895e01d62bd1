"""Noun phrases of a report that say something of a patient: what clauses are made of, as the parser and the rules see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from prdlib.text.statements import rules, sentences
from prdlib.text.tagging import TaggedReport

WORDS = Path(__file__).with_name("segments.yaml")


@cache
def lists() -> dict[str, frozenset[str]]:
    """The lists of segments.yaml."""
    return {name: frozenset(words) for name, words in yaml.safe_load(WORDS.read_text(encoding="utf-8")).items()}


@cache
def place_words() -> frozenset[str]:
    """Words of sides and zones."""
    return frozenset([*rules().raw["sides"], *rules().raw["zones"], "bilateral"])


@cache
def attribute_words() -> frozenset[str]:
    """Words of sides, zones and grades."""
    return place_words().union(*rules().raw["grades"].values())


@dataclass(frozen=True)
class Part:
    """A noun phrase that says something: words [start, end), its head, and whether it is the subject of what follows."""

    start: int
    end: int
    head: int
    subject: bool


def parts_of(
    report: TaggedReport, doc: Any, word_of: Sequence[int], after_mark: frozenset[int], named: frozenset[int]
) -> Iterator[Part]:
    """Noun phrases but for those that only say where another one is, how large, or what it is like. named: words of findings."""
    covered: set[int] = set()
    for chunk in doc.noun_chunks:
        inside = [word_of[token.i] for token in chunk if word_of[token.i] >= 0]
        covered |= set(inside)
        if not inside or word_of[chunk.root.i] < 0 or chunk.root.pos_ == "PRON":
            continue
        top = _top(chunk.root)
        subject = (top.head if top.dep_ == "appos" else top).dep_ in ("nsubj", "nsubjpass")
        pieces = _pieces(report, inside, after_mark, named)
        for start, end in pieces:
            last = end == pieces[-1][1]
            nouns = [i for i in range(start, end) if report.tags[i].startswith("NN") or i in named]
            noun = nouns[-1] if nouns else word_of[chunk.root.i]
            if not nouns and not "".join(report.tags[noun + 1 : noun + 2]).startswith("VB"):
                continue  # 'streaky and patchy opacities', but not 'the diaphragm is'
            own = last and len(pieces) > 1 and (noun in named or bool(attributes(report, start, noun) - place_words()))
            placed = not own and _is_object(report, chunk.root, word_of, after_mark, named)
            if not placed and _says_something(report, start, noun, subject, named):
                yield Part(start, end, noun, subject)
    for start, end in _overlooked(report, covered, after_mark):
        subject = report.tags[end : end + 1] in (("VBZ",), ("VBP",))
        own = set(report.words[start : end - 1]) - place_words() if report.words[start - 1] != "and" else set()
        stated = report.words[start - 1] != "and" and end < len(report.words) and report.words[end] in lists()["shared"]
        if start and not (subject or stated or own or end - 1 in named):
            continue  # 'normal in size and contour'
        if _says_something(report, start, end - 1, subject, named):
            yield Part(start, end, end - 1, subject)


def _overlooked(report: TaggedReport, covered: set[int], after_mark: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Noun phrases behind a link or a mark that the parser has not seen as such: 'heart is large, vessels normal'."""
    start, tags = None, report.tags
    bounds = after_mark | {sentence.start for sentence in numbered_sentences(report)} | {len(tags)}
    for i, name in enumerate(tags):
        if i in covered or not name.startswith(("JJ", "NN", "CD", "DT")):
            start = None
        elif i in bounds or report.words[i - 1] in lists()["links"]:
            start = i
        ends = i + 1 in bounds or not (i + 1 in covered or tags[i + 1].startswith("NN"))
        if start is not None and name.startswith("NN") and ends:
            yield start, i + 1
            start = None


def _says_something(report: TaggedReport, start: int, noun: int, subject: bool, named: frozenset[int]) -> bool:
    words, known = report.words, lists()
    if words[noun] in known["kinds"] | place_words() and noun not in named:
        return False  # 'bibasilar and left perihilar opacities'
    if words[noun] in rules().raw["units"] or _hyphened(report, noun):
        return False  # 'measuring 6 mm', 'an age-indeterminate, mild deformity'
    stop = next(sentence.stop for sentence in sentences(report) if noun in sentence)
    said = {*words[start:noun], *words[noun + 1 : min(noun + 3, stop)]} & known["states"]
    area = words[noun] in ("area", "areas") and words[noun + 1 : noun + 2] == ("of",)  # 'area of consolidation'
    verbs = (tag.startswith("VB") for tag in report.tags[noun + 1 : min(noun + 7, stop)])
    return (subject and any(verbs)) or area or bool(said) or words[noun] not in known["places"]


def _hyphened(report: TaggedReport, i: int) -> bool:
    """Whether a hyphen joins the next word to word ``i``."""
    return i + 1 < len(report.words) and report.text[report.offsets[i][1] : report.offsets[i + 1][0]].rstrip() == "-"


def _pieces(
    report: TaggedReport, inside: Sequence[int], after_mark: frozenset[int], named: frozenset[int]
) -> list[tuple[int, int]]:
    """A noun phrase as [start, end), parted where a mark follows a noun or what is said of one ('heart normal, mild edema'), or
    'and' a finding: the parser runs over some of them."""
    start, stop = min(inside), max(inside) + 1
    nouns = [i for i in range(start, stop) if report.tags[i].startswith("NN") and not _hyphened(report, i - 1)]
    ends = {*nouns, *(i for i in range(start, stop) if report.words[i] in lists()["shared"] and nouns[:1] < [i])}
    pieces = []
    for i in range(start + 1, stop):
        joined = report.words[i] == "and" and i - 1 in named
        if joined or (i in after_mark and i - 1 in ends):
            pieces.append((start, i))
            start = i + joined
    return [*pieces, (start, stop)]


def _top(root: Any) -> Any:
    """The first of the nouns that 'and' joins."""
    while root.dep_ == "conj":
        root = root.head
    return root


def _is_object(
    report: TaggedReport, root: Any, word_of: Sequence[int], after_mark: frozenset[int], named: frozenset[int]
) -> bool:
    """Whether a noun belongs to a preposition: 'of the heart', 'in the left base', 'of sternotomy and bypass'. The parser joins
    to the place what is joined to the finding, 'flattening of the diaphragm and expansion of': that has a place of its own, or is
    a finding, where the first object is none or a comma stands between."""
    top = _top(root)
    preposition = top.head.lower_ if top.dep_ == "pobj" else ""
    if preposition in ("", "with", "without", "by", "including"):
        return False
    if preposition == "to" and top.head.head.lower_ in ("addition", "due", "secondary"):
        return False
    head, first = word_of[root.i], word_of[top.i]
    behind = set(report.words[head + 1 : head + 2]) & {"of", "in", "within"}
    start = word_of[root.left_edge.i] if word_of[root.left_edge.i] >= 0 else head
    own = attributes(report, min(start, head), head) - place_words() - {"the", "a", "an", "both"}
    own = own if report.words[head] not in rules().raw["place_nouns"] else set()
    if top is root or not (head in named or behind or own):
        return True
    return first in named and not any(report.words[i] == "and" for i in after_mark & set(range(first, head)))


def with_modifiers(report: TaggedReport, part: Part) -> Part:
    """The part from its first adjective on: the parser takes a capital 'Left' for a verb, and 'however' for an adjective."""
    start = part.start
    while start < part.head and report.words[start] in lists()["links"] | lists()["leading"]:
        start += 1
    while start and (report.words[start - 1] in attribute_words() or report.tags[start - 1].startswith(("JJ", "VBN"))):
        between = report.text[report.offsets[start - 1][1] : report.offsets[start][0]]
        if between.strip(" -/"):
            break
        start -= 1
    return replace(part, start=start)


def attributes(report: TaggedReport, start: int, noun: int) -> set[str]:
    """What is said of a noun before it, but for words that name what it is ('pulmonary', 'airspace')."""
    said = {report.words[i] for i in range(start, noun) if report.tags[i].startswith(("JJ", "VB", "CD", "DT"))}
    return (said | set(report.words[start:noun]) & attribute_words()) - lists()["kinds"]


def numbered_sentences(report: TaggedReport) -> Iterator[range]:
    """Sentences; the number of an enumeration ('1.') belongs to what follows it."""
    start = None
    for sentence in sentences(report):
        begin = sentence.start if start is None else start
        if len(sentence) == 1 and report.words[sentence.start].isdigit() and sentence.stop < len(report.words):
            start = begin
            continue
        start = None
        yield range(begin, sentence.stop)
