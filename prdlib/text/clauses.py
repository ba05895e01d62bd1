"""Where segments of a report begin: sentences, clauses that name one finding, phrases.

The rules know English grammar (spaCy's parser) and the words of radiology (clinical.yaml, segments.yaml), and no template
of any collection. A segment is read by itself, so a break must not take from words what they need:

    split          'mild cardiomegaly | with a small left effusion', 'a nodule is seen | and the heart is large',
                   'the lungs are clear | without focal consolidation or effusion'
    kept together  what is denied together ('no effusion, pneumothorax or edema'; ``split_denied`` splits it), what shares what is
                   said of it ('heart size and mediastinal contours are normal'), and what shares words before or behind it ('left
                   effusion and atelectasis', 'effusion and atelectasis in the left base')
    never parted   a verb and its subject ('opacity, which may be pneumonia', 'lungs are without edema'), and what explains
                   another ('opacity, consistent with pneumonia', 'a catheter with its tip in the vein')

At a PHRASE break the noun phrases of clauses kept together part as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from prdlib.repro import hash_files
from prdlib.text.segments import CLAUSE, PHRASE, SENTENCE
from prdlib.text.statements import find_phrase, is_denied, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport, load_pipeline

WORDS = Path(__file__).with_name("segments.yaml")


@cache
def lists() -> dict[str, frozenset[str]]:
    """The lists of segments.yaml."""
    return {name: frozenset(words) for name, words in yaml.safe_load(WORDS.read_text(encoding="utf-8")).items()}


@cache
def rules_of_breaks() -> str:
    """Hash of the rules here, 16 hexadecimal digits: breaks that others found are not taken for these."""
    return hash_files([Path(__file__), WORDS], 16)


def find_breaks(
    reports: Sequence[TaggedReport], split_denied: bool = False, batch_size: int = 256
) -> list[TaggedReport]:
    """The reports with their ``breaks``; equal ones are parsed once. Raises TaggerMissing when no model is installed.

    split_denied: lists of what is denied are split too; only their first part then has the 'no'.
    """
    unique = list(dict.fromkeys(reports))
    docs = _pipeline().pipe((_doc(report) for report in unique), batch_size=batch_size)
    found = {
        report: replace(report, breaks=_breaks(report, doc, split_denied)) if report.words else report
        for report, doc in zip(unique, docs, strict=True)
    }
    return [found[report] for report in reports]


@cache
def _pipeline() -> Any:
    return load_pipeline("parser")


def _doc(report: TaggedReport) -> Any:
    from spacy.tokens import Doc

    return Doc(_pipeline().vocab, words=[report.text[a:b] for a, b in _spans(report)])


def _spans(report: TaggedReport) -> list[tuple[int, int]]:
    """Words inside the limit and the punctuation between them, as the tagger saw them."""
    end = report.offsets[-1][1] if report.offsets else 0
    return sorted([*report.offsets, *(mark for mark in report.punctuation if mark[0] <= end)])


@dataclass(frozen=True)
class _Part:
    """A noun phrase that says something: words [start, end), its head, and whether it is the subject of what follows."""

    start: int
    end: int
    head: int
    subject: bool


def _breaks(report: TaggedReport, doc: Any, split_denied: bool) -> tuple[int, ...]:
    word_at = {span: i for i, span in enumerate(report.offsets)}
    word_of = [word_at.get(span, -1) for span in _spans(report)]  # token -> word, -1 for punctuation
    marks = [t for t in range(len(word_of) - 1) if word_of[t] < 0 and _parts_words(report, doc[t])]
    after_mark = frozenset(word_of[t + 1] for t in marks)
    named = frozenset(i for mention in mentions(report) for i in range(mention.head, mention.head_end))
    breaks = [0] * len(report.words)
    parts = [_with_modifiers(report, part) for part in _parts(report, doc, word_of, after_mark, named)]
    parts.sort(key=lambda part: part.start)
    for sentence in _sentences(report):
        breaks[sentence.start] = SENTENCE
        inside = [part for part in parts if part.start in sentence and part.end <= sentence.stop]
        pairs = [_Pair(report, sentence, one, two, after_mark, named) for one, two in pairwise(inside)]
        for pair, keep in zip(pairs, _kept(pairs, split_denied), strict=True):
            if pair.place is not None:
                breaks[pair.place] = max(breaks[pair.place], PHRASE if keep else CLAUSE)
    return tuple(breaks)


def _kept(pairs: Sequence[_Pair], split_denied: bool) -> list[bool]:
    """Whether each pair of a sentence stays together. The first and the last of a list share with all of it: 'left effusion,
    atelectasis and edema', 'heart, aorta and hila are normal', 'edema, scar or pneumonia'."""
    stated = alternative = False
    said = []  # of each pair from the last: whether it shares the predicate, and whether a list with 'or' ends behind it
    for pair in reversed(pairs):
        stated = pair.shares_predicate(stated)
        alternative = pair.alternative or (alternative and pair.listed)
        said.append((stated, alternative))
    kept: list[bool] = []
    first = None
    for pair, (stated, alternative) in zip(pairs, reversed(said), strict=True):
        first = first if first and kept[-1] and pair.listed else pair.one
        kept.append(pair.kept_together(first, stated, alternative, split_denied))
    return kept


