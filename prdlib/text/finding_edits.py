"""Clinical edits of what is there: a finding is replaced, left out, denied, or affirmed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from prdlib.text.editing import (
    Draft,
    article_of,
    by_finding,
    cut_off,
    denies,
    details,
    fits,
    leaned_on,
    loose_end,
    overlapping,
    pick,
    removable,
    run_on,
    sentence_words,
    stands_alone,
    stated,
)
from prdlib.text.perturbation import Operations
from prdlib.text.statements import Finding, Mention, find_phrase, mentions, rules, sentences
from prdlib.text.tagging import TaggedReport


def replace_finding(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """A finding becomes another that a reader could take for it, and that the report does not speak of."""
    known, groups = rules(), stated(report)
    named = {m.finding.name for m in mentions(report)}
    names = [n for n in groups if n in known.raw["confusable"]]
    rng.shuffle(names)
    for name in names:
        group = groups[name]
        again = set(known.raw["also"].get(name, ())) & set(report.words)
        if again or leaned_on(report, group) or any(explained(report, m, in_lists=True) for m in group):
            continue
        said = details(report.words, group)
        for candidate in known.raw["confusable"][name]:
            new = known.findings[candidate]
            noun = _forms(new, any(m.plural for m in group))
            kin = {candidate, *overlapping(candidate), *overlapping(name)}
            if noun is None or not fits(new, said) or kin & (named - {name}):
                continue
            if not _could_be(report, group, candidate) or any(_tied(report, m, new) for m in group):
                continue
            draft = Draft(report)
            for m in group:
                _put_noun(draft, m, new, noun[m.plural])
            return draft.operations()
    return None


def explained(report: TaggedReport, m: Mention, in_lists: bool = False) -> bool:
    """Whether the sentence says what the finding is, or what it is a sign of: 'opacity consistent with a nipple shadow'; or
    names other findings (``in_lists``: otherwise than in a plain list, 'a x, b y and c z')."""
    raw, part = rules().raw, sentences(report)[m.sentence]
    behind, before = set(report.words[m.end : part.stop]), set(report.words[part.start : m.start])
    inside = [x for x in mentions(report) if x.sentence == m.sentence]
    if in_lists and len(inside) > 1 and _is_list(report, inside):
        return bool({*raw["linking"], "or", "which", "suggest"} & (behind | before))
    others = len(inside) > 1
    return bool({*raw["linking"], "or", "and", "which", "suggest"} & behind or set(raw["linking"]) & before or others)


def _is_list(report: TaggedReport, items: Sequence[Mention]) -> bool:
    """Whether nothing but 'and' and articles stands between the mentions, and nothing behind them."""
    between = {word for left, right in pairwise(items) for word in report.words[left.end : right.start]}
    return between <= {"and", "a", "an"} and items[-1].end == sentences(report)[items[-1].sentence].stop


def called_clear(report: TaggedReport, name: str) -> bool:
    """Whether the report says of the lungs, the heart or the whole chest what a finding ``name`` would contradict."""
    raw, words, parts = rules().raw, report.words, sentences(report)
    heart = name == "cardiomegaly" and {"heart", "cardiac", "cardiomediastinal", "silhouette"} & set(words)
    cut = report.n_words > len(words) and words[-2:] == ("no", "acute")
    if heart or cut or _clear_lungs(report, name) or _normal_place(report, name):
        return True
    return any(
        find_phrase(words, phrase.split(), part.start, part.stop) >= 0 for part in parts for phrase in raw["all_clear"]
    )


def _could_be(report: TaggedReport, group: Sequence[Mention], candidate: str) -> bool:
    """Whether the words before the noun, and what the report says of the lungs, leave room for the candidate."""
    raw, words = rules().raw, report.words
    before = {w for m in group for w in words[m.start : m.head]}
    sentence = {w for m in group for i in [sentences(report)[m.sentence]] for w in words[i.start : i.stop]}
    if set(raw["units"]) & sentence or "borderline" in before:
        return False
    unnamed = any(w in ("effusion", "effusions") and words[max(0, i - 1)] != "pleural" for i, w in enumerate(words))
    if candidate == "pericardial_effusion" and unnamed:  # 'no effusion' may mean this one
        return False
    if set(raw["told_by"]) & set(words) or (candidate == "emphysema" and {"low", "hypoinflated"} & set(words)):
        return False
    if any({"area", "areas", "findings", "infectious"} & set(words[max(0, m.start - 4) : m.head]) for m in group):
        return False
    ends = {m.end for m in mentions(report)}
    if any(m.start and words[m.start - 1] == "and" and m.start - 1 not in ends for m in group):
        return False  # 'left base and perihilar infiltrate'
    if candidate in ("nodule", "mass"):
        return not before & set(raw["not_round"]) and not {"clear", "unremarkable"} & set(words)
    if candidate not in raw["outside_the_lung"]:
        if before & set(raw["not_diffuse"]) or {"clear", *raw["no_failure"]} & set(words):
            return False
        return not any(
            find_phrase(words, phrase.split(), part.start, part.stop) >= 0
            for part in sentences(report) for phrase in raw["all_clear"]
        )  # fmt: skip
    return True


def _tied(report: TaggedReport, m: Mention, new: Finding) -> bool:
    """Whether words around the noun would not suit another: its article ('a small' consolidation), a word that belongs to it
    alone, a verb that disagrees, several lobes or an opacification for one nodule."""
    raw, words = rules().raw, report.words
    around = {*words[max(0, m.start - 1) : m.head], *words[m.head_end : m.end + 1]}
    uncountable = (
        not new.article
        and new.name not in raw["counted"]
        and bool(m.grade)
        and m.start > 0
        and words[m.start - 1] in ("a", "an")
    )
    disagrees = not m.plural and bool({"are", "were"} & set(words[m.head_end : m.head_end + 1]))
    round_one = new.name in ("nodule", "mass")
    spread = round_one and not m.plural and "lobes" in sentence_words(report, m)
    spread = spread or (round_one and bool(set(raw["not_round"]) & set(words[m.head : m.head_end])))
    active = new.name in ("nodule", "mass", "pericardial_effusion") and any(
        find_phrase(words, phrase.split(), 0, len(words)) >= 0 for phrase in raw["active"]
    )
    sign = bool(set(raw["sign_of"].get(new.name, ())) & set(words[m.head : m.head_end]))
    before = words[sentences(report)[m.sentence].start : m.start]
    bare = bool(new.article) and not m.plural and before[:2] == ("there", "is") and not _wants_article(words, m)
    bare = bare and before[-1] not in ("a", "an")
    part = sentences(report)[m.sentence]
    runs_on = m.sentence > 0 and denies(report, sentences(report)[m.sentence - 1]) and not stands_alone(report, part)
    return bool(set(raw["its_own"]) & around) or any((uncountable, disagrees, spread, active, sign, bare, runs_on))


def _forms(finding: Finding, plural: bool) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The finding's plain noun, or one that has a plural where that is needed."""
    return next((form for form in finding.forms if form[1] or not plural), None)


