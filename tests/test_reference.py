"""What is kept of a run: every table and plot, portable, all or nothing."""

import json
import lzma
import re
from pathlib import Path

import pytest

from prdlib import reference
from prdlib.data import DataError
from prdlib.reference import (
    CHECKPOINT,
    FIGURES,
    GRID_FIGURES,
    GRID_TABLES,
    OPTIONAL,
    TABLES,
    keep_checkpoint,
    keep_reference,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run_dir(tmp_path):
    """A finished run with every table and plot there is."""
    folder = tmp_path / "project" / "papermill_runs" / "demo-1234"
    for part in ("metrics", "figures", "structure"):
        (folder / part).mkdir(parents=True)
    for name in {*TABLES, *GRID_TABLES}:
        (folder / "metrics" / f"{name}.csv").write_text(f"value\n{name}\n")
    for name in {*FIGURES, *GRID_FIGURES}:
        for suffix in (".png", ".json", ".pdf"):
            (folder / "figures" / f"{name}{suffix}").write_text("{}")
    (folder / "structure" / "image_gain.csv").write_text("value\n1\n")
    (folder / "structure" / "heat_map.pdf").write_text("")
    (folder / "structure" / "outcomes.csv.xz").write_bytes(b"compressed")
    step = {"status": "succeeded", "host": "machine", "parameters": {"run_dir": str(folder)}}
    (folder / "run.json").write_text(
        json.dumps({"run_id": "demo-1234", "started": "", "call": {}, "steps": {"03_ablations": step}})
    )
    cell = {"cell_type": "code", "source": [f'run_dir = "{folder}"']}
    (folder / "03_ablations.ipynb").write_text(json.dumps({"cells": [cell]}))
    return folder


def test_a_run_keeps_tables_plots_and_tasks_and_no_pdf(run_dir, tmp_path):
    kept = keep_reference(run_dir, tmp_path / "kept")
    tables = {f"{name}.csv" for name in TABLES} - {"03_outcomes.csv"} | {"03_outcomes.csv.xz"}
    plots = {f"{name}{suffix}" for name in FIGURES for suffix in (".png", ".json")}
    assert set(kept) == {*tables, *plots, "structure/image_gain.csv", "structure/outcomes.csv.xz", "run.json",
                         "03_ablations.ipynb"}  # fmt: skip


def test_an_ablation_keeps_outcomes_notebook_and_manifest_with_paths_of_the_project(run_dir, tmp_path):
    kept = keep_reference(run_dir, tmp_path / "kept", grid=True)
    assert {"03_outcomes.csv.xz", "03_ablations.ipynb", "run.json", "03_rows.csv", "03_forest.png"} <= set(kept)
    assert lzma.decompress((tmp_path / "kept" / "03_outcomes.csv.xz").read_bytes()) == b"value\n03_outcomes\n"
    manifest = json.loads((tmp_path / "kept" / "run.json").read_text())["steps"]["03_ablations"]
    assert manifest == {"status": "succeeded", "parameters": {"run_dir": "papermill_runs/demo-1234"}}
    notebook = json.loads((tmp_path / "kept" / "03_ablations.ipynb").read_text())
    assert notebook["cells"][0]["source"] == ['run_dir = "papermill_runs/demo-1234"']


def test_a_manifest_keeps_the_trainings_that_an_earlier_one_knew(run_dir, tmp_path):
    before = {"steps": {"02_pretraining-prd-seed0": {"status": "succeeded"}, "03_ablations": {"status": "failed"}}}
    now = json.loads((run_dir / "run.json").read_text())
    now["steps"] |= {
        f"02_pretraining-prd-seed{seed}": {"status": "queued"} for seed in (0, 1)
    }  # trained elsewhere, and never
    (run_dir / "run.json").write_text(json.dumps(now))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "run.json").write_text(json.dumps(before))
    keep_reference(run_dir, tmp_path / "kept", grid=True)
    steps = json.loads((tmp_path / "kept" / "run.json").read_text())["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {
        "02_pretraining-prd-seed0": "succeeded", "03_ablations": "succeeded",
    }  # fmt: skip