def _parts_words(report: TaggedReport, mark: Any) -> bool:
    """Whether a mark stands between words; a hyphen does when there is a space before it."""
    return mark.text in ",:()" or (mark.text == "-" and mark.i > 0 and report.text[_spans(report)[mark.i][0] - 1] == " ")


def _sentences(report: TaggedReport) -> Iterator[range]:
    """Sentences; the number of an enumeration ('1.') belongs to what follows it."""
    start = None
    for sentence in sentences(report):
        begin = sentence.start if start is None else start
        if len(sentence) == 1 and report.words[sentence.start].isdigit() and sentence.stop < len(report.words):
            start = begin
            continue
        start = None
        yield range(begin, sentence.stop)


def _parts(
    report: TaggedReport, doc: Any, word_of: Sequence[int], after_mark: frozenset[int], named: frozenset[int]
) -> Iterator[_Part]:
    """Noun phrases but for those that only say where another one is, how large, or what it is like. named: words of findings."""
    words, known = report.words, lists()
    for chunk in doc.noun_chunks:
        inside = [word_of[token.i] for token in chunk if word_of[token.i] >= 0]
        head = word_of[chunk.root.i]
        if not inside or head < 0 or chunk.root.pos_ == "PRON":
            continue
        subject = chunk.root.dep_ in ("nsubj", "nsubjpass")
        pieces = _pieces(report, inside, after_mark)
        for start, end in pieces:
            last = end == pieces[-1][1]
            noun = head if last else end - 1
            if not (report.tags[noun].startswith("NN") and words[noun] not in known["kinds"]) and noun not in named:
                continue  # 'bibasilar and left perihilar opacities'
            if words[noun] in rules().raw["units"] or _hyphened(report, noun):
                continue  # 'measuring 6 mm', 'an age-indeterminate, mild deformity'
            if not (last and len(pieces) > 1) and _is_object(report, chunk.root, word_of, named):
                continue
            placed = words[noun] in known["places"] and not set(words[start:noun]) & known["states"]
            if not placed or subject:
                yield _Part(start, end, noun, subject)


def _hyphened(report: TaggedReport, i: int) -> bool:
    """Whether a hyphen joins the next word to word ``i``."""
    return i + 1 < len(report.words) and report.text[report.offsets[i][1] : report.offsets[i + 1][0]] == "-"


def _pieces(report: TaggedReport, inside: Sequence[int], after_mark: frozenset[int]) -> list[tuple[int, int]]:
    """A noun phrase as [start, end), parted where a mark follows a noun or what is said of one ('heart normal, mild edema'): the
    parser runs over some commas."""
    start, stop = min(inside), max(inside) + 1
    nouns = [i for i in range(start, stop) if report.tags[i].startswith("NN")]
    ends = {*nouns, *(i for i in range(start, stop) if report.words[i] in lists()["shared"] and nouns[:1] < [i])}
    cuts = [i for i in range(start + 1, stop) if i in after_mark and i - 1 in ends]
    return list(pairwise([start, *cuts, stop]))


