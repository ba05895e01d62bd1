"""MIMIC-CXR-JPG 2.x with the reports of MIMIC-CXR.

<directory>/mimic-cxr-2.0.0-metadata.csv.gz: dicom_id, subject_id, study_id, ViewPosition and more that is not read
<directory>/mimic-cxr-2.0.0-split.csv.gz: dicom_id, study_id, subject_id, split (train, validate, test)
<directory>/mimic-cxr-2.0.0-chexpert.csv.gz or -negbio.csv.gz: subject_id, study_id and the 14 labels (see data.chexpert_labels)
<directory>/files/p10/p10000032/s50414267/<dicom_id>.jpg: images
<reports>/files/p10/p10000032/s50414267.txt: mimic-cxr-reports.zip of MIMIC-CXR, extracted to <directory>/mimic-cxr-reports, to
    <directory> itself, or anywhere (option report_directory)

The tables may be unzipped (.csv). Layout: physionet.org/content/mimic-cxr-jpg/2.1.0 and physionet.org/content/mimic-cxr/2.0.0;
the tables of 2.1.0 are called 2.0.0 as well. Both need a data use agreement: reports stay in these folders, so does their cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prdlib.data.chexpert_labels import LABELS, check_rules, label_columns
from prdlib.data.mimic_reports import read_reports
from prdlib.data.patient_lists import excluded_patients
from prdlib.data.studies import DataError, Studies, existing_folder, has_words
from prdlib.data.tables import (
    Drops,
    are_files,
    chosen,
    chosen_views,
    finish,
    map_unique,
    one_file,
    read_table,
    refuse_cells,
    refuse_doubles,
)
from prdlib.images import read_grey
from prdlib.names import VIEWS

NAME = "MIMIC-CXR"
SPLIT_NAMES = {"train": "train", "validate": "validation", "test": "test"}
POSITIONS = {
    **dict.fromkeys(("PA", "AP", "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD"), "Frontal"),
    **dict.fromkeys(("LATERAL", "LL", "RL", "XTABLE LATERAL"), "Lateral"),
    "": "Unknown",
}  # ViewPosition -> view; the oblique and rare ones are 'Other'
KNOWN_VIEWS = (*VIEWS, "Other", "Unknown")
ID = r"\d+"
DICOM = r"[0-9A-Za-z-]+"


def load(
    directory: str | Path,
    reports: bool = True,
    report_directory: str | Path | None = None,
    labels: str = "chexpert",
    uncertain: str = "keep",
    blanks: str = "unmentioned",
    views: tuple[str, ...] = VIEWS,
    exclude: str | Path | Iterable[str] = (),
    cache: str | Path | None = None,
) -> Studies:
    """Every image of MIMIC-CXR-JPG that is there; a study is 's50414267', its patient 'p10000032', its split the official one.

    reports: False for images and labels alone; else images of studies without findings and impression are left out.
    report_directory: where mimic-cxr-reports.zip was extracted, None: see above. labels: of 'chexpert' or 'negbio' (NaN for a
    study that its table leaves out); uncertain, blanks: see data.chexpert_labels. views: 'Frontal', 'Lateral', 'Other' (oblique),
    'Unknown' (blank in the metadata). exclude: patients to leave out, or a file with one in a line, e.g. data.ms_cxr.patients.
    cache: folder that keeps the sections of the reports, so that they are read once; None: their own folder, '': none is kept.
    Raises DataError for a missing or damaged table, a missing column, a value that is not of this layout, doubled rows, an
    unknown option, an excluded id that is no 'p<number>', and when no image or no report of the tables is there.
    """
    check_rules(uncertain, blanks)
    chosen("labels", labels, ("chexpert", "negbio"))
    views, excluded = chosen_views(views, KNOWN_VIEWS), excluded_patients(exclude, "p" + ID, "p10000032")
    folder = existing_folder(directory, NAME)
    table = _images(folder).merge(_labels(folder, labels, uncertain, blanks), on="study_id", how="left")
    drops = Drops()
    if reports:
        table = _with_reports(table, folder, report_directory, cache, drops)
    table = drops.without(table, ~table["view"].isin(views), "file", "view not asked for", "metadata, ViewPosition")
    table = drops.without(table, table["patient_id"].isin(excluded), "file", "patient excluded", "option exclude")
    table = drops.without(table, table["split"].isna(), "file", "image without a split", "split table")
    table["image"] = str(folder) + os.sep + table["file"]
    there = are_files(table["image"])
    if len(table) and not there.any():
        raise DataError(
            f"{NAME}: none of the {len(table)} images of the metadata is below {str(folder)!r}, e.g. {table['file'].iloc[0]!r}: "
            "put the folder files of MIMIC-CXR-JPG, or a link to it, there."
        )
    table = drops.without(table, ~there, "file", "no image file of this name", "metadata")
    options = {"reports": reports, "labels": labels, "uncertain": uncertain, "blanks": blanks, "views": list(views)}
    return Studies(
        finish(table.drop(columns=["file", "report_file"]), "mimic_cxr", reports),
        drops.table(),
        "mimic_cxr",
        {**options, "excluded": sorted(excluded)},
        lambda row: read_grey(row["image"]),
        reports,
    )


def address(subject: pd.Series, study: pd.Series) -> pd.Series:
    """'files/p10/p10000032/s50414267' from '10000032' and '50414267'."""
    return "files/p" + subject.str[:2] + "/p" + subject + "/s" + study


def _table(folder: Path, kind: str, *columns: str) -> tuple[str, pd.DataFrame]:
    """(file name, cells) of the table mimic-cxr-2.x.y-<kind>.csv.gz or .csv; ids are numbers, so that they make no path."""
    path = one_file(folder, f"mimic-cxr-2.*-{kind}.csv*", NAME) or folder / f"mimic-cxr-2.0.0-{kind}.csv.gz"
    table = read_table(path, NAME, columns, "put it there as downloaded with MIMIC-CXR-JPG")
    for column in {"subject_id", "study_id", "dicom_id"} & set(columns):
        right = table[column].str.fullmatch(DICOM if column == "dicom_id" else ID)
        refuse_cells(path.name, table[column], ~right, "it is no id: download the file again")
    return path.name, table


def _images(folder: Path) -> pd.DataFrame:
    """Columns file, report_file, study_id, patient_id, view, split (None where the split table has no row) of every image."""
    name, table = _table(folder, "metadata", "dicom_id", "subject_id", "study_id", "ViewPosition")
    refuse_doubles(name, table, "dicom_id")
    file, splits = _table(folder, "split", "dicom_id", "split")
    refuse_doubles(file, splits, "dicom_id")
    refuse_cells(file, splits["split"], ~splits["split"].isin(SPLIT_NAMES), f"write one of {', '.join(SPLIT_NAMES)}")
    place = address(table["subject_id"], table["study_id"])
    return pd.DataFrame(
        {
            "file": place + "/" + table["dicom_id"] + ".jpg",
            "report_file": place + ".txt",
            "study_id": "s" + table["study_id"],
            "patient_id": "p" + table["subject_id"],
            "view": table["ViewPosition"].str.strip().str.upper().map(POSITIONS).fillna("Other"),
            "split": table["dicom_id"].map(splits.set_index("dicom_id")["split"].map(SPLIT_NAMES)),
        }
    )


def _labels(folder: Path, kind: str, uncertain: str, blanks: str) -> pd.DataFrame:
    """Columns study_id and ``label:<name>``, one row per study."""
    name, table = _table(folder, kind, "study_id", *LABELS)
    refuse_doubles(name, table, "study_id")
    return pd.concat(
        [("s" + table["study_id"]).rename("study_id"), label_columns(name, table, uncertain, blanks)], axis=1
    )


def _with_reports(
    table: pd.DataFrame, folder: Path, given: str | Path | None, cache: str | Path | None, drops: Drops
) -> pd.DataFrame:
    """``table`` with the column report, without the images whose study has no words in it."""
    beside = folder / "mimic-cxr-reports"
    place = existing_folder(given, f"{NAME} reports") if given else beside if beside.is_dir() else folder
    kept = place if cache is None else Path(cache).expanduser() if str(cache) else None
    names = table["report_file"].unique()
    found = read_reports(place, names, kept)
    if not found:
        raise DataError(
            f"{NAME}: none of the {len(names)} reports is below {str(place)!r}, e.g. {names[0]!r}: extract mimic-cxr-reports.zip "
            "of MIMIC-CXR there, give its folder as report_directory, or reports=False."
        )
    missing = ~table["report_file"].isin(found)
    table = drops.without(table, missing, "file", "no report file of this study", "reports")
    table = table.assign(report=table["report_file"].map(found))
    table = drops.without(table, table["report"].isna(), "file", "report file cannot be read as text", "reports")
    silent = ~map_unique(table["report"], has_words).astype(bool)
    return drops.without(table, silent, "file", "report without findings and impression", "reports")
