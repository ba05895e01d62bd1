"""The table every reader returns: splits by patient, refusals in one sentence."""

import numpy as np
import pandas as pd
import pytest

from prdlib.data import DataError, Studies, load_studies
from prdlib.data.groups import report_groups
from prdlib.data.studies import SPLITS, empty_drops, split_of, usable_rows


def table(**changes):
    rows = pd.DataFrame(
        {"study_id": ["a", "b"], "patient_id": ["p", "q"], "image": ["1.png", "2.png"], "view": "Frontal", "report": ["x", "y"],
         "report_group": [1, 2], "split": ["train", "test"], "source": "t", "findings": [[], []]}
    )  # fmt: skip
    return rows.assign(**changes)


def test_shares_of_the_hash_rule():
    names = pd.Series([split_of(f"patient-{i}") for i in range(20000)])
    shares = names.value_counts(normalize=True) * 100
    for name, share in SPLITS.items():
        assert shares[name] == pytest.approx(share, abs=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"patient_id": ["p", "p"]},
            r"^Patient 'p' of 't' stands in more than one split \(train, test\): split by patient.$",
        ),
        ({"patient_id": ["p", "p"], "split": ["test", "validation"]}, r"\(validation, test\)"),
        ({"image": ["1.png", "1.png"]}, "listed twice"),
        ({"study_id": ["a", "a"], "split": "test"}, "two reports or two patients"),
    ],
)
def test_leaks_and_doubles_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        Studies(table(**changes), empty_drops(), "t")


def test_empty_and_incomplete_tables_are_refused():
    with pytest.raises(DataError, match="No usable study"):
        Studies(table().head(0), empty_drops(), "t")
    with pytest.raises(DataError, match="no column 'view'"):
        Studies(table().drop(columns="view"), empty_drops(), "t")


def test_unknown_collection_or_option_names_the_known():
    with pytest.raises(DataError, match="phantom, openi"):
        load_studies("opni")
    with pytest.raises(DataError, match="no option 'sizes': choose from n, size, seed, cache"):
        load_studies("phantom", sizes=3)
    with pytest.raises(DataError, match="openi needs the option 'directory'"):
        load_studies("openi", views="Frontal")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"report": ["x", ""]}, "Row 1 .*'report' is empty.*usable_rows"),
        ({"report": ["x", np.nan]}, "Row 1 .*'report' is empty"),
        ({"report": ["...", "y"]}, "Row 0 .*'report' has no words"),
        ({"patient_id": [None, "q"]}, "Row 0 .*'patient_id' is empty"),
        ({"patient_id": ["p", " "]}, "Row 1 .*'patient_id' is empty"),
        ({"patient_id": [1.0, np.nan]}, "Row 0 .*'patient_id' is not text .*dtype=str"),
        ({"study_id": [7, 8]}, "Row 0 .*'study_id' is not text"),
        ({"image": ["1.png", np.nan]}, "Row 1 .*'image' is empty"),
        ({"view": ["Frontal", np.nan]}, "Row 1 .*'view' is nan: it must be text"),
        ({"split": ["train", "val"]}, "Row 1 .*'val': it must be one of train, validation, test"),
        ({"label:Edema": [1, "yes"]}, "Row 1 .*'label:Edema' is 'yes': a label is 1"),
        ({"label:Edema": [2.0, np.nan]}, "Row 0 .*a label is 1"),
    ],
)
@pytest.mark.parametrize("index", [[0, 1], [5, 5]])
def test_cells_that_cannot_be_used_are_named_with_row_and_column(changes, message, index):
    with pytest.raises(DataError, match=message):
        Studies(table(**changes).set_axis(index), empty_drops(), "t")


def test_unusable_rows_of_an_own_table_are_listed():
    rows = pd.DataFrame(
        {"study_id": list("abcde"), "patient_id": ["p", None, "q", "r", "s"], "image": [f"{i}.png" for i in range(5)],
         "report": ["Clear.", "Clear.", np.nan, " ... ", "No effusion."], "site": 1}
    )  # fmt: skip
    kept, dropped = usable_rows(rows)
    assert kept["study_id"].tolist() == ["a", "e"]
    assert list(kept.columns) == list(rows.columns)
    assert dict(zip(dropped["item"], dropped["reason"], strict=True)) == {
        "1": "column 'patient_id' is empty",
        "2": "column 'report' is empty",
        "3": "column 'report' has no words",
    }
    assert list(dropped.columns) == list(empty_drops().columns)
    with pytest.raises(DataError, match="no column 'report'"):
        usable_rows(rows.drop(columns="report"))


def test_a_report_that_is_no_text_has_no_group():
    with pytest.raises(DataError, match="Report 1 is nan, not text"):
        report_groups(["Clear.", float("nan")])


def test_groups_join_reports_that_say_the_same():
    a, b, c, d = report_groups(
        [
            "1. No effusion. 2. The lungs are clear.",
            "Lungs clear. No effusion!",
            "No effusion.",
            "Lungs are clear. No edema.",
        ]
    )
    assert a == b
    assert len({a, c, d}) == 3


def test_no_patient_of_the_phantom_is_in_two_splits(tiny_studies):
    assert (tiny_studies.table.groupby("patient_id")["split"].nunique() == 1).all()
    assert np.isclose(tiny_studies.summary()["studies"].sum(), len(tiny_studies.table))
