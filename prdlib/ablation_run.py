"""Run the cells of an ablation, then notebook 03 over what is finished. The same command continues what was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from prdlib import repro
from prdlib.ablation import Ablation, Row, load_ablation
from prdlib.config import ConfigError
from prdlib.manifest import load_manifest, read_manifest, runner_lock
from prdlib.plan import Step, check_parameters, find_step, forget_tables
from prdlib.repro import find_path
from prdlib.runs import Runner, RunReport, point_latest


def run_ablation(
    name: str,
    settings: Mapping[str, Any] | None = None,
    data: str = "",
    jobs: int | None = None,
    report: Callable[[str], None] = print,
    notebooks: str | Path | None = None,
    folder: str | Path | None = None,
    kept: str = "",
    only: str | None = None,
) -> RunReport:
    """Every cell of a grid that is not finished yet, ``jobs`` at a time, and notebook 03.

    name, settings, data: see :func:`prdlib.ablation.load_ablation`. notebooks, folder: others than notebooks/ and papermill_runs/
    of the project. kept: folder of kept tables (see prdlib.kept_cells), whose cells are not trained: 03 reads them there.
    only: the step of one cell, or 03_ablations, alone; other calls may run other steps meanwhile.
    The folder papermill_runs/<run_id> holds run.json, logs, executed notebooks, and tables and figures of 03; a
    cell's tables and checkpoint lie in the run directory of its settings. A cell that fails is missing in 03, never filled in.
    Raises ConfigError or RunError before anything runs.
    """
    started = time.monotonic()
    grid = load_ablation(name, settings, data)
    base = grid.base()
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs is {jobs}: it must be at least 1.")
    from prdlib.kept_cells import kept_keys, kept_seconds, refuse_other_settings
    from prdlib.training_inputs import check_weights

    run_dir = (Path(folder).resolve() if folder else repro.project_root() / "papermill_runs") / grid.run_id
    notebooks = Path(notebooks).resolve() if notebooks else repro.project_root() / "notebooks"
    there = kept_keys(kept)
    refuse_other_settings(kept, grid)
    asked = [(row, seed) for row, seed in grid.cells() if (row.name, seed) not in there]
    cells = [cell_step(grid, row, seed, notebooks, run_dir.parent) for row, seed in asked]
    call = {"profile": grid.profile, "settings": dict(settings or {}), "data": base.data.directory, "grid": str(name)}
    call |= {"kept": str(find_path(kept).resolve())} if kept else {}
    shown = {**call, "run_dir": str(run_dir)}
    last = Step("03_ablations", notebooks / "03_ablations.ipynb", shown, ())
    steps = [*cells, last]
    check_parameters(steps)
    if only in {cell_key(row, seed) for row, seed in grid.cells() if (row.name, seed) in there}:
        raise ConfigError(f"Step {only} is kept in {kept}: leave --kept out to train it here.")
    chosen = steps if only is None else [find_step(steps, only)]
    for row in {row.name: row for (row, _), cell in zip(asked, cells, strict=True) if cell in chosen}.values():
        check_weights(grid.config(row))
    (run_dir / "log").mkdir(parents=True, exist_ok=True)
    jobs = (jobs or base.jobs) if only is None else 1
    with runner_lock(run_dir, [step.key for step in steps], only):
        if only is None:
            asked_there = {(row.name, seed) for row, seed in grid.cells()} & there
            report(cost(grid, run_dir, jobs, asked_there, kept_seconds(kept)))

        def run(chosen: list[Step]) -> dict[str, str]:
            runner = Runner(base, [*cells, last], chosen, run_dir, set(), jobs, report, call, only is not None)
            runner.open()
            if not folder and only is None:
                point_latest(run_dir)
            statuses = runner.run()
            for step in chosen:  # what a cell kept before it failed is no result
                if statuses[step.key] != "succeeded":
                    forget_tables(step)
            return statuses

        statuses = run([step for step in chosen if step is not last])
        if last in chosen:  # it reads what is finished: another cell since, and it runs again
            records = read_manifest(run_dir)["steps"]
            last = replace(last, needs=tuple(cell.key for cell in cells if records[cell.key]["status"] == "succeeded"))
            statuses |= run([last])
    return RunReport(run_dir, statuses, time.monotonic() - started)


def cell_step(grid: Ablation, row: Row, seed: int, notebooks: Path, folder: Path) -> Step:
    """Notebook 02 of a row and a seed, in the run directory of the row's settings below ``folder``."""
    config = grid.config(row)
    parameters = {
        "profile": grid.profile, "settings": grid.settings_of(row), "data": config.data.directory,
        "run_dir": str(folder / config.run_id), "method": row.method, "seed": seed,
    }  # fmt: skip
    return Step(cell_key(row, seed), notebooks / "02_pretraining.ipynb", parameters, ())


