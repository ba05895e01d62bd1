"""Perturbed copies of a report: one registry of named edits, drawn deterministically.

An edit is a list of *operations*: the position of an original word, or a new word. So a copy can be written down without the
report's text, and rebuilt by whoever has the report (:func:`rebuild`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prdlib.repro import generator
from prdlib.text.segments import carry_breaks, mark
from prdlib.text.tagging import TaggedReport

REDRAWS = 5  # draws before a copy that equals the original is called a no-op
Operations = Sequence["int | str"]
Edit = Callable[[TaggedReport, np.random.Generator], "Operations | None"]


@dataclass(frozen=True)
class Perturbed:
    """text: the copy as encoders see it; original: the original likewise; is_noop: they are equal, be it by chance of every draw
    or because the edit does not apply to this report (``applies`` False); operations: how the copy is made, see :func:`rebuild`;
    breaks: before each of its words, see :mod:`prdlib.text.segments`.
    """

    text: str
    original: str
    is_noop: bool
    operations: tuple[int | str, ...] = ()
    applies: bool = True
    breaks: tuple[int, ...] = ()

    @property
    def marked(self) -> tuple[str, ...]:
        """The copy's words with marks where segments begin."""
        return mark(self.text.split(), self.breaks)


@dataclass(frozen=True)
class Perturbation:
    """name; family ("word_order", "clinical" or "paraphrase"); changes: what it does; fixed: the same copy at every draw;
    function: (report, rng) -> operations, or None where the edit does not apply; keeps_words: the copy has the same words in
    another order; error: the category of ReXErr (Rao et al. 2025) that it stands for, '' for none."""

    name: str
    family: str
    changes: str
    fixed: bool
    function: Edit
    keeps_words: bool = False
    error: str = ""

    @property
    def in_place(self) -> bool:
        """Whether segments stay where they were while words change places."""
        return self.family == "word_order" or (self.family == "clinical" and self.keeps_words)


def rebuild(words: Sequence[str], operations: Operations) -> tuple[str, ...]:
    """The words of a copy: integers are positions in ``words``, strings are new words."""
    return tuple(words[part] if isinstance(part, int) else part for part in operations)


def apply(entry: Perturbation, tagged: TaggedReport, rng: np.random.Generator) -> Perturbed:
    """One copy by ``entry``; redrawn up to REDRAWS times while it equals the original."""
    operations: Operations = tuple(range(len(tagged.words)))
    copy: tuple[str, ...] = tagged.words
    applies = True
    for _ in range(1 if entry.fixed else REDRAWS):
        drawn = entry.function(tagged, rng)
        if drawn is None:  # it does not apply, however often it is drawn
            applies = False
            break
        operations, copy = drawn, rebuild(tagged.words, drawn)
        if copy != tagged.words:
            break
    breaks = carry_breaks(tagged.breaks, operations, entry.in_place)
    return Perturbed(" ".join(copy), tagged.normalised, copy == tagged.words, tuple(operations), applies, breaks)


def nearest(name: str, known: Sequence[str]) -> str:
    """' (did you mean ...?)' for a name that is not known, or ''."""
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def draw_names(names: Sequence[str], number: int, seed: int, epoch: int, study_id: str) -> tuple[str, ...]:
    """``number`` kinds of ``names`` drawn without replacement for one study and epoch; all of them in order when
    ``number`` is not smaller."""
    if number >= len(names):
        return tuple(names)
    drawn = generator(seed, epoch, str(study_id), "kinds").choice(len(names), number, replace=False)
    return tuple(names[i] for i in drawn)
