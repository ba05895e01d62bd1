"""Open-I, the Indiana University chest X-rays, in both layouts that users have.

CSV: indiana_reports.csv, indiana_projections.csv and a folder of images. XML: ecgen-radiology/*.xml and PNG files, and
indiana_projections.csv for the views where a user has it. Every folder may be a link.
Images are matched by stem: the CSV says X.dcm.png where a copy may hold X.dcm.jpg or X.png. uid = study = patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from defusedxml import DefusedXmlException, ElementTree

from prdlib.data.report_sections import joined
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, existing_folder, split_of
from prdlib.data.tables import IMAGE_SUFFIXES, Drops, chosen, chosen_views, files_below, finish, read_table
from prdlib.images import ImageError, read_grey
from prdlib.names import VIEWS
from prdlib.text import normalise

REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
LABELS = Path(__file__).with_name("openi_labels.yaml")
UNCODED = "no indexing"  # MeSH problems of a report that nobody coded: its labels are unknown, not absent
BOTH_LAYOUTS = (
    f"either {REPORTS}, {PROJECTIONS} and the images, "
    "or the .xml reports and images of NLMCXR_reports.tgz and NLMCXR_png.tgz"
)
# With the letters and digits glued to it ("4XXXX"), but not the mark after it: that may end the sentence.
TOKEN = re.compile(r"\s*\b\w*X{3,}\w*", re.IGNORECASE)


def load(
    directory: str | Path,
    layout: str | None = None,
    deidentified: str = "drop",
    views: tuple[str, ...] = VIEWS,
    verify: bool = False,
) -> Studies:
    """Every image of Open-I whose study has a report.

    directory: the folder of the collection. layout: 'csv' or 'xml'; None finds out. deidentified: 'drop' or 'keep' the token
    XXXX. views: which projections ('Unknown', which the XML layout has without indiana_projections.csv, is always kept).
    verify: read every image now, so that damaged files are in the drop table at once (they are found while data are prepared
    otherwise).
    Labels come from the MeSH ``Problems`` (openi_labels.yaml): 1 when coded, else 0, since the coding covers the whole report.
    Raises DataError for a missing folder, file or column, and for an unknown layout or view.
    """
    folder = existing_folder(directory, "Open-I")
    views = chosen_views(views)
    if layout is None:
        layout = "csv" if (folder / REPORTS).is_file() else "xml"
        if layout == "xml" and not files_below(folder, {".xml"}):
            raise DataError(f"Open-I: no report in {str(folder)!r}: put there {BOTH_LAYOUTS}.")
    if layout not in ("csv", "xml"):
        raise DataError(f"Unknown layout {layout!r} of Open-I: choose csv or xml.")
    chosen("deidentified", deidentified, ("drop", "keep"))
    reports, projections = (_read_csv if layout == "csv" else _read_xml)(folder)
    drops = Drops()
    files = {_stem(path.name): str(path) for path in files_below(folder, IMAGE_SUFFIXES)}
    if not files:
        raise DataError(
            f"Open-I: no .png or .jpg image below {str(folder)!r}: put the images, or a link to them, there."
        )
    twice = reports["uid"].duplicated() & (reports["uid"] != "")
    if twice.any():
        where = REPORTS if layout == "csv" else f"the .xml files of {folder.name!r}"
        raise DataError(f"Open-I: uid {reports.loc[twice, 'uid'].iloc[0]} stands twice in {where}: keep one.")
    nameless = reports["uid"] == ""
    drops.add(reports.index[nameless] + 2, "report without a uid", "reports, line")
    reports = reports[~nameless].copy()
    projections["image"] = projections["filename"].map(lambda name: files.get(_stem(name), ""))
    if len(projections) and (projections["image"] == "").all():
        raise DataError(
            f"Open-I: none of the {len(files)} images below {str(folder)!r} has the name of one that the collection lists, e.g. "
            f"{projections['filename'].iloc[0]!r}: put the images there under the names they were downloaded with."
        )
    for reason, bad in (
        ("uid of the image has no report", ~projections["uid"].isin(reports["uid"])),
        ("image listed twice", projections["filename"].duplicated()),
        ("no image file of this name", projections["image"] == ""),
        ("view not asked for", ~projections["view"].isin([*views, "Unknown"])),
    ):
        projections = drops.without(projections, bad, "filename", reason, "projections")
    reports["report"] = [
        _report_text(f, i, deidentified) for f, i in zip(reports.findings, reports.impression, strict=True)
    ]
    empty = reports["report"].map(normalise) == ""
    reports = drops.without(reports, empty, "uid", "report without findings and impression", "reports")
    without = ~reports["uid"].isin(projections["uid"])
    drops.add(reports.loc[without, "uid"], "report without a usable image", "reports")
    orphans = ~projections["uid"].isin(reports["uid"])
    projections = drops.without(projections, orphans, "filename", "image of an empty report", "projections")
    table = projections.merge(reports, on="uid", how="inner")
    if verify:
        damaged = table["image"].map(_damage)
        for reason, part in table[damaged != ""].groupby(damaged[damaged != ""]):
            drops.add(part["filename"], "image cannot be read", str(reason))
        table = table[damaged == ""]
    return Studies(
        _finish(table.reset_index(drop=True)),
        drops.table(),
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
         "report": table["report"], "split": studies.map(split_of)}
    )  # fmt: skip
    result = finish(result, "openi", reports=True)
    for label, terms in label_terms().items():
        wanted = {term.lower() for term in terms}
        coded = [np.nan if UNCODED in problems else float(bool(wanted & problems)) for problems in table["problems"]]
        result[LABEL_PREFIX + label] = coded
    return result


def _report_text(findings: Any, impression: Any, deidentified: str) -> str:
    text = joined(findings, impression)
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


def _damage(path: str) -> str:
    try:
        read_grey(path)
    except ImageError as error:
        return str(error)
    return ""


def _table(folder: Path, name: str, *columns: str) -> pd.DataFrame:
    table = read_table(folder / name, "Open-I", columns, f"put there {BOTH_LAYOUTS}")
    return table.assign(uid=table["uid"].str.strip())


def _read_csv(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    reports = _table(folder, REPORTS, "uid", "Problems", "findings", "impression")
    projections = _table(folder, PROJECTIONS, "uid", "filename", "projection")
    reports["problems"] = reports["Problems"].map(_problems)
    return reports[["uid", "findings", "impression", "problems"]], projections.rename(columns={"projection": "view"})


def _read_xml(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    reports, projections = [], []
    for path in files_below(folder, {".xml"}):
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, DefusedXmlException, LookupError, ValueError) as error:  # the last: encodings
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
        raise DataError(f"Open-I: no .xml report below {str(folder)!r}: extract NLMCXR_reports.tgz there.")
    pictures = pd.DataFrame(projections, columns=["uid", "filename", "view"])
    if (folder / PROJECTIONS).is_file():
        known = _table(folder, PROJECTIONS, "uid", "filename", "projection")
        views = dict(zip(known["filename"].map(_stem), known["projection"], strict=True))
        pictures["view"] = [views.get(_stem(name), "Unknown") for name in pictures["filename"]]
    return pd.DataFrame(reports), pictures


def label_terms() -> Mapping[str, list[str]]:
    """Label -> MeSH terms that stand for it."""
    return yaml.safe_load(LABELS.read_text(encoding="utf-8"))


def split_list(last_uid: int = 3999) -> pd.DataFrame:
    """uid and split of uids 1 to ``last_uid``: what openi_splits.csv holds, so that the split can be read without code."""
    uids = np.arange(1, last_uid + 1)
    return pd.DataFrame({"uid": uids, "split": [split_of(patient_of(str(u))) for u in uids]})
