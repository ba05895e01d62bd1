"""The table that every reader returns: one row per image, validated, split by patient, with what was left out and why."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("study_id", "patient_id", "image", "view", "report", "report_group", "split", "source")
SPLITS = {"train": 80, "validation": 8, "test": 12}  # per cent
LABEL_PREFIX = "label:"  # label:Cardiomegaly in {1: present, 0: absent, -1: uncertain, NaN: not mentioned}
LABEL_VALUES = (1, 0, -1)
SPLIT_SALT = "prdlib-split-1"


class DataError(ValueError):
    """Input that cannot be used: one sentence with what, where and what to do."""


def split_of(patient_id: str, shares: Mapping[str, int] = SPLITS) -> str:
    """'train', 'validation' or 'test' from the SHA-256 of the patient's id alone, so that a split needs no list, survives
    missing files and never separates the images or studies of one patient.

    shares: split -> per cent, 100 together; fewer splits where a collection has a test list of its own.
    """
    bucket = int.from_bytes(hashlib.sha256(f"{SPLIT_SALT}:{patient_id}".encode()).digest()[:8], "big") % 100
    for name, share in shares.items():
        bucket -= share
        if bucket < 0:
            return name
    raise AssertionError(f"the shares {dict(shares)} add up to less than 100")


@dataclass(frozen=True)
class Studies:
    """A validated table of image-report pairs.

    table: one row per image with the columns COLUMNS (``image`` is a path, or a ``phantom://`` address that
        :meth:`read_image` renders), one ``label:<name>`` column per label, and ``findings``: a list of dicts
        (``name``, ``box`` = [x0, y0, x1, y1] in fractions of the image or None, ``spans`` = character spans in ``report``,
        further attributes), empty where the collection has no boxes.
    dropped: what the reader left out: columns ``item`` (file, uid or row), ``reason``, ``where``.
    name: the reader's name; ``options``: what it was called with (plain JSON types).
    read_image: row -> grey image, uint8 [H, W].
    reports: False for a collection of labels or boxes alone: every ``report`` is '' then, and nothing can be pre-trained on it;
        ``report_group`` is another number for each study (data.groups.study_groups).
    """

    table: pd.DataFrame
    dropped: pd.DataFrame
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    read_image: Any = None
    reports: bool = True

    def __post_init__(self) -> None:
        missing = [c for c in (*COLUMNS, "findings") if c not in self.table]
        if missing:
            raise DataError(f"The table of {self.name!r} has no column {missing[0]!r}: a reader must fill {COLUMNS}.")
        if self.table.empty:
            reasons = [
                f"{row.reason} ({row.count_})"
                for row in self.drop_counts().rename(columns={"count": "count_"}).itertuples()
            ]
            raise DataError(
                f"No usable study in {self.name!r}: {', '.join(reasons) or 'it is empty'}. Mend the collection, or load another."
            )
        self._refuse_cells()
        patients = self.table.groupby("patient_id")["split"].nunique()
        if (patients > 1).any():
            torn = patients.idxmax()
            found = set(self.table.loc[self.table["patient_id"] == torn, "split"])
            names = ", ".join(name for name in SPLITS if name in found)
            raise DataError(
                f"Patient {torn!r} of {self.name!r} stands in more than one split ({names}): split by patient."
            )
        images = self.table["image"]
        if images.duplicated().any():
            raise DataError(
                f"Image {images[images.duplicated()].iloc[0]!r} of {self.name!r} is listed twice: keep one row."
            )
        per_study = self.table.groupby("study_id")[["report", "patient_id"]].nunique().max(axis=1)
        if (per_study > 1).any():
            raise DataError(
                f"Study {per_study.idxmax()!r} of {self.name!r} has two reports or two patients: give each an id."
            )

    def _refuse_cells(self) -> None:
        problems = _unusable(self.table, self.reports)
        if (problems != "").any():
            row = int(np.flatnonzero(problems != "")[0])
            raise DataError(
                f"Row {row} of {self.name!r}: {problems.iloc[row]}: mend it, or leave such rows out (data.studies.usable_rows)."
            )
        for column in ("view", "source"):
            self._refuse(~_are_text(self.table[column]), column, "it must be text")
        if not self.reports:
            self._refuse(self.table["report"] != "", "report", "it must be '' in a collection without reports")
        self._refuse(~self.table["split"].isin(SPLITS), "split", f"it must be one of {', '.join(SPLITS)}")
        for column in (c for c in self.table.columns if c.startswith(LABEL_PREFIX)):
            numbers = pd.to_numeric(self.table[column], errors="coerce")
            self._refuse(
                self.table[column].notna() & ~numbers.isin(LABEL_VALUES),
                column,
                "a label is 1 (present), 0 (absent), -1 (uncertain) or empty (not mentioned)",
            )

    def _refuse(self, bad: pd.Series, column: str, rule: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"Row {row} of {self.name!r}: column {column!r} is {self.table[column].iloc[row]!r}: {rule}."
            )

    @property
    def labels(self) -> list[str]:
        """Names of the labels, without the prefix."""
        return [c.removeprefix(LABEL_PREFIX) for c in self.table.columns if c.startswith(LABEL_PREFIX)]

    def drop_counts(self) -> pd.DataFrame:
        """How many items were left out for each reason."""
        counts = self.dropped.groupby("reason").size().rename("count") if len(self.dropped) else pd.Series(dtype=int)
        return counts.rename_axis("reason").reset_index(name="count")

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        if name not in SPLITS:
            raise DataError(f"Unknown split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.table[self.table["split"] == name]

    def summary(self) -> pd.DataFrame:
        """Patients, studies, images and distinct reports (groups) of each split."""
        rows = self.table.groupby("split")[["patient_id", "study_id", "image", "report_group"]].nunique()
        rows["report_group"] *= self.reports
        rows.columns = ["patients", "studies", "images", "distinct reports"]
        return rows.reindex([s for s in SPLITS if s in rows.index])

    def shared_reports(self) -> pd.DataFrame:
        """Studies of validation and test whose report (its group) also stands in the training split."""
        known = set(self.split("train")["report_group"])
        held_out = self.table[self.table["split"] != "train"].drop_duplicates("study_id")
        shared = held_out["report_group"].isin(known)
        counts = pd.DataFrame({"shared": shared, "split": held_out["split"]}).groupby("split")["shared"]
        return pd.DataFrame({"studies": counts.size(), "report also in train": counts.sum()})


def empty_drops() -> pd.DataFrame:
    """A drop table with nothing in it."""
    return pd.DataFrame(columns=["item", "reason", "where"])


def usable_rows(table: pd.DataFrame, reports: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows that :class:`Studies` accepts, drop table of the others): rows without an id, an image or a report with words.

    table: columns study_id, patient_id, image, report and any others. reports: False for labels or boxes alone: the column
    report is not looked at. Raises DataError when one of these columns is missing.
    """
    problems = _unusable(table, reports)
    bad = problems[problems != ""]
    drops = pd.DataFrame({"item": bad.index.map(str), "reason": bad.to_numpy(), "where": "table, row"})
    return table[problems == ""].reset_index(drop=True), drops


