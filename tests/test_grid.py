"""Grids of runs: names are checked at once, runs are told apart by their settings, one run prepares the data of others."""

import shlex

import pytest

from prdlib.__main__ import parser, settings_of
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
