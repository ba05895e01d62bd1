"""Which reports say the same."""

import pytest

from prdlib.data.groups import report_groups

BASE = "There is no edema. The heart is normal."


@pytest.mark.parametrize(
    "other",
    [
        "1. No edema. 2. Heart normal.",
        "1) no edema; 2) heart normal",
        "THE HEART IS NORMAL. NO EDEMA. NO EDEMA.",
        "No XXXX edema. The heart is normal XXXX.",
        "No edema.\n2. The heart is normal",
    ],
)
def test_order_case_numbering_and_repeats_do_not_count(other):
    assert len(set(report_groups([BASE, other]))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE, "There is edema. The heart is normal."),
        ("Fracture of rib 7. Clear lungs.", "Fracture of rib 8. Clear lungs."),
        ("A nodule of 1.5 cm.", "A nodule of 1.6 cm."),
        ("Left effusion. Right opacity.", "Right effusion. Left opacity."),
    ],
)
def test_another_word_is_another_report(one, other):
    assert len(set(report_groups([one, other]))) == 2


def test_a_group_does_not_depend_on_the_rest_of_the_table():
    assert report_groups([BASE])[0] == report_groups(["x", BASE])[1] > 0
