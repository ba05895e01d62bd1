"""MS-CXR: JSON and CSV give the same rows, phrases find their words and boxes, and one sentence for each wrong file."""

import json

import numpy as np
import pandas as pd
import pytest
from published import picture, reasons

from prdlib.data import DataError, load_studies, prepare
from prdlib.data.batches import EvaluationData
from prdlib.data.ms_cxr import patients
from prdlib.evaluation.grounding import phrases

FILE = "MS_CXR_Local_Alignment_v1.0.0"
A = "files/p10/p10032725/s50331901/687754ce-7420bfd3-0a19911f-a27a3916-9019cd53.jpg"
B = "files/p10/p10032725/s50331901/aa7754ce-7420bfd3-0a19911f-a27a3916-9019cd54.jpg"
C = "files/p11/p11022245/s51590752/bb7754ce-7420bfd3-0a19911f-a27a3916-9019cd55.jpg"
IMAGES = [(A, 100, 80), (B, 64, 64), (C, 50, 200)]
BOXES = [  # image, category, phrase, box
    (0, "Cardiomegaly", "moderately enlarged heart", [10, 20, 30, 40]),
    (0, "Edema", "mild  edema.", [0, 0, 50, 40]),
    (0, "Edema", "mild  edema.", [50, 0, 60, 40]),
    (1, "Pneumothorax", "small right apical pneumothorax", [32, 0, 32, 16]),
    (2, "Cardiomegaly", "the heart is large", [5, 100, 40, 50]),
]
CATEGORIES = ["Cardiomegaly", "Edema", "Pneumothorax"]


def coco() -> dict:
    images = [
        {"id": i, "file_name": path.rpartition("/")[2], "path": path, "width": w, "height": h, "num_annotations": 1}
        for i, (path, w, h) in enumerate(IMAGES)
    ]
    return {
        "info": {"version": "1.0.0"},
        "licenses": [],
        "categories": [{"id": i + 1, "name": name, "supercategory": "disease"} for i, name in enumerate(CATEGORIES)],
        "images": images,
        "annotations": [
            {"id": n + 1, "image_id": i, "category_id": CATEGORIES.index(name) + 1, "bbox": box, "label_text": phrase,
             "area": box[2] * box[3], "iscrowd": 0, "width": IMAGES[i][1], "height": IMAGES[i][2]}
            for n, (i, name, phrase, box) in enumerate(BOXES)
        ],
    }  # fmt: skip


def write(folder, kind: str = "json", whole: dict | None = None):
    """<folder>/ms with the file, <folder>/mimic with the images; the options of the reader."""
    (folder / "ms").mkdir(parents=True, exist_ok=True)
    if kind == "json":
        (folder / "ms" / f"{FILE}.json").write_text(json.dumps(coco() if whole is None else whole))
    else:
        rows = [
            {"category_name": name, "label_text": phrase, "path": IMAGES[i][0], "x": box[0], "y": box[1], "w": box[2],
             "h": box[3], "image_width": IMAGES[i][1], "image_height": IMAGES[i][2],
             "dicom_id": IMAGES[i][0].rpartition("/")[2][:-4]}
            for i, name, phrase, box in BOXES
        ]  # fmt: skip
        pd.DataFrame(rows).to_csv(folder / "ms" / f"{FILE}.csv", index=False)
    for number, (path, width, height) in enumerate(IMAGES):
        picture(folder / "mimic" / path, number, height, width)
    return {"directory": folder / "ms", "images": folder / "mimic"}


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_rows_are_read_in_the_published_layout(tmp_path, kind):
    studies = load_studies("ms_cxr", **write(tmp_path, kind))
    table = studies.table
    assert table["patient_id"].tolist() == ["p10032725", "p10032725", "p11022245"]
    assert table["study_id"][0] == "s50331901/687754ce-7420bfd3-0a19911f-a27a3916-9019cd53"
    assert set(table["split"]) == {"test"}
    assert table["report"].tolist() == [
        "moderately enlarged heart. mild edema.", "small right apical pneumothorax.", "the heart is large.",
    ]  # fmt: skip
    assert patients(studies) == ["p10032725", "p11022245"]
    assert studies.dropped.empty
    assert studies.read_image(table.iloc[2]).shape == (200, 50)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_findings_have_box_phrase_and_the_place_of_the_phrase(tmp_path, kind):
    table = load_studies("ms_cxr", **write(tmp_path, kind)).table
    first = table["findings"][0]
    assert [item["name"] for item in first] == ["Cardiomegaly", "Edema", "Edema"]
    assert [item["box"] for item in first] == [[0.1, 0.25, 0.4, 0.75], [0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5]]
    assert table["findings"][2][0]["box"] == [0.1, 0.5, 0.9, 0.75]
    for report, findings in zip(table["report"], table["findings"], strict=True):
        for item in findings:
            ((start, end),) = item["spans"]
            assert report[start:end] == item["phrase"]
    assert first[1]["spans"] == first[2]["spans"]


