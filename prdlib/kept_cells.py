"""Trainings of an ablation that were made elsewhere: their kept outcomes beside those of a run.

A grid of many hours is seldom trained on one machine. ``make reference GRID=NAME`` keeps the outcome of every study and what made
it; notebook 03 joins such a folder to what a run has (``run --grid NAME --kept FOLDER``). Nothing counts twice: a cell, that is a
row with a seed, is the run's own where it has one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from prdlib.data import DataError
from prdlib.repro import find_path
from prdlib.training import checkpoint_folder

if TYPE_CHECKING:
    from prdlib.ablation import Ablation
    from prdlib.notebook import Run

COLUMNS = ["method", "seed", "commit", "precision", "minutes", "from", "settings", "weights"]


def own_cells(run: Run) -> pd.DataFrame:
    """What made each finished training of a run or of its grid.

    Columns: COLUMNS (minutes: of the training; from: the run; settings: the run directory of its settings; weights: first 16
    hexadecimal digits of the SHA-256 of its model.safetensors, as sha256sum gives them).
    """
    grid, rows = run.grid, []
    cells = (
        [(row.name, row.method, run.folder.parent / grid.config(row).run_id, seed) for row, seed in grid.cells()]
        if grid
        else [(method, method, run.folder, seed) for seed in run.seeds for method in run.rows]
    )
    for name, method, folder, seed in cells:
        path = checkpoint_folder(folder, method, seed) / "fit.json"
        if path.is_file():
            fit = json.loads(path.read_text())
            commit = fit["commit"][:7] if fit["commit"] else "no checkout"
            commit += " with changes" if fit["dirty"] else ""
            precision, minutes = fit.get("precision", "not recorded"), fit["seconds"] / 60
            weights = hashlib.sha256((path.parent / "model.safetensors").read_bytes()).hexdigest()[:16]
            rows.append((name, seed, commit, precision, minutes, run.folder.name, folder.name, weights))
    return pd.DataFrame(rows, columns=COLUMNS)


def with_kept(outcomes: pd.DataFrame, cells: pd.DataFrame, folder: str, run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(outcomes, cells) of a run with those that ``folder`` keeps of trainings that the run has not; as they are for ''.

    outcomes: columns method, seed, metric, query and outcome; cells: of :func:`own_cells`. Rows and seeds that the run does not
    ask for are left out. Raises DataError for a folder without such tables, and for outcomes of other studies.
    """
    if not folder:
        return outcomes, cells
    place = find_path(folder)
    paths = [place / "03_cells.csv", next(iter(sorted(place.glob("03_outcomes.csv*"))), place / "03_outcomes.csv")]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{folder} has no {path.name}: give a folder that 'make reference GRID=...' wrote.")
    if run.grid:
        refuse_other_settings(folder, run.grid)
    kept_cells, kept = (pd.read_csv(path, dtype={"commit": str, "weights": str}) for path in paths)
    own = set(zip(outcomes["method"], outcomes["seed"], strict=True))
    there = {(m, s) for m in run.rows for s in run.seeds} - own
    kept, kept_cells = (
        part[[key in there for key in zip(part["method"], part["seed"], strict=True)]] for part in (kept, kept_cells)
    )
    for metric, part in kept.groupby("metric"):
        mine, theirs = _studies(outcomes[outcomes["metric"] == metric]), _studies(part)
        if mine and not mine & theirs:  # a row may have a split of its own
            raise DataError(
                f"{folder} keeps '{metric}' of {len(next(iter(theirs)))} studies, this run scores {len(next(iter(mine)))} "
                "others: keep tables of the same data only."
            )
    # A training without outcomes (it is still being scored) has nothing of its own in the table.
    cells = cells[[key in own for key in zip(cells["method"], cells["seed"], strict=True)]]
    order = {name: i for i, name in enumerate(run.rows)}
    return tuple(
        _below(a, b).sort_values("method", key=lambda names: names.map(order), kind="stable", ignore_index=True)
        for a, b in ((outcomes, kept), (cells, kept_cells))
    )


def _studies(outcomes: pd.DataFrame) -> set[frozenset[str]]:
    """The sets of studies that rows have."""
    return {frozenset(queries) for _, queries in outcomes.groupby("method")["query"]}


