"""One call that scores checkpoints on a collection: every task's tables, and an overview with chance and control."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from prdlib import repro
from prdlib.config import ConfigError
from prdlib.evaluation.adapters import DualEncoder, PRDAdapter, load_model
from prdlib.evaluation.published import beside_the_paper
from prdlib.repro import write_atomic, write_json
from prdlib.settings import nearest
from prdlib.tasks import LINES, TASKS, check_task, headlines, lacks, models_for, overview_lines, run_task

if TYPE_CHECKING:
    from prdlib.notebook import Run


@dataclass(frozen=True)
class Evaluation:
    """tables: task -> name -> table, every number; overview: columns task and prdlib.tasks.LINES; left_out: task -> why.

    facts: what was scored by what: run, profile, data, studies, trainings of each model, seconds of a task, threads, commit.
    """

    tables: dict[str, dict[str, pd.DataFrame]]
    overview: pd.DataFrame
    left_out: dict[str, str]
    facts: dict[str, Any]

    def table(self, task: str, name: str = "") -> pd.DataFrame:
        """A table of a task by its name (that of the task itself: ''); one without rows where the task was left out."""
        return self.tables.get(task, {}).get(name or task, pd.DataFrame())

    def lines(self, task: str) -> pd.DataFrame:
        """The overview's lines of a task."""
        return self.overview[self.overview["task"] == task]

    def headlines(self) -> pd.DataFrame:
        """The overview's lines that stand for each task."""
        return headlines(self.overview)

    def beside_the_paper(self) -> pd.DataFrame:
        """See :func:`prdlib.evaluation.published.beside_the_paper`."""
        return beside_the_paper(self.tables, self.facts["data"])

    def save(self, folder: str | Path) -> None:
        """<folder>/overview.csv and .json, paper.csv (the paper's numbers beside these), facts.json, left_out.json, and
        <folder>/<task>/<name>.csv of each table that has a row."""
        folder = Path(folder)
        write_atomic(folder / "overview.csv", self.overview.to_csv(index=False))
        write_json(folder / "overview.json", json.loads(self.overview.to_json(orient="records", double_precision=6)))
        write_json(folder / "left_out.json", self.left_out)
        write_json(folder / "facts.json", self.facts)
        write_atomic(folder / "paper.csv", self.beside_the_paper().to_csv(index=False))
        for task, tables in self.tables.items():
            save_tables(folder, task, tables)


def save_tables(folder: str | Path, task: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """<folder>/<task>/<name>.csv of each table that has a row."""
    for name, table in tables.items():
        if len(table):
            write_atomic(Path(folder) / task / f"{name}.csv", table.to_csv(index=False))


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
        dict.fromkeys(
            part.strip()
            for text in ((tasks,) if isinstance(tasks, str) else tasks)
            for part in text.split(",")
            if part.strip()
        )
    )
    if not names:
        raise ConfigError(f"No task is named: choose of {', '.join(TASKS)}, or all.")
    for name in names:
        if name not in (*TASKS, "all"):
            raise ConfigError(f"Unknown task {name!r}{nearest(name, TASKS)}: choose of {', '.join(TASKS)}, or all.")
    return names


def load_models(names: Sequence[str], run: Run) -> dict[tuple[str, int], DualEncoder]:
    """(name, seed) -> model of ``names``; of a grid its finished cells too; without names all trainings of the run."""
    if len(set(names)) < len(names):
        raise ConfigError("evaluate names a model twice: name each once.")
    ends = [Path(name).name if (Path(name) / "config.json").is_file() else name for name in names]
    short = (
        ends if len(set(ends)) == len(ends) else list(names)
    )  # a checkpoint by the end of its path, where that is enough
    models = {(title, 0): load_model(name) for title, name in zip(short, names, strict=True)}
    if run.grid or not models:
        models = {key: PRDAdapter(model) for key, model in run.trainings().items()} | models
    return models


def evaluate_run(run: Run, seed: int = 0, others: Sequence[str] = ()) -> Evaluation:
    """Every usual task for each method's training ``seed`` and for ``others`` (see :func:`load_models`): notebook 05.

    Each table is kept as metrics/05_<name>.csv and .json of the run when its task ends, the overview last; prints what
    each task took, and what is left out and why.
    """
    models = {(m, seed): PRDAdapter(run.trained(m, seed).model) for m in run.config.methods}
    models |= {(name, 0): load_model(name) for name in others}

    def keep(task: str, tables: Mapping[str, pd.DataFrame]) -> None:
        for name, table in tables.items():
            run.keep(table, f"05_{name}")

    evaluation = evaluate_models(models, ("all",), run, keep=keep)
    run.keep(evaluation.overview, "05_overview")
    print("seconds   " + ", ".join(f"{task} {taken:.0f}" for task, taken in evaluation.facts["seconds"].items()))
    for task, why in evaluation.left_out.items():
        print(f"left out  {task}: {why}")
    return evaluation


def overview_of(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """The overview of several tasks: task -> its tables, those without any left out. Columns: task and prdlib.tasks.LINES."""
    lines = [overview_lines(task, dict(part)) for task, part in tables.items() if part]
    return pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=["task", *LINES])


def all_tasks(models: Mapping[tuple[str, int], DualEncoder], run: Run) -> tuple[list[str], dict[str, str]]:
    """(names of the tasks that 'all' stands for, task -> why it is left out)."""
    left_out = {}
    for name, task in TASKS.items():
        reasons = [
            lacks(name, run),
            "" if models_for(name, models) else f"{next(iter(models))[0]} is no checkpoint of this library",
            "evaluation.fine_tuning is off." if name == "fine_tuning" and not run.config.evaluation.fine_tuning else "",
            "" if task.usual else "By name alone.",
        ]
        if any(reasons):
            left_out[name] = next(filter(None, reasons))
    return [name for name in TASKS if name not in left_out], left_out


def evaluate_models(
    models: Mapping[tuple[str, int], DualEncoder],
    tasks: Sequence[str],
    run: Run,
    report: Callable[[str], None] | None = None,
    keep: Callable[[str, dict[str, pd.DataFrame]], None] | None = None,
) -> Evaluation:
    """:func:`evaluate` with models and a run at hand; ``report`` is told which task begins, ``keep`` is given the tables of each
    that ends."""
    if "all" in tasks:
        everything, left_out = all_tasks(models, run)
        named = [task for task in tasks if task != "all"]
        tasks = [*everything, *(task for task in named if task not in everything)]
        left_out = {task: why for task, why in left_out.items() if task not in named}
    else:
        left_out = {}
    for task in tasks:  # before the first begins: nothing that is done is lost to a task that cannot be
        check_task(task, models, run)
    tables, seconds = {}, {}
    for number, task in enumerate(tasks, 1):
        if report:
            report(f"[{number}/{len(tasks)}] {task}")
        begun = time.monotonic()
        tables[task] = run_task(task, models, run)
        if keep:
            keep(task, tables[task])
        seconds[task] = round(time.monotonic() - begun, 1)
    seeds: dict[str, list[int]] = {}
    for name, seed in models:
        seeds.setdefault(name, []).append(seed)
    facts = {
        "run": run.folder.name,
        "profile": run.config.profile,
        "data": run.config.data.name,
        "test studies": len(run.split("test").study_ids),
        "seeds": seeds,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "precision of trainings": run.config.training.autocast,
        "commit": repro.git_state()["commit"],
    }
    return Evaluation(tables, overview_of(tables), left_out, facts)
