"""Open-I, the Indiana University chest X-rays, in both layouts that users have.

CSV: indiana_reports.csv, indiana_projections.csv and a folder of images. XML: ecgen-radiology/*.xml and PNG files.
Images are matched by stem: the CSV says X.dcm.png where a copy may hold X.dcm.jpg or X.png. uid = study = patient.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from defusedxml import DefusedXmlException, ElementTree

from prdlib.data.groups import report_groups
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, existing_folder, split_of
from prdlib.images import ImageError, read_grey
from prdlib.text import normalise

REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
LABELS = Path(__file__).with_name("openi_labels.yaml")
UNCODED = "no indexing"  # MeSH problems of a report that nobody coded: its labels are unknown, not absent
TOKEN = re.compile(r"\s*\bX{3,}\b", re.IGNORECASE)  # not the mark after it: that may end the sentence


def load(
    directory: str | Path,
    layout: str | None = None,
    deidentified: str = "drop",
    views: tuple[str, ...] = ("Frontal", "Lateral"),
    verify: bool = False,
) -> Studies:
    """Every image of Open-I whose study has a report.

    directory: the folder of the collection. layout: 'csv' or 'xml'; None finds out. deidentified: 'drop' or 'keep' the token
    XXXX. views: which projections (the XML layout does not say: 'Unknown' is always kept). verify: read every image now, so that
    damaged files are in the drop table at once (they are found while data are prepared otherwise).
    Labels come from the MeSH ``Problems`` (openi_labels.yaml): 1 when coded, else 0, since the coding covers the whole report.
    Raises DataError for a missing folder, file or column.
    """
    folder = existing_folder(directory, "Open-I")
    views = (views,) if isinstance(views, str) else tuple(views)
    if layout is None:
        layout = "csv" if (folder / REPORTS).is_file() or not any(folder.rglob("*.xml")) else "xml"
    if layout not in ("csv", "xml"):
        raise DataError(f"Unknown layout {layout!r} of Open-I: choose csv or xml.")
    if deidentified not in ("drop", "keep"):
        raise DataError(f"deidentified is {deidentified!r}: choose drop or keep.")
    reports, projections = (_read_csv if layout == "csv" else _read_xml)(folder)
    drops: list[dict[str, str]] = []

    def drop(items: Iterable[Any], reason: str, where: str) -> None:
        drops.extend({"item": str(item), "reason": reason, "where": where} for item in items)

    files = _images(folder)
    nameless = reports["uid"] == ""
    drop(reports.index[nameless] + 2, "report without a uid", "reports, line")
    reports = reports[~nameless].copy()
    projections["image"] = projections["filename"].map(lambda name: files.get(_stem(name), ""))
    for reason, bad in (
        ("uid of the image has no report", ~projections["uid"].isin(reports["uid"])),
        ("image listed twice", projections["filename"].duplicated()),
        ("no image file of this name", projections["image"] == ""),
        ("view not asked for", ~projections["view"].isin([*views, "Unknown"])),
    ):
        bad = bad.loc[projections.index]
        drop(projections.loc[bad, "filename"], reason, "projections")
        projections = projections[~bad]
    reports["report"] = [
        _report_text(f, i, deidentified) for f, i in zip(reports.findings, reports.impression, strict=True)
    ]
    empty = reports["report"].map(normalise) == ""
    drop(reports.loc[empty, "uid"], "report without findings and impression", "reports")
    reports = reports[~empty]
    without = ~reports["uid"].isin(projections["uid"])
    drop(reports.loc[without, "uid"], "report without a usable image", "reports")
    orphans = ~projections["uid"].isin(reports["uid"])
    drop(projections.loc[orphans, "filename"], "image of an empty report", "projections")
    table = projections[~orphans].merge(reports, on="uid", how="inner")
    if verify:
        damaged = table["image"].map(_damage)
        for reason, part in table[damaged != ""].groupby(damaged[damaged != ""]):
            drop(part["filename"], "image cannot be read", str(reason))
        table = table[damaged == ""]
    return Studies(
        _finish(table.reset_index(drop=True)),
        pd.DataFrame(drops, columns=["item", "reason", "where"]),
        "openi",
        {"layout": layout, "deidentified": deidentified, "views": list(views)},
        lambda row: read_grey(row["image"]),
    )


def patient_of(uid: str) -> str:
    """'openi-2' for uid 2: what splits are made from, in both layouts."""
    return f"openi-{uid}"


def _finish(table: pd.DataFrame) -> pd.DataFrame:
    studies = table["uid"].map(patient_of)
    result = pd.DataFrame(
        {"study_id": studies, "patient_id": studies, "image": table["image"], "view": table["view"],
         "report": table["report"]}
    )  # fmt: skip
    groups = dict(zip(table["report"].unique(), report_groups(table["report"].unique()), strict=True))
    result["report_group"] = table["report"].map(groups)
    result["split"] = studies.map(split_of)
    result["source"] = "openi"
    result["findings"] = [[] for _ in range(len(table))]
    for label, terms in yaml.safe_load(LABELS.read_text(encoding="utf-8")).items():
        wanted = {term.lower() for term in terms}
        coded = [np.nan if UNCODED in problems else float(bool(wanted & problems)) for problems in table["problems"]]
        result[LABEL_PREFIX + label] = coded
    return result


def _report_text(findings: Any, impression: Any, deidentified: str) -> str:
    parts = [str(part).strip() for part in (findings, impression) if isinstance(part, str) and part.strip()]
    text = " ".join(part if part[-1] in ".!?:" else part + "." for part in parts)
    if deidentified == "drop":
        text = TOKEN.sub("", text)
    return " ".join(text.split())


def _problems(text: Any) -> set[str]:
    return {part.strip().lower() for part in text.split(";") if part.strip()} if isinstance(text, str) else set()


def _stem(name: str) -> str:
    """'1_IM-0001-4001' for '1_IM-0001-4001.dcm.png', 'CXR1_1_IM-0001-4001.png', 'CXR1_IM-0001-4001': one image, three names."""
    stem = Path(str(name)).name
    while Path(stem).suffix.lower() in {*IMAGE_SUFFIXES, ".dcm"}:
        stem = Path(stem).stem
    return re.sub(r"^CXR(\d+_)?(?=\d+_IM)", "", stem)


def _images(folder: Path) -> dict[str, str]:
    """stem -> path of every image below ``folder``, through links too (images often lie on another disk)."""
    found = (Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)
    return {_stem(path.name): str(path) for path in sorted(found) if path.suffix.lower() in IMAGE_SUFFIXES}


def _damage(path: str) -> str:
    try:
        read_grey(path)
    except ImageError as error:
        return str(error)
    return ""


def _read_csv(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables = []
    for name, columns in (
        (REPORTS, ("uid", "Problems", "findings", "impression")),
        (PROJECTIONS, ("uid", "filename", "projection")),
    ):
        path = folder / name
        if not path.is_file():
            raise DataError(f"Open-I: {name} is missing in {folder.name!r}: put both CSV files and the images there.")
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise DataError(f"Open-I: {name} is not a readable CSV table ({error}): download it again.") from error
        for column in columns:
            if column not in table:
                raise DataError(f"Open-I: {name} has no column {column!r} (it has {', '.join(table.columns)}).")
        tables.append(table.assign(uid=table["uid"].str.strip()))
    reports, projections = tables
    twice = reports["uid"].duplicated() & (reports["uid"] != "")
    if twice.any():
        raise DataError(f"Open-I: uid {reports.loc[twice, 'uid'].iloc[0]} stands twice in {REPORTS}: keep one row.")
    reports["problems"] = reports["Problems"].map(_problems)
    return reports[["uid", "findings", "impression", "problems"]], projections.rename(columns={"projection": "view"})


def _read_xml(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    reports, projections = [], []
    for path in sorted(folder.rglob("*.xml")):
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, DefusedXmlException) as error:
            raise DataError(f"Open-I: {path.name} is not valid XML ({error}): download it again.") from error
        number = root.find("uId")
        uid = re.sub(r"\D", "", number.get("id", "")) if number is not None else ""
        if not uid:
            raise DataError(f"Open-I: {path.name} has no uId: is it a report of the collection?")
        sections = {e.get("Label", "").upper(): (e.text or "") for e in root.iter("AbstractText")}
        coded = [(e.text or "").split("/")[0] for e in root.iter("major")]
        reports.append({"uid": uid, "findings": sections.get("FINDINGS"), "impression": sections.get("IMPRESSION"),
                        "problems": {c.strip().lower() for c in coded}})  # fmt: skip
        projections += [{"uid": uid, "filename": e.get("id", ""), "view": "Unknown"} for e in root.iter("parentImage")]
    if not reports:
        raise DataError(f"Open-I: no .xml report below {folder.name!r}: extract NLMCXR_reports.tgz there.")
    return pd.DataFrame(reports), pd.DataFrame(projections, columns=["uid", "filename", "view"])


def label_terms() -> Mapping[str, list[str]]:
    """Label -> MeSH terms that stand for it."""
    return yaml.safe_load(LABELS.read_text(encoding="utf-8"))


def split_list(last_uid: int = 3999) -> pd.DataFrame:
    """uid and split of uids 1 to ``last_uid``: what openi_splits.csv holds, so that the split can be read without code."""
    uids = np.arange(1, last_uid + 1)
    return pd.DataFrame({"uid": uids, "split": [split_of(patient_of(str(u))) for u in uids]})
