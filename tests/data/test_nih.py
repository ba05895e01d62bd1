"""NIH ChestX-ray14: labels, boxes, official lists, and one sentence for each wrong file."""

import json

import pandas as pd
import pytest
from published import edit, picture, reasons

from prdlib.data import DataError, load_studies, prepare
from prdlib.data.nih import FINDINGS, SHARES
from prdlib.data.studies import split_of

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
    "OriginalImagePixelSpacing[x,y],"
)
ROWS = [  # image, findings, patient, view
    ("00000001_000.png", "Cardiomegaly|Emphysema", 1, "PA"),
    ("00000001_001.png", "No Finding", 1, "AP"),
    ("00000002_000.png", "Pleural_Thickening", 2, "PA"),
    ("00000003_000.png", "Infiltration", 3, "PA"),
]
BOXES = (
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000001_000.png,Cardiomegaly,256,512,512,256,,,\n"
    "00000001_000.png,Infiltrate,0.5,0.5,102.4,1023.5,,,\n"
    "00000003_000.png,Infiltrate,512,512,1024,512,,,\n"
)


def write(folder, lists: bool = True, boxes: bool = True, name: str = "Data_Entry_2017.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{image},{found},0,{patient},058Y,M,{view},2682,2749,0.143,0.143," for image, found, patient, view in ROWS
    ]
    (folder / name).write_text("\n".join([HEADER, *lines]) + "\n")
    for number, (image, *_) in enumerate(ROWS):
        picture(folder / f"images_00{number % 2 + 1}" / "images" / image, number, 64, 64)
    if lists:
        (folder / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n00000002_000.png\n")
        (folder / "test_list.txt").write_text("00000003_000.png")
    if boxes:
        (folder / "BBox_List_2017.csv").write_text(BOXES)
    return folder


@pytest.mark.parametrize("name", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv"])
def test_rows_are_read_in_the_published_layout(tmp_path, name):
    studies = load_studies("nih", directory=write(tmp_path, name=name))
    table = studies.table
    assert not studies.reports
    assert studies.labels == [*FINDINGS, "No Finding"]
    assert table["study_id"].tolist() == [image[:-4] for image, *_ in ROWS]
    assert table["patient_id"].tolist() == ["nih-1", "nih-1", "nih-2", "nih-3"]
    assert set(table["view"]) == {"Frontal"}
    positive = [[name for name in studies.labels if row[f"label:{name}"] == 1] for _, row in table.iterrows()]
    assert positive == [["Cardiomegaly", "Emphysema"], ["No Finding"], ["Pleural_Thickening"], ["Infiltration"]]
    assert table.filter(like="label:").isin([0, 1]).all(axis=None)
    assert studies.dropped.empty
    assert studies.read_image(table.iloc[3])[0, 0] == 51


def test_official_lists_make_test_and_a_hash_of_the_patient_the_rest(tmp_path):
    table = load_studies("nih", directory=write(tmp_path)).table
    assert table["split"].tolist() == [split_of(f"nih-{patient}", SHARES) for patient in (1, 1, 2)] + ["test"]
    write(tmp_path / "b", lists=False)
    table = load_studies("nih", directory=tmp_path / "b").table
    assert table["split"].tolist() == [split_of(f"nih-{patient}") for patient in (1, 1, 2, 3)]


def test_blank_lines_of_a_list_are_no_images(tmp_path):
    folder = write(tmp_path)
    splits = load_studies("nih", directory=folder).table["split"].tolist()
    for name in ("train_val_list.txt", "test_list.txt"):
        (folder / name).write_text("\n" + (folder / name).read_text().rstrip() + "\n \n\n")
    assert load_studies("nih", directory=folder).table["split"].tolist() == splits
    edit(folder / "test_list.txt", "00000003_000.png", "00000001_001.png")
    with pytest.raises(
        DataError, match=r"test_list.txt, line 2: image is '00000001_001.png': it stands in train_val_list.txt"
    ):
        load_studies("nih", directory=folder)


def test_boxes_are_findings_in_fractions_of_the_1024_image(tmp_path):
    studies = load_studies("nih", directory=write(tmp_path))
    first, second, third, last = studies.table["findings"]
    assert [item["name"] for item in first] == ["Cardiomegaly", "Infiltration"]
    assert first[0] == {"name": "Cardiomegaly", "box": [0.25, 0.5, 0.75, 0.75], "spans": []}
    assert first[1]["box"] == pytest.approx([0.5 / 1024, 0.5 / 1024, 0.1 + 0.5 / 1024, 1], abs=1e-6)
    assert second == third == []
    assert last[0]["box"] == [0.5, 0.5, 1, 1]  # cut off at the border
    assert load_studies("nih", directory=write(tmp_path / "b", boxes=False)).table["findings"].map(len).sum() == 0


def test_what_is_missing_is_listed(tmp_path):
    folder = write(tmp_path)
    (folder / "images_002/images/00000003_000.png").unlink()
    (folder / "train_val_list.txt").write_text("00000001_000.png\n00000002_000.png\n")
    studies = load_studies("nih", directory=folder)
    assert reasons(studies) == {
        "no image file of this name": 1, "image in neither list": 1, "box of an image that is left out": 1,
    }  # fmt: skip
    assert len(studies.table) == 2


def test_what_was_read_can_be_prepared(tmp_path):
    data = prepare(load_studies("nih", directory=write(tmp_path / "c")), tmp_path / "p", 32)
    assert sum(map(len, data.values())) == 4
    row = data["test"][0]
    assert json.loads(row["findings"])[0]["box"] == [0.5, 0.5, 1, 1]
    assert sum(row["labels"]) == 1
    assert row["report"] == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Data_Entry_2017.csv", "Finding Labels", "Labels", "has no column 'Finding Labels'"),
        (
            "Data_Entry_2017.csv",
            "Emphysema",
            "Emphisema",
            "line 2: Finding Labels is 'Cardiomegaly|Emphisema': name findings",
        ),
        ("Data_Entry_2017.csv", "Pleural_Thickening", "Mass|No Finding", "line 4: Finding Labels is 'Mass|No Finding'"),
        ("Data_Entry_2017.csv", "Pleural_Thickening", "", "line 4: Finding Labels is '': name findings of"),
        (
            "Data_Entry_2017.csv",
            "00000001_001.png",
            "00000001_000.png",
            "line 3: Image Index .* stands already in line 2",
        ),
        (
            "Data_Entry_2017.csv",
            "00000002_000.png",
            "../2.png",
            "line 4: Image Index is '../2.png': a path must stay below",
        ),
        ("Data_Entry_2017.csv", ",0,2,", ",0,,", "line 4: Patient ID is '': fill it"),
        (
            "test_list.txt",
            "00000003_000.png",
            "00000001_001.png",
            "test_list.txt, line 1: .* it stands in train_val_list.txt",
        ),
        (
            "test_list.txt",
            "00000003_000.png",
            "00000003_000.png\n00000002_000.png",
            "line 2: image is '00000002_000.png'",
        ),
        ("BBox_List_2017.csv", "[x,y", "[x0,y", r"BBox_List_2017.csv has no column 'Bbox \[x'"),
        ("BBox_List_2017.csv", "1.png", "1.png", None),
        (
            "BBox_List_2017.csv",
            "256,512,512,256",
            "a,512,512,256",
            r"line 2: Bbox \[x is 'a': it must be a number of pixels",
        ),
        ("BBox_List_2017.csv", "256,512,512,256", "256,512,0,256", "line 2: w is '0': it must be a number"),
        ("BBox_List_2017.csv", "256,512,512,256", "256,512,512", r"line 2: h\] is '': it must be a number"),
        ("BBox_List_2017.csv", "256,512,512,256", "256,1025,512,256", "line 2: y is '1025'"),
        ("BBox_List_2017.csv", ",Cardiomegaly,", ",Heart,", "line 2: Finding Label is 'Heart': name one of"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_line(tmp_path, file, old, new, message):
    folder = write(tmp_path)
    if message is None:
        path = folder / file
        path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
        message = "line 5: Image Index '00000001_000.png', .* stands already in line 2: keep one"
    else:
        edit(folder / file, old, new)
    with pytest.raises(DataError, match=message):
        load_studies("nih", directory=folder)


def test_a_patient_of_both_lists_is_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "train_val_list.txt").write_text("00000001_000.png\n00000002_000.png\n")
    (folder / "test_list.txt").write_text("00000001_001.png\n00000003_000.png\n")
    with pytest.raises(DataError, match="Patient 'nih-1' of 'nih' stands in more than one split"):
        load_studies("nih", directory=folder)


def test_missing_files_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="NIH ChestX-ray14 not found"):
        load_studies("nih", directory=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"Data_Entry_2017.csv is missing .*: put it there as downloaded"):
        load_studies("nih", directory=tmp_path)
    folder = write(tmp_path / "c")
    (folder / "test_list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"test_list.txt cannot be read as text .*: download it again"):
        load_studies("nih", directory=folder)
    (folder / "test_list.txt").unlink()
    with pytest.raises(
        DataError, match=r"train_val_list.txt is in .*, test_list.txt is not: put it there, or remove both"
    ):
        load_studies("nih", directory=folder)
    (folder / "train_val_list.txt").unlink()
    (folder / "Data_Entry_2017_v2020.csv").write_bytes((folder / "Data_Entry_2017.csv").read_bytes())
    with pytest.raises(DataError, match=r"holds Data_Entry_2017.csv, Data_Entry_2017_v2020.csv: keep one"):
        load_studies("nih", directory=folder)
    (folder / "Data_Entry_2017_v2020.csv").unlink()
    for path in folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 4 images is below .*extract the archives"):
        load_studies("nih", directory=folder)


def test_a_large_list_keeps_patients_together(tmp_path):
    rows = [f"{p:08d}_{n:03d}.png,No Finding,{n},{p},58,F,PA,1,1,1,1," for p in range(200) for n in range(2)]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    picture(tmp_path / "images" / "00000000_000.png")
    for row in rows[1:]:
        (tmp_path / "images" / row.partition(",")[0]).touch()
    names = pd.Series([row.partition(",")[0] for row in rows])
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[:300]))
    (tmp_path / "test_list.txt").write_text("\n".join(names[300:]))
    table = load_studies("nih", directory=tmp_path).table
    assert table["split"].value_counts()["test"] == 100
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "validation", "test"}