def _is_object(report: TaggedReport, root: Any, word_of: Sequence[int], named: frozenset[int]) -> bool:
    """Whether a noun belongs to a preposition: 'of the heart', 'in the left base', 'of sternotomy and bypass'. The parser joins
    to the place what is joined to the finding, 'flattening of the diaphragm and expansion of': that has a place of its own, or is
    a finding, where the first object is none."""
    top = root
    while top.dep_ == "conj":
        top = top.head
    preposition = top.head.lower_ if top.dep_ == "pobj" else ""
    if preposition in ("", "with", "without", "by"):
        return False
    if preposition == "to" and top.head.head.lower_ in ("addition", "due", "secondary"):
        return False
    head, first = word_of[root.i], word_of[top.i]
    if top is root or first in named:
        return True
    behind = report.words[head + 1 : head + 2]
    return not (head in named or set(behind) & {"of", "in", "within"})


def _with_modifiers(report: TaggedReport, part: _Part) -> _Part:
    """The part from its first adjective on: the parser takes a capital 'Left' for a verb."""
    start = part.start
    while start and (report.words[start - 1] in _evaluated() or report.tags[start - 1].startswith("JJ")):
        between = report.text[report.offsets[start - 1][1] : report.offsets[start][0]]
        if between.strip(" -/"):
            break
        start -= 1
    return replace(part, start=start)


@cache
def _placed() -> frozenset[str]:
    """Words of sides and zones."""
    return frozenset([*rules().raw["sides"], *rules().raw["zones"], "bilateral"])


@cache
def _evaluated() -> frozenset[str]:
    """Words of sides, zones and grades."""
    return _placed().union(*rules().raw["grades"].values())


@cache
def _lasting() -> frozenset[str]:
    """Words that both of two things have when they stand before the first: 'stable', 'normal'."""
    return lists()["shared"].union(rules().raw["course"], rules().raw["uncertain"], rules().raw["events"])