def _put_noun(draft: Draft, m: Mention, new: Finding, noun: tuple[str, ...]) -> None:
    before = m.start - 1
    has_article = before >= 0 and draft.report.words[before] in ("a", "an")
    area = rules().raw["counted"].get(new.name, "").split() if has_article and not m.plural else []
    draft.replace(m.head, m.head_end, (*area, *noun))
    if new.name != "edema":  # 'pulmonary edema', but not 'pulmonary pneumonia'
        draft.delete(i for i in range(m.start, m.head) if draft.report.words[i] in rules().raw["only_of_edema"])
    words = draft.report.words
    if has_article and not new.article and not area:
        draft.delete([before])
    if new.article and not m.plural and not has_article and _wants_article(words, m):
        draft.insert(m.start, [article_of(noun[0] if m.start == m.head else words[m.start])])


def _wants_article(words: Sequence[str], m: Mention) -> bool:
    before = words[m.start - 1] if m.start else ""
    return before in ("is", "are", "with", "shows", "demonstrates", "of", "represent", "again", "to")


def _remove(report: TaggedReport, group: Sequence[Mention], draft: Draft) -> bool:
    """Take the mentions out: a sentence of its own goes as a whole, an item leaves its list. False where neither works."""
    everything, parts = mentions(report), sentences(report)
    for m in group:
        inside = [x for x in everything if x.sentence == m.sentence]
        if all(x in group for x in inside):
            draft.delete(parts[m.sentence])
            before = parts[m.sentence - 1] if m.sentence else range(0)
            if len(before) == 1 and report.words[before.start].isdigit():  # the number goes with its sentence
                draft.delete(before)
        elif _one_statement(report, inside) or not _leave_list(report, inside, m, draft):
            return False
    return True


def _one_statement(report: TaggedReport, items: Sequence[Mention]) -> bool:
    """Whether the items of a list belong together: one or the other, or with words behind that may be of all, as in 'x and y
    in the spine'."""
    first, last = items[0], items[-1]
    ending = report.words[last.end : sentences(report)[last.sentence].stop]
    said = len(ending) == 2 and ending[0] in ("is", "are") and ending[1] in rules().words["present"]
    either = "or" in report.words[first.end : last.start] and last.polarity != "denied"
    return either or last.end > last.head_end or (bool(ending) and not said)