def cell_key(row: Row, seed: int) -> str:
    """The step of a cell in the manifest of its grid."""
    return f"02_pretraining-{row.slug}-seed{seed}"


def cost(
    grid: Ablation,
    run_dir: Path,
    jobs: int,
    kept: Collection[tuple[str, int]] = (),
    elsewhere: Mapping[str, float] | None = None,
) -> str:
    """One sentence before anything starts: trainings, what is there already, and how long the others take by what was measured.

    A cell is finished where its run directory beside ``run_dir`` has a finished training, whichever run or grid made it. Whether
    data and code are still the same is looked at when the cell runs. A cell that is not takes as long as finished steps of its
    row took here; else as the row's trainings ``elsewhere`` (row -> seconds); else as steps of its method, or of any; else as the
    profile says."""
    from prdlib.training_inputs import checkpoint_folder

    folders = {row.name: run_dir.parent / grid.config(row).run_id for row in grid.rows}
    left, finished = [], 0
    for row, seed in grid.cells():
        if (row.name, seed) in kept:
            continue
        done = (checkpoint_folder(folders[row.name], row.method, seed) / "fit.json").is_file()
        finished += done
        left += [] if done else [row]
    rows, methods = _step_seconds(grid, run_dir, folders)
    every = [value for values in methods.values() for value in values]
    usual = mean(every) if every else grid.base().expected_seconds.get("02_pretraining", 60.0)
    guesses = {method: mean(values) for method, values in methods.items()}
    guesses = {row.name: guesses.get(row.method, usual) for row in grid.rows} | dict(elsewhere or {})
    guesses |= {name: mean(values) for name, values in rows.items()}
    hours = sum(guesses[row.name] for row in left) / jobs / 3600
    source = (
        " or ".join(["measured here"] * bool(every) + ["kept"] * bool(elsewhere))
        or f"on the machine of profile {grid.profile}"
    )
    size = f"{len(grid.rows)} rows x {len(grid.seeds)} seeds = {len(grid.rows) * len(grid.seeds)} trainings, {finished} finished"
    size += f", {len(kept)} kept elsewhere" if kept else ""
    told = f"grid {grid.name}: {size}; the other {len(left)} take about {hours:.1f} hours, {jobs} at a time ({source})"
    return told + ("; what is finished stays so if code and data are as they were" if finished else "")


def _step_seconds(
    grid: Ablation, run_dir: Path, folders: Mapping[str, Path]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """(row -> seconds, method -> seconds) of every finished notebook 02 in the manifests of a grid and of its rows' folders."""
    rows: dict[str, list[float]] = {}
    methods: dict[str, list[float]] = {}
    slugs = {row.slug: row.name for row in grid.rows}
    for folder in sorted({run_dir, *folders.values()}):
        steps = load_manifest(folder)["steps"] if (folder / "run.json").is_file() else {}
        for key, step in steps.items():
            if key.startswith("02_") and step["status"] == "succeeded" and step.get("seconds"):
                method = step["parameters"]["method"]
                methods.setdefault(method, []).append(step["seconds"])
                slug = key.removeprefix("02_pretraining-").rpartition("-seed")[0]
                of = (
                    [slugs.get(slug)]
                    if folder == run_dir
                    else [row.name for row in grid.rows if folders[row.name] == folder and row.method == method]
                )
                for name in filter(None, of):
                    rows.setdefault(name, []).append(step["seconds"])
    return rows, methods
