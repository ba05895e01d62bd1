"""CheXpert v1.0 (also the -small folder), labels alone or with the reports of CheXpert Plus.

<directory>/train.csv, valid.csv: Path, Sex, Age, Frontal/Lateral, AP/PA and the 14 labels (see data.chexpert_labels)
<directory>/train/patient00001/study1/view1_frontal.jpg: what Path calls 'CheXpert-v1.0-small/train/...', whatever the folder
    is called now
<directory>/df_chexpert_plus_*.csv: CheXpert Plus, one row per image: path_to_image
    ('train/patient00001/study1/view1_frontal.jpg'), section_findings, section_impression and more that is not read

Layout: stanfordmlgroup.github.io/competitions/chexpert and github.com/Stanford-AIMI/chexpert-plus. valid.csv was labelled by
three radiologists, train.csv by a program from the reports, so valid.csv is our test split.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from prdlib.data.chexpert_labels import LABELS, check_rules, label_columns
from prdlib.data.patient_lists import excluded_patients
from prdlib.data.report_sections import joined
from prdlib.data.studies import DataError, Studies, existing_folder, has_words, split_of
from prdlib.data.tables import (
    Drops,
    are_files,
    chosen_views,
    finish,
    map_unique,
    one_file,
    read_table,
    refuse_cells,
    refuse_doubles,
    refuse_outside,
)
from prdlib.images import read_grey
from prdlib.names import VIEWS

NAME = "CheXpert"
TABLES = ("train.csv", "valid.csv")
PLUS = "df_chexpert_plus_*.csv"
SHARES = {"train": 95, "validation": 5}  # per cent of train.csv's patients
PATIENT = r"patient\d+"
ADDRESS = rf"^(?:[^/]+/)?(?P<file>(?P<part>train|valid)/(?P<patient>{PATIENT})/(?P<study>study\d+)/[^/]+)$"


def load(
    directory: str | Path,
    uncertain: str = "keep",
    blanks: str = "unmentioned",
    views: tuple[str, ...] = VIEWS,
    reports: bool | None = None,
    exclude: str | Path | Iterable[str] = (),
) -> Studies:
    """Every image of CheXpert that is there; a study is 'patient00001/study1', its patient 'patient00001'.

    directory: the folder that holds train.csv. uncertain, blanks: see data.chexpert_labels. views: 'Frontal', 'Lateral' or both.
    reports: findings and impression of CheXpert Plus (images without them are left out); None: when its file is there.
    exclude: patients to leave out, or a file with one in a line, e.g. data.chexpert_5x200.patients. Split: valid.csv is test, the
    patients of train.csv are train or validation by a hash (SHARES).
    Raises DataError for a missing or damaged file, a missing column, a path or value that is not of this layout, an image that is
    listed twice, an unknown option, an excluded id that is no 'patient<number>', and when no image of the tables is there.
    """
    check_rules(uncertain, blanks)
    views, excluded = chosen_views(views), excluded_patients(exclude, PATIENT, "patient00001")
    folder = existing_folder(directory, NAME)
    plus = one_file(folder, PLUS, NAME)
    if reports and plus is None:
        raise DataError(
            f"{NAME}: no {PLUS} in {str(folder)!r}: put the table of CheXpert Plus there, or reports=False."
        )
    reports = plus is not None if reports is None else reports
    drops = Drops()
    table = pd.concat([_labels(folder / name, uncertain, blanks) for name in TABLES], ignore_index=True)
    table = drops.without(table, ~table["view"].isin(views), "file", "view not asked for", "train.csv, valid.csv")
    table = drops.without(table, table["patient_id"].isin(excluded), "file", "patient excluded", "option exclude")
    if reports:
        said = _reports(plus)
        table = table.assign(report=_key(table["file"]).map(said))
        table = drops.without(table, table["report"].isna(), "file", "image has no report", plus.name)
        silent = ~map_unique(table["report"], has_words).astype(bool)
        table = drops.without(table, silent, "file", "report without findings and impression", plus.name)
    table["image"] = str(folder) + os.sep + table["file"]
    there = are_files(table["image"])
    if len(table) and not there.any():
        raise DataError(
            f"{NAME}: none of the {len(table)} images of train.csv and valid.csv is below {str(folder)!r}, e.g. "
            f"{table['file'].iloc[0]!r}: put the folders train and valid there."
        )
    table = drops.without(table, ~there, "file", "no image file of this name", "train.csv, valid.csv")
    return Studies(
        finish(table.drop(columns="file"), "chexpert", reports),
        drops.table(),
        "chexpert",
        {
            "uncertain": uncertain,
            "blanks": blanks,
            "views": list(views),
            "reports": reports,
            "excluded": sorted(excluded),
        },
        lambda row: read_grey(row["image"]),
        reports,
    )


def _labels(path: Path, uncertain: str, blanks: str) -> pd.DataFrame:
    """Columns file, study_id, patient_id, view, split and the labels of one table."""
    table = read_table(path, NAME, ["Path", "Frontal/Lateral", *LABELS], "put it there as downloaded")
    refuse_outside(path.name, table["Path"])
    address = table["Path"].str.extract(ADDRESS)
    rule = "a path is <folder>/train or valid/patient<number>/study<number>/<image>: download the file again"
    refuse_cells(path.name, table["Path"], address["part"].isna() | (address["part"] != path.stem), rule)
    refuse_doubles(path.name, table, "Path")
    rule = f"write {' or '.join(VIEWS)}"
    refuse_cells(path.name, table["Frontal/Lateral"], ~table["Frontal/Lateral"].isin(VIEWS), rule)
    held_out = "test" if path.stem == "valid" else None
    found = pd.DataFrame(
        {"file": address["file"], "study_id": address["patient"] + "/" + address["study"], "patient_id": address["patient"],
         "view": table["Frontal/Lateral"],
         "split": held_out or map_unique(address["patient"], lambda patient: split_of(patient, SHARES))}
    )  # fmt: skip
    return pd.concat([found, label_columns(path.name, table, uncertain, blanks)], axis=1)


def _key(paths: pd.Series) -> pd.Series:
    """'train/patient00001/study1/view1_frontal' of any path to that image: the collections differ in folder and suffix."""
    return paths.str.extract(r"((?:train|valid)/patient\d+/study\d+/[^/]+?)(?:\.[A-Za-z]+)?$")[0]


def _reports(path: Path) -> dict[str, str]:
    """Key of an image -> findings and impression of its study, '' when the report has neither."""
    table = read_table(path, NAME, ["path_to_image", "section_findings", "section_impression"], "download it again")
    refuse_outside(path.name, table["path_to_image"])
    keys = _key(table["path_to_image"])
    refuse_cells(path.name, table["path_to_image"], keys.isna(), "it is no path of CheXpert's: download the file again")
    refuse_doubles(path.name, table.assign(path_to_image=keys), "path_to_image")
    texts = map(joined, table["section_findings"], table["section_impression"])
    return dict(zip(keys, texts, strict=True))
