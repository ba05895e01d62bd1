"""Trainings kept of another machine, beside those of a run: each cell once, its own first, and of the same studies."""

import hashlib
import json
from dataclasses import asdict
from types import SimpleNamespace

import pandas as pd
import pytest

from prdlib.ablation import load_ablation
from prdlib.ablation_run import run_ablation
from prdlib.data import DataError
from prdlib.kept_cells import COLUMNS, kept_keys, own_cells, refuse_other_settings, told, with_kept, with_kept_rows
from prdlib.notebook import Run
from prdlib.training import checkpoint_folder, fit

RUN = SimpleNamespace(rows=("a", "b", "c"), seeds=(0, 1), grid=None)


def outcomes(cells, value, studies=("p", "q")):
    rows = [(m, s, "R@1", q, value, 60.0) for m, s in cells for q in studies]
    return pd.DataFrame(rows, columns=["method", "seed", "metric", "query", "outcome", "seconds"])


def cells_of(cells, origin, precision="bf16"):
    return pd.DataFrame(
        [(m, s, "1234567", precision, 1.0, origin, "quick-1", "0e12") for m, s in cells], columns=COLUMNS
    )


@pytest.fixture
def kept(tmp_path):
    cells = [("b", 0), ("a", 0), ("a", 1), ("b", 7), ("unasked", 0)]
    outcomes(cells, 0.0).to_csv(tmp_path / "03_outcomes.csv.xz", index=False)
    cells_of(cells, "there", "float32").to_csv(tmp_path / "03_cells.csv", index=False)
    return tmp_path


def test_a_cell_is_the_runs_own_where_it_has_one(kept):
    own = [("c", 0), ("a", 0)]
    joined, cells = with_kept(outcomes(own, 1.0), cells_of(own, "here"), str(kept), RUN)
    found = joined.groupby(["method", "seed"], sort=False)["outcome"].agg(["mean", "size"])
    assert found.to_dict("index") == {
        ("a", 0): {"mean": 1.0, "size": 2},
        ("a", 1): {"mean": 0.0, "size": 2},
        ("b", 0): {"mean": 0.0, "size": 2},
        ("c", 0): {"mean": 1.0, "size": 2},
    }
    assert cells.set_index(["method", "seed"])["from"].to_dict() == {
        ("a", 0): "here", ("c", 0): "here", ("a", 1): "there", ("b", 0): "there",
    }  # fmt: skip
    assert told(cells).splitlines() == [
        "  2 trainings of here, commit 1234567, bf16",
        "  2 trainings of there, commit 1234567, float32",
    ]


def test_hashes_of_weights_stay_text_and_may_be_missing(kept):
    joined = with_kept(outcomes([], 1.0), cells_of([], "here"), str(kept), RUN)[1]
    assert set(joined["weights"]) == {"0e12"}  # not 0
    pd.read_csv(kept / "03_cells.csv").drop(columns="weights").to_csv(kept / "03_cells.csv", index=False)
    older = with_kept(outcomes([("c", 0)], 1.0), cells_of([("c", 0)], "here"), str(kept), RUN)[1]
    assert older.set_index("from")["weights"].isna().to_dict() == {"there": True, "here": False}


def test_without_a_folder_nothing_changes():
    own = [("a", 0)]
    joined, cells = with_kept(outcomes(own, 1.0), cells_of(own, "here"), "", RUN)
    assert joined.equals(outcomes(own, 1.0))
    assert cells.equals(cells_of(own, "here"))


def test_other_studies_and_folders_without_tables_are_refused(kept, tmp_path_factory):
    with pytest.raises(DataError, match="'R@1' of 2 studies, this run scores 3 others"):
        with_kept(outcomes([("c", 0)], 1.0, "pqr"), cells_of([("c", 0)], "here"), str(kept), RUN)
    with pytest.raises(DataError, match=r"has no 03_cells\.csv"):
        with_kept(outcomes([], 1.0), cells_of([], "here"), str(tmp_path_factory.mktemp("empty")), RUN)


def test_rows_of_a_kept_table_stand_in_for_what_the_run_has_not_and_asks_for(tmp_path):
    kept = pd.DataFrame({"method": ["a", "b", "unasked"], "seed": [0, 1, 0], "value": [0.1, 0.2, 0.3]})
    kept.to_csv(tmp_path / "03_twins.csv", index=False)
    own = pd.DataFrame({"method": ["b", "c"], "seed": [0, 0], "value": [0.8, 0.9]})
    joined = with_kept_rows(own, str(tmp_path), "03_twins", RUN)
    assert joined.values.tolist() == [["a", 0, 0.1], ["b", 0, 0.8], ["c", 0, 0.9]]
    by_seed = with_kept_rows(own, str(tmp_path), "03_twins", RUN, ("method", "seed"))
    assert by_seed["value"].tolist() == [0.1, 0.8, 0.2, 0.9]
    assert with_kept_rows(own.iloc[:0], str(tmp_path), "03_twins", RUN)["value"].tolist() == [0.1, 0.2]
    means = [table.rename(columns={"seed": "seeds"}).assign(seeds=[*table["seed"] * 0 + 2]) for table in (own, kept)]
    means[0].loc[0, "seeds"] = 1  # b: one seed here, two kept
    means[1].to_csv(tmp_path / "03_means.csv", index=False)
    assert with_kept_rows(means[0], str(tmp_path), "03_means", RUN)["value"].tolist() == [0.1, 0.2, 0.9]
    means[1].assign(seeds=3).to_csv(
        tmp_path / "03_means.csv", index=False
    )  # a seed that the run does not ask for among them
    assert with_kept_rows(means[0], str(tmp_path), "03_means", RUN)["value"].tolist() == [0.1, 0.8, 0.9]
    assert with_kept_rows(own, "", "03_twins", RUN) is own
    assert with_kept_rows(own, str(tmp_path), "03_none", RUN) is own


