"""Where segments of a report begin: sentences, clauses that name one finding, phrases.

The rules know English grammar (spaCy's parser) and the words of radiology (clinical.yaml, segments.yaml), and no template
of any collection. A segment is read by itself, so a break must not take from words what they need:

    split          'mild cardiomegaly | with a small left effusion', 'a nodule is seen | and the heart is large',
                   'the lungs are clear | without focal consolidation or effusion'
    kept together  what is denied together ('no effusion, pneumothorax or edema'), what shares what is said of
                   it ('heart size and mediastinal contours are normal'), and what shares words before or behind it ('left
                   effusion and atelectasis', 'effusion and atelectasis in the left base')
    never parted   a verb and its subject ('opacity, which may be pneumonia', 'lungs are without edema'), and what explains
                   another ('opacity, consistent with pneumonia', 'a catheter with its tip in the vein')

At an ITEM break what is denied together parts: only the part beside the denial keeps it, and what they shared is lost to
the others. At a PHRASE break the other noun phrases of clauses kept together part as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from prdlib.repro import hash_files
from prdlib.text.clause_pairs import Pair, levels
from prdlib.text.noun_phrases import WORDS, numbered_sentences, parts_of, with_modifiers
from prdlib.text.segments import SENTENCE
from prdlib.text.statements import mentions
from prdlib.text.tagging import TaggedReport, load_pipeline


@cache
def rules_of_breaks() -> str:
    """Hash of the rules here, 16 hexadecimal digits: breaks that others found are not taken for these."""
    folder = Path(__file__).parent
    return hash_files([WORDS, *(folder / f"{name}.py" for name in ("clauses", "clause_pairs", "noun_phrases"))], 16)


def find_breaks(reports: Sequence[TaggedReport], batch_size: int = 256) -> list[TaggedReport]:
    """The reports with their ``breaks``; equal ones are parsed once. Raises TaggerMissing when no model is installed."""
    unique = list(dict.fromkeys(reports))
    docs = _pipeline().pipe((_doc(report) for report in unique), batch_size=batch_size)
    found = {
        report: replace(report, breaks=_breaks(report, doc)) if report.words else report
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


def _breaks(report: TaggedReport, doc: Any) -> tuple[int, ...]:
    word_at = {span: i for i, span in enumerate(report.offsets)}
    word_of = [word_at.get(span, -1) for span in _spans(report)]  # token -> word, -1 for punctuation
    marks = [t for t in range(len(word_of) - 1) if word_of[t] < 0 and _parts_words(report, doc[t])]
    after_mark = frozenset(word_of[t + 1] for t in marks)
    named = frozenset(i for mention in mentions(report) for i in range(mention.head, mention.head_end))
    breaks = [0] * len(report.words)
    parts = [with_modifiers(report, part) for part in parts_of(report, doc, word_of, after_mark, named)]
    parts.sort(key=lambda part: part.start)
    for sentence in numbered_sentences(report):
        breaks[sentence.start] = SENTENCE
        inside = [part for part in parts if part.start in sentence and part.end <= sentence.stop]
        pairs = [Pair(report, sentence, one, two, after_mark, named) for one, two in pairwise(inside)]
        for pair, level in zip(pairs, levels(pairs), strict=True):
            if pair.place is not None:
                breaks[pair.place] = max(breaks[pair.place], level)
    return tuple(breaks)


def _parts_words(report: TaggedReport, mark: Any) -> bool:
    """Whether a mark parts words: commas do, and hyphens with a space before them."""
    start = _spans(report)[mark.i][0] if mark.text == "-" else 0
    return mark.text == "," or (start > 0 and report.text[start - 1] == " ")
