"""What cluster/config.yaml asks for: a grid of runs, that is named settings over one profile, each a run of all methods and
seeds; or an ablation (prdlib.ablation), whose rows have one method each and of which only the trainings are run.

Every name is looked up here, before a queue starts anything: a wrong one is a ConfigError of one sentence.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from prdlib import repro
from prdlib.ablation import load_ablation
from prdlib.ablation_run import cell_step
from prdlib.config import ConfigError
from prdlib.manifest import run_options
from prdlib.plan import Step, check_parameters, plan
from prdlib.runs import configure, default_run_dir
from prdlib.settings import nearest

KEYS = ("profile", "methods", "seeds", "data", "grid")
ABLATION_KEYS = ("ablation", "seeds", "data", "settings")
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


@dataclass(frozen=True)
class AblationRun(GridRun):
    """An ablation. The tables of its cells lie in the run directories of their settings, where other grids leave them, too:
    what says that a cell of this one is finished is a mark."""

    def table(self, key: str) -> str:
        """The last table of notebook 03; of a cell its mark."""
        return super().table(key) if key in LAST_TABLES else f"{self.folder}/log/{key}.done"


def load_grid(values: Mapping[str, Any]) -> dict[str, GridRun]:
    """Folder -> run. values: profile, methods and seeds (of the profile where they are left out), data (folder of the
    collection), grid (name -> settings over the profile). Or ablation (a name or a file, see prdlib.ablation), seeds (its own
    where they are left out), data, settings (over its own, of all rows). ConfigError, RunError: one sentence."""
    if "ablation" in values:
        run = _ablation(values)
        return {run.folder: run}
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


def _ablation(values: Mapping[str, Any]) -> AblationRun:
    for key in values:
        if key not in ABLATION_KEYS:
            raise ConfigError(
                f"{key!r} does not go with an ablation{nearest(str(key), ABLATION_KEYS)}, whose file names profile, methods and "
                f"settings of its rows: leave it out; {', '.join(ABLATION_KEYS[1:])} go with it."
            )
    name, data = str(values["ablation"]), values.get("data") or ""
    seeds = {"seeds": _typed(values["seeds"])} if values.get("seeds") is not None else {}
    settings = {**seeds, **_settings(name, values.get("settings"))}
    grid = load_ablation(name, settings, data)
    base, root = grid.base(), repro.project_root()
    base.check_logger()
    runs, notebooks = root / "papermill_runs", root / "notebooks"
    cells = [cell_step(grid, row, seed, notebooks, runs) for row, seed in grid.cells()]
    call = {"profile": grid.profile, "settings": settings, "data": base.data.directory, "grid": name}
    last = Step("03_ablations", notebooks / "03_ablations.ipynb", call, tuple(cell.key for cell in cells))
    steps = {step.key: step for step in (*cells, last)}
    check_parameters(list(steps.values()))
    folder = f"papermill_runs/{grid.run_id}"
    return AblationRun(grid.name, folder, base.data_id(), steps, shlex.join(run_options(call)))


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
