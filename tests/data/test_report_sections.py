"""Sections of made-up reports in the form of MIMIC-CXR's text files."""

import pytest

from prdlib.data.report_sections import joined, sections

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  History: ___F with cough  // acute process?

 COMPARISON:  ___

 FINDINGS:

 The lungs are clear.
   HEART: normal size.

 IMPRESSION:

 1. No acute process.

 NOTIFICATION:  Told to Dr. ___ by phone.
"""


def test_findings_and_impression_end_at_the_next_heading():
    assert sections(REPORT) == ("The lungs are clear. HEART: normal size.", "1. No acute process.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" FINDINGS AND IMPRESSION: Clear.", ("Clear.", "")),
        ("IMPRESSION: Edema.\n CONCLUSION: Worse.", ("", "Edema. Worse.")),
        ("Findings: Clear.\nImpression: Normal.", ("Clear.", "Normal.")),
        ("IMPRESSION:  No effusion.\n ____________________\n FINAL REPORT\n Text.", ("", "No effusion.")),
        ("The findings: are not a heading inside a line.", ("", "")),
        ("FINDINGS:\n\nIMPRESSION:\n\n", ("", "")),
        ("", ("", "")),
        ("RECOMMENDATION(S):  CT.\n FINDINGS: Mass.", ("Mass.", "")),
    ],
)
def test_headings_in_other_forms(text, expected):
    assert sections(text) == expected


@pytest.mark.parametrize(
    ("findings", "impression", "expected"),
    [
        ("Clear", "Normal.", "Clear. Normal."),
        ("", " No\n effusion ", "No effusion."),
        (None, float("nan"), ""),
        ("Is it edema?", "", "Is it edema?"),
    ],
)
def test_two_sections_become_one_text(findings, impression, expected):
    assert joined(findings, impression) == expected