def _leave_list(report: TaggedReport, items: Sequence[Mention], m: Mention, draft: Draft) -> bool:
    """Take ``m`` out of 'a x, b y and c z'; False where the sentence is no plain list."""
    words = report.words
    starts = [x.start - (x.start > 0 and words[x.start - 1] in ("a", "an")) for x in items]
    joins = [range(left.end, start) for left, start in zip(items, starts[1:], strict=False)]
    kinds = [words[j.start : j.stop] for j in joins]
    link = next((k[0] for k in kinds if k in (("and",), ("or",))), None)
    if link is None or any(k not in ((), (link,)) for k in kinds) or kinds[-1] != (link,):
        return False
    k = items.index(m)
    draft.delete(range(starts[k], m.end))
    last = len(items) - 1
    if len(items) == 2:
        draft.delete(joins[0])
        _singular_verb(words, items[1 - k], items[-1].head_end, sentences(report)[m.sentence].stop, draft)
        if link == "or" and items[0].start and words[starts[0] - 1] == "neither":
            return False
    elif k == last:
        draft.delete(joins[-1])
        if kinds[-2] == ():
            draft.insert(starts[last - 1], [link])
    elif k == last - 1:
        if kinds[-2] == (link,):
            draft.delete(joins[-2])
    elif kinds[k] == (link,):
        draft.delete(joins[k])
    return True


def _singular_verb(words: Sequence[str], left: Mention, end: int, stop: int, draft: Draft) -> None:
    if not left.plural and end < stop and words[end] in ("are", "were", "have"):
        draft.replace(end, end + 1, [{"are": "is", "were": "was", "have": "has"}[words[end]]])


