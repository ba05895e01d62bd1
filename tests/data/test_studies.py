"""The table every reader returns: splits by patient, refusals in one sentence."""

import numpy as np
import pandas as pd
import pytest

from prdlib.data import DataError, Studies, load_studies
from prdlib.data.groups import report_groups
from prdlib.data.studies import SPLITS, empty_drops, split_of


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
        ({"patient_id": ["p", "p"]}, "more than one split"),
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


def test_unknown_collection_names_the_known():
    with pytest.raises(DataError, match="phantom, openi"):
        load_studies("opni")


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
