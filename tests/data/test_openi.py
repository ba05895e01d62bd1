"""Open-I on small files in the two published layouts, with everything that goes wrong in users' copies."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prdlib.data import DataError, load_studies, openi, prepare

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{uid}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract></Article></MedlineCitation>
<MeSH><major>{mesh}</major></MeSH><parentImage id="CXR{uid}_IM-0001-1001"/></eCitation>"""


def png(path, value, size=(40, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, dtype=np.uint8)).save(path)


@pytest.fixture
def csv_folder(tmp_path):
    pd.DataFrame(
        {"uid": [1, 2, 3, 4, 5], "MeSH": "x", "Problems": ["Cardiomegaly;Opacity", "normal", "normal", "Pulmonary Edema", ""],
         "findings": ["Large heart XXXX.", "Clear lungs", None, None, "Stable."],
         "impression": ["Cardiomegaly.", None, "No disease.", "XXXX.", "Unchanged."]}
    ).to_csv(tmp_path / "indiana_reports.csv", index=False)  # fmt: skip
    rows = [(1, "1_IM-0001-1001.dcm.png", "Frontal"), (1, "1_IM-0001-2001.dcm.png", "Lateral"),
            (2, "2_IM-0002-1001.dcm.png", "Frontal"), (3, "3_IM-0003-1001.dcm.png", "Frontal"),
            (4, "4_IM-0004-1001.dcm.png", "Frontal"), (9, "9_IM-0009-1001.dcm.png", "Frontal")]  # fmt: skip
    pd.DataFrame(rows, columns=["uid", "filename", "projection"]).to_csv(
        tmp_path / "indiana_projections.csv", index=False
    )
    images = tmp_path / "images" / "images_normalized"
    png(images / "1_IM-0001-1001.dcm.png", 10)
    png(images / "1_IM-0001-2001.dcm.jpg", 20)
    png(images / "2_IM-0002-1001.png", 30)
    png(images / "4_IM-0004-1001.dcm.png", 40)
    return tmp_path


def test_csv_layout(csv_folder):
    studies = load_studies("openi", directory=csv_folder)
    table = studies.table
    assert table["study_id"].tolist() == ["openi-1", "openi-1", "openi-2"]
    assert table["report"].tolist()[::2] == ["Large heart Cardiomegaly.", "Clear lungs."]
    assert table["view"].tolist() == ["Frontal", "Lateral", "Frontal"]
    assert table["label:Cardiomegaly"].tolist() == [1, 1, 0]
    assert table["label:Normal"].tolist() == [0, 0, 1]
    assert table["split"].map(lambda s: s in ("train", "validation", "test")).all()


def test_everything_left_out_is_in_the_drop_table(csv_folder):
    drops = load_studies("openi", directory=csv_folder).dropped
    assert set(zip(drops["item"], drops["reason"], strict=True)) == {
        ("9_IM-0009-1001.dcm.png", "uid of the image has no report"),
        ("3_IM-0003-1001.dcm.png", "no image file of this name"),
        ("4", "report without findings and impression"),
        ("4_IM-0004-1001.dcm.png", "image of an empty report"),
        ("3", "report without a usable image"),
        ("5", "report without a usable image"),
    }


def test_the_token_of_deidentification_is_kept_on_request(csv_folder):
    kept = load_studies("openi", directory=csv_folder, deidentified="keep").table
    assert kept["report"].iloc[0] == "Large heart XXXX. Cardiomegaly."
    assert "openi-4" in set(kept["study_id"])


def test_only_frontal_views_on_request(csv_folder):
    studies = load_studies("openi", directory=csv_folder, views=("Frontal",))
    assert set(studies.table["view"]) == {"Frontal"}
    assert "view not asked for" in set(studies.dropped["reason"])


def test_xml_layout_gives_the_same_ids_splits_and_labels(csv_folder, tmp_path):
    folder = tmp_path / "xml"
    for uid, findings, impression, mesh in (
        (1, "Large heart XXXX.", "Cardiomegaly.", "Cardiomegaly/mild"),
        (2, "Clear", "", "normal"),
    ):
        path = folder / "ecgen-radiology" / f"{uid}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(XML.format(uid=uid, findings=findings, impression=impression, mesh=mesh))
        png(folder / "NLMCXR_png" / f"CXR{uid}_IM-0001-1001.png", uid)
    xml = load_studies("openi", directory=folder).table.set_index("study_id")
    csv = load_studies("openi", directory=csv_folder).table.drop_duplicates("study_id").set_index("study_id")
    assert xml.loc["openi-1", "report"] == csv.loc["openi-1", "report"]
    assert xml.loc["openi-1", "split"] == csv.loc["openi-1", "split"]
    assert xml.loc["openi-1", "report_group"] == csv.loc["openi-1", "report_group"]
    assert xml["label:Cardiomegaly"].tolist() == [1, 0]


def test_a_truncated_image_is_dropped_while_preparing(csv_folder, tmp_path):
    path = csv_folder / "images" / "images_normalized" / "1_IM-0001-1001.dcm.png"
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), dtype=np.uint8)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:2000])
    studies = load_studies("openi", directory=csv_folder)
    data = prepare(studies, tmp_path / "prepared", 32)
    drops = pd.read_csv(tmp_path / "prepared" / "dropped.csv")
    assert sum(len(part) for part in data.values()) == 2
    assert "1_IM-0001-1001.dcm.png" in set(drops.loc[drops["reason"] == "image cannot be read", "item"])
    early = load_studies("openi", directory=csv_folder, verify=True)
    assert len(early.table) == 2
    assert "image cannot be read" in set(early.dropped["reason"])


def test_missing_folder_file_and_column_are_one_sentence(csv_folder, tmp_path):
    with pytest.raises(DataError, match="not found at"):
        load_studies("openi", directory=tmp_path / "nowhere")
    reports = pd.read_csv(csv_folder / "indiana_reports.csv")
    reports.drop(columns="findings").to_csv(csv_folder / "indiana_reports.csv", index=False)
    with pytest.raises(DataError, match=r"indiana_reports.csv has no column 'findings'"):
        load_studies("openi", directory=csv_folder)
    (csv_folder / "indiana_projections.csv").unlink()
    reports.to_csv(csv_folder / "indiana_reports.csv", index=False)
    with pytest.raises(DataError, match=r"indiana_projections.csv is missing"):
        load_studies("openi", directory=csv_folder)


def test_entities_in_xml_are_not_expanded(tmp_path):
    (tmp_path / "1.xml").write_text('<!DOCTYPE a [<!ENTITY x "boom">]><a>&x;</a>')
    with pytest.raises(Exception, match=r"EntitiesForbidden|Entit"):
        load_studies("openi", directory=tmp_path, layout="xml")


def test_the_list_in_git_is_the_rule():
    path = openi.Path(openi.__file__).with_name("openi_splits.csv")
    assert pd.read_csv(path).equals(openi.split_list())
