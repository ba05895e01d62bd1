"""Run the cells of an ablation, then notebook 03 over what is finished. The same command continues what was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prdlib import repro
from prdlib.ablation import Ablation, Row, load_ablation
from prdlib.config import ConfigError
from prdlib.manifest import read_manifest, runner_lock
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
    of the project. kept: folder of kept tables, for notebook 03 (see prdlib.kept_cells).
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
    from prdlib.training_inputs import check_weights

    for row in grid.rows:
        check_weights(grid.config(row))
    run_dir = (Path(folder).resolve() if folder else repro.project_root() / "papermill_runs") / grid.run_id
    notebooks = Path(notebooks).resolve() if notebooks else repro.project_root() / "notebooks"
    cells = [cell_step(grid, row, seed, notebooks, run_dir.parent) for row, seed in grid.cells()]
    call = {"profile": grid.profile, "settings": dict(settings or {}), "data": base.data.directory, "grid": str(name)}
    shown = {**call, "run_dir": str(run_dir), **({"kept": str(find_path(kept).resolve())} if kept else {})}
    last = Step("03_ablations", notebooks / "03_ablations.ipynb", shown, ())
    steps = [*cells, last]
    check_parameters(steps)
    chosen = steps if only is None else [find_step(steps, only)]
    (run_dir / "log").mkdir(parents=True, exist_ok=True)
    jobs = (jobs or base.jobs) if only is None else 1
    with runner_lock(run_dir, [step.key for step in steps], only):
        if only is None:
            report(cost(grid, run_dir.parent, jobs))

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
    return Step(f"02_pretraining-{row.slug}-seed{seed}", notebooks / "02_pretraining.ipynb", parameters, ())


def cost(grid: Ablation, folder: Path, jobs: int) -> str:
    """One sentence before anything starts: trainings, what is trained already, and how long the others take by what was measured.

    A cell is trained where its run directory below ``folder`` has a finished training, whichever run or grid made it. Whether
    data and code are still the same is looked at when the cell runs."""
    from prdlib.training_inputs import checkpoint_folder

    marks = [
        checkpoint_folder(folder / grid.config(row).run_id, row.method, seed) / "fit.json" for row, seed in grid.cells()
    ]
    seconds = [json.loads(mark.read_text())["seconds"] for mark in marks if mark.is_file()]
    expected = sum(seconds) / len(seconds) if seconds else grid.base().expected_seconds.get("02_pretraining", 60.0)
    source = "measured here" if seconds else f"on the machine of profile {grid.profile}"
    size = f"{len(grid.rows)} rows x {len(grid.seeds)} seeds = {len(marks)} trainings, {len(seconds)} finished"
    left = (len(marks) - len(seconds)) * expected / jobs / 3600
    return f"grid {grid.name}: {size}; the others take about {left:.1f} hours, {jobs} at a time ({expected:.0f} s each, {source})"
