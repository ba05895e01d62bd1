"""A small made-up collection in the layout of MIMIC-CXR-JPG 2.0.0 with report files in that of MIMIC-CXR."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from published import picture

from prdlib.data.chexpert_labels import LABELS

IMAGES = [  # dicom_id, subject_id, study_id, ViewPosition, split
    ("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014", "10000032", "50414267", "PA", "train"),
    ("174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962", "10000032", "50414267", "LATERAL", "train"),
    ("2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab", "10000032", "53189527", "AP", "train"),
    ("68b5c4b1-227d0485-9cc38c3f-7b84ab51-4b472714", "11000011", "51029426", "AP", "validate"),
    ("ab37274f-b4c1fc04-e2ff24b4-4a130ba3-cd167968", "12000012", "56699142", "", "test"),
    ("096052b7-d256dc40-453a102b-fa7d01c6-1b22c6b4", "12000012", "56699142", "RAO", "test"),
    ("da3cdf2a-20a9a3a5-aacee3c5-93ae7a7c-0cbb1ef1", "12000012", "56699142", "LL", "test"),
]
REPORTS = {
    "50414267": " FINDINGS: \n \n The heart is large.\n\n IMPRESSION: \n \n Cardiomegaly\n",
    "53189527": " IMPRESSION: No acute process.\n",
    "51029426": " EXAMINATION:  Chest.\n\n FINDINGS:  Small left effusion.\n",
    "56699142": " FINDINGS: Clear lungs.\n",
}


def report_file(folder: Path, study: str) -> Path:
    subject = next(row[1] for row in IMAGES if row[2] == study)
    return folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"


def write_reports(folder: Path, reports: dict[str, str] = REPORTS) -> Path:
    for study, text in reports.items():
        path = report_file(folder, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("                                 FINAL REPORT\n" + text)
    return folder


def write_mimic(folder: Path, suffix: str = ".csv.gz") -> Path:
    """Tables, images and mimic-cxr-reports/; study 56699142 has no row of labels."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(IMAGES, columns=["dicom_id", "subject_id", "study_id", "ViewPosition", "split"])
    table.drop(columns="split").assign(Rows=40, Columns=48).to_csv(
        folder / f"mimic-cxr-2.0.0-metadata{suffix}", index=False
    )
    table[["dicom_id", "study_id", "subject_id", "split"]].to_csv(
        folder / f"mimic-cxr-2.0.0-split{suffix}", index=False
    )
    studies = table[["subject_id", "study_id"]].drop_duplicates()[:3]
    for kind, value in (("chexpert", 1.0), ("negbio", 0.0)):
        labels = studies.assign(**dict.fromkeys(sorted(LABELS), "")).astype(object)
        labels.loc[studies.index[0], ["Cardiomegaly", "Edema"]] = [value, -1.0]
        labels.to_csv(folder / f"mimic-cxr-2.0.0-{kind}{suffix}", index=False)
    for number, (dicom, subject, study, *_) in enumerate(IMAGES):
        picture(folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg", number)
    write_reports(folder / "mimic-cxr-reports")
    return folder
