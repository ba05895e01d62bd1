"""Two noun phrases of a sentence that follow each other: where the second one's segment would begin, and whether it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from prdlib.text.noun_phrases import Part, attribute_words, attributes, lists, place_words
from prdlib.text.segments import CLAUSE, ITEM, PHRASE
from prdlib.text.statements import find_phrase, is_denied, rules
from prdlib.text.tagging import TaggedReport

VERBS = ("VBZ", "VBP", "VBD", "VBN", "MD")


@cache
def _lasting() -> frozenset[str]:
    """Words that both of two things have when they stand before the first: 'stable', 'normal'."""
    return lists()["shared"].union(rules().raw["course"], rules().raw["uncertain"])


@dataclass(frozen=True)
class Pair:
    """Two parts of a sentence that follow each other."""

    report: TaggedReport
    sentence: range
    one: Part
    two: Part
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
        cuts = self._parts_adjectives(place) or self._explains(place)
        return None if cuts or self._lacks_subject(place) or self._lacks_verb(place) else place

    def _parts_adjectives(self, place: int) -> bool:
        """Whether a break would part adjectives of one noun: 'superimposed bony and vascular structures', 'shows healed, remote
        fractures'."""
        words, tags, known = self.report.words, self.report.tags, lists()
        before, second = words[place - 1], words[place - 2] if place > 1 else ""
        if words[place] in ("and", "or") and place not in self.after_mark:
            adjective = before in known["kinds"] | place_words() or before[0].isdigit()
            return adjective and second not in known["copulas"] | {"the"}
        bare = place - 1 > self.one.end and place in self.after_mark and place == self.two.start
        return bare and second in known["before_adjectives"] and tags[place - 1].startswith(("JJ", "VBN"))

    def _explains(self, place: int) -> bool:
        """Whether what begins at ``place`` belongs to what stands before it: 'which', 'consistent with', 'its tip'."""
        words, known, two = self.report.words, lists(), self.two
        if {*words[place : two.start + 1]} & (known["close"] | {"which", "that"}):
            return True
        return any(words[i] in known["belonging"] and not self._compound(i) for i in range(place, two.end))

    def _compound(self, i: int) -> bool:
        """Whether a noun before word ``i`` names what it is part of: 'catheter tip'."""
        return i - 1 in range(self.two.start, self.two.end) and self.report.tags[i - 1].startswith("NN")

    def _lacks_subject(self, place: int) -> bool:
        """Whether ``place`` follows a verb whose object comes behind it ('lungs are | without edema'), or a verb follows whose
        subject came before ('opacity | and may be pneumonia')."""
        between = range(place, self.two.start)
        if self.report.words[place - 1] in lists()["copulas"]:
            return True
        if set(self.report.words[place : self.two.start]) & (lists()["openings"] | lists()["existential"]):
            return False
        return any(self.report.tags[i] in ("MD", "VBZ", "VBP", "VBD") for i in between)

    def _lacks_verb(self, place: int) -> bool:
        """Whether the first part's verb comes behind the second one: 'views of the chest with leads show'."""
        tags = self.report.tags
        if self.report.words[place] not in ("with", "without") or not self.one.subject:
            return False
        said = any(tag.startswith("VB") for tag in tags[self.one.end : place])
        return not said and self._stated() and any(tags[i] in ("VBZ", "VBP", "MD") for i in self._behind())

    @property
    def alternative(self) -> bool:
        """Whether the parts are joined by 'or'."""
        return self.place is not None and bool({"or", "nor"} & set(self.report.words[self.place : self.two.start]))

    @property
    def joined(self) -> bool:
        """Whether the parts are named side by side: by 'and', 'or' or a mark alone, not by 'with', 'but', ..."""
        words = self.report.words
        return self.place is not None and (
            self.place == self.two.start or words[self.place] in ("and", "or", "nor", "as")
        )

    @property
    def listed(self) -> bool:
        """Whether the parts are joined with no verb between them."""
        between = self.report.tags[self.one.end : self.two.start]
        return self.joined and not any(tag in VERBS for tag in between)

    def level(self, first: Part, stated: bool, alternative: bool) -> int:
        """The break before the second part: CLAUSE when it needs no words of the segment before its place, ITEM when both are
        denied together, whatever else they share, else PHRASE.

        first: of the list that the first part ends; stated: it shares its predicate; alternative: the list goes on to an 'or'.
        """
        words, one, two, place = self.report.words, self.one, self.two, self.place
        if place is None:
            return CLAUSE
        before = words[one.start : one.head]
        denied = (
            all(is_denied(self.report, self.sentence, part.head, part.end) for part in (one, two)) or "no" in before
        )
        if denied and self.joined and not _says_no(words[place : two.head]):
            if alternative or not self._stated():
                return ITEM
            if "no" in before:
                return CLAUSE  # 'no effusion, heart is normal'
        if alternative or (place in self.after_mark and words[place] in rules().raw["uncertain"]):
            return PHRASE  # 'opacity, possibly pneumonia'
        shares = self.listed and (stated or self._shares_modifiers(first) or self._is_object(place))
        return PHRASE if shares else CLAUSE

    def _is_object(self, place: int) -> bool:
        """Whether the second part is the place or the object that the first one's segment ends with, or both have one:
        'fracture of the 5th and the 6th rib', 'nodule, right hilum', 'ectasia and calcification of the aorta'."""
        words, tags, one, two = self.report.words, self.report.tags, self.one, self.two
        if place == one.end and words[place] == "and" and words[two.end : two.end + 1] == ("of",):
            return one.head not in self.named and not attributes(self.report, one.start, one.head) & place_words()
        if two.subject or two.head in self.named:
            return False
        own = {word for word in attributes(self.report, two.start, two.head) if not word[0].isdigit()}
        if words[place] != "and":
            return bool(own) and own <= place_words() and words[two.head] in rules().raw["place_nouns"]
        stating = lists()["copulas"] | lists()["existential"]
        verb = one.start > self.sentence.start and tags[one.start - 1].startswith("VB")
        if verb and words[one.start - 1] not in stating:
            return True  # 'a graft overlies the arch and the upper abdominal aorta'
        if any(words[i] in ("of", "in") for i in self._behind()[:1]):
            return False  # 'flattening of the diaphragms and expansion of the retrosternal space'
        placed = set(words[one.end : place]) & set(rules().raw["place_prepositions"])
        return bool(placed) and own <= place_words() | {"the", "a", "an"}

    def _behind(self) -> range:
        """Words behind the second part, up to what joins it to a third."""
        words, two = self.report.words, self.two
        stop, ends = two.end, lists()["links"] - {"otherwise"} | {"which", "that"}
        while stop < self.sentence.stop and words[stop] not in ends and stop not in self.after_mark:
            stop += 1
        return range(two.end, stop)

    def _stated(self) -> bool:
        """Whether more is said of the second part than that it is there: 'is normal'."""
        words, known, behind = self.report.words, lists(), self._behind()
        inside = range(self.two.start + 1, self.two.head) if self.report.tags[self.two.start].startswith("NN") else ()
        if {*words[behind.start : min(behind.stop, behind.start + 3)], *(words[i] for i in inside)} & known["shared"]:
            return True  # 'mediastinum within normal limits', 'mediastinum stable configuration'
        verb = next((i for i in behind if self.report.tags[i] in VERBS), None)
        return verb is not None and not set(words[verb : verb + 4]) & known["existential"]

    def shares_predicate(self, behind: bool) -> bool:
        """'heart size and contours are normal', 'heart and mediastinum of normal size': one statement of both, more than that
        they are there. behind: whether the second part shares its predicate with a third."""
        one, tags = self.one, self.report.tags
        if not self.listed or any(tag.startswith(("JJ", "RB", "VB")) for tag in tags[one.end : self.place][:1]):
            return False  # 'heart size normal, lungs clear'
        if not one.subject and any(tag.startswith("VB") for tag in tags[self.sentence.start : one.start]):
            return False
        return behind or self._stated()

    def _shares_modifiers(self, first: Part) -> bool:
        """'left effusion and atelectasis', 'normal heart size and mediastinal contours', 'compatible with effusions and
        atelectasis', 'effusion and atelectasis in the left base'."""
        words, two, known = self.report.words, self.two, lists()
        before = attributes(self.report, first.start, first.head) - {"the", "a", "an"}
        own, behind = attributes(self.report, two.start, two.head), self._behind()
        if set(words[max(self.sentence.start, first.start - 2) : first.start]) & known["close"]:
            return words[self.place] == "and" or not own & attribute_words()
        apart = self.place in self.after_mark and two.head in self.named and own
        if before & _lasting() and own <= place_words() and not apart:
            return True
        told = words[first.head] in known["courses"] and words[first.head + 1] in ("of", "in")
        if told and not own & {"a", "an", "the", "no"}:
            return True  # 'stable appearance of nodule and effusion'
        if own:
            return False
        following = words[behind.start : min(behind.stop, behind.start + 6)]
        prepositions = set(rules().raw["place_prepositions"])
        has_place = bool(set(following[:1]) & prepositions)
        if before:
            return not (has_place and (before & place_words() or prepositions & set(words[self.one.end : self.place])))
        return has_place and bool(set(following) & place_words())


def _says_no(words: Sequence[str]) -> bool:
    return any(find_phrase(words, phrase, 0, len(words)) >= 0 for phrase in rules().phrases["negation"])


def levels(pairs: Sequence[Pair]) -> list[int]:
    """The break between the parts of each pair of a sentence, see :meth:`Pair.level`. The first and the last of a list share with
    all of it: 'left effusion, atelectasis and edema', 'heart, aorta and hila are normal', 'edema, scar or pneumonia'."""
    stated = alternative = False
    said = []  # of each pair from the last: whether it shares the predicate, and whether a list with 'or' ends behind it
    for pair in reversed(pairs):
        stated = pair.shares_predicate(stated)
        alternative = pair.alternative or (alternative and pair.listed and pair.place == pair.two.start)
        said.append((stated, alternative))
    found: list[int] = []
    first = None
    for pair, (stated, alternative) in zip(pairs, reversed(said), strict=True):
        first = first if first and found[-1] < CLAUSE and pair.listed else pair.one
        found.append(pair.level(first, stated, alternative))
    return found
