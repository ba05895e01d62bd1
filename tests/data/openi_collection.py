"""A small made-up collection in both layouts of Open-I. No text or image of the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

REPORTS = {
    "1": ("The heart is large. No effusion.", "Mild cardiomegaly.", "Cardiomegaly/mild"),
    "2": ("Lungs are clear XXXX.", "Normal chest.", "normal"),
    "3": ("", "", "normal"),
    "4": ("Normal chest. Lungs are clear.", "", "normal"),
    "5": ("There is a small left effusion and a right opacity.", "", "Pleural Effusion/left/small;Opacity/lung"),
}


def save_image(path: Path, value: int, height: int = 40, width: int = 60) -> None:
    rows, columns = np.mgrid[:height, :width]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(((rows * 3 + columns + value * 17) % 256).astype(np.uint8)).save(path)


def write_csv(folder: Path, reports: dict | None = None, suffix: str = ".dcm.jpg") -> Path:
    """uid n has a frontal and a lateral image; the CSV says .dcm.png whatever the files are called."""
    reports = REPORTS if reports is None else reports
    rows = [
        (uid, mesh, ";".join(m.split("/")[0] for m in mesh.split(";")), f, i) for uid, (f, i, mesh) in reports.items()
    ]
    pd.DataFrame(rows, columns=["uid", "MeSH", "Problems", "findings", "impression"]).to_csv(
        folder / "indiana_reports.csv", index=False
    )
    pictures = [(uid, f"{uid}_IM-000{uid[0]}-{n}001.dcm.png", view) for uid in reports
                for n, view in ((1, "Lateral"), (2, "Frontal"))]  # fmt: skip
    pd.DataFrame(pictures, columns=["uid", "filename", "projection"]).to_csv(
        folder / "indiana_projections.csv", index=False
    )
    for number, (_, name, _) in enumerate(pictures):
        save_image(folder / "images" / name.replace(".dcm.png", suffix), number)
    return folder


def write_xml(folder: Path) -> Path:
    for uid, (findings, impression, mesh) in REPORTS.items():
        names = [f"CXR{uid}_IM-000{uid}-{n}001" for n in (1, 2)]
        major = "".join(f"<major>{term}</major>" for term in mesh.split(";"))
        images = "".join(f'<parentImage id="{name}"/>' for name in names)
        text = (
            f'<eCitation><uId id="CXR{uid}"/><AbstractText Label="FINDINGS">{findings}</AbstractText>'
            f'<AbstractText Label="IMPRESSION">{impression}</AbstractText><MeSH>{major}</MeSH>{images}</eCitation>'
        )
        path = folder / "ecgen-radiology" / f"{uid}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for number, name in enumerate(names):
            save_image(folder / "png" / f"{name}.png", number)
    return folder
