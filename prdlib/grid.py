"""A grid of runs: named settings over one profile, each a run of all methods and seeds, as cluster/config.yaml lists them.
(An ablation, prdlib.ablation, is another grid: rows with one method each, of which only the trainings are run.)

Every name is looked up here, before a queue starts anything: a wrong one is a ConfigError of one sentence.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from prdlib import repro
from prdlib.config import ConfigError
from prdlib.manifest import run_options
from prdlib.plan import Step, check_parameters, plan
from prdlib.runs import configure, default_run_dir
from prdlib.settings import nearest

KEYS = ("profile", "methods", "seeds", "data", "grid")
# The last table that each notebook keeps: there when the notebook came to its end. 02 has one a training.
LAST_TABLES = {
    "01_data": "01_labels",
    "03_ablations": "03_differences",
    "04_attention": "04_summary",
    "05_downstream": "05_paper",
}


@dataclass(frozen=True)
class GridRun:
    """One run of a grid: its ``name``, its ``folder`` below the project's root, its steps by key, and ``options`` of the
    command line that makes it."""

    name: str
    folder: str
    data_id: str
    steps: Mapping[str, Step]
    options: str

    def table(self, key: str) -> str:
        """The last table of a step, below the project's root."""
        name = LAST_TABLES.get(key) or f"{key.replace('pretraining-', '')}_scores"
        return f"{self.folder}/metrics/{name}.csv"

    def before(self, key: str) -> list[str]:
        """The last tables of the steps that a step needs."""
        return [self.table(need) for need in self.steps[key].needs]


def load_grid(values: Mapping[str, Any]) -> dict[str, GridRun]:
    """Folder -> run. values: profile, methods and seeds (of the profile where they are left out), data (folder of the
    collection), grid (name -> settings over the profile). ConfigError, RunError: one sentence."""
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"Unknown key {key!r} of the grid{nearest(str(key), KEYS)}: it has {', '.join(KEYS)}.")
    grid = values.get("grid")
    if not isinstance(grid, Mapping) or not grid:
        raise ConfigError(f"The grid needs names with settings, e.g. grid: {{base: {{}}}}, not {grid!r}.")
    common = {key: _typed(values[key]) for key in ("methods", "seeds") if values.get(key) is not None}
    runs: dict[str, GridRun] = {}
    for name, settings in grid.items():
        run = _run(str(name), values, {**common, **_settings(name, settings)})
        if run.folder in runs:
            raise ConfigError(f"Grid {name!r} has the settings of {runs[run.folder].name!r}: remove one of them.")
        runs[run.folder] = run
    return runs


def first_of_data(runs: Mapping[str, GridRun], folder: str) -> GridRun | None:
    """The run that prepares the data of the run in ``folder``; None when it does so itself."""
    first = next(run for run in runs.values() if run.data_id == runs[folder].data_id)
    return None if first.folder == folder else first


def _settings(name: object, settings: object) -> Mapping[str, Any]:
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"Grid {name!r} needs settings (key: value), not {settings!r}.")
    for key in settings or {}:
        if key in ("profile", "methods", "seeds"):
            raise ConfigError(f"Grid {name!r} sets {key}, which all runs of a grid share: set it outside of grid.")
    return _typed(settings or {})


def _typed(value: Any) -> Any:
    """Numbers as numbers: Snakemake's --config hands on what stands inside a list or mapping as text."""
    if isinstance(value, Mapping):
        return {key: _typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(part) for part in value]
    read = yaml.safe_load(value) if isinstance(value, str) and value else value
    return read if isinstance(read, bool | int | float) else value


def _run(name: str, values: Mapping[str, Any], settings: Mapping[str, Any]) -> GridRun:
    config, call = configure(values.get("profile") or "quick", settings, values.get("data") or "")
    config.check_logger()
    root = repro.project_root()
    steps = plan(config, root / "notebooks", default_run_dir(config), call)
    check_parameters(steps)
    folder = default_run_dir(config).relative_to(root).as_posix()
    return GridRun(name, folder, config.data_id(), {s.key: s for s in steps}, shlex.join(run_options(call)))
