"""MS-CXR: phrases of MIMIC-CXR's reports, each with the boxes that radiologists drew for it.

<directory>/MS_CXR_Local_Alignment_v1.0.0.json: COCO. images: id, file_name ('<dicom_id>.jpg'), path
    ('files/p10/p10032725/s50331901/<dicom_id>.jpg'), width, height; categories: id, name; annotations: id, image_id, category_id,
    bbox [x, y, w, h] in pixels, label_text
<directory>/MS_CXR_Local_Alignment_v1.0.0.csv: the same, a row per box: dicom_id, category_name, label_text, path, x, y, w, h,
    image_width, image_height; read when the JSON is not there
<images>/files/p10/...: MIMIC-CXR-JPG

Layout: physionet.org/content/ms-cxr (Boecking et al., ECCV 2022, arXiv 2204.09817), and the script published with it that makes
the CSV out of the JSON. A phrase with several boxes has an annotation for each. The patients are MIMIC-CXR's: leave them out of
pre-training with ``mimic_cxr.load(exclude=...)``, by a list or by a file (``patient_lists.write_patients``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdlib.data.studies import DataError, Studies, existing_folder, has_words
from prdlib.data.tables import (
    LEAVES,
    Drops,
    are_files,
    boxes_in_fractions,
    files_below,
    finish,
    one_file,
    read_table,
)
from prdlib.images import read_grey

NAME = "MS-CXR"
STEM = "MS_CXR_Local_Alignment_v1.*"
ADDRESS = r"(?:^|/)(?P<patient>p\d+)/(?P<study>s\d+)/(?P<dicom>[0-9A-Za-z-]+)\.[A-Za-z]+$"
NUMBERS = ("x", "y", "w", "h", "image_width", "image_height")
CELLS = ("category_name", "label_text", "path", *NUMBERS)


def load(directory: str | Path, images: str | Path) -> Studies:
    """Every annotated image that is there, all in the split 'test'.

    directory: the folder of MS-CXR; images: that of MIMIC-CXR-JPG, in which an image is found by its path or, where it does not
    lie there, by its dicom_id. An image is a study ('s50331901/<dicom_id>'), since the phrases of two images of one study differ;
    its patient is 'p10032725', as in data.mimic_cxr. report: its phrases in the order of the file, once each. findings: one for
    each box: name (the category), box in fractions, phrase, spans (where the phrase stands in the report).
    Raises DataError for a missing or damaged file, a missing column or field, a path that leaves the folder, a box that is none
    or outside its image, a box that is listed twice, and when no image is there.
    """
    folder, place = existing_folder(directory, NAME), existing_folder(images, f"{NAME}: images of MIMIC-CXR-JPG")
    path = one_file(folder, STEM + ".json", NAME) or one_file(folder, STEM + ".csv", NAME)
    if path is None:
        raise DataError(f"{NAME}: no {STEM}.json or .csv in {str(folder)!r}: put there one of the two as downloaded.")
    boxes = _checked(_from_json(path) if path.suffix == ".json" else _from_csv(path))
    drops = Drops()
    silent = ~boxes["label_text"].map(has_words)
    boxes = drops.without(boxes, silent, "place", "phrase without words", path.name)
    table = boxes.drop_duplicates("dicom")[["study", "patient", "dicom", "path"]].set_index("dicom")
    table["image"] = _found(table["path"], place)
    if len(table) and table["image"].isna().all():
        raise DataError(
            f"{NAME}: none of the {len(table)} images is below {str(place)!r}, e.g. {table['path'].iloc[0]!r}: "
            "give the folder of MIMIC-CXR-JPG as images."
        )
    table = drops.without(table, table["image"].isna(), "path", "no image file of this name", path.name)
    said = {dicom: _report(part) for dicom, part in boxes.groupby("dicom", sort=False)}
    table["report"] = pd.Series([said[dicom][0] for dicom in table.index], index=table.index, dtype="str")
    table["findings"] = [said[dicom][1] for dicom in table.index]
    table = table.assign(study_id=table["study"] + "/" + table.index, view="Frontal", split="test")
    return Studies(
        finish(table.rename(columns={"patient": "patient_id"}).drop(columns=["study", "path"]), "ms_cxr", reports=True),
        drops.table(),
        "ms_cxr",
        {"file": path.name},
        lambda row: read_grey(row["image"]),
    )


def patients(studies: Studies) -> list[str]:
    """The patients of MS-CXR, sorted: those that pre-training on MIMIC-CXR must leave out (``mimic_cxr.load(exclude=...)``)."""
    return sorted(studies.table["patient_id"].unique())


def _from_csv(path: Path) -> pd.DataFrame:
    table = read_table(path, NAME, CELLS, "put it there as downloaded")
    lines = pd.Series(range(2, len(table) + 2), index=table.index).astype(str)
    return table[list(CELLS)].assign(place=f"{path.name}, line " + lines)


def _from_json(path: Path) -> pd.DataFrame:
    """The columns of the CSV, of the COCO file."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # a wrong encoding is a ValueError too
        raise DataError(f"{NAME}: {path.name} is not readable JSON ({error}): download it again.") from error
    parts = {
        name: _items(path.name, whole, name, fields)
        for name, fields in (
            ("images", ("id", "path", "width", "height")),
            ("categories", ("id", "name")),
            ("annotations", ("id", "image_id", "category_id", "bbox", "label_text")),
        )
    }
    pictures, names = ({str(item["id"]): item for item in parts[part]} for part in ("images", "categories"))
    rows = []
    for item in parts["annotations"]:
        place, box = f"{path.name}, annotation {item['id']}", item["bbox"]
        for field, known in (("image_id", pictures), ("category_id", names)):
            if str(item[field]) not in known:
                raise DataError(
                    f"{place}: {field} is {item[field]!r}, which the file does not hold: download it again."
                )
        if not isinstance(box, Sequence) or isinstance(box, str) or len(box) != 4:
            raise DataError(f"{place}: bbox is {box!r}: it must be [x, y, w, h] in pixels.")
        picture, name = pictures[str(item["image_id"])], names[str(item["category_id"])]["name"]
        cells = {"category_name": name, "label_text": item["label_text"], "path": picture["path"]}
        for field, text in cells.items():
            if not isinstance(text, str):
                raise DataError(f"{place}: {field} is {text!r}: it must be text.")
        sizes = dict(zip(NUMBERS, (*box, picture["width"], picture["height"]), strict=True))
        rows.append({**cells, **sizes, "place": place})
    return pd.DataFrame(rows, columns=[*CELLS, "place"])