def kept_keys(folder: str) -> set[tuple[str, int]]:
    """(row, seed) of every training that ``folder`` keeps; none for ''. DataError for a folder without 03_cells.csv."""
    if not folder:
        return set()
    path = find_path(folder) / "03_cells.csv"
    if not path.is_file():
        raise DataError(f"{folder} has no {path.name}: give a folder that 'make reference GRID=...' wrote.")
    cells = pd.read_csv(path)
    return set(zip(cells["method"], cells["seed"], strict=True))


def kept_seconds(folder: str) -> dict[str, float]:
    """Row -> seconds of a training, the median of those that ``folder`` keeps; none for ''."""
    if not folder:
        return {}
    cells = pd.read_csv(find_path(folder) / "03_cells.csv").reindex(columns=["method", "minutes"])  # older: no minutes
    return (cells.groupby("method")["minutes"].median() * 60).dropna().to_dict()


def refuse_other_settings(folder: str, grid: Ablation) -> None:
    """DataError where ``folder`` says of a training of this grid that it had other settings, or was of another profile.

    Looked at: the run directory that 03_cells.csv names for a training (its name stands for all settings of the row; the
    precision may be another machine's), and what run.json says of all rows. Older folders say less, and are believed."""
    if not folder:
        return
    place = find_path(folder)
    cells = (
        pd.read_csv(place / "03_cells.csv", dtype=str)
        .reindex(columns=["method", "settings"])
        .dropna()
        .drop_duplicates()
    )
    rows = {row.name: row for row in grid.rows}
    for name, found in cells[cells["method"].isin(rows)].itertuples(index=False):
        config = grid.config(rows[name])
        there = {replace(config, training=replace(config.training, precision=p)).run_id for p in ("bf16", "float32")}
        if found not in there:
            raise DataError(
                f"{folder} keeps row {name!r} trained with other settings ({found}; this grid: {config.run_id}): keep tables "
                "of the same settings only."
            )
    if (place / "run.json").is_file():
        manifest = json.loads((place / "run.json").read_text()).get("settings", {})
        base = grid.base().scientific()
        for part in ("data", "model", "objective", "training"):
            for key in sorted((base[part].keys() & manifest.get(part, {}).keys()) - {"precision", "directory"}):
                mine, theirs = json.loads(json.dumps(base[part][key])), manifest[part][key]
                if mine != theirs:
                    raise DataError(
                        f"{folder} keeps trainings with {part}.{key} = {theirs!r}, this grid has {mine!r}: keep tables of the "
                        "same settings only."
                    )


def with_kept_rows(
    table: pd.DataFrame, folder: str, name: str, run: Run, by: tuple[str, ...] = ("method",)
) -> pd.DataFrame:
    """A table with the rows that <folder>/<name>.csv keeps of what it has not (``by``: method, or method and seed), of the rows
    and seeds that the run asks for; as it is for '', and where there was nothing to keep (a collection without twins).

    A table by method has means over ``seeds``, which cannot be joined: of a method that both have, that of more seeds is taken,
    unless it is of more than the run asks for.
    """
    path = find_path(folder) / f"{name}.csv"
    if not folder or not path.is_file():
        return table
    kept = pd.read_csv(path)
    asked = {"method": set(run.rows), "seed": set(run.seeds)}
    if by == ("method",) and "seeds" in kept and len(table):
        there = kept.groupby("method")["seeds"].max()
        more = there.gt(table.groupby("method")["seeds"].max()) & (there <= len(run.seeds))
        table = table[~table["method"].isin(more.index[more])]
    own = set() if table.empty else set(zip(*(table[key] for key in by), strict=True))
    keys = zip(*(kept[key] for key in by), strict=True)
    new = [key not in own and all(part in asked[name] for part, name in zip(key, by, strict=True)) for key in keys]
    order = {name: i for i, name in enumerate(run.rows)}
    return _below(table, kept[new]).sort_values(
        "method", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )


def _below(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Both tables, one below the other; an empty one, whose columns have no types, leaves the other as it is."""
    if first.empty or second.empty:
        return (second if first.empty else first).reset_index(drop=True)
    return pd.concat([first, second], ignore_index=True)


def told(cells: pd.DataFrame) -> str:
    """One line for each run, commit and precision: how many trainings are of it."""
    number = cells.groupby(["from", "commit", "precision"], sort=False, dropna=False).size()
    return "\n".join(f"{n:3d} trainings of {a}, commit {c}, {p}" for (a, c, p), n in number.items())
