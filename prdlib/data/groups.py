"""Which reports say the same: one number per group of equal or near-identical reports."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from prdlib.data.studies import DataError
from prdlib.repro import generator
from prdlib.text import normalise

ENUMERATION = re.compile(
    r"(^|[.;:!?\n])\s*\(?\d{1,2}[.)]\s+"
)  # only where a sentence may begin: "rib 7. Clear." keeps its 7
SENTENCE_END = re.compile(r"[.;:!?]+\s+|\n+")
FILLERS = {"xxxx", "the", "a", "an", "there", "is", "are"}


def report_key(report: str) -> str:
    """What two reports must share to count as the same: the *set* of their sentences, each without case, punctuation,
    enumeration, the de-identification token, articles and 'there is'. The order of sentences and repeats do not matter."""
    sentences = {
        " ".join(w for w in normalise(part).split() if w not in FILLERS)
        for part in SENTENCE_END.split(ENUMERATION.sub(r"\1 ", report))
    }
    return "|".join(sorted(sentences - {""}))


def report_groups(reports: Iterable[str]) -> list[int]:
    """A positive 62-bit number for each report; equal for reports with the same key, whatever else is in the table.

    Raises DataError for a report that is not text.
    """
    reports = list(reports)
    for row, report in enumerate(reports):
        if not isinstance(report, str):
            raise DataError(
                f"Report {row} is {report!r}, not text: fill it, or leave such rows out (data.studies.usable_rows)."
            )
    return [int(generator(report_key(report)).integers(1, 2**62)) for report in reports]


def study_groups(study_ids: Iterable[str]) -> list[int]:
    """What stands for :func:`report_groups` in a collection without reports: a positive 62-bit number for each study's id, since
    no two of its studies are known to say the same."""
    return [
        1 + (int.from_bytes(hashlib.sha256(f"no report:{study}".encode()).digest()[:8], "big") >> 2)
        for study in study_ids
    ]
