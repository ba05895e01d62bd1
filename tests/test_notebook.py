"""What notebooks call: a run of these settings reads its own tables, finds its data, and leaves nothing behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from prdlib.ablation import load_ablation
from prdlib.config import ConfigError, load_profile
from prdlib.evaluation.grounding import Phrase
from prdlib.notebook import Run, open_run

ROWS = [("clip", 0), ("prd", 0), ("prd", 1), ("prd", 10), ("gloria", 0)]


def run_with(tmp_path, methods, seeds, rows=ROWS):
    run = Run(load_profile("quick", {"methods": methods, "seeds": seeds}), tmp_path)
    for method, seed in rows:
        run.keep(pd.DataFrame({"method": [method], "seed": [seed]}), f"02_{method}-seed{seed}_outcomes")
    return run


@pytest.mark.parametrize(
    ("methods", "seeds", "found"),
    [
        (["clip"], [0], [("clip", 0)]),
        (["prd", "clip"], [0, 1], [("clip", 0), ("prd", 0), ("prd", 1)]),
        (["gloria", "prd"], [1], [("prd", 1)]),
    ],
)
def test_only_tables_of_these_methods_and_seeds_are_read(tmp_path, methods, seeds, found):
    table = run_with(tmp_path, methods, seeds).read("02_*_outcomes")
    assert list(zip(table["method"], table["seed"], strict=True)) == found


def test_tables_of_others_alone_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 02 first"):
        run_with(tmp_path, ["prd_no_local"], [0]).read("02_*_outcomes")


def test_a_table_without_a_method_is_read_once(tmp_path):
    run = run_with(tmp_path, ["clip", "prd"], [0, 1], [])
    run.keep(pd.DataFrame({"a": [1]}), "summary")
    assert len(run.read("summary")) == 1


def test_a_blind_guess_of_each_row_has_its_own_number_of_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "data", {})
    run = Run(load_profile("cpu"), tmp_path, load_ablation("paper"))
    levels = run.blind_levels()["discrimination"]
    rows = ("prd", "one copy", "shuffled words alone", "nine copies")
    np.testing.assert_allclose([levels[row] for row in rows], np.log([4, 2, 2, 10]))
    assert "clip" not in levels
    debiased = Run(load_profile("cpu"), tmp_path, load_ablation("grounded")).blind_levels()["discrimination"]
    assert debiased["debiased discrimination"] == pytest.approx(2 * debiased["plain discrimination"])
    methods = Run(load_profile("quick"), tmp_path).blind_levels()["discrimination"]
    assert methods == {"prd": pytest.approx(np.log(4)), "prd_no_local": pytest.approx(np.log(4))}


def test_a_relative_folder_is_found_below_the_root_too(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "collection").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    for data in ("../collection", "collection"):
        run = open_run("openi", data=data)
        assert run.config.data.directory == str(tmp_path / "collection")
        assert run.folder == tmp_path / "papermill_runs" / run.config.run_id
    with pytest.raises(ConfigError, match=r"not found at '\.\./nowhere'"):
        open_run("openi", data="../nowhere")
    assert not (tmp_path / "papermill_runs").exists()


def test_localisation_is_over_so_many_studies_that_have_a_phrase(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "localised", lambda self, models, asked, maps: asked)
    texts, patients = [("effusion",)] * 6, list("abcdef")
    data = SimpleNamespace(images=np.zeros((6, 4, 4)), marked=texts, groups=np.arange(6), patient_ids=patients)
    phrases = [Phrase(row, "effusion", (0,), (0.0, 0.0, 1.0, 1.0)) for row in (1, 1, 4, 5)]
    asked = Run(load_profile("quick"), tmp_path).localisation([], data, phrases, most=2)
    assert [phrase.row for phrase in asked.items] == [1, 1, 4]
    assert asked.patients == ["b", "b", "e"]
    assert len(asked.images) == len(asked.texts) == len(asked.groups) == 5
    assert Run(load_profile("quick"), tmp_path).localisation([], data, [], most=2).items == []


def test_a_training_that_two_runs_share_is_made_once_and_by_one_at_a_time(tmp_path, monkeypatch):
    """Rows of two grids may be one training, in one run directory."""
    inside, seen = threading.Lock(), []

    def fit(config, method, seed, data, folder, data_hash):
        assert inside.acquire(blocking=False), "two at a time"
        seen.append((folder / "fit.json").is_file())
        time.sleep(0.3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fit.json").touch()
        inside.release()

    monkeypatch.setattr("prdlib.notebook.fit", fit)
    for name, value in (("data", None), ("info", {"hash": "d"})):
        monkeypatch.setattr(Run, name, value)
    runs = [Run(load_profile("quick"), tmp_path) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for made in [pool.submit(run.fit, "clip", 0) for run in runs]:
            made.result()
    assert seen == [False, True]
    monkeypatch.setenv("WORLD_SIZE", "2")  # processes of one training do not wait for each other
    with FileLock(tmp_path / "log" / "clip-seed0.lock"):
        runs[0].fit("clip", 0)
