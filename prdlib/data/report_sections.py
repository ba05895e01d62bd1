"""FINDINGS and IMPRESSION of a free-text radiology report, and one text out of the two.

A section begins at a line that starts with one of the headings below and a colon, in any case, and ends at the next of them.
Other words before a colon ("LUNGS: clear") belong to the section they stand in. The headings are those of MIMIC-CXR's reports,
whose authors publish a section parser with more rules for reports that have no headings at all (github.com/MIT-LCP/mimic-cxr,
txt/): this one leaves such reports without sections.
"""

from __future__ import annotations

import re
from typing import Any

FINDINGS = ("FINDINGS", "FINDING", "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION")
IMPRESSION = ("IMPRESSION", "IMPRESSIONS", "IMPRESSION AND RECOMMENDATION", "CONCLUSION", "CONCLUSIONS")
OTHERS = (
    "ADDENDUM", "CLINICAL HISTORY", "CLINICAL INDICATION", "CLINICAL INFORMATION", "COMPARISON", "COMPARISONS",
    "DOSE", "EXAM", "EXAMINATION", "FINAL REPORT", "HISTORY", "INDICATION", "INDICATIONS", "NOTIFICATION", "NOTIFICATIONS",
    "PREOPERATIVE REPORT", "PROCEDURE", "REASON FOR EXAM", "REASON FOR EXAMINATION", "RECOMMENDATION", "RECOMMENDATIONS",
    "RECOMMENDATION(S)", "REFERENCE EXAM", "STUDY", "TECHNIQUE", "TYPE OF EXAMINATION", "WET READ",
)  # fmt: skip
HEADING = re.compile(
    rf"^[ \t]*({'|'.join(sorted(map(re.escape, (*FINDINGS, *IMPRESSION, *OTHERS)), key=len, reverse=True))})[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
RULE = re.compile(r"^[ \t]*_{5,}[ \t]*$", re.MULTILINE)  # a line of underscores parts an addendum from the report


def sections(text: str) -> tuple[str, str]:
    """(findings, impression) of a report, '' for one that it has not; what stands twice is joined, white space is single."""
    parts: tuple[list[str], list[str]] = ([], [])
    headings = list(HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    for heading, end in zip(headings, ends, strict=True):
        name = heading.group(1).upper()
        body = " ".join(RULE.split(text[heading.end() : end])[0].split())
        if body and name in FINDINGS:
            parts[0].append(body)
        elif body and name in IMPRESSION:
            parts[1].append(body)
    return " ".join(parts[0]), " ".join(parts[1])


def joined(findings: Any, impression: Any) -> str:
    """Findings, then impression, each closed by a full stop; '' when neither is text with words in it."""
    parts = [str(part).strip() for part in (findings, impression) if isinstance(part, str) and part.strip()]
    return " ".join(" ".join(part if part[-1] in ".!?:" else part + "." for part in parts).split())
