"""Grids of runs: names are checked at once, runs are told apart by their settings, one run prepares the data of others."""

import shlex

import pytest
import yaml

from prdlib.__main__ import parser, settings_of
from prdlib.ablation import load_ablation
from prdlib.config import ConfigError, load_profile
from prdlib.grid import first_of_data, load_grid
from prdlib.runs import configure, default_run_dir

GRID = {"base": {}, "T01": {"objective.discrimination_weight": 0.1}, "small": {"data.n_studies": 60}}


def test_every_settings_is_a_run_of_its_own():
    runs = load_grid({"profile": "quick", "methods": ["clip", "prd"], "seeds": [0, 1], "grid": GRID})
    assert [run.name for run in runs.values()] == list(GRID)
    base = next(iter(runs.values()))
    assert base.folder == f"papermill_runs/{load_profile('quick').run_id}"  # where notebooks and `evaluate` look, too
    assert base.table("02_pretraining-prd-seed1") == f"{base.folder}/metrics/02_prd-seed1_scores.csv"
    assert base.before("05_downstream") == [f"{base.folder}/metrics/02_{m}-seed0_scores.csv" for m in ("clip", "prd")]
    assert len(base.before("03_ablations")) == 4


def test_the_command_line_of_a_run_makes_that_run():
    values = {"profile": "quick", "seeds": [0, 1], "grid": {"T01": {"objective": {"discrimination_weight": 0.1}}}}
    (run,) = load_grid(values).values()
    options = parser().parse_args(["run", *shlex.split(run.options)])
    config, call = configure(options.profile, settings_of(options.set), options.data)
    assert default_run_dir(config).name == run.folder.rpartition("/")[2]
    assert config.seeds == (0, 1)
    assert call["settings"] == {"seeds": [0, 1], "objective": {"discrimination_weight": 0.1}}


def test_one_run_prepares_the_data_of_those_that_share_them():
    runs = load_grid({"profile": "quick", "grid": GRID})
    base, other, small = runs
    assert first_of_data(runs, base) is None
    assert first_of_data(runs, other) is runs[base]
    assert first_of_data(runs, small) is None


def test_numbers_of_a_command_line_are_numbers():
    typed = load_grid({"profile": "quick", "seeds": ["0", "1"], "grid": {"small": {"data.n_studies": "60"}}})
    assert typed == load_grid({"profile": "quick", "seeds": [0, 1], "grid": {"small": {"data.n_studies": 60}}})


def test_an_ablation_is_the_run_of_its_command_line_whose_cells_leave_marks(tmp_path):
    file = tmp_path / "mine.yaml"
    rows = {"a": {"method": "clip"}, "T 1": {"method": "prd", "objective.discrimination_weight": 1.0}}
    file.write_text(yaml.safe_dump({"seeds": [0, 1], "rows": rows}, sort_keys=False))
    # numbers as --config gives them
    values = {"ablation": str(file), "seeds": ["2", "0"], "settings": {"training.epochs": "3"}}
    ((folder, run),) = load_grid(values).items()
    options = parser().parse_args(["run", *shlex.split(run.options)])
    assert folder == f"papermill_runs/{load_ablation(options.grid, settings_of(options.set)).run_id}"
    cells = [f"02_pretraining-{slug}-seed{seed}" for seed in (2, 0) for slug in ("a", "t-1")]
    assert list(run.steps) == [*cells, "03_ablations"]
    assert run.before("03_ablations") == [f"{folder}/log/{cell}.done" for cell in cells]
    assert run.table("03_ablations") == f"{folder}/metrics/03_differences.csv"
    assert [len(load_grid({"ablation": name})) for name in ("paper", "quick")] == [1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ablation": "papr"}, "did you mean 'paper'"),
        ({"profile": "cpu"}, "'profile' does not go with an ablation, .* leave it out"),
        ({"setings": {}}, "did you mean 'settings'"),
        ({"settings": {"training.epoch": 3}}, "did you mean 'training.epochs'"),
        ({"settings": {"seeds": [0]}}, "sets seeds"),
        ({"seeds": ["one"]}, r"whole numbers from 0, .* not \['one'\]"),
        ({"data": "nowhere"}, "reads no folder"),
    ],
)
def test_a_wrong_ablation_is_one_sentence(values, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_grid({"ablation": "quick", **values})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"methods": ["prdd"]}, "did you mean 'prd'"),
        ({"method": ["prd"]}, r"Unknown key 'method' of the grid \(did you mean 'methods'"),
        ({"seeds": [0, 0]}, "names a value twice"),
        ({"seeds": ["one"]}, "needs a int"),
        ({"data": "nowhere"}, "reads no folder"),
        ({"profile": "openi"}, "need their folder"),
        ({"grid": {}}, "The grid needs names with settings"),
        ({"grid": {"a": 3}}, "Grid 'a' needs settings"),
        ({"grid": {"a": {"training.epoch": 3}}}, "did you mean 'training.epochs'"),
        ({"grid": {"a": {"seeds": [3]}}}, "Grid 'a' sets seeds"),
        ({"grid": {"a": {}, "b": {"training.workers": 2}}}, "Grid 'b' has the settings of 'a'"),
    ],
)
def test_a_wrong_grid_is_one_sentence(values, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_grid({"profile": "quick", "grid": {"base": {}}, **values})
    assert "\n" not in str(error.value)