def test_a_training_that_is_not_scored_yet_gives_way_to_the_kept_one(kept):
    cells = with_kept(outcomes([("c", 0)], 1.0), cells_of([("c", 0), ("a", 0)], "here"), str(kept), RUN)[1]
    assert cells[cells["method"] == "a"]["from"].tolist() == ["there", "there"]


def test_a_row_may_have_a_split_of_its_own(kept):
    own = pd.concat([outcomes([("c", 0)], 1.0), outcomes([("a", 0)], 1.0, "pr")])
    joined = with_kept(own, cells_of([("c", 0), ("a", 0)], "here"), str(kept), RUN)[0]
    assert joined.groupby("method")["query"].unique().map(list).to_dict() == {
        "a": ["p", "r", "q"], "b": ["p", "q"], "c": ["p", "q"],
    }  # fmt: skip


def test_all_cells_may_be_kept(kept):
    joined, cells = with_kept(outcomes([], 1.0), cells_of([], "here"), str(kept), RUN)
    assert len(joined) == 6
    assert joined["outcome"].dtype == float
    assert set(cells["from"]) == {"there"}
    assert kept_keys(str(kept)) == {("b", 0), ("a", 0), ("a", 1), ("b", 7), ("unasked", 0)}
    assert kept_keys("") == set()


def test_trainings_of_other_settings_are_refused_before_anything_runs(tmp_path):
    grid = tmp_path / "mine.yaml"
    grid.write_text("profile: quick\nrows: {x: {method: clip}, y: {method: prd, objective.copies: 2}}\n")
    mine, more = load_ablation(str(grid)), load_ablation(str(grid), {"training.epochs": 7})
    cells = cells_of([("x", 0), ("y", 0), ("unasked", 0)], "there")
    folder = str(tmp_path)
    for precision in ("bf16", "float32"):  # of another machine
        same = load_ablation(str(grid), {"training.precision": precision})
        names = {row.name: same.config(row).run_id for row in same.rows}
        cells.assign(settings=cells["method"].map(names)).to_csv(tmp_path / "03_cells.csv", index=False)
        refuse_other_settings(folder, mine)
        with pytest.raises(
            DataError, match=r"keeps row 'x' trained with other settings \(quick-\w+; this grid: quick-"
        ):
            refuse_other_settings(folder, more)
    cells.drop(columns="settings").to_csv(tmp_path / "03_cells.csv", index=False)  # of an older version
    refuse_other_settings(folder, more)
    settings = json.loads(json.dumps(asdict(mine.base())))
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    refuse_other_settings(folder, mine)
    with pytest.raises(
        DataError, match=r"keeps trainings with training.epochs = \d, this grid has 7: keep tables of the same"
    ):
        refuse_other_settings(folder, more)
    with pytest.raises(DataError, match=r"trained with other settings|keeps trainings with"):
        run_ablation(str(grid), {"training.epochs": 7}, kept=folder)
    refuse_other_settings("", more)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no 03_cells\.csv"):  # before its settings are looked at
        with_kept(outcomes([], 1.0), cells_of([], "here"), str(tmp_path / "empty"), Run(mine.base(), tmp_path, mine))


@pytest.mark.parametrize("name", ["grounded", "leave_one_out", "paper", "pretrained"])
def test_the_kept_trainings_of_the_project_have_the_settings_of_their_grids(name):
    refuse_other_settings(f"papermill_runs/reference/grids/{name}", load_ablation(name))


def test_own_cells_say_what_made_them(tmp_path, tiny_config, tiny_data):
    config = tiny_config
    folder = tmp_path / "run"
    made = fit(config, "clip", 0, tiny_data, checkpoint_folder(folder, "clip", 0), "d", report=None)
    cells = own_cells(Run(config, folder))
    assert cells[["method", "seed", "precision", "from"]].values.tolist() == [
        ["clip", 0, config.training.autocast, "run"]
    ]
    assert cells["minutes"].iloc[0] == pytest.approx(made.seconds / 60, abs=0.001)
    weights = (made.directory / "model.safetensors").read_bytes()
    assert cells["weights"].tolist() == [hashlib.sha256(weights).hexdigest()[:16]]
    grid = tmp_path / "mine.yaml"
    grid.write_text("profile: quick\nrows: {x: {method: clip}, y: {method: prd}}\n")
    ablation = load_ablation(str(grid))
    assert own_cells(Run(ablation.base(), folder, ablation)).empty
