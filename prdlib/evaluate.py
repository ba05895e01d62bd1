"""One call that scores checkpoints on a collection: every task's tables, and an overview with chance and control."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from prdlib.config import ConfigError
from prdlib.evaluation.adapters import DualEncoder, PRDAdapter, load_model
from prdlib.repro import write_atomic, write_json
from prdlib.settings import nearest
from prdlib.tasks import LINES, TASKS, lacks, overview_lines, run_task

if TYPE_CHECKING:
    from prdlib.notebook import Run


@dataclass(frozen=True)
class Evaluation:
    """tables: task -> name -> table, every number; overview: columns task and prdlib.tasks.LINES; left_out: task -> why."""

    tables: dict[str, dict[str, pd.DataFrame]]
    overview: pd.DataFrame
    left_out: dict[str, str]

    def save(self, folder: str | Path) -> None:
        """<folder>/overview.csv and .json, left_out.json, and <folder>/<task>/<name>.csv."""
        folder = Path(folder)
        write_atomic(folder / "overview.csv", self.overview.to_csv(index=False))
        write_json(folder / "overview.json", json.loads(self.overview.to_json(orient="records", double_precision=6)))
        write_json(folder / "left_out.json", self.left_out)
        for task, tables in self.tables.items():
            for name, table in tables.items():
                write_atomic(folder / task / f"{name}.csv", table.to_csv(index=False))


def evaluate(
    checkpoints: str | Sequence[str] = (),
    tasks: str | Sequence[str] = "all",
    profile: str = "cpu",
    settings: Mapping[str, Any] | None = None,
    data: str = "",
    grid: str = "",
) -> Evaluation:
    """Score ``checkpoints`` on the data of a profile.

    checkpoints: what :func:`prdlib.evaluation.adapters.load_model` reads: a folder of ours, another model's, embeddings; none:
    all trainings of the run. tasks: names of prdlib.tasks.TASKS, or 'all', which leaves out the tasks for which the collection
    or a model lacks something (Evaluation.left_out says what). profile, settings, data, grid: see prdlib.notebook.open_run;
    another collection is a setting: {"data.name": "chexpert"} and its folder as data.
    Raises ConfigError for an unknown task or one that cannot be done, and what the readers and load_model raise.
    """
    from prdlib.notebook import open_run

    names = (checkpoints,) if isinstance(checkpoints, str) else tuple(checkpoints)
    chosen = task_names(tasks)
    run = open_run(profile, settings, data=data, grid=grid)
    return evaluate_models(load_models(names, run), chosen, run)


def task_names(tasks: str | Sequence[str]) -> tuple[str, ...]:
    """Names of tasks, each once; 'all' stays what it is. ConfigError for an unknown one."""
    names = tuple(
        dict.fromkeys(part for text in ((tasks,) if isinstance(tasks, str) else tasks) for part in text.split(","))
    )
    for name in names:
        if name not in (*TASKS, "all"):
            raise ConfigError(f"Unknown task {name!r}{nearest(name, TASKS)}: choose of {', '.join(TASKS)}, or all.")
    return names


def load_models(names: Sequence[str], run: Run) -> dict[tuple[str, int], DualEncoder]:
    """(name, seed) -> model of ``names``; of a grid its finished cells too; without names all trainings of the run."""
    if len(set(names)) < len(names):
        raise ConfigError("evaluate names a model twice: name each once.")
    models = {(name, 0): load_model(name) for name in names}
    if run.grid or not models:
        models = {key: PRDAdapter(model) for key, model in run.trainings().items()} | models
    return models


def evaluate_models(models: Mapping[tuple[str, int], DualEncoder], tasks: Sequence[str], run: Run) -> Evaluation:
    """:func:`evaluate` with models and a run at hand."""
    others = [name for (name, _), model in models.items() if not isinstance(model, PRDAdapter)]
    left_out = {}
    if "all" in tasks:
        for name, task in TASKS.items():
            why = lacks(name, run) or (f"{others[0]} is no checkpoint of this library" if task.ours and others else "")
            left_out |= {name: why} if why else {}
        tasks = [name for name in TASKS if name not in left_out]
    tables = {task: run_task(task, models, run) for task in tasks}
    lines = [overview_lines(task, part) for task, part in tables.items()]
    overview = pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=["task", *LINES])
    return Evaluation(tables, overview, left_out)
