"""A small made-up collection in the layout of CheXpert v1.0, and a table of reports in that of CheXpert Plus."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from published import picture

from prdlib.data.chexpert_labels import LABELS

COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]


def row(path: str, **labels: float) -> dict:
    """A row of train.csv or valid.csv with these labels (underscores for spaces), the others blank."""
    lateral = "lateral" in path
    named = {name.replace("_", " "): value for name, value in labels.items()}
    return {"Path": path, "Sex": "Female", "Age": 50, "Frontal/Lateral": "Lateral" if lateral else "Frontal",
            "AP/PA": "" if lateral else "AP"} | {name: named.get(name, "") for name in LABELS}  # fmt: skip


def address(part: str, patient: int, study: int, view: str, prefix: str = "CheXpert-v1.0-small") -> str:
    """'CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg'."""
    return f"{prefix}/{part}/patient{patient:05d}/study{study}/{view}.jpg"


def write_chexpert(folder: Path, rows: list[dict] | None = None) -> Path:
    """patient00001 has two studies, the first with a lateral image; patient64541 is the validation table's."""
    rows = [
        row(address("train", 1, 1, "view1_frontal"), Edema=1.0, Cardiomegaly=-1.0, Pneumonia=0.0),
        row(address("train", 1, 1, "view2_lateral"), Edema=1.0, Cardiomegaly=-1.0, Pneumonia=0.0),
        row(address("train", 1, 2, "view1_frontal"), No_Finding=1.0),
        row(address("train", 2, 1, "view1_frontal"), Edema=0.0),
        row(address("train", 3, 1, "view1_frontal"), Fracture=1.0),
        row(address("valid", 64541, 1, "view1_frontal"), **{name.replace(" ", "_"): 0.0 for name in LABELS}),
    ] if rows is None else rows  # fmt: skip
    for part in ("train", "valid"):
        mine = [r for r in rows if f"/{part}/" in r["Path"]]
        pd.DataFrame(mine, columns=COLUMNS).to_csv(folder / f"{part}.csv", index=False)
    for number, entry in enumerate(rows):
        picture(folder / entry["Path"].partition("/")[2], number)
    return folder


def write_plus(folder: Path) -> Path:
    """Reports of all images but patient00003's; that of patient00002 is without words."""
    reports = {(1, 1): ("The heart is large.\nPulmonary edema.", "Edema"), (1, 2): ("", "Normal chest."), (2, 1): ("", "___"),
               (64541, 1): ("Clear lungs.", "")}  # fmt: skip
    rows = []
    for part, patient, study, view in (
        ("train", 1, 1, "view1_frontal"), ("train", 1, 1, "view2_lateral"), ("train", 1, 2, "view1_frontal"),
        ("train", 2, 1, "view1_frontal"), ("valid", 64541, 1, "view1_frontal"),
    ):  # fmt: skip
        findings, impression = reports[patient, study]
        path = address(part, patient, study, view).partition("/")[2]
        rows.append({"path_to_image": path, "path_to_dcm": path.replace(".jpg", ".dcm"), "frontal_lateral": "Frontal",
                     "deid_patient_id": f"patient{patient:05d}", "patient_report_date_order": study,
                     "section_findings": findings, "section_impression": impression})  # fmt: skip
    path = folder / "df_chexpert_plus_240401.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path
