"""Report texts of Open-I: findings and impression joined, the token XXXX, and which reports say the same."""

from __future__ import annotations

import hashlib
import re

XXXX = re.compile(r"\bX{3,}\b", re.IGNORECASE)  # the token that stands for what de-identification removed
ENUMERATION = re.compile(r"(?:(?<=^)|(?<=[\s.;:]))\(?\d{1,2}[.)](?=\s|[A-Za-z])")  # "1. " or "2)" before an item
SENTENCE_END = re.compile(r"[!?;:\n]+|\.(?!\d)")
NOT_WORD = re.compile(r"[\W_]+")
GROUP_BITS = 52  # exact even where a table turns integers into floats


def report_text(findings: str, impression: str, deidentified: str = "drop") -> str:
    """Findings, then impression, as one text; with 'drop' the token XXXX is removed and what it leaves is tidied."""
    parts = [tidy(XXXX.sub(" ", part) if deidentified == "drop" else part) for part in (findings, impression)]
    parts = [part for part in parts if any(character.isalnum() for character in part)]
    closed = [part if part[-1] in ".!?:;" else part + "." for part in parts[:-1]]
    return " ".join([*closed, *parts[-1:]])


def tidy(text: str) -> str:
    """Single spaces, none before punctuation, no punctuation or bracket that has lost its words."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\(\s*\)|\[\s*\]", " ", text)
    text = re.sub(r"(?<=\s)-(?=\w)|^-(?=\w)", "", text)  # "XXXX-year-old" leaves "-year-old"
    text = re.sub(r"\s+([.,;:!?)\]])", r"\1", text)
    text = re.sub(r"([.,;:])(?:\s*[.,;:])*(?=[.;:])", "", text)  # of a run of marks the last stays
    return re.sub(r"\s+", " ", text).strip(" ,;")


def sentences(report: str) -> list[str]:
    """Lower-case sentences without punctuation, XXXX and the numbers of enumerations; decimals (1.5) stay whole words."""
    text = ENUMERATION.sub(". ", XXXX.sub(" ", report))
    parts = (NOT_WORD.sub(" ", part).strip().lower() for part in SENTENCE_END.split(text))
    return [part for part in parts if part]


def report_group(report: str) -> int:
    """An integer that is equal for reports that say the same: the same *set* of sentences (see :func:`sentences`).

    So the order of sentences, repetition (a finding said again as impression), punctuation, case, XXXX and numbering do
    not count; one other word does. It is a hash of the text alone: the same in every copy of the collection.
    """
    key = "\n".join(sorted(set(sentences(report))))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> (64 - GROUP_BITS)