def _items(file: str, whole: Any, name: str, fields: Sequence[str]) -> list[Mapping[str, Any]]:
    """One list of the COCO file; DataError when it or a field is missing or an id stands twice."""
    items = whole.get(name) if isinstance(whole, Mapping) else None
    if not isinstance(items, list):
        raise DataError(f"{NAME}: {file} has no list {name!r}: is it the file of the collection?")
    seen = set()
    for number, item in enumerate(items):
        missing = [field for field in fields if not isinstance(item, Mapping) or field not in item]
        if missing:
            raise DataError(f"{NAME}: {file}, item {number} of {name!r} has no {missing[0]!r}: download it again.")
        if str(item["id"]) in seen:
            raise DataError(
                f"{NAME}: {file}, item {number} of {name!r} has the id {item['id']!r} of an earlier one: keep one."
            )
        seen.add(str(item["id"]))
    return items


def _checked(boxes: pd.DataFrame) -> pd.DataFrame:
    """With columns study, patient, dicom and box (fractions); every cell looked at."""
    boxes = boxes.astype({"path": "str", "category_name": "str", "label_text": "str"})
    _refuse(
        boxes, "path", boxes["path"].str.contains(LEAVES, regex=True), "a path must stay below the folder of the images"
    )
    address = boxes["path"].str.extract(ADDRESS)
    _refuse(boxes, "path", address["dicom"].isna(), "a path is files/p10/p10032725/s50331901/<dicom_id>.jpg")
    _refuse(boxes, "category_name", boxes["category_name"].str.strip() == "", "name the finding")
    numbers = boxes[list(NUMBERS)].apply(pd.to_numeric, errors="coerce")
    for column in NUMBERS:
        least = 0 if column in "xy" else 1e-9
        _refuse(boxes, column, ~numbers[column].between(least, 1e6), "it must be a number of pixels")
    for column, side in (("x", "image_width"), ("y", "image_height")):
        _refuse(boxes, column, numbers[column] >= numbers[side], "the box begins outside its image")
    doubled = boxes.duplicated(["path", "category_name", "label_text", *NUMBERS[:4]])
    _refuse(boxes, "label_text", doubled, "this box of this phrase is listed twice: keep one")
    x, y, w, h, width, height = (numbers[column] for column in NUMBERS)
    phrases = boxes["label_text"].str.split().str.join(" ")
    return pd.concat(
        [boxes.assign(label_text=phrases, box=boxes_in_fractions((x, y), (w, h), (width, height))), address], axis=1
    )


def _refuse(boxes: pd.DataFrame, column: str, wrong: pd.Series, rule: str) -> None:
    if wrong.any():
        row = boxes[wrong.to_numpy(bool)].iloc[0]
        value = row[column].item() if isinstance(row[column], np.generic) else row[column]
        raise DataError(f"{row['place']}: {column} is {value!r}: {rule}.")


def _found(paths: pd.Series, place: Path) -> pd.Series:
    """The file of each path, by path or else by name; NaN where there is none."""
    direct = str(place) + os.sep + paths
    there = are_files(direct)
    if there.all():
        return direct
    by_name = {path.stem: str(path) for path in files_below(place, {".jpg", ".jpeg", ".png"})}
    return direct.where(there, paths.index.to_series().map(by_name))


def _report(boxes: pd.DataFrame) -> tuple[str, list[dict[str, Any]]]:
    """(phrases of an image as one text, its findings)."""
    text, spans = "", {}
    for phrase in boxes["label_text"].unique():
        text += " " if text else ""
        spans[phrase] = [len(text), len(text) + len(phrase)]
        text += phrase if phrase[-1] in ".!?:" else phrase + "."
    columns = ("category_name", "box", "label_text")
    return text, [
        {"name": name, "box": box, "spans": [spans[phrase]], "phrase": phrase}
        for name, box, phrase in zip(*(boxes[column] for column in columns), strict=True)
    ]
