"""NIH ChestX-ray14: frontal images with 14 findings from the reports, boxes for a few, and no reports.

<directory>/Data_Entry_2017.csv or Data_Entry_2017_v2020.csv: Image Index ('00000001_000.png'), Finding Labels (joined by '|', or
    'No Finding'), Follow-up #, Patient ID, View Position (PA, AP) and more that is not read
<directory>/images*/: the images, 1024 x 1024 pixels, in folders such as images_001/images/ or images/
<directory>/train_val_list.txt, test_list.txt: an image a line; both or neither
<directory>/BBox_List_2017.csv: Image Index, Finding Label, 'Bbox [x,y,w,h]' in pixels of the 1024 image, where the commas inside
    the brackets part the header into four columns; a few images have more than one; not needed

Layout: nihcc.app.box.com/v/ChestXray-NIHCC (Wang et al., CVPR 2017, arXiv 1705.02315). A blank finding is absent (0): the labels
cover the whole report.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, existing_folder, split_of
from prdlib.data.tables import (
    IMAGE_SUFFIXES,
    Drops,
    boxes_in_fractions,
    files_below,
    finish,
    map_unique,
    one_file,
    read_table,
    refuse_cells,
    refuse_doubles,
    refuse_outside,
)
from prdlib.images import read_grey

NAME = "NIH ChestX-ray14"
ENTRIES, BOXES, LISTS = "Data_Entry_2017*.csv", "BBox_List_2017.csv", ("train_val_list.txt", "test_list.txt")
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia", "Infiltration",
    "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NORMAL = "No Finding"
BOX_NAMES = {"Infiltrate": "Infiltration"}  # the table of boxes calls it otherwise
SIDE = 1024  # pixels of the images that the boxes were drawn on
SHARES = {"train": 92, "validation": 8}  # per cent of the patients of train_val_list.txt


def load(directory: str | Path) -> Studies:
    """Every image of ChestX-ray14 that is there; each is a study ('00000001_000'), its patient 'nih-1'.

    Labels: FINDINGS and 'No Finding', 1 or 0. findings: the boxes, with the name of the label and no words. Split: the official
    lists, the patients of train_val_list.txt being train or validation by a hash (SHARES); without the lists by split_of.
    Raises DataError for a missing or damaged file, a missing column, an unknown finding, an image that is listed twice or in both
    lists, one list without the other, a box that is none, and when no image is there.
    """
    folder = existing_folder(directory, NAME)
    table = _entries(folder)
    drops = Drops()
    table["split"] = _splits(folder, table)
    table = drops.without(table, table["split"].isna(), "file", "image in neither list", ", ".join(LISTS))
    there = {
        path.name: str(path) for place in sorted(folder.glob("images*")) for path in files_below(place, IMAGE_SUFFIXES)
    }
    table = table.assign(image=table["file"].map(there))
    if len(table) and table["image"].isna().all():
        raise DataError(
            f"{NAME}: none of the {len(table)} images is below {str(folder / 'images*')!r}, e.g. {table['file'].iloc[0]!r}: "
            "extract the archives images_*.tar.gz there."
        )
    table = drops.without(table, table["image"].isna(), "file", "no image file of this name", "below images*")
    boxes = _boxes(folder)
    orphans = ~boxes["Image Index"].isin(table["file"])
    boxes = drops.without(boxes, orphans, "Image Index", "box of an image that is left out", BOXES)
    found = boxes.groupby("Image Index")["finding"].agg(list)
    table["findings"] = table["file"].map(found).map(lambda value: value if isinstance(value, list) else [])
    official = (folder / LISTS[0]).is_file()
    return Studies(
        finish(table.drop(columns="file"), "nih", reports=False),
        drops.table(),
        "nih",
        {"official split": official},
        lambda row: read_grey(row["image"]),
        reports=False,
    )


def _entries(folder: Path) -> pd.DataFrame:
    """Columns file, study_id, patient_id, view and the labels of each row of the table."""
    path = one_file(folder, ENTRIES, NAME) or folder / "Data_Entry_2017.csv"
    columns = ["Image Index", "Finding Labels", "Patient ID", "View Position"]
    table = read_table(path, NAME, columns, "put it there as downloaded")
    file, names = path.name, table["Finding Labels"]
    refuse_outside(file, table["Image Index"])
    for column in ("Image Index", "Patient ID"):
        refuse_cells(file, table[column], table[column].str.strip() == "", "fill it, or download the file again")
    refuse_doubles(file, table, "Image Index")
    named = names.str.get_dummies("|")
    unknown = sorted(set(named.columns) - {*FINDINGS, NORMAL})
    wrong = (
        named[unknown].any(axis=1) | (names.str.strip() == "") | ((named.get(NORMAL, 0) == 1) & (named.sum(axis=1) > 1))
    )
    refuse_cells(file, names, wrong, f"name findings of {', '.join(FINDINGS)}, or {NORMAL}")
    frontal = table["View Position"].isin(["PA", "AP"])
    labels = named.reindex(columns=[*FINDINGS, NORMAL], fill_value=0).astype("float64").add_prefix(LABEL_PREFIX)
    found = pd.DataFrame(
        {"file": table["Image Index"], "study_id": table["Image Index"].str.replace(r"\.[A-Za-z]+$", "", regex=True),
         "patient_id": "nih-" + table["Patient ID"].str.strip(),
         "view": frontal.map({True: "Frontal", False: "Unknown"})}
    )  # fmt: skip
    return pd.concat([found, labels], axis=1)


def _splits(folder: Path, table: pd.DataFrame) -> pd.Series:
    """The split of each image, NaN for one that is in neither list."""
    there = [name for name in LISTS if (folder / name).is_file()]
    if not there:
        return map_unique(table["patient_id"], split_of)
    if len(there) == 1:
        other = next(name for name in LISTS if name not in there)
        raise DataError(f"{NAME}: {there[0]} is in {str(folder)!r}, {other} is not: put it there, or remove both.")
    listed = {name: _list(folder / name) for name in LISTS}
    both = listed[LISTS[1]].isin(listed[LISTS[0]]) & (listed[LISTS[1]] != "")
    refuse_cells(LISTS[1], listed[LISTS[1]], both, f"it stands in {LISTS[0]} too: keep one", first=1)
    split = map_unique(table["patient_id"], lambda patient: split_of(patient, SHARES))
    split = split.where(table["file"].isin(listed[LISTS[0]]))
    return split.mask(table["file"].isin(listed[LISTS[1]]), "test")


def _list(path: Path) -> pd.Series:
    """The names of a list, by line; '' for a blank one."""
    try:
        names = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{NAME}: {path.name} cannot be read as text ({error}): download it again.") from error
    return pd.Series([name.strip() for name in names], name="image", dtype="str")


def _boxes(folder: Path) -> pd.DataFrame:
    """Columns Image Index and finding (name, box, spans) of each box; no rows without the table."""
    path = folder / BOXES
    if not path.is_file():
        return pd.DataFrame({"Image Index": pd.Series(dtype="str"), "finding": []})
    sides = ["Bbox [x", "y", "w", "h]"]
    table = read_table(path, NAME, ["Image Index", "Finding Label", *sides], "download it again")
    refuse_doubles(path.name, table, "Image Index", "Finding Label", *sides)
    names = table["Finding Label"].str.strip().replace(BOX_NAMES)
    refuse_cells(path.name, table["Finding Label"], ~names.isin(FINDINGS), f"name one of {', '.join(FINDINGS)}")
    numbers = []
    for column in sides:
        value = pd.to_numeric(table[column], errors="coerce")
        least = 0 if column in sides[:2] else 1e-9
        rule = f"it must be a number of pixels of the {SIDE} image"
        refuse_cells(path.name, table[column], ~value.between(least, SIDE), rule)
        numbers.append(value)
    boxes = boxes_in_fractions((numbers[0], numbers[1]), (numbers[2], numbers[3]), (SIDE, SIDE))
    found = [{"name": name, "box": box, "spans": []} for name, box in zip(names, boxes, strict=True)]
    return pd.DataFrame({"Image Index": table["Image Index"], "finding": found})
