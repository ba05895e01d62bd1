"""The stored rows of ablations follow from the stored outcomes of every study: intervals, differences and p too.

About a minute for all of them on an idle core. Rows of an older rule of ``ablation_table`` fail: make them anew with notebook 03.
"""

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from prdlib.evaluation.ablation_table import COLUMNS, ablation_table
from prdlib.repro import project_root

REFERENCE = project_root() / "papermill_runs" / "reference"
OUTCOMES = [*sorted(path.parent.name for path in REFERENCE.glob("grids/*/03_outcomes.csv.xz")), "cpu"]


@pytest.mark.parametrize("name", OUTCOMES)
def test_stored_rows_follow_from_the_stored_outcomes(name):
    """Profile cpu's four rows are of trainings of grid paper, with CLIP as the baseline."""
    folder, grid = (REFERENCE / "cpu", "paper") if name == "cpu" else (REFERENCE / "grids" / name, name)
    rows = pd.read_csv(folder / "03_rows.csv")[COLUMNS]
    outcomes = pd.read_csv(REFERENCE / "grids" / grid / "03_outcomes.csv.xz")
    table = ablation_table(outcomes[outcomes["method"].isin(rows["method"])], rows["minus"].dropna().iloc[0])
    in_order = [one.sort_values(["metric", "method"], ignore_index=True) for one in (table, rows)]
    assert_frame_equal(*in_order, rtol=1e-9, atol=1e-12, check_dtype=False)