def test_prepared_phrases_are_what_grounding_asks_for(tmp_path):
    data = prepare(load_studies("ms_cxr", **write(tmp_path)), tmp_path / "p", 32)
    test = EvaluationData.first_views(data["test"])
    assert len(test.study_ids) == 3
    found = phrases(test.findings, [report.offsets for report in test.tagged])
    words = [" ".join(test.words[p.row][i] for i in p.words) for p in found]
    assert words == [
        "moderately enlarged heart", "mild edema", "small right apical pneumothorax", "the heart is large",
    ]  # fmt: skip
    assert found[2].box == (0.5, 0, 1, 0.25)
    assert [len(phrase.boxes) for phrase in found] == [1, 2, 1, 1]  # two boxes of one phrase are one region


def test_an_image_is_found_by_its_path_or_by_its_name(tmp_path):
    options = write(tmp_path)
    (tmp_path / "mimic" / A).rename(tmp_path / "mimic" / A.rpartition("/")[2])
    studies = load_studies("ms_cxr", **options)
    assert studies.dropped.empty
    assert studies.table["image"][0] == str(tmp_path / "mimic" / A.rpartition("/")[2])
    (tmp_path / "mimic" / C).unlink()
    studies = load_studies("ms_cxr", **options)
    assert reasons(studies) == {"no image file of this name": 1}
    assert studies.dropped["item"].tolist() == [C]
    assert np.array_equal(studies.read_image(studies.table.iloc[1])[0, :2], [17, 18])


