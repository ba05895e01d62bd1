"""The stored rows of ablations follow from the stored outcomes of every study: intervals, differences and p too. And the tables
are those that the manifest beside them says its notebooks wrote.

About a minute for all of them on an idle core. Rows of an older rule of ``ablation_table`` fail: make them anew with notebook 03.
"""

import json
import lzma
import shutil

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from prdlib.evaluation.ablation_table import COLUMNS, ablation_table
from prdlib.evaluation.image_gain import gain_table
from prdlib.repro import hash_files, project_root

REFERENCE = project_root() / "papermill_runs" / "reference"
PLACES = {path.parent.name: path.parent for path in REFERENCE.glob("grids/*/03_outcomes.csv.xz")}
PLACES |= {f"profile {name}": REFERENCE / name for name in ("cpu", "openi")}


@pytest.mark.parametrize("name", sorted(PLACES))
def test_stored_rows_follow_from_the_stored_outcomes(name):
    folder = PLACES[name]
    rows, outcomes = (pd.read_csv(folder / table) for table in ("03_rows.csv", "03_outcomes.csv.xz"))
    table = ablation_table(outcomes, rows["minus"].dropna().iloc[0]).astype(
        {"paired_seeds": float, "paired_studies": float}
    )
    in_order = [one.sort_values(["metric", "method"], ignore_index=True) for one in (table, rows[COLUMNS])]
    assert_frame_equal(*in_order, rtol=1e-9, atol=1e-9, check_dtype=False)


STRUCTURE = sorted(REFERENCE.rglob("structure*/outcomes.csv.xz"))


@pytest.mark.parametrize("path", STRUCTURE, ids=lambda path: path.parents[1].name)
def test_stored_image_gains_follow_from_the_stored_outcomes(path):
    outcomes, kept = pd.read_csv(path), pd.read_csv(path.parent / "image_gain.csv")
    kept = kept[kept["n"] > 0]
    assert set(zip(outcomes["model"], outcomes["test"], strict=True)) == set(
        zip(kept["model"], kept["test"], strict=True)
    )
    parts = [gain_table(part).assign(model=name) for name, part in outcomes.groupby("model")]
    table = pd.concat(parts)
    in_order = [one.sort_values(["model", "test"], ignore_index=True)[table.columns] for one in (table, kept)]
    assert_frame_equal(*in_order, rtol=1e-9, atol=1e-9, check_dtype=False)


@pytest.mark.parametrize("path", sorted(REFERENCE.rglob("run.json")), ids=lambda path: path.parent.name)
def test_stored_tables_are_those_of_the_manifest_beside_them(path, tmp_path):
    steps = json.loads(path.read_text())["steps"].values()
    written = {name: found for step in steps for name, found in step.get("outputs", {}).items()}
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "03_outcomes.csv").write_bytes(lzma.decompress((tmp_path / "03_outcomes.csv.xz").read_bytes()))
    kept = [name for name in written if (tmp_path / name).is_file()]
    assert {"03_rows.csv", "03_cells.csv", "03_outcomes.csv"} <= set(kept)
    assert {name: hash_files([tmp_path / name]) for name in kept} == {name: written[name] for name in kept}
