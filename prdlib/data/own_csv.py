"""Your own collection from one CSV file: a row per image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdlib.data.studies import LABEL_PREFIX, LABEL_VALUES, SPLITS, DataError, Studies, split_of, usable_rows
from prdlib.data.tables import finish, refuse_cells
from prdlib.images import read_grey


def load(file: str, title: str = "own data", reports: bool = True) -> Studies:
    """The studies of ``file``.

    Columns: study_id, patient_id, image (a path, relative ones below the file's folder), report; as you like view, split
    ('train', 'validation', 'test'; without it, by a hash of the patient's id) and label:<finding> (1, 0, -1 or empty). Rows
    without an id, an image or words in the report are left out and listed. title: of the collection, in tables and cards.
    reports: False for labels alone: the column report is not read and may be missing.
    Raises DataError for a missing or unreadable file, a missing column, and what :class:`Studies` refuses.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"No table at {str(file)!r}: give the CSV file with a row per image.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])  # a patient may be called NA
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name} cannot be read as CSV ({reason}): save it as UTF-8.") from error
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
    table = finish(table.drop(columns="findings", errors="ignore"), title, reports)

    def read_image(row: Mapping[str, Any]) -> np.ndarray:
        """uint8 [H, W]."""
        return read_grey(row["image"])

    return Studies(table, dropped, title, {"file": path.name}, read_image, reports)