@dataclass(frozen=True)
class _Pair:
    """Two parts of a sentence that follow each other."""

    report: TaggedReport
    sentence: range
    one: _Part
    two: _Part
    after_mark: frozenset[int]
    named: frozenset[int]

    @cached_property
    def place(self) -> int | None:
        """The word between the parts at which the second one's segment begins; None when nothing joins them, or what stands
        before or behind that word would be left without its verb or its subject."""
        words, known, one, two = self.report.words, lists(), self.one, self.two
        links = [i for i in range(one.end, two.start + 1) if words[i] in known["links"] or i in self.after_mark]
        links = [i for i in links if not (words[i] == "with" and i and words[i - 1] in known["close"])]
        if not links:
            return None
        place = links[-1]
        if place > one.end and words[place - 1 : place + 1] == ("as", "well"):
            place -= 1
        while place - 1 >= one.end and words[place - 1] in known["leading"] | known["links"]:
            place -= 1
        between = {*words[place : two.start]}
        lost = words[place - 1] in known["copulas"] or between & (known["close"] | {"which", "that"})
        lost = lost or (between | {words[two.head]}) & known["belonging"]
        return None if lost or self._lacks_subject(place) or self._lacks_verb(place) else place

    def _lacks_subject(self, place: int) -> bool:
        """Whether a verb stands before the second part and its subject does not: 'opacity and may represent pneumonia'."""
        between = range(place, self.two.start)
        if set(self.report.words[place : self.two.start]) & (lists()["openings"] | lists()["existential"]):
            return False
        return any(self.report.tags[i] in ("MD", "VBZ", "VBP", "VBD") for i in between)

    def _lacks_verb(self, place: int) -> bool:
        """Whether the first part's verb comes behind the second one: 'views of the chest with leads show'."""
        tags = self.report.tags
        if self.report.words[place] not in ("with", "without") or not self.one.subject:
            return False
        return not any(tag.startswith("VB") for tag in tags[self.one.end : place]) and self._stated()

    @property
    def alternative(self) -> bool:
        """Whether the parts are joined by 'or'."""
        return self.place is not None and bool({"or", "nor"} & set(self.report.words[self.place : self.two.start]))

    @property
    def joined(self) -> bool:
        """Whether the parts are named side by side: by 'and', 'or' or a mark alone, not by 'with', 'but', ..."""
        words = self.report.words
        return self.place is not None and (self.place == self.two.start or words[self.place] in ("and", "or", "nor", "as"))

    @property
    def listed(self) -> bool:
        """Whether the parts are joined with no verb between them."""
        return self.joined and not any(tag.startswith("VB") for tag in self.report.tags[self.one.end : self.two.start])

    def kept_together(self, first: _Part, stated: bool, alternative: bool, split_denied: bool) -> bool:
        """Whether the second part needs words of the segment before its place. first: of the list that the first part ends;
        stated: it shares its predicate; alternative: the list goes on to an 'or'."""
        words, one, two, place = self.report.words, self.one, self.two, self.place
        if place is None:
            return False
        before = words[one.start : one.head]
        denied = all(is_denied(self.report, self.sentence, part.head, part.end) for part in (one, two)) or "no" in before
        if denied and self.joined and not _says_no(words[place : two.head]):
            if alternative or not self._stated():
                return not split_denied
            if "no" in before:
                return False  # 'no effusion, heart is normal'
        if alternative or (place in self.after_mark and words[place] in rules().raw["uncertain"]):
            return True  # 'opacity, possibly pneumonia'
        return self.joined and (stated or self._shares_modifiers(first) or self._is_object(place))

    def _is_object(self, place: int) -> bool:
        """Whether the second part is the place or the object that the first one's segment ends with: 'fractures of the spine and
        the sternum', 'a graft overlies the arch and the upper abdominal aorta'."""
        words, tags, one, two = self.report.words, self.report.tags, self.one, self.two
        if words[place] != "and" or two.subject or two.head in self.named:
            return False
        verb = one.start - 1 if tags[one.start - 1].startswith("VB") else one.start
        if one.start > self.sentence.start and verb < one.start:
            return words[verb] not in lists()["copulas"] | lists()["existential"]
        return "of" in words[one.end : place] and self._attributes(two) <= _placed() | {"the"}

    def _behind(self) -> range:
        """Words behind the second part, up to what joins it to a third."""
        words, two = self.report.words, self.two
        stop = two.end
        while stop < self.sentence.stop and words[stop] not in lists()["links"] and stop not in self.after_mark:
            stop += 1
        return range(two.end, stop)

    def _stated(self) -> bool:
        """Whether more is said of the second part than that it is there: 'is normal'."""
        words, known, behind = self.report.words, lists(), self._behind()
        inside = (i for i in range(self.two.start + 1, self.two.head) if self.report.tags[i - 1].startswith("NN"))
        if {*words[behind.start : min(behind.stop, behind.start + 3)], *(words[i] for i in inside)} & known["shared"]:
            return True  # 'mediastinum within normal limits', 'mediastinum stable configuration'
        verb = next((i for i in behind if self.report.tags[i].startswith("VB")), None)
        return verb is not None and not set(words[verb : verb + 4]) & known["existential"]

    def shares_predicate(self, behind: bool) -> bool:
        """'heart size and contours are normal', 'heart and mediastinum of normal size': one statement of both, more than that
        they are there. behind: whether the second part shares its predicate with a third."""
        one, tags = self.one, self.report.tags
        if not self.listed or set(self.report.words[one.end : self.place]) & lists()["shared"]:
            return False  # 'heart size normal, lungs clear'
        if not one.subject and any(tag.startswith("VB") for tag in tags[self.sentence.start : one.start]):
            return False
        return behind or self._stated()

    def _shares_modifiers(self, first: _Part) -> bool:
        """'left effusion and atelectasis', 'normal heart size and mediastinal contours', 'compatible with effusions and
        atelectasis', 'effusion and atelectasis in the left base'."""
        words, two, known = self.report.words, self.two, lists()
        before, own, behind = self._attributes(first), self._attributes(two), self._behind()
        if set(words[max(self.sentence.start, first.start - 2) : first.start]) & known["close"]:
            return True
        if (before | {words[first.head]}) & _lasting() and own <= _placed():
            return True
        if own:
            return False
        has_place = words[two.end : two.end + 1] and words[two.end] in rules().raw["place_prepositions"]
        place = set(words[behind.start : min(behind.stop, behind.start + 6)]) & _placed() if has_place else set()
        if before:
            return not (place and before & _placed())
        return bool(place)

    def _attributes(self, part: _Part) -> set[str]:
        """What is said of a part before its noun, but for words that name what it is ('pulmonary', 'airspace')."""
        words, tags = self.report.words, self.report.tags
        said = {words[i] for i in range(part.start, part.head) if tags[i].startswith(("JJ", "VB", "CD", "DT"))}
        return (said | set(words[part.start : part.head]) & _evaluated()) - lists()["kinds"]


def _says_no(words: Sequence[str]) -> bool:
    return any(find_phrase(words, phrase, 0, len(words)) >= 0 for phrase in rules().phrases["negation"])
