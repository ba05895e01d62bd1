"""RSNA pneumonia: boxes, classes, images in DICOM or PNG, and one sentence for each wrong file."""

import json

import numpy as np
import pytest
from published import edit, picture, reasons
from published_dicom import write_dicom

from prdlib.data import DataError, dicom, load_studies, prepare
from prdlib.data.studies import split_of

A, B, C, D = (f"{letter}004cfab-14fd-4e49-80ba-63a80b6bddd{n}" for n, letter in enumerate("0123"))
LABELS = (
    f"patientId,x,y,width,height,Target\n{A},,,,,0\n{B},264.0,152.0,213.0,379.0,1\n{B},562.0,0.0,256.0,453.0,1\n{C},,,,,0\n"
    f"{D},512,768,512,512,1\n"
)
CLASSES = f"patientId,class\n{A},No Lung Opacity / Not Normal\n{B},Lung Opacity\n{B},Lung Opacity\n{C},Normal\n{D},Lung Opacity\n"


def write(folder, suffix: str = ".png"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage_2_train_labels.csv").write_text(LABELS)
    (folder / "stage_2_detailed_class_info.csv").write_text(CLASSES)
    for number, name in enumerate((A, B, C, D)):
        path = folder / "stage_2_train_images" / (name + suffix)
        if suffix == ".dcm":
            write_dicom(path, np.full((64, 64), 10 * number, np.uint8))
        else:
            picture(path, number, 64, 64)
    return folder


def test_rows_are_read_in_the_published_layout(tmp_path):
    studies = load_studies("rsna", directory=write(tmp_path))
    table = studies.table.set_index("study_id")
    assert not studies.reports
    assert studies.labels == ["Pneumonia", "Normal"]
    assert table.index.tolist() == [f"rsna-{name}" for name in (A, B, C, D)]
    assert table["label:Pneumonia"].tolist() == [0, 1, 0, 1]
    assert table["label:Normal"].tolist() == [0, 0, 1, 0]
    assert table["split"].tolist() == [split_of(name) for name in table.index]
    assert studies.dropped.empty
    assert studies.read_image(studies.table.iloc[2])[0, 0] == 34


def test_boxes_are_findings_in_fractions(tmp_path):
    found = load_studies("rsna", directory=write(tmp_path)).table["findings"]
    assert found.map(len).tolist() == [0, 2, 0, 1]
    assert found[1][0] == {
        "name": "Pneumonia", "spans": [], "box": [round(v / 1024, 6) for v in (264, 152, 264 + 213, 152 + 379)],
    }  # fmt: skip
    assert found[3][0]["box"] == [0.5, 0.75, 1, 1]


def test_dicom_images_are_read_and_prepared(tmp_path):
    pytest.importorskip("pydicom")
    studies = load_studies("rsna", directory=write(tmp_path / "c", ".dcm"))
    assert [int(studies.read_image(row)[0, 0]) for _, row in studies.table.iterrows()] == [0, 10, 20, 30]
    broken = tmp_path / "c/stage_2_train_images" / f"{C}.dcm"
    broken.write_bytes(broken.read_bytes()[:200])
    data = prepare(studies, tmp_path / "p", 32)
    assert sum(map(len, data.values())) == 3
    assert f"{C}.dcm cannot be read as an image" in (tmp_path / "p" / "dropped.csv").read_text()


def test_dicom_images_without_pydicom_are_one_sentence(tmp_path, monkeypatch):
    folder = write(tmp_path)
    (folder / "stage_2_train_images" / f"{A}.png").rename(folder / "stage_2_train_images" / f"{A}.dcm")
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pydicom, which is not installed"):
        load_studies("rsna", directory=folder)


def test_what_was_read_can_be_prepared(tmp_path):
    data = prepare(load_studies("rsna", directory=write(tmp_path / "c")), tmp_path / "p", 32)
    rows = {row["study_id"]: row for part in data.values() for row in part}
    assert json.loads(rows[f"rsna-{D}"]["findings"])[0]["box"] == [0.5, 0.75, 1, 1]
    assert rows[f"rsna-{C}"]["labels"] == [0, 1]


def test_what_is_missing_is_listed(tmp_path):
    folder = write(tmp_path)
    (folder / "stage_2_train_images" / f"{A}.png").unlink()
    edit(folder / "stage_2_detailed_class_info.csv", f"{C},Normal\n", "")
    studies = load_studies("rsna", directory=folder)
    assert reasons(studies) == {"no image file of this name": 1, "image without a class": 1}
    assert len(studies.table) == 2


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("labels", "Target", "target", "stage_2_train_labels.csv has no column 'Target'"),
        ("labels", f"{C},,,,,0", f"{C},,,,,2", "stage_2_train_labels.csv, line 5: Target is '2': a target is 0 or 1"),
        ("labels", f"{C},,,,,0", f"{A},,,,,0", "line 5: patientId .* stands already in line 2: keep one"),
        (
            "labels",
            "562.0,0.0,256.0,453.0",
            "264.0,152.0,213.0,379.0",
            "line 4: patientId .* stands already in line 3",
        ),
        ("labels", f"{C},,,,,0", f"{C},,,,,1", "line 5: x is '': a row has a box when its Target is 1"),
        ("labels", f"{C},,,,,0", f"{C},,5,,,0", "line 5: y is '5': a row has a box when its Target is 1, and no other"),
        ("labels", f"{C},,,,,0", f"{B},,,,,0", "line 3: patientId .*: it has rows with Target 1 and 0"),
        ("labels", "264.0", "left", "line 3: x is 'left': it must be a number of pixels"),
        ("labels", "213.0", "0", "line 3: width is '0': it must be a number of pixels"),
        ("labels", "768", "1500", "line 6: y is '1500': it must be a number of pixels"),
        ("labels", f"{C},", f"../{C},", "line 5: patientId is '../.*': an id is letters, digits and hyphens"),
        ("classes", ",class", ",kind", "stage_2_detailed_class_info.csv has no column 'class'"),
        ("classes", ",Normal", ",Healthy", "line 5: class is 'Healthy': a class is one of Lung Opacity"),
        ("classes", f"{C},Normal", f"{A},Normal", "line 2: patientId .*: it has rows of several classes"),
        (
            "classes",
            f"{C},Normal",
            f"{C},Lung Opacity",
            "has Target 0 in .* and class 'Lung Opacity' in .*: download both",
        ),
        ("classes", f"{D},Lung Opacity", f"{D},Normal", "has Target 1 in .* and class 'Normal'"),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_line(tmp_path, file, old, new, message):
    names = {"labels": "stage_2_train_labels.csv", "classes": "stage_2_detailed_class_info.csv"}
    edit(write(tmp_path) / names[file], old, new)
    with pytest.raises(DataError, match=message):
        load_studies("rsna", directory=tmp_path)


def test_missing_files_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="RSNA pneumonia not found"):
        load_studies("rsna", directory=tmp_path / "nowhere")
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
        folder = write(tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"{name} is missing .*as downloaded from the challenge"):
            load_studies("rsna", directory=folder)
    folder = write(tmp_path / "c")
    for path in (folder / "stage_2_train_images").iterdir():
        path.unlink()
    with pytest.raises(
        DataError, match=rf"none of the 4 images is below .*'{A}.dcm': extract stage_2_train_images.zip"
    ):
        load_studies("rsna", directory=folder)
