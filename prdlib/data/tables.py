"""What the readers of collections share: tables, files, rows that are left out, and the columns that all of them fill.

Every error is a DataError of one sentence: what, in which file and line, and what to do.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdlib.data.groups import report_groups, study_groups
from prdlib.data.studies import DataError
from prdlib.names import VIEWS

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
LEAVES = r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)"  # a path that is absolute or goes up


class Drops:
    """What a reader leaves out, gathered step by step into the drop table of :class:`prdlib.data.studies.Studies`."""

    def __init__(self) -> None:
        self._parts = [pd.DataFrame(columns=["item", "reason", "where"])]

    def add(self, items: Iterable[Any], reason: str, where: str) -> None:
        """List ``items`` (files, ids or rows), all with one reason and place."""
        items = [str(item) for item in items]
        if items:
            self._parts.append(pd.DataFrame({"item": items, "reason": reason, "where": where}))

    def without(self, table: pd.DataFrame, bad: pd.Series, column: str, reason: str, where: str) -> pd.DataFrame:
        """``table`` without its ``bad`` rows, which are listed by their ``column``."""
        bad = bad.loc[table.index].to_numpy(bool)
        self.add(table.loc[bad, column], reason, where)
        return table[~bad]

    def table(self) -> pd.DataFrame:
        """Columns item, reason, where."""
        return pd.concat(self._parts, ignore_index=True)


def read_table(path: Path, collection: str, columns: Iterable[str], missing: str) -> pd.DataFrame:
    """A CSV file, gzipped or not, as text cells, '' for blank ones; row i of the table is line i + 2 of the file.

    collection: its name, which begins every sentence; columns: those it must have; missing: what to do when the file is missing.
    Raises DataError for a missing, damaged or foreign file, and for a missing column.
    """
    if not path.is_file():
        raise DataError(f"{collection}: {path.name} is missing in {str(path.parent)!r}: {missing}.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, EOFError, OSError, zlib.error) as error:  # pandas' own errors are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{collection}: {path.name} is not a readable CSV table ({reason}): download it again."
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column for row names
        raise DataError(f"{collection}: {path.name} has more cells in a line than columns: download it again.")
    table = table.fillna("")  # lines that end early
    table.columns = [str(column).strip() for column in table.columns]
    for column in columns:
        if column not in table:
            raise DataError(
                f"{collection}: {path.name} has no column {column!r} (it has {', '.join(table.columns)}): "
                "rename the column that holds it, or download the file again."
            )
    return table


def refuse_cells(file: str, column: pd.Series, wrong: pd.Series | np.ndarray, rule: str, first: int = 2) -> None:
    """DataError for the first wrong cell of a column, by its line in ``file``; ``rule`` says what to do.

    first: line of the first row; 1 in a file without a header.
    """
    wrong = np.asarray(wrong, dtype=bool)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{file}, line {row + first}: {column.name} is {column.iloc[row]!r}: {rule}.")


def refuse_doubles(file: str, table: pd.DataFrame, *columns: str) -> None:
    """DataError for the first row that says of ``columns`` what an earlier one says."""
    doubled = table.duplicated(list(columns)).to_numpy()
    if doubled.any():
        row = int(np.flatnonzero(doubled)[0])
        cells = table[list(columns)].iloc[row]
        first = int(np.flatnonzero((table[list(columns)] == cells).all(axis=1))[0])
        named = ", ".join(f"{column} {cells[column]!r}" for column in columns)
        raise DataError(f"{file}, line {row + 2}: {named} stands already in line {first + 2}: keep one.")


def refuse_outside(file: str, column: pd.Series) -> None:
    """DataError for the first path of a column that would leave the collection's folder."""
    refuse_cells(
        file, column, column.str.contains(LEAVES, regex=True), "a path must stay below the folder: write a relative one"
    )


def one_file(folder: Path, pattern: str, collection: str) -> Path | None:
    """The one file of ``folder`` that fits ``pattern``, None when there is none; DataError when there are several."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{collection}: {str(folder)!r} holds {names}: keep one of them there.")
    return found[0] if found else None


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below ``folder`` that end so, sorted; through links too (images often lie on another disk), each folder once."""
    found, seen = [], set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link back up
            below.clear()
            continue
        seen.add(real)
        below.sort()
        found += [Path(place, name) for name in names if Path(name).suffix.lower() in suffixes]
    return sorted(found)


def are_files(paths: pd.Series) -> pd.Series:
    """Which paths are files: one question to the disk for each."""
    return pd.Series(map(os.path.isfile, paths), index=paths.index, dtype=bool)


def chosen_views(views: str | Iterable[str], known: Collection[str] = VIEWS) -> tuple[str, ...]:
    """``views`` as a tuple; DataError when it is empty or names one that is not ``known``."""
    views = (views,) if isinstance(views, str) else tuple(views)
    if not views or not set(views) <= set(known):
        raise DataError(f"views is {list(views)}: choose from {', '.join(known)}.")
    return views


def chosen(name: str, value: Any, known: Collection[str]) -> str:
    """``value``; DataError when option ``name`` does not know it."""
    if value not in known:
        raise DataError(f"{name} is {value!r}: choose {' or '.join(known)}.")
    return value


def map_unique(values: pd.Series, function: Callable[[str], Any]) -> pd.Series:
    """``function`` of each value, worked out once for equal ones."""
    return values.map({value: function(value) for value in values.unique()})


def finish(table: pd.DataFrame, source: str, reports: bool) -> pd.DataFrame:
    """The table of a reader with the columns that every collection fills alike: report_group, source, and findings where there
    are none. ``reports`` False: report is ''."""
    table = table.reset_index(drop=True)
    if not reports:
        table["report"] = ""
    column, numbers = ("report", report_groups) if reports else ("study_id", study_groups)
    values = table[column].unique()
    table["report_group"] = table[column].map(dict(zip(values, numbers(values), strict=True)))
    table["source"] = source
    if "findings" not in table:
        table["findings"] = [[] for _ in range(len(table))]
    return table


def boxes_in_fractions(
    corner: tuple[pd.Series, pd.Series], sides: tuple[pd.Series, pd.Series], size: tuple[Any, Any]
) -> list[list[float]]:
    """Boxes [x0, y0, x1, y1] in fractions, cut off at the image's border.

    corner: x and y of the upper left corner; sides: width and height; size: width and height of the image; all in pixels.
    """
    (x, y), (width, height), (columns, rows) = corner, sides, size
    box = np.stack([x / columns, y / rows, (x + width) / columns, (y + height) / rows], axis=1)
    return box.clip(0, 1).round(6).tolist()