def omit_finding(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """All that is said of one finding that is there is left out."""
    groups, names = by_finding(report), removable(report)
    rng.shuffle(names)
    for name in names:
        draft = Draft(report)
        if not _remove(report, groups[name], draft) or not any(draft.slots):
            continue
        kept = [part for part in sentences(report) if any(draft.slots[i] for i in part)]
        if not run_on(report, kept) and not _lone_heading(report, groups[name]):
            return draft.operations()
    return None


def _lone_heading(report: TaggedReport, group: Sequence[Mention]) -> bool:
    """Whether the sentence before one of the mentions ends in a heading, which would be left without its text."""
    return any(report.words[sentences(report)[m.sentence].start - 1] in rules().raw["headings"]
               for m in group if m.sentence)  # fmt: skip


def negate_finding(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """One finding that is there is denied; what else the report says of it is left out."""
    groups, names = by_finding(report), removable(report)
    rng.shuffle(names)
    for name in names:
        for m in groups[name]:
            draft = Draft(report)
            rest = [x for x in groups[name] if x is not m]
            if _deny(report, m, draft) and _remove(report, rest, draft):
                return draft.operations()
    return None


def _deny(report: TaggedReport, m: Mention, draft: Draft) -> bool:
    """'There is a small left X.' -> 'There is no X.'; 'X is seen.' and a bare 'X.' -> 'No X is seen.', 'No X.'."""
    words, sentence, known = report.words, sentences(report)[m.sentence], rules()
    if cut_off(report, m) or any(x is not m and x.sentence == m.sentence for x in mentions(report)):
        return False
    article = m.start > sentence.start and words[m.start - 1] in ("a", "an", "the", "some")
    opening = words[sentence.start : m.start - article]
    ending = words[m.end : sentence.stop]
    seen = len(ending) == 2 and ending[0] in ("is", "are") and ending[-1] in known.words["present"]
    behind = report.words[sentence.stop : sentence.stop + 2]
    if set(behind) & set(rules().raw["pointing_back"]) or m.finding.name in (
        "elevation",
        "blunting",
    ):  # 'this measures ...'
        return False
    if not (
        opening == ()
        or opening in known.phrases["existential"]
        or (opening[-1] in known.words["shows"] and len(opening) <= 3)
    ):
        return False
    if not (ending == () or (seen and opening == ()) or (len(ending) == 1 and ending[0] in known.words["present"])):
        return False
    if "again" in opening or "redemonstrated" in ending:
        return False
    following = sentences(report)[m.sentence + 1 : m.sentence + 2]
    opens = {report.words[part.start] for part in following}
    if opens & set(known.raw["leaning_openings"]) or not all(stands_alone(report, part) for part in following):
        return False  # it would be read as denied, too
    first = m.start - article
    after = next((i for i in range(m.head_end, m.end) if words[i] not in known.words["verbs"]), m.end)
    draft.delete([*range(first, m.head), *range(after, m.end)])
    draft.insert(first, ["no"])
    return True


def affirm_finding(report: TaggedReport, rng: np.random.Generator) -> Operations | None:
    """One finding that is denied is there: it leaves the denial and gets a sentence of its own, with a grade and a side."""
    everything, groups = mentions(report), by_finding(report)
    names = [
        n for n, group in groups.items()
        if len(group) == 1 and group[0].polarity == "denied" and not cut_off(report, group[0])
        and not overlapping(n) & set(groups) and not loose_end(report, group)
        and not _clear_lungs(report, n) and not _normal_place(report, n) and not {"otherwise", "specifically"} & set(report.words)
    ]  # fmt: skip
    rng.shuffle(names)
    for name in names:
        m, draft = groups[name][0], Draft(report)
        sentence = sentences(report)[m.sentence]
        inside = [x for x in everything if x.sentence == m.sentence]
        opening = report.words[sentence.start : inside[0].start]
        ending = report.words[inside[-1].end : sentence.stop]
        closed = (
            ending == ()
            or (ending[0] in ("is", "are") and ending[-1] in rules().words["present"])
            or ending[-1:] in (("seen",), ("identified",))
        )
        if (
            opening not in rules().phrases["denial_openings"]
            or not closed
            or m.side
            or m.zone
            or m.grade
            or m.start != m.head
        ):
            continue
        if len(inside) == 1:
            draft.delete(sentence)
        elif not _leave_list(report, inside, m, draft):
            continue
        if not _drop_all_clear(report, draft):
            continue
        noun = m.finding.forms[m.form][m.plural]
        if noun[0] == "focal":
            noun = noun[1:]
        phrase = [*_drawn_details(report, m, rng), *noun]
        counted = m.finding.article and not m.plural and noun[-1] not in rules().raw["uncounted"]
        article = [article_of(phrase[0])] if counted else []
        draft.insert(sentence.stop, ["there", "are" if m.plural else "is", *article, *phrase])
        return draft.operations()
    return None


def _clear_lungs(report: TaggedReport, name: str) -> bool:
    """Whether the report calls the lungs clear, and the finding lies in the lung."""
    raw = rules().raw
    outside = name in raw["outside_the_lung"]
    return not outside and "clear" in report.words


def _normal_place(report: TaggedReport, name: str) -> bool:
    """Whether a sentence calls the place normal where the finding would be: 'bony structures are intact'."""
    raw = rules().raw
    texts = [set(report.words[part.start : part.stop]) for part in sentences(report)]
    return any(set(raw["normal_place"].get(name, ())) & text and set(raw["normal_words"]) & text for text in texts)


def _drop_all_clear(report: TaggedReport, draft: Draft) -> bool:
    """Take out sentences that say that nothing is there ('no acute disease', 'normal chest'), which a finding contradicts. False
    where such words stand inside another sentence."""
    raw, parts = rules().raw, sentences(report)
    named = {m.sentence for m in mentions(report)}
    for number, part in enumerate(parts):
        text = report.words[part.start : part.stop]
        cut = part.stop == len(report.words) and text[-2:] == ("no", "acute")
        whole = text in (("negative",), ("normal",))
        if (
            not cut
            and not whole
            and not any(find_phrase(text, phrase.split(), 0, len(text)) >= 0 for phrase in raw["all_clear"])
        ):
            continue
        if number in named or text[0] not in raw["all_clear_openings"]:
            return False
        draft.delete(part)
        before = parts[number - 1] if number else range(0)
        if len(before) == 1 and report.words[before.start].isdigit():
            draft.delete(before)
    return True


def _drawn_details(report: TaggedReport, m: Mention, rng: np.random.Generator) -> list[str]:
    """A grade and a side at random, as findings that are there have them; nothing large in lungs that are called clear."""
    well = {"clear", "expanded", "inflated", "aerated", "hyperexpanded", "hyperinflated"} & set(report.words)
    large = () if well else ("large",)
    moderate = () if well else ("moderate",)
    if m.finding.scale == "none":
        grades: tuple[str, ...] = ()
    elif m.finding.scale == "size" and m.finding.article:
        grades = ("small", *large) if m.plural else ("small", *moderate, *large)
    else:  # 'moderate consolidation' needs no article
        grades = ("mild", "moderate", "severe")
    grade = [str(pick(grades, rng))] if grades else []
    return grade + ([str(pick(("left", "right"), rng))] if m.finding.sided and not m.plural else [])
