"""Segments of a report: stretches of words that are encoded by themselves, from whole sentences down to single phrases.

Before each word stands a *break*: SENTENCE, CLAUSE, ITEM, PHRASE, or 0 inside a phrase (see :mod:`prdlib.text.clauses`, which
finds them). Words and breaks travel together as *marked words*, the report's words with a mark where a segment begins:

    ("small", "left", "effusion", ";", "with", "atelectasis", ".", "no", "pneumothorax")

Words are letters and digits, so a mark is never taken for one, and what normalises text leaves the marks out.
"""

from __future__ import annotations

from collections.abc import Sequence

PHRASE, ITEM, CLAUSE, SENTENCE, REPORT = 1, 2, 3, 4, 5
MARKS = {PHRASE: ",", ITEM: "/", CLAUSE: ";", SENTENCE: "."}
LEVELS = {mark: level for level, mark in MARKS.items()}
KINDS = {
    "phrase": PHRASE,
    "item": ITEM,
    "clause": CLAUSE,
    "sentence": SENTENCE,
    "report": REPORT,
}  # the lowest break at which a segment of the kind begins


def mark(words: Sequence[str], breaks: Sequence[int]) -> tuple[str, ...]:
    """Words with the mark of each break before its word, but the first; no breaks: the words.

    Raises ValueError when there are breaks for another number of words.
    """
    if not breaks:
        return tuple(words)
    marked = [words[0]] if words else []
    for word, level in zip(words[1:], breaks[1:], strict=True):
        marked += [MARKS[level], word] if level else [word]
    return tuple(marked)


def first_words(marked: Sequence[str], limit: int) -> tuple[str, ...]:
    """Marked words up to the first ``limit`` words."""
    left, kept = limit, []
    for word in marked:
        left -= word not in LEVELS
        if left < 0:
            break
        kept.append(word)
    return tuple(kept)


def plain(marked: Sequence[str]) -> tuple[str, ...]:
    """Marked words without the marks."""
    return tuple(word for word in marked if word not in LEVELS)


def segment(marked: Sequence[str], kind: str, window: int = 8) -> list[tuple[str, ...]]:
    """The segments of marked words, in order, none of them empty.

    kind: 'sentence', 'clause', 'item' or 'phrase', which begins at each mark of its own and of the kinds before it, 'report', the
    whole, or 'window': ``window`` words each, whatever the marks. Words without marks are one segment (or windows).
    """
    if kind == "window":
        words = plain(marked)
        return [words[i : i + window] for i in range(0, len(words), window)]
    lowest, segments = KINDS[kind], [[]]
    for word in marked:
        if word not in LEVELS:
            segments[-1].append(word)
        elif LEVELS[word] >= lowest and segments[-1]:
            segments.append([])
    return [tuple(words) for words in segments if words]


def carry_breaks(breaks: Sequence[int], operations: Sequence[int | str], in_place: bool) -> tuple[int, ...]:
    """The breaks of a perturbed copy, one for each of its ``operations`` (see ``perturbation.rebuild``).

    in_place: words change places and segments stay as they were (word order, exchanges). Otherwise a word keeps the break
    before it, and a word that follows in the report what was left out in between takes the highest break that stood there.
    """
    if not breaks:
        return ()
    if in_place and len(operations) == len(breaks):
        return tuple(breaks)
    carried: list[int] = []
    last, start = -1, 0  # position of the last original word, and where in the copy what follows it begins
    for place, part in enumerate(operations):
        carried.append(0)
        if isinstance(part, int):
            skipped = breaks[last + 1 : part + 1] if part > last else breaks[part : part + 1]
            carried[start if part > last else place] = max(skipped)
            last, start = part, place + 1
    return tuple(carried)
