"""Lists of patients that a reader leaves out: option ``exclude`` of CheXpert's and of MIMIC-CXR's, and the file that it may name.

An id in another spelling would leave nobody out, without a word: each must be of the collection's layout. It need not stand in
the collection's tables, since a list is often that of the whole collection and the folder holds a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prdlib.data.studies import DataError
from prdlib.data.tables import refuse_cells
from prdlib.repro import find_path, write_atomic

HEADER = "patient_id"  # may stand above the ids, as pandas writes it


def excluded_patients(exclude: str | Path | Iterable[str], layout: str, example: str) -> set[str]:
    """The ids of option ``exclude``: themselves, or a text or CSV file with one in a line (see :func:`write_patients`).

    layout: regular expression of an id; example: an id of it, for the sentences. A relative file is looked for below the working
    directory, then below the project's root. Raises DataError for an id of another layout, for text that names no file, and for a
    file without ids.
    """
    if isinstance(exclude, (str, Path)):
        return _of_file(exclude, layout, example)
    ids = list(exclude) if isinstance(exclude, Iterable) else [exclude]
    for patient in ids:
        if not isinstance(patient, str) or not re.fullmatch(layout, patient):
            raise DataError(
                f"Option exclude holds {patient!r}, which is no patient's id here: write ids as {example!r}."
            )
    return set(ids)


def write_patients(patients: Iterable[str], file: str | Path) -> Path:
    """Write ids to ``file``, sorted, one in a line: what option ``exclude`` reads, on the command line too."""
    return write_atomic(Path(file).expanduser(), "".join(f"{patient}\n" for patient in sorted(set(patients))))


def _of_file(file: str | Path, layout: str, example: str) -> set[str]:
    try:
        lines = find_path(file).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:  # a single id, too
        raise DataError(
            f"Option exclude is {str(file)!r}, which is no file that can be read: give one with a patient in each line, or a "
            f"list as [{example!r}]."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(file)!r} of option exclude is not text: write a patient in each line, as UTF-8."
        ) from error
    ids = pd.Series([line.strip() for line in lines], name="a patient to exclude", dtype="str")
    refuse_cells(
        Path(file).name, ids, ~ids.isin(["", HEADER]) & ~ids.str.fullmatch(layout), f"write ids as {example!r}", 1
    )
    found = set(ids) - {"", HEADER}
    if not found:
        raise DataError(f"{str(file)!r} of option exclude names no patient: write one in each line.")
    return found
