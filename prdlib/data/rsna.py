"""RSNA pneumonia detection challenge 2018: frontal images with boxes of lung opacity, and no reports.

<directory>/stage_2_train_labels.csv: patientId, x, y, width, height, Target; a row for each box (Target 1), or one without a box
    (Target 0); pixels of the 1024 image, x to the right, y down
<directory>/stage_2_detailed_class_info.csv: patientId, class ('Lung Opacity', 'No Lung Opacity / Not Normal', 'Normal'), as many
    rows as the labels
<directory>/stage_2_train_images/<patientId>.dcm, or .png and .jpg of one's own conversion

Layout: kaggle.com/c/rsna-pneumonia-detection-challenge/data (Shih et al., Radiology: AI 2019). The test images have no published
boxes there and are not read. A patientId is an image: a person may have several, which the challenge does not tell, and all come
from NIH ChestX-ray14, so that whoever trained on that has seen them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdlib.data.dicom import is_dicom, read_film, require_dicom
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, existing_folder, split_of
from prdlib.data.tables import (
    IMAGE_SUFFIXES,
    Drops,
    boxes_in_fractions,
    files_below,
    finish,
    map_unique,
    read_table,
    refuse_cells,
    refuse_doubles,
)

NAME = "RSNA pneumonia"
BOXES, CLASSES, IMAGES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_train_images"
KINDS = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
SIDES = ["x", "y", "width", "height"]
SIDE = 1024  # pixels of the images that the boxes were drawn on
MISSING = "put it there as downloaded from the challenge"


def load(directory: str | Path) -> Studies:
    """Every training image of the challenge that is there; each is a study and a patient ('rsna-<patientId>').

    Labels: Pneumonia (Target) and Normal (class 'Normal'), 1 or 0. findings: the boxes, called 'Pneumonia', without words. Split:
    by split_of, since the challenge's own test images have no boxes.
    Raises DataError for a missing or damaged file, a missing column, a doubled box, a Target that its boxes or class deny, a box
    that is none, when no image is there, and for DICOM files without pydicom.
    """
    folder = existing_folder(directory, NAME)
    boxes, kinds = _boxes(folder), _classes(folder)
    table = (
        boxes.groupby("patientId", sort=False).agg(target=("target", "first"), findings=("finding", list)).reset_index()
    )
    table["findings"] = [[item for item in items if item is not None] for items in table["findings"]]
    table["kind"] = table["patientId"].map(kinds)
    drops = Drops()
    table = drops.without(table, table["kind"].isna(), "patientId", "image without a class", CLASSES)
    denied = table[(table["target"] == 1) != (table["kind"] == KINDS[0])]
    if len(denied):
        row = denied.iloc[0]
        raise DataError(
            f"{NAME}: patientId {row['patientId']!r} has Target {row['target']:.0f} in {BOXES} and class {row['kind']!r} in "
            f"{CLASSES}: download both files again."
        )
    there = {path.stem: str(path) for path in files_below(folder / IMAGES, {".dcm", *IMAGE_SUFFIXES})}
    table["image"] = table["patientId"].map(there)
    if len(table) and table["image"].isna().all():
        example = table["patientId"].iloc[0] + ".dcm"
        raise DataError(
            f"{NAME}: none of the {len(table)} images is below {str(folder / IMAGES)!r}, e.g. {example!r}: "
            f"extract {IMAGES}.zip there."
        )
    table = drops.without(table, table["image"].isna(), "patientId", "no image file of this name", IMAGES)
    if table["image"].map(is_dicom).any():
        require_dicom()
    ids = "rsna-" + table["patientId"]
    found = pd.DataFrame(
        {"study_id": ids, "patient_id": ids, "image": table["image"], "view": "Frontal", "split": map_unique(ids, split_of),
         "findings": table["findings"], LABEL_PREFIX + "Pneumonia": table["target"],
         LABEL_PREFIX + "Normal": (table["kind"] == "Normal").astype("float64")}
    )  # fmt: skip
    return Studies(
        finish(found, "rsna", reports=False),
        drops.table(),
        "rsna",
        {},
        lambda row: read_film(row["image"]),
        reports=False,
    )


def _ids(name: str, table: pd.DataFrame) -> None:
    right = table["patientId"].str.fullmatch(r"[0-9A-Za-z-]+")
    refuse_cells(name, table["patientId"], ~right, "an id is letters, digits and hyphens: download the file again")


def _boxes(folder: Path) -> pd.DataFrame:
    """Columns patientId, target (1.0 or 0.0) and finding (name, box, spans; None without a box) of each row."""
    table = read_table(folder / BOXES, NAME, ["patientId", *SIDES, "Target"], MISSING)
    _ids(BOXES, table)
    refuse_cells(
        BOXES, table["Target"], ~table["Target"].isin(["0", "1"]), "a target is 0 or 1: download the file again"
    )
    refuse_doubles(BOXES, table, "patientId", *SIDES)
    target = table["Target"].astype("float64")
    for column in SIDES:
        blank = table[column].str.strip() == ""
        refuse_cells(BOXES, table[column], blank != (target == 0), "a row has a box when its Target is 1, and no other")
        number = pd.to_numeric(table[column], errors="coerce")
        least = 0 if column in ("x", "y") else 1e-9
        rule = f"it must be a number of pixels of the {SIDE} image"
        refuse_cells(BOXES, table[column], ~blank & ~number.between(least, SIDE), rule)
        table[column] = number
    both = target.groupby(table["patientId"]).transform("nunique") > 1
    refuse_cells(BOXES, table["patientId"], both, "it has rows with Target 1 and 0: keep those of one kind")
    boxes = boxes_in_fractions((table["x"], table["y"]), (table["width"], table["height"]), (SIDE, SIDE))
    found = [
        {"name": "Pneumonia", "box": box, "spans": []} if present else None
        for box, present in zip(boxes, target == 1, strict=True)
    ]
    return pd.DataFrame({"patientId": table["patientId"], "target": target, "finding": pd.Series(found, dtype=object)})


def _classes(folder: Path) -> pd.Series:
    """patientId -> class; equal rows are one, since the file repeats an image for each of its boxes."""
    table = read_table(folder / CLASSES, NAME, ["patientId", "class"], MISSING)
    _ids(CLASSES, table)
    refuse_cells(CLASSES, table["class"], ~table["class"].isin(KINDS), f"a class is one of {', '.join(KINDS)}")
    many = table["class"].groupby(table["patientId"]).transform("nunique") > 1
    refuse_cells(CLASSES, table["patientId"], many, "it has rows of several classes: download the file again")
    return table.drop_duplicates("patientId").set_index("patientId")["class"]
