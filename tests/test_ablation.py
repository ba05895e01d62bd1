"""Ablations: rows read and refused, cells in the run directories of their settings, and what is resumed or missing."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from test_runs import toy, wait_for

from prdlib.ablation import ablations, load_ablation
from prdlib.ablation_run import cell_step, cost, run_ablation
from prdlib.config import ConfigError, load_profile
from prdlib.data import DataError
from prdlib.evaluation.ablation_table import (
    ablation_table,
    seen_outcomes,
    summary,
    twin_places,
    twin_rows,
    with_control,
    with_cost,
)
from prdlib.manifest import RunError, continue_command, load_manifest, lock, read_manifest
from prdlib.models.published import WeightsError
from prdlib.notebook import Run
from prdlib.training import checkpoint_folder, fit

ROWS = {
    "clip": {"method": "clip"},
    "more, words": {"method": "grounded", "model.segment_window": 9, "model.segments": "window"},
}
KEEP = """
from pathlib import Path
folder = Path(run_dir) / "metrics"
folder.mkdir(parents=True, exist_ok=True)
(folder / f"02_{method}-seed{seed}_outcomes.csv").write_text(f"method,seed\\n{method},{seed}\\n")
"""


def with_grid(notebooks):
    """Toy notebooks of which 03 knows the parameter ``grid``."""
    last = notebooks / "03_ablations.ipynb"
    last.write_text(last.read_text().replace("data: str", 'grid: str = \\"\\"\\ndata: str'))
    return notebooks


def write(folder, **values):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"profile": "quick", "seeds": [0, 1], "rows": ROWS, **values}, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("name", ablations())
def test_every_grid_loads_and_its_rows_are_different_trainings(name, tmp_path):
    (tmp_path / "openi").mkdir()
    grid = load_ablation(name, data=str(tmp_path / "openi") if name.startswith("openi") else "")
    assert grid.baseline in {row.name for row in grid.rows}
    assert len({(grid.config(row).run_id, row.method) for row in grid.rows}) == len(grid.rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": {}}, "needs rows"),
        ({"rows": {"a": {"method": "clp"}}}, "did you mean 'clip'"),
        ({"rows": {"a": {}}}, "row 'a' needs a method"),
        ({"rows": {"a": {"method": "clip", "model.segmens": "none"}}}, "model.segments"),
        ({"rows": {"a": {"method": "clip", "seeds": [1]}}}, "row 'a' sets seeds"),
        ({"rows": {"a": {"method": "clip"}, "b": {"method": "clip"}}}, "'b' is the same training as 'a'"),
        ({"rows": {"a b": {"method": "clip"}, "a-b": {"method": "prd"}}}, "'a-b' has the file name of 'a b'"),
        ({"baseline": "clop"}, "did you mean 'clip'"),
        ({"row": {}}, "unknown key 'row'"),
        ({"settings": [1]}, "settings are KEY: VALUE"),
        ({"settings": {"methods": ["clip"]}}, "leave methods out of the settings"),
        ({"settings": {"seeds": 0}}, "seeds are different whole numbers from 0, .* not 0"),
        ({"seeds": 3}, "seeds are different whole numbers from 0, .* not 3"),
        ({"seeds": []}, r"not \[\]"),
        ({"seeds": [0, 0]}, r"not \[0, 0\]"),
        ({"seeds": [-1]}, r"not \[-1\]"),
        ({"rows": {"\u03c4": {"method": "clip"}}}, "no letter or digit that a file name may have"),
        ({"settings": {"training.epoch": 3}}, "did you mean 'training.epochs'"),
    ],
)
def test_a_wrong_grid_is_one_sentence(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_ablation(write(tmp_path, **values))
    assert "\n" not in str(caught.value)


def test_an_unknown_grid_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'grounded'"):
        load_ablation("grounde")


def test_settings_of_the_file_hold_for_all_rows_below_those_of_the_command_line_and_of_a_row(tmp_path):
    rows = {"a": {"method": "clip"}, "b": {"method": "clip", "training.epochs": 4}}
    file = write(tmp_path, settings={"training.epochs": 2, "training.batch_size": 8}, rows=rows)
    for given, epochs in ((None, [2, 4]), ({"training.epochs": 3}, [3, 4])):
        grid = load_ablation(file, given)
        assert [grid.config(row).training.epochs for row in grid.rows] == epochs
        assert {grid.config(row).training.batch_size for row in grid.rows} == {8}


def test_cells_have_seeds_outside_and_the_run_of_their_settings(tmp_path):
    grid = load_ablation(write(tmp_path), {"training.epochs": 2})
    assert [(row.slug, seed) for row, seed in grid.cells()] == [
        ("clip", 0),
        ("more-words", 0),
        ("clip", 1),
        ("more-words", 1),
    ]
    assert grid.config(grid.rows[0]).run_id == load_profile("quick", {"training.epochs": 2}).run_id
    assert load_ablation(write(tmp_path), {"seeds": [5]}).seeds == (5,)


def test_a_grid_goes_on_where_it_stopped_and_shows_what_failed(tmp_path):
    fail = KEEP + "if method == 'clip' and seed == 1 and not Path('mended').exists(): raise ValueError('once')"
    with_grid(toy(tmp_path / "notebooks", n02=fail))
    lines = []
    options = {"notebooks": tmp_path / "notebooks", "folder": tmp_path / "runs", "report": lines.append}
    report = run_ablation(write(tmp_path), **options)
    assert "2 rows x 2 seeds = 4 trainings, 0 finished" in lines[0]
    assert report.statuses["02_pretraining-clip-seed1"] == "failed"
    assert report.statuses["03_ablations"] == "succeeded"
    grid = load_ablation(write(tmp_path))
    found = Run(grid.base(), report.run_dir, grid).read("02_*_outcomes")
    assert found["method"].tolist() == ["clip", "more, words", "more, words"]
    assert continue_command(load_manifest(report.run_dir)) == f"python -m prdlib run --grid {write(tmp_path)}"
    (tmp_path / "notebooks" / "mended").touch()
    lines.clear()
    assert run_ablation(write(tmp_path), **options).ok
    assert sum("unchanged" in line for line in lines) == 3  # notebook 03 reads the cell that was missing
    assert len(Run(grid.base(), report.run_dir, grid).read("02_*_outcomes")) == 4
    lines.clear()
    assert run_ablation(write(tmp_path), **options).ok
    assert sum("unchanged" in line for line in lines) == 5


def test_cells_run_alone_at_the_same_time_are_the_run_of_their_grid(tmp_path):
    body = (
        KEEP
        + "import time\nPath('mark').with_name(f'{method}-{seed}').touch()\nwhile not Path('go').exists(): time.sleep(0.1)"
    )
    notebooks = with_grid(toy(tmp_path / "notebooks", n02=body))
    options = {"notebooks": str(notebooks), "folder": str(tmp_path / "runs")}
    call = f"from prdlib.ablation_run import run_ablation; run_ablation({write(tmp_path)!r}, **{options!r}, only="
    first, second, third, fourth = (
        f"02_pretraining-{row}-seed{seed}" for seed in (0, 1) for row in ("clip", "more-words")
    )
    runners = [subprocess.Popen([sys.executable, "-c", f"{call}{key!r})"]) for key in (first, second)]
    wait_for(lambda: all((notebooks / name).exists() for name in ("clip-0", "grounded-0")), 180)
    lines = []
    options["report"] = lines.append
    for only, message in ((first, f"Step {first} of .* is already at work"), (None, "is already at work")):
        with pytest.raises(RunError, match=message):
            run_ablation(write(tmp_path), **options, only=only)
    (notebooks / "go").touch()
    assert [runner.wait(60) for runner in runners] == [0, 0]
    report = run_ablation(write(tmp_path), **options, only="03_ablations")
    assert report.statuses == {"03_ablations": "succeeded"}
    found = {key: step["status"] for key, step in read_manifest(report.run_dir)["steps"].items()}
    assert found == {
        first: "succeeded",
        second: "succeeded",
        third: "queued",
        fourth: "queued",
        "03_ablations": "succeeded",
    }
    assert run_ablation(write(tmp_path), **options, only=third).statuses == {third: "succeeded"}
    lines.clear()
    assert run_ablation(write(tmp_path), **options).ok
    assert sum("unchanged" in line for line in lines) == 3  # the fourth cell is new, and 03 reads two more


def test_a_killed_grid_goes_on_with_the_cells_that_are_missing(tmp_path):
    """SIGKILL while the second of four cells trains: the first is kept, the second is no result, nothing else is lost."""
    body = KEEP + "import os, time\nfrom pathlib import Path\nPath(f'{method}-{seed}').touch()\n"
    body += "while method == 'grounded' and not Path('go').exists(): time.sleep(0.1)"
    notebooks = with_grid(toy(tmp_path / "notebooks", n02=body))
    options = {"notebooks": str(notebooks), "folder": str(tmp_path / "runs"), "jobs": 1}
    call = f"from prdlib.ablation_run import run_ablation; run_ablation({write(tmp_path)!r}, **{options!r})"
    runner = subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.DEVNULL)
    wait_for(lambda: (notebooks / "grounded-0").exists(), 180)
    run_dir = tmp_path / "runs" / load_ablation(write(tmp_path)).run_id
    processes = psutil.Process(runner.pid).children(recursive=True)
    runner.kill()
    runner.wait()
    psutil.wait_procs(processes, 30)
    statuses = {key: step["status"] for key, step in read_manifest(run_dir)["steps"].items()}
    assert list(statuses.values()) == ["succeeded", "interrupted", "queued", "queued", "queued"]
    (notebooks / "clip-0").unlink()
    (notebooks / "go").touch()
    lines = []
    assert run_ablation(write(tmp_path), **options, report=lines.append).ok
    assert "4 trainings" in lines[0]
    assert sum("unchanged" in line for line in lines) == 1
    assert not (notebooks / "clip-0").exists()  # the finished cell was not made again


def test_an_unknown_cell_names_the_nearest_and_nothing_runs(tmp_path):
    with_grid(toy(tmp_path / "notebooks"))
    options = {"notebooks": tmp_path / "notebooks", "folder": tmp_path / "runs"}
    with pytest.raises(RunError) as caught:
        run_ablation(write(tmp_path), **options, only="02_pretraining-clp-seed1")
    assert str(caught.value) == ("Unknown step '02_pretraining-clp-seed1' (did you mean '02_pretraining-clip-seed1'?).")
    assert not (tmp_path / "runs").exists()
    runs = tmp_path / "runs" / load_ablation(write(tmp_path)).run_id
    (runs / "log").mkdir(parents=True)
    with lock(runs), pytest.raises(RunError, match="is already running"):
        run_ablation(write(tmp_path), **options, only="03_ablations")


def test_the_cost_knows_what_other_runs_have_trained_and_how_long_their_steps_took(tmp_path):
    grid = load_ablation(write(tmp_path))
    run_dir = tmp_path / grid.run_id
    assert "2 rows x 2 seeds = 4 trainings, 0 finished; the other 4 take about" in cost(grid, run_dir, 1)
    assert "on the machine of profile quick" in cost(grid, run_dir, 1)
    row = grid.rows[0]
    folder = tmp_path / grid.config(row).run_id
    mark = checkpoint_folder(folder, row.method, 1) / "fit.json"
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    step = {"status": "succeeded", "seconds": 7200.0, "parameters": {"method": row.method}}
    steps = {"02_pretraining-x-seed1": step, "02_pretraining-x-seed0": step | {"status": "failed", "seconds": 1.0}}
    (folder / "run.json").write_text(json.dumps({"run_id": "x", "started": "", "steps": steps}))
    told = cost(grid, run_dir, 2)
    assert "4 trainings, 1 finished; the other 3 take about 3.0 hours, 2 at a time (measured here)" in told
    assert "if code and data are as they were" in told
    kept = cost(grid, run_dir, 2, {(grid.rows[1].name, 0)})
    assert "4 trainings, 1 finished, 1 kept elsewhere; the other 2 take about 2.0 hours" in kept
    slow = cost(
        grid, run_dir, 2, {(grid.rows[1].name, 0)}, {grid.rows[1].name: 21600.0}
    )  # and 2 hours of the first row
    assert "the other 2 take about 4.0 hours, 2 at a time (measured here or kept)" in slow
    own = {cell_step(grid, grid.rows[1], 0, tmp_path, tmp_path).key: step | {"seconds": 3600.0}}
    run_dir.mkdir()
    (run_dir / "run.json").write_text(json.dumps({"run_id": "x", "started": "", "steps": own}))
    assert "the other 3 take about 2.0 hours" in cost(grid, run_dir, 2)  # 2 of the first row, 2 x 1 of the second


def test_what_a_folder_keeps_is_not_trained_again(tmp_path):
    toy(tmp_path / "notebooks", n02=KEEP)
    last = tmp_path / "notebooks" / "03_ablations.ipynb"
    last.write_text(last.read_text().replace("data: str", 'grid: str = \\"\\"\\nkept: str = \\"\\"\\ndata: str'))
    (tmp_path / "kept").mkdir()
    cells = pd.DataFrame({"method": ["clip", "clip", "unasked"], "seed": [0, 1, 0]})
    cells.to_csv(tmp_path / "kept" / "03_cells.csv", index=False)
    options = {"notebooks": tmp_path / "notebooks", "folder": tmp_path / "runs", "kept": str(tmp_path / "kept")}
    with pytest.raises(ConfigError, match=r"Step 02_pretraining-clip-seed0 is kept in .*: leave --kept out"):
        run_ablation(write(tmp_path), only="02_pretraining-clip-seed0", **options)
    lines = []
    report = run_ablation(write(tmp_path), report=lines.append, **options)
    assert list(report.statuses) == [
        "02_pretraining-more-words-seed0",
        "02_pretraining-more-words-seed1",
        "03_ablations",
    ]
    assert "4 trainings, 0 finished, 2 kept elsewhere; the other 2" in lines[0]
    assert continue_command(read_manifest(report.run_dir)).endswith(f"--kept {tmp_path / 'kept'}")
    with pytest.raises(DataError, match=r"has no 03_cells\.csv"):
        run_ablation(write(tmp_path), kept=str(tmp_path))


def test_published_weights_are_asked_for_where_a_row_is_trained(tmp_path):
    toy(tmp_path / "notebooks", n02=KEEP)
    last = tmp_path / "notebooks" / "03_ablations.ipynb"
    last.write_text(last.read_text().replace("data: str", 'grid: str = \\"\\"\\ndata: str'))
    missing = {"method": "clip", "model.image_weights": str(tmp_path / "none.safetensors")}
    options = {"notebooks": tmp_path / "notebooks", "folder": tmp_path / "runs", "report": lambda line: None}
    file = write(tmp_path, rows={"a": {"method": "clip"}, "b": missing})
    with pytest.raises(WeightsError):
        run_ablation(file, **options)
    assert run_ablation(file, **options, only="02_pretraining-a-seed0").ok
    assert run_ablation(file, **options, only="03_ablations").ok


def test_finished_cells_are_models_by_row_and_the_others_are_left_out(tmp_path, tiny_config, tiny_data):
    sizes = {"data": ("n_studies", "image_size", "word_limit"), "training": ("batch_size",),
             "model": ("image_width", "text_width", "text_layers", "projection_dim", "local_dim")}  # fmt: skip
    settings = {f"{part}.{name}": getattr(getattr(tiny_config, part), name) for part in sizes for name in sizes[part]}
    settings["training.epochs"] = 1
    file = write(tmp_path, rows={"a b": {"method": "prd_no_local"}, "c": {"method": "clip"}})
    grid = load_ablation(file, settings)
    run = Run(grid.base(), tmp_path / "runs" / grid.run_id, grid)
    with pytest.raises(DataError, match="No cell of grid"):
        run.trainings()
    row = grid.rows[0]
    folder = checkpoint_folder(tmp_path / "runs" / grid.config(row).run_id, row.method, 1)
    made = fit(grid.config(row), row.method, 1, tiny_data, folder, "d", report=None).model
    models = run.trainings()
    assert list(models) == [("a b", 1)]
    torch.testing.assert_close(models["a b", 1].state_dict(), made.state_dict())
    assert len(run.trained_on()["a b"]) == 9
    assert run.trained_on()["c"] == ()
    other = write(tmp_path, rows={"c": {"method": "clip"}, "d": {"method": "clip", "data.word_limit": 20}})
    with pytest.raises(DataError, match=r"Row 'd' of grid .* reads other data"):
        Run(load_ablation(other, settings).base(), run.folder, load_ablation(other, settings)).trainings()


def outcomes(shift, seeds=3, studies=400, noise=0.0):
    """Rows 'a' and 'b' of one metric; b is better by ``shift``, seeds differ by ``noise``."""
    rng, rows = np.random.default_rng(0), []
    hard = rng.random(studies)
    for name, level in (("a", 0.5), ("b", 0.5 + shift)):
        for seed in range(seeds):
            right = hard < level + noise * rng.standard_normal()
            facts = {"metric": "m", "method": name, "seed": seed, "chance": 0.1, "seconds": 60.0 + seed}
            rows.append(pd.DataFrame({"query": np.arange(studies), "outcome": right.astype(float)}).assign(**facts))
    return pd.concat(rows)


def test_differences_are_paired_and_sure_only_where_they_are():
    table = ablation_table(outcomes(0.1), "a").set_index("method")
    assert table.loc["b", "difference"] == pytest.approx(0.1, abs=0.03)
    assert table.loc["b", "difference_low"] > 0
    assert table.loc["b", "p_holm"] < 0.05
    assert pd.isna(table.loc["a", "difference"])
    none = ablation_table(outcomes(0.0, noise=0.05), "a").set_index("method").loc["b"]
    assert none["difference_low"] < 0 < none["difference_high"]
    assert none["p_holm"] > 0.05


def test_a_row_of_one_seed_is_compared_on_that_seed_and_never_sure():
    whole = outcomes(0.3, noise=0.1)
    one = whole[(whole["method"] == "a") | (whole["seed"] == 2)]
    row = ablation_table(one, "a").set_index("method").loc["b"]
    same = one[one["seed"] == 2].groupby("method")["outcome"].mean()
    assert row["difference"] == pytest.approx(same["b"] - same["a"])
    assert row["paired_seeds"] == 1
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert pd.isna(row["p"])
    assert pd.isna(row["p_holm"])
    base = ablation_table(whole[(whole["method"] == "b") | (whole["seed"] == 2)], "a").set_index("method").loc["b"]
    assert pd.isna(base["p"])  # nor against a baseline of one seed


def test_a_row_of_one_seed_has_the_spread_of_the_seeds_of_other_rows():
    whole = outcomes(0.0, noise=0.1)
    one = ablation_table(whole[(whole["method"] == "a") | (whole["seed"] == 2)], "a").set_index("method").loc["b"]
    alone = ablation_table(whole[(whole["method"] == "b") & (whole["seed"] == 2)], "b").set_index("method").loc["b"]
    assert one["ci_high"] - one["ci_low"] > 1.3 * (alone["ci_high"] - alone["ci_low"])


def test_without_a_seed_in_common_the_means_are_compared_and_both_sides_seeds_count():
    equal = outcomes(0.1, noise=0.05)
    other = equal.assign(seed=equal["seed"] + 3 * (equal["method"] == "b"))
    a, b = (ablation_table(part, "a").set_index("method").loc["b"] for part in (equal, other))
    assert a["difference"] == pytest.approx(b["difference"])
    assert (a["paired_seeds"], b["paired_seeds"]) == (3, 0)
    means = equal.groupby(["metric", "method", "query", "chance"], as_index=False)["outcome"].mean().assign(seed=0)
    studies = ablation_table(means, "a").set_index("method").loc["b"]
    assert b["difference_high"] - b["difference_low"] > 2 * (studies["difference_high"] - studies["difference_low"]) > 0
    assert 0.05 < b["p"] <= 1


def test_seeds_that_differ_widen_the_interval():
    narrow, wide = (ablation_table(outcomes(0.0, noise=n), "a").iloc[0] for n in (0.0, 0.1))
    assert wide["ci_high"] - wide["ci_low"] > 1.5 * (narrow["ci_high"] - narrow["ci_low"])


def no_difference(rng, metrics, names, n, seed_spread, seeds=3):
    """Outcomes of rows that are all .5 in truth: studies spread by .3, seeds by ``seed_spread``, the rest by .1."""
    tables = []
    for metric in metrics:
        values = 0.5 + rng.normal(0, 0.3, n)[None, :, None] + rng.normal(0, seed_spread, (len(names), 1, seeds))
        values = values + rng.normal(0, 0.1, (len(names), n, seeds))
        index = pd.MultiIndex.from_product([names, range(n), range(seeds)], names=["method", "query", "seed"])
        tables.append(
            pd.DataFrame({"outcome": values.ravel()}, index=index).reset_index().assign(metric=metric, chance=0.0)
        )
    return pd.concat(tables)


@pytest.mark.parametrize("seed_spread", [0.0, 0.2])
def test_intervals_and_p_hold_what_they_say_when_the_variances_are_known(seed_spread):
    """100 tables of a baseline and six rows that do not differ, three seeds each; the standard error over studies is .047, that
    over seeds 0 or .12: intervals hold the truth in 95 % (a bootstrap of three seeds in 83 % of the second, studies alone in half
    of it), and about one table in twenty has a row that is sure (of 100 tables 11 or fewer: p < .005)."""
    rng = np.random.default_rng(3)
    tables = [ablation_table(no_difference(rng, ["m"], list("abcdefg"), 40, seed_spread), "a", 200) for _ in range(100)]
    rows = pd.concat(tables)
    held = (rows["ci_low"] <= 0.5) & (rows["ci_high"] >= 0.5)
    apart = rows.dropna(subset="difference")
    equal = (apart["difference_low"] <= 0) & (apart["difference_high"] >= 0)
    assert 0.87 <= held.mean() <= 0.985  # rows of a table share their studies: 100 tables, not 700
    assert 0.93 <= equal.mean() <= 0.985
    assert sum((table["p_holm"] < 0.05).any() for table in tables) <= 11


def test_many_rows_that_share_a_baseline_are_not_sure_because_its_seeds_were_high():
    """40 tables as large as a grid's, 20 rows and six scores, none of which differ: one in twenty may have a sure row. With the
    seeds of all rows as degrees of freedom, as if no two differences had the baseline in common, six of them have one."""
    rng, names = np.random.default_rng(5), [f"row {i}" for i in range(20)]
    tables = [ablation_table(no_difference(rng, list("uvwxyz"), names, 30, 0.5), names[0], 200) for _ in range(40)]
    assert sum((table["p_holm"] < 0.05).any() for table in tables) <= 2


def test_a_row_with_more_test_studies_does_not_speak_for_the_seeds_of_the_others():
    rng = np.random.default_rng(8)
    usual = no_difference(rng, ["m"], list("abcdef"), 40, 0.2)
    own_split = no_difference(rng, ["m"], ["own split"], 60, 0.0)
    own_split["query"] += 1000
    alone = ablation_table(usual, "a", 2000).set_index("method")
    beside = ablation_table(pd.concat([own_split, usual]), "a", 2000).set_index("method").loc[alone.index]
    columns = ["ci_low", "ci_high", "difference_low", "difference_high"]
    np.testing.assert_allclose(beside[columns].astype(float), alone[columns].astype(float), rtol=0, atol=1e-12)


def test_a_share_has_no_end_below_0_and_a_gain_has():
    rare = pd.DataFrame({"query": range(60), "outcome": 0.0, "method": "a", "seed": 0, "metric": "m", "chance": 0.0})
    rare.loc[0, "outcome"] = 1.0
    other = rare.assign(seed=1, outcome=np.roll(rare["outcome"], 7)).assign(
        outcome=lambda t: t["outcome"].where(t["query"] > 30, 1.0)
    )
    assert ablation_table(pd.concat([rare, other]), "a")["ci_low"].iloc[0] == 0.0
    gain = pd.concat([rare, other]).assign(outcome=lambda t: t["outcome"] - (t["query"] == 50))
    assert ablation_table(gain, "a")["ci_low"].iloc[0] < 0.0


def test_the_score_with_the_mean_image_stands_beside_and_a_summary_says_what_is_missing():
    scores = outcomes(0.1, seeds=2)
    added = scores.assign(metric="m, image - mean image", outcome=scores["outcome"] - 0.25)
    asked = pd.concat([scores, added[added["method"] == "a"]])
    table = with_control(ablation_table(asked, "a"), asked)
    by_row = table.set_index(["metric", "method"])["mean image"]
    assert by_row["m", "a"] == pytest.approx(0.25)
    assert np.isnan(by_row["m", "b"])
    again = with_control(ablation_table(asked, "a"), pd.concat([asked, scores.assign(seed=7, outcome=1.0)]))
    pd.testing.assert_frame_equal(again, table)  # of the trainings that were asked with the mean image too
    lines = summary(table).set_index("metric")
    assert list(lines.columns) == ["chance", "n", "seeds", "a", "b"]
    assert lines.loc["m, image - mean image", "b"] == "missing"
    assert lines.loc["m", "a"].startswith(f"{table['value'].iloc[0]:.3f} [")


def test_what_the_image_adds_is_a_metric_of_its_own():
    rows = [
        ("R@1", "image", 1.0, 0.1),
        ("5", "image", 1.0, 0.2),
        ("5", "mean image", 1.0, 0.2),
        ("5", "image - mean image", 0.0, 0.0),
    ]
    seen = seen_outcomes(pd.DataFrame(rows, columns=["metric", "input", "outcome", "chance"]))
    assert list(zip(seen["metric"], seen["outcome"], seen["chance"], strict=True)) == [
        ("R@1", 1.0, 0.1), ("5", 1.0, 0.2), ("5, image - mean image", 0.0, 0.0)
    ]  # fmt: skip


def test_a_collection_without_twins_has_a_table_too():
    scores, none = outcomes(0.1, seeds=2), twin_rows(pd.DataFrame())
    joined = pd.concat([scores, none], ignore_index=True)  # as notebook 03 does
    assert joined["outcome"].dtype == object
    pd.testing.assert_frame_equal(ablation_table(joined, "a"), ablation_table(scores, "a"))


def test_cost_and_twins_become_columns_and_metrics():
    rows = outcomes(0.1)
    assert with_cost(ablation_table(rows, "a"), rows)["seconds"].tolist() == [61.0, 61.0]
    twins = pd.DataFrame({"study_id": ["p", "q"], "exchanged": ["side", "zone"], "apart": ["sentence", ""]})
    twins = twins.assign(method="a", seed=0, **{"exchange accuracy": [1.0, 0.5]})
    assert twin_rows(twins)["metric"].tolist() == ["exchange across sentences: side", "exchange inside a sentence"]
    assert twin_rows(twins.iloc[:0]).empty


def test_twins_are_shown_by_place_attribute_and_direction():
    twins = pd.DataFrame({"study_id": list("pqrs"), "exchanged": ["side", "zone", "side", "side"],
                          "apart": ["sentence", "sentence", "", "clause"], "study": [1.0, 1, 1, 0], "twin": [1.0, 0, 1, 0],
                          "blind study": [1.0, 0, 0, 0]})  # fmt: skip
    scores = twins[["study", "twin"]].mean(axis=1)
    twins = twins.assign(method="a", seed=0, **dict.fromkeys(("text score", "image score", "group score"), 0.0))
    table = twin_places(twins.assign(**{"exchange accuracy": scores}), 20)
    values = table.set_index(["place", "score", "exchanged"])["value"]
    assert values["across sentences", "exchange accuracy", "side"] == 1.0
    assert values["across sentences", "exchange accuracy", "zone"] == 0.5
    assert values["across sentences", "blind study", "all"] == 0.5
    assert values["inside a sentence", "exchange accuracy", "all"] == 0.5
    assert values["inside a sentence", "twin", "all"] == 0.5
    assert set(table["n"]) == {1, 2}
    assert twin_places(twins.iloc[:0]).empty