def test_other_folders_are_named_by_their_last_part():
    source = 'data = "/disk/of/mine/openi"\n'
    text = json.dumps({"data": "/disk/of/mine/openi", "unit": "pairs / s", "cells": [source], "url": "https://a/b"})
    found = json.loads(reference.portable(text, Path("/project")))
    assert found == json.loads(text.replace("/disk/of/mine", "/path/to"))


def test_what_is_missing_is_named_and_the_old_reference_stays(run_dir, tmp_path):
    keep_reference(run_dir, tmp_path / "kept")
    for name in OPTIONAL:
        (run_dir / "metrics" / f"{name}.csv").unlink(missing_ok=True)
    (run_dir / "metrics" / "04_pointing.csv").write_text("value\n")
    kept = keep_reference(run_dir, tmp_path / "kept")  # a collection without boxes, a profile that does not fine-tune
    assert not {name.split(".")[0] for name in kept} & set(OPTIONAL)  # nor the figures that say so
    (run_dir / "metrics" / "05_overview.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"demo-1234 has no metrics/05_overview.csv: finish the run first"):
        keep_reference(run_dir, tmp_path / "kept")
    assert (tmp_path / "kept" / "05_overview.csv").is_file()


@pytest.mark.parametrize("grid", [True, False])
def test_the_command_keeps_the_newest_run_of_the_profile_or_grid_that_is_named(
    run_dir, tmp_path, monkeypatch, capsys, grid
):
    """'paper' is the name of a profile and of a grid: the run says what it is."""
    monkeypatch.setattr(reference, "project_root", lambda: run_dir.parents[1])
    run_dir = run_dir.rename(run_dir.with_name("paper-1234"))
    (run_dir.parent / "latest").symlink_to(run_dir.name)
    manifest = json.loads((run_dir / "run.json").read_text())
    manifest["call"]["grid"] = "prdlib/grids/paper.yaml" if grid else ""
    (run_dir / "run.json").write_text(json.dumps(manifest))
    assert reference.main(["paper"]) == 0
    place = run_dir.parent / "reference" / ("grids/paper" if grid else "paper")
    assert (place / "03_rows.csv").is_file()
    assert (place / "05_overview.csv").is_file() is not grid
    assert reference.main(["other"]) == 2
    assert "is no run of other" in capsys.readouterr().err


def test_nothing_that_is_kept_names_a_folder_of_a_machine():
    texts = [p for p in (ROOT / "papermill_runs" / "reference").rglob("*") if p.suffix in (".json", ".ipynb", ".csv")]
    assert texts
    for path in texts:
        assert not re.search(r"(?<![\w.])/(home|Users|root|tmp|work|mnt)/", path.read_text()), path


def test_a_checkpoint_is_kept_if_it_is_of_the_phantom(tmp_path):
    made = tmp_path / "prd-seed3"
    made.mkdir()
    for name in (*CHECKPOINT, "started.json"):
        (made / name).write_text("{}")
    (made / "fit.json").write_text(json.dumps({"settings": {"profile": "cpu", "data": {"name": "phantom"}}}))
    assert keep_checkpoint(made, tmp_path / "kept") == sorted(CHECKPOINT)
    assert {path.name for path in (tmp_path / "kept" / "cpu-prd-seed3").iterdir()} == set(CHECKPOINT)
    (made / "fit.json").write_text(json.dumps({"settings": {"data": {"name": "openi"}}}))
    with pytest.raises(DataError, match="trained on openi: only weights of the phantom"):
        keep_checkpoint(made, tmp_path / "other")
    (made / "fit.json").unlink()
    with pytest.raises(FileNotFoundError, match="finished training"):
        keep_checkpoint(made, tmp_path / "other")
    assert not (tmp_path / "other").exists()