def test_a_phrase_without_words_is_listed(tmp_path):
    whole = coco()
    whole["annotations"][3]["label_text"] = " ... "
    studies = load_studies("ms_cxr", **write(tmp_path, whole=whole))
    assert reasons(studies) == {"phrase without words": 1}
    assert studies.dropped["item"].tolist() == [f"{FILE}.json, annotation 4"]
    assert len(studies.table) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("annotations"), "has no list 'annotations': is it the file of the collection"),
        (lambda w: w["images"][1].pop("path"), "item 1 of 'images' has no 'path'"),
        (lambda w: w["annotations"][2].pop("bbox"), "item 2 of 'annotations' has no 'bbox'"),
        (lambda w: w["annotations"].__setitem__(0, 5), "item 0 of 'annotations' has no 'id'"),
        (lambda w: w["images"][1].update(id=0), "item 1 of 'images' has the id 0 of an earlier one: keep one"),
        (lambda w: w["annotations"][1].update(image_id=9), "annotation 2: image_id is 9, which the file does not hold"),
        (lambda w: w["annotations"][1].update(category_id=9), "annotation 2: category_id is 9"),
        (lambda w: w["annotations"][1].update(bbox=[1, 2, 3]), r"annotation 2: bbox is \[1, 2, 3\]: it must be"),
        (lambda w: w["annotations"][1].update(bbox="1234"), "annotation 2: bbox is '1234': it must be"),
        (
            lambda w: w["annotations"][1].update(bbox=[1, 2, 0, 3]),
            "annotation 2: w is 0.*: it must be a number of pixels",
        ),
        (lambda w: w["annotations"][1].update(bbox=["a", 2, 1, 3]), "annotation 2: x is 'a': it must be a number"),
        (
            lambda w: w["annotations"][1].update(bbox=[100, 2, 1, 3]),
            "annotation 2: x is .*100.*: the box begins outside",
        ),
        (
            lambda w: w["annotations"][1].update(bbox=[50, 0, 60, 40]),
            "annotation 3: label_text is .*: this box .* twice",
        ),
        (
            lambda w: w["images"][0].update(path="../" + A),
            "annotation 1: path is .*: a path must stay below the folder",
        ),
        (lambda w: w["images"][0].update(path="/" + A), "annotation 1: path is .*: a path must stay below the folder"),
        (
            lambda w: w["images"][0].update(path="files/a.jpg"),
            "annotation 1: path is 'files/a.jpg': a path is files/p10",
        ),
        (lambda w: w["images"][0].update(width=0), "annotation 1: image_width is .*0.*: it must be a number of pixels"),
        (lambda w: w["categories"][0].update(name=""), "annotation 1: category_name is '': name the finding"),
        (lambda w: w["annotations"][1].update(label_text=None), "annotation 2: label_text is None: it must be text"),
        (lambda w: w["images"][0].update(path=7), "annotation 1: path is 7: it must be text"),
        (lambda w: w["annotations"][1].update(image_id=[0]), r"annotation 2: image_id is \[0\], which the file"),
        (lambda w: w.update(annotations=[]), "No usable study in 'ms_cxr'"),
    ],
)
def test_a_wrong_json_is_one_sentence(tmp_path, change, message):
    whole = coco()
    change(whole)
    with pytest.raises(DataError, match=message):
        load_studies("ms_cxr", **write(tmp_path, whole=whole))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("category_name", "category", "has no column 'category_name'"),
        (",10,20,30,40", ",10,20,30,", f"{FILE}.csv, line 2: h is '': it must be a number of pixels"),
        (",32,0,32,16", ",32,-1,32,16", f"{FILE}.csv, line 5: y is '-1': it must be a number of pixels"),
        ("files/p11", "files/../p11", f"{FILE}.csv, line 6: path is .*: a path must stay below"),
        ("50,0,60,40", "0,0,50,40", f"{FILE}.csv, line 4: label_text is .*listed twice"),
    ],
)
def test_a_wrong_csv_is_one_sentence_with_its_line(tmp_path, old, new, message):
    options = write(tmp_path, "csv")
    path = tmp_path / "ms" / f"{FILE}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_studies("ms_cxr", **options)


def test_missing_files_are_one_sentence(tmp_path):
    options = write(tmp_path)
    path = tmp_path / "ms" / f"{FILE}.json"
    with pytest.raises(DataError, match="MS-CXR not found"):
        load_studies("ms_cxr", **{**options, "directory": tmp_path / "nowhere"})
    with pytest.raises(DataError, match="MS-CXR: images of MIMIC-CXR-JPG not found"):
        load_studies("ms_cxr", **{**options, "images": tmp_path / "nowhere"})
    with pytest.raises(DataError, match="ms_cxr needs the option 'images'"):
        load_studies("ms_cxr", directory=tmp_path / "ms")
    with pytest.raises(DataError, match=r"none of the 3 images is below .*give the folder of MIMIC-CXR-JPG as images"):
        load_studies("ms_cxr", **{**options, "images": tmp_path / "ms"})
    for content in (b"{", b"\xff\xfe", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{FILE}.json is not readable JSON .*: download it again"):
            load_studies("ms_cxr", **options)
    path.write_text("[]")
    with pytest.raises(DataError, match="has no list 'images'"):
        load_studies("ms_cxr", **options)
    path.unlink()
    with pytest.raises(
        DataError, match=r"no MS_CXR_Local_Alignment_v1.\*.json or .csv in .*: put there one of the two"
    ):
        load_studies("ms_cxr", **options)