def _unusable(table: pd.DataFrame, reports: bool) -> pd.Series:
    """What keeps each row from being used, '' for nothing."""
    problems = pd.Series("", index=table.index)
    for column in (*(("report",) if reports else ()), "image", "patient_id", "study_id"):
        if column not in table:
            raise DataError(f"The table has no column {column!r}: rename the column that holds it.")
        values = table[column]
        problems[~_are_text(values)] = f"column {column!r} is not text (read the table with dtype=str)"
        problems[values.isna() | (values.astype(str).str.strip() == "")] = f"column {column!r} is empty"
    if not reports:
        return problems
    worded = {text: has_words(text) for text in table["report"].unique() if _is_text(text)}
    problems[(problems == "") & ~table["report"].map(worded).astype(bool)] = "column 'report' has no words"
    return problems


def has_words(text: str) -> bool:
    """Whether anything is left of ``text`` when it is normalised (see prdlib.text.tagging), found without normalising it."""
    return re.search(r"[^\W_]", text) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _are_text(values: pd.Series) -> pd.Series:
    """:func:`_is_text` of each cell; at once where the column holds nothing but text."""
    if isinstance(values.dtype, pd.StringDtype):
        return values.notna() & (values.str.strip() != "")
    return values.map(_is_text).astype(bool)


def load_studies(name: str, **options: Any) -> Studies:
    """The studies of a collection by the name of its reader, one of prdlib.names.COLLECTIONS.

    Options are those of the reader's ``load``. Raises DataError, one sentence, for what a user can mend: an unknown
    collection or option, a missing folder, and what the readers say.
    """
    known = reader_options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"{name} has no option {unknown[0]!r}: choose from {', '.join(known)}.")
    needed = [key for key, option in known.items() if option.default is option.empty and key not in options]
    if needed:
        raise DataError(f"{name} needs the option {needed[0]!r}: give it to load_studies.")
    return _readers()[name](**options)


def reader_options(name: str) -> Mapping[str, inspect.Parameter]:
    """The options of a collection's reader, by name. Raises DataError for an unknown collection."""
    readers = _readers()
    if name not in readers:
        raise DataError(f"Unknown collection {name!r}: choose one of {', '.join(readers)}.")
    return inspect.signature(readers[name]).parameters


def _readers() -> dict[str, Callable[..., Studies]]:
    from prdlib.data import chexpert, chexpert_5x200, mimic_cxr, ms_cxr, nih, openi, own_csv, phantom, rsna

    rooms = (phantom, openi, own_csv, chexpert, chexpert_5x200, mimic_cxr, ms_cxr, nih, rsna)
    return {room.__name__.rpartition(".")[2]: room.load for room in rooms}


def existing_folder(
    path: str | Path, what: str, cure: str = "give the folder that holds the collection as downloaded"
) -> Path:
    """``path`` as a folder, or a DataError that says which folder is missing and what to do."""
    folder = Path(path).expanduser()
    if not str(path) or not folder.is_dir():
        raise DataError(f"{what} not found at {str(path)!r}: {cure}.")
    return folder
