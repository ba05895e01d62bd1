"""An ablation as data: rows, each a method and the settings in which it differs from a profile, trained with several seeds.

prdlib/grids/*.yaml has those of the project; a file of your own has the same keys:

    profile: cpu
    seeds: [0, 1, 2]
    baseline: grounded
    settings: {training.epochs: 6}
    rows:
      grounded: {method: grounded}
      whole sentences: {method: grounded, model.segments: sentence}

A *cell* is a row with a seed: notebook 02 with these settings, in the run directory that they have anyway, so that a training
that another run or grid has made is not made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prdlib.config import ConfigError, RunConfig, load_profile
from prdlib.names import check_method
from prdlib.repro import find_path, hash_json
from prdlib.settings import merge, nearest, undotted

FOLDER = Path(__file__).parent / "grids"
KEYS = ("profile", "seeds", "baseline", "settings", "rows")
SHARED = ("profile", "methods", "seeds", "jobs")


@dataclass(frozen=True)
class Row:
    """name: what tables and figures call it; method: one of prdlib.names.METHODS; settings: nested, over the profile."""

    name: str
    method: str
    settings: Mapping[str, Any]

    @property
    def slug(self) -> str:
        """The name in letters that a file may have."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Ablation:
    """Rows over one profile; differences are taken to ``baseline``, the name of a row. settings: over the profile, of all rows,
    those of the command line over those of the file; a row's own win. data: folder of the collection."""

    name: str
    profile: str
    seeds: tuple[int, ...]
    baseline: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Any]
    data: str = ""

    def base(self) -> RunConfig:
        """The settings that all rows share."""
        return load_profile(self.profile, self.settings).with_data(self.data)

    def config(self, row: Row) -> RunConfig:
        """The settings of a row."""
        return load_profile(self.profile, self.settings_of(row)).with_data(self.data)

    def settings_of(self, row: Row) -> dict[str, Any]:
        """What a row is over the profile, nested, with its method and the seeds as those of the run."""
        return merge(
            merge(dict(self.settings), dict(row.settings)), {"methods": [row.method], "seeds": list(self.seeds)}
        )

    def cells(self) -> Iterator[tuple[Row, int]]:
        """Rows with seeds, seeds outside: an interrupted grid has whole comparisons of the first seeds."""
        return ((row, seed) for seed in self.seeds for row in self.rows)

    @property
    def run_id(self) -> str:
        """name-hash of all rows, seeds and settings."""
        rows = [[row.name, row.method, self.config(row).scientific()] for row in self.rows]
        return f"{self.name}-{hash_json([rows, list(self.seeds), self.baseline], 8)}"


def ablations() -> list[str]:
    """Names of the grids that come with prdlib."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_ablation(name: str, settings: Mapping[str, Any] | None = None, data: str = "") -> Ablation:
    """Read a grid: a name out of :func:`ablations`, or the path of a YAML file of the same form.

    settings: over the profile and the grid's own, for all rows; ``seeds`` among them replaces the grid's. data: folder of the
    collection.
    Every row is looked at before anything runs. ConfigError: one sentence, which names the nearest known key.
    """
    own = str(name).endswith((".yaml", ".yml"))
    path = find_path(name) if own else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"Unknown grid {name!r}{nearest(str(name), ablations())}: choose one of {', '.join(ablations())} "
                          "or give the path of a .yaml file.")  # fmt: skip
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("rows"), dict) or not values["rows"]:
        raise ConfigError(f"{path.name} needs rows, e.g. rows: {{clip: {{method: clip}}}}.")
    for key in values:
        if key not in KEYS:
            raise ConfigError(
                f"{path.name}: unknown key {key!r}{nearest(str(key), KEYS)}: a grid has {', '.join(KEYS)}."
            )
    if not isinstance(values.get("settings") or {}, dict):
        raise ConfigError(f"{path.name}: settings are KEY: VALUE over the profile, not {values['settings']!r}.")
    shared = merge(undotted(values.get("settings") or {}), undotted(settings or {}))
    seeds = _seeds(path.name, shared.pop("seeds", values.get("seeds", [0])))
    if "methods" in shared:
        raise ConfigError(
            f"{path.name}: the methods of a grid are those of its rows: leave methods out of the settings."
        )
    rows = tuple(_row(path.name, str(row), given) for row, given in values["rows"].items())
    baseline = str(values.get("baseline") or rows[0].name)
    if baseline not in {row.name for row in rows}:
        raise ConfigError(
            f"{path.name}: baseline {baseline!r} is no row{nearest(baseline, [row.name for row in rows])}."
        )
    found = Ablation(path.stem, values.get("profile") or "quick", seeds, baseline, rows, shared, data)
    _refuse_equal_rows(path.name, found)
    return found


def _seeds(file: str, given: Any) -> tuple[int, ...]:
    whole = isinstance(given, list | tuple) and all(
        isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in given
    )
    if not whole or not given or len(set(given)) < len(given):
        raise ConfigError(f"{file}: seeds are different whole numbers from 0, e.g. seeds: [0, 1, 2], not {given!r}.")
    return tuple(given)


def _row(file: str, name: str, given: Any) -> Row:
    if not isinstance(given, dict) or "method" not in given:
        raise ConfigError(f"{file}: row {name!r} needs a method, e.g. {name}: {{method: clip}}, not {given!r}.")
    settings = {key: value for key, value in given.items() if key != "method"}
    for key in SHARED:
        if key in settings:
            raise ConfigError(
                f"{file}: row {name!r} sets {key}, which all rows of a grid share: set it outside of rows."
            )
    row = Row(name, check_method(str(given["method"])), undotted(settings))
    if not row.slug:
        raise ConfigError(f"{file}: row {name!r} has no letter or digit that a file name may have: rename it.")
    return row


def _refuse_equal_rows(file: str, grid: Ablation) -> None:
    trained, slugs = {}, {}
    for row in grid.rows:
        key = (row.method, grid.config(row).run_id)
        for seen, mark, what in ((trained, key, "is the same training as"), (slugs, row.slug, "has the file name of")):
            if mark in seen:
                raise ConfigError(f"{file}: row {row.name!r} {what} {seen[mark]!r}: rename or remove one of them.")
            seen[mark] = row.name
