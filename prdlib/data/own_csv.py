"""Your own collection from one CSV file: a row per image."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

import pandas as pd

from prdlib.data.dicom import is_dicom, read_film, require_dicom
from prdlib.data.studies import LABEL_PREFIX, LABEL_VALUES, SPLITS, DataError, Studies, split_of, usable_rows
from prdlib.data.tables import finish, refuse_cells


def load(file: str, title: str = "own data", reports: bool = True) -> Studies:
    """The studies of ``file``.

    Columns: study_id, patient_id, image (the path of a PNG, JPEG or DICOM file, relative ones below the file's folder), report;
    as you like view, split ('train', 'validation', 'test'; without it, by a hash of the patient's id) and label:<finding> (1, 0,
    -1 or empty). Rows without an id, an image or words in the report are left out and listed. title: of the collection, in tables
    and cards. reports: False for labels alone: the column report is not read and may be missing.
    Raises DataError for a missing or unreadable file, another separator than the comma, a row of more cells than the header, a
    missing or doubled column, DICOM files without pydicom, and what :class:`Studies` refuses.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"No table at {str(file)!r}: give the CSV file with a row per image.")
    table = _read(path)
    for column in [column for column in table if column.startswith(LABEL_PREFIX)]:
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = table[column].notna() & ~numbers.isin(LABEL_VALUES)
        refuse_cells(path.name, table[column], wrong, "write 1, 0, -1 or nothing")
        table[column] = numbers
    if "split" in table:
        refuse_cells(path.name, table["split"], ~table["split"].isin(SPLITS), f"write one of {', '.join(SPLITS)}")
    table, dropped = usable_rows(table if reports else table.assign(report=""), reports)
    table["image"] = [str(path.parent / image) for image in table["image"]]
    table["view"] = table["view"].fillna("unknown") if "view" in table else "unknown"
    if "split" not in table:
        table["split"] = table["patient_id"].map(split_of)
    if table["image"].map(is_dicom).any():
        require_dicom()
    table = finish(table.drop(columns="findings", errors="ignore"), title, reports)
    return Studies(table, dropped, title, {"file": path.name}, lambda row: read_film(row["image"]), reports)


def _read(path: Path) -> pd.DataFrame:
    """Every column that has a name, as text, NaN for blank cells."""
    cells = {"dtype": str, "keep_default_na": False, "na_values": [""]}  # a patient may be called NA
    header = []
    try:
        header = pd.read_csv(path, header=None, nrows=1, **cells).iloc[0].fillna("").str.strip().tolist()
        _refuse_header(path.name, header)
        table = pd.read_csv(path, **cells)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text ({error.reason}): save it as UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(
            f"{path.name} cannot be read as CSV (it is empty): write a header and a row per image."
        ) from error
    except pd.errors.ParserError as error:
        raise _unreadable(path, len(header), str(error).strip().splitlines()[0]) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first cells of longer rows for row names
        raise _unreadable(path, len(header), "a row has more cells than the header")
    table.columns = header
    for i in (
        i for i, name in enumerate(header) if i and not name
    ):  # the first may hold the row numbers that pandas writes
        rule = "name the column, or put texts that hold commas in double quotes"
        refuse_cells(path.name, table.iloc[:, i].rename("a cell below no name"), table.iloc[:, i].notna(), rule)
    return table.loc[:, [name != "" for name in header]]


def _refuse_header(file: str, header: list[str]) -> None:
    for mark, marks in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise DataError(f"{file} has {marks} between its cells: save it with commas.")
    doubled = next((name for i, name in enumerate(header) if name and name in header[:i]), None)
    if doubled:
        raise DataError(f"{file} has two columns {doubled!r}: keep one, or rename the other.")


def _unreadable(path: Path, width: int, reason: str) -> DataError:
    """What to say of a file that pandas does not read: its first row of more than ``width`` cells, by the line on which it ends,
    or else ``reason``."""
    with path.open(encoding="utf-8", newline="") as lines, suppress(csv.Error):
        rows = csv.reader(lines)
        for row in rows:
            if len(row) > width > 0:
                return DataError(
                    f"{path.name}, line {rows.line_num}: the row has {len(row)} cells, the header {width}: put texts that hold "
                    "commas in double quotes."
                )
    return DataError(
        f"{path.name} cannot be read as CSV ({reason}): put texts that hold commas in double quotes, and close each quote."
    )
