"""CheXpert: labels, rules for -1 and blanks, splits, reports of CheXpert Plus, and one sentence for each wrong file."""

import numpy as np
import pandas as pd
import pytest
from chexpert_collection import address, row, write_chexpert, write_plus
from published import edit, picture, reasons

from prdlib.data import DataError, load_studies, prepare
from prdlib.data.chexpert import SHARES
from prdlib.data.chexpert_labels import LABELS, check_rules
from prdlib.data.studies import split_of


def labels_of(studies, study: str) -> dict[str, float]:
    first = studies.table[studies.table["study_id"] == study].iloc[0]
    return {name: first[f"label:{name}"] for name in ("Edema", "Cardiomegaly", "Pneumonia", "Fracture")}


def test_rows_are_read_in_the_published_layout(tmp_path):
    studies = load_studies("chexpert", directory=write_chexpert(tmp_path))
    table = studies.table
    assert studies.labels == list(LABELS)
    assert not studies.reports
    assert table["study_id"].tolist() == [
        "patient00001/study1", "patient00001/study1", "patient00001/study2", "patient00002/study1", "patient00003/study1",
        "patient64541/study1",
    ]  # fmt: skip
    assert table["view"].tolist() == ["Frontal", "Lateral", *["Frontal"] * 4]
    assert table["patient_id"].nunique() == 4
    assert studies.dropped.empty
    assert studies.read_image(table.iloc[2]).tolist() == studies.read_image({"image": table["image"][2]}).tolist()
    assert studies.read_image(table.iloc[2])[0, 0] == 34


def test_the_official_validation_table_is_test_and_the_others_split_by_patient(tmp_path):
    rows = [row(address("train", n, study, "view1_frontal")) for n in range(60) for study in (1, 2)]
    rows.append(row(address("valid", 64541, 1, "view1_frontal")))
    table = load_studies("chexpert", directory=write_chexpert(tmp_path, rows)).table
    assert table.loc[table["split"] == "test", "patient_id"].tolist() == ["patient64541"]
    rest = table[table["patient_id"] != "patient64541"]
    assert rest["split"].tolist() == [split_of(patient, SHARES) for patient in rest["patient_id"]]
    assert set(rest["split"]) == {"train", "validation"}


@pytest.mark.parametrize(
    ("uncertain", "blanks", "expected"),
    [
        ("keep", "unmentioned", [1, -1, 0, np.nan]),
        ("ones", "unmentioned", [1, 1, 0, np.nan]),
        ("zeros", "unmentioned", [1, 0, 0, np.nan]),
        ("ignore", "unmentioned", [1, np.nan, 0, np.nan]),
        ("ignore", "absent", [1, np.nan, 0, 0]),
        ("keep", "absent", [1, -1, 0, 0]),
    ],
)
def test_rules_for_uncertain_and_blank_labels(tmp_path, uncertain, blanks, expected):
    studies = load_studies("chexpert", directory=write_chexpert(tmp_path), uncertain=uncertain, blanks=blanks)
    np.testing.assert_array_equal(list(labels_of(studies, "patient00001/study1").values()), expected)
    assert studies.options["uncertain"] == uncertain
    assert studies.options["blanks"] == blanks


def test_views_missing_images_and_excluded_patients_are_listed(tmp_path):
    folder = write_chexpert(tmp_path)
    (folder / "train/patient00002/study1/view1_frontal.jpg").unlink()
    studies = load_studies("chexpert", directory=folder, views="Frontal", exclude=["patient00003"])
    assert studies.table["patient_id"].tolist() == ["patient00001", "patient00001", "patient64541"]
    assert reasons(studies) == {"view not asked for": 1, "no image file of this name": 1, "patient excluded": 1}
    assert "train/patient00002/study1/view1_frontal.jpg" in set(studies.dropped["item"])


@pytest.mark.parametrize("wrong", ["patient00001", ["00001"], ["patient00001 "], ["patient00001/study1"]])
def test_patients_to_exclude_that_would_exclude_nobody_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match=r"Option exclude .*(a list as \['patient00001'\]|write ids as 'patient00001')"):
        load_studies("chexpert", directory=write_chexpert(tmp_path), exclude=wrong)


def test_reports_of_chexpert_plus_are_joined_by_path(tmp_path):
    write_plus(write_chexpert(tmp_path))
    studies = load_studies("chexpert", directory=tmp_path)
    assert studies.reports
    reports = studies.table.drop_duplicates("study_id").set_index("study_id")["report"].to_dict()
    assert reports == {
        "patient00001/study1": "The heart is large. Pulmonary edema. Edema.",
        "patient00001/study2": "Normal chest.",
        "patient64541/study1": "Clear lungs.",
    }
    assert reasons(studies) == {"image has no report": 1, "report without findings and impression": 1}
    assert len(load_studies("chexpert", directory=tmp_path, reports=False).table) == 6


@pytest.mark.parametrize("plus", [False, True])
def test_what_was_read_can_be_prepared(tmp_path, plus):
    folder = tmp_path / "CheXpert-v1.0"
    folder.mkdir()
    write_chexpert(folder)
    if plus:
        write_plus(folder)
    data = prepare(load_studies("chexpert", directory=folder), tmp_path / "p", 32)
    assert sum(map(len, data.values())) == (4 if plus else 6)
    row = data["test"][0]
    assert row["labels"] == [0.0] * 14
    assert row["words"] == (["clear", "lungs"] if plus else [])


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train.csv", "Frontal/Lateral", "View", r"train.csv has no column 'Frontal/Lateral'"),
        ("valid.csv", "Lung Lesion", "Lesion", r"valid.csv has no column 'Lung Lesion'"),
        (
            "train.csv",
            "patient00002/study1",
            "patient00003/study1",
            r"line 6: Path .* stands already in line 5: keep one",
        ),
        (
            "train.csv",
            "small/train/patient00002",
            "small/../patient00002",
            r"line 5: Path is .*must stay below the folder",
        ),
        (
            "train.csv",
            "CheXpert-v1.0-small/train/patient00003",
            "/train/patient00003",
            r"line 6: Path .*stay below the folder",
        ),
        (
            "train.csv",
            "train/patient00003",
            "valid/patient00003",
            r"train.csv, line 6: Path is .*: a path is <folder>/train",
        ),
        ("train.csv", "patient00003/", "p3/", r"train.csv, line 6: Path is .*download the file again"),
        (
            "train.csv",
            "Female,50,Lateral",
            "Female,50,Side",
            r"line 3: Frontal/Lateral is 'Side': write Frontal or Lateral",
        ),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_line(tmp_path, file, old, new, message):
    edit(write_chexpert(tmp_path) / file, old, new)
    with pytest.raises(DataError, match=message):
        load_studies("chexpert", directory=tmp_path)


@pytest.mark.parametrize("value", ["2.0", "yes", "0.5"])
def test_a_label_that_is_none_is_refused(tmp_path, value):
    rows = [row(address("train", 1, 1, "view1_frontal")), row(address("train", 2, 1, "view1_frontal"), Edema=value)]
    with pytest.raises(DataError, match=rf"train.csv, line 3: Edema is '{value}': a label is 1.0, 0.0, -1.0 or blank"):
        load_studies("chexpert", directory=write_chexpert(tmp_path, rows))


def test_missing_files_and_unknown_options_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="CheXpert not found"):
        load_studies("chexpert", directory=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"train.csv is missing in .*: put it there as downloaded"):
        load_studies("chexpert", directory=tmp_path)
    write_chexpert(tmp_path)
    for options in ({"uncertain": "maybe"}, {"blanks": "zero"}, {"views": "Side"}):
        with pytest.raises(DataError, match=f"{next(iter(options))} is .*: choose"):
            load_studies("chexpert", directory=tmp_path, **options)
    with pytest.raises(DataError, match=r"no df_chexpert_plus_\*.csv in .*: put the table of CheXpert Plus there"):
        load_studies("chexpert", directory=tmp_path, reports=True)
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 6 images .*: put the folders train and valid there"):
        load_studies("chexpert", directory=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("section_findings", "findings", "has no column 'section_findings'"),
        (
            "train/patient00002/study1/view1_frontal.jpg",
            "patient00002.png",
            r"line \d+: path_to_image is 'patient00002.png'",
        ),
        ("train/patient00002/study1/view1_frontal.jpg", "../train/patient00002/study1/view1_frontal.jpg", "stay below"),
        (
            "train/patient00002/study1/view1_frontal.jpg",
            "train/patient00001/study2/view1_frontal.png",
            "stands already",
        ),
        ('"The heart', '"The small heart', "Study 'patient00001/study1' of 'chexpert' has two reports"),
        ('"The heart', '"The "heart, "', r"line 3: path_to_image is 'Pulmonary edema"),
    ],
)
def test_a_wrong_table_of_reports_is_one_sentence(tmp_path, old, new, message):
    path = write_plus(write_chexpert(tmp_path))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_studies("chexpert", directory=tmp_path)


def test_two_tables_of_reports_are_refused(tmp_path):
    path = write_plus(write_chexpert(tmp_path))
    path.with_name("df_chexpert_plus_250101.csv").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"holds df_chexpert_plus_240401.csv, df_chexpert_plus_250101.csv: keep one"):
        load_studies("chexpert", directory=tmp_path)


def test_a_damaged_image_is_found_while_data_are_prepared(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    write_chexpert(folder)
    broken = picture(folder / "train/patient00003/study1/view1_frontal.jpg")
    broken.write_bytes(broken.read_bytes()[:100])
    prepare(load_studies("chexpert", directory=folder), tmp_path / "p", 32)
    assert "view1_frontal.jpg cannot be read as an image" in (tmp_path / "p" / "dropped.csv").read_text()


def test_the_multi_class_policy_says_where_it_is_set():
    with pytest.raises(DataError, match=r"'keep' here, with evaluation.fine_tuning_head=multi-class"):
        check_rules("multi-class", "unmentioned")


def test_a_table_of_the_size_of_the_real_one_is_read_whole(tmp_path, monkeypatch):
    """200,000 rows of 50,000 patients: nothing that takes a step for each of them in Python would end in seconds."""
    write_chexpert(tmp_path)
    head, *lines = (tmp_path / "train.csv").read_text().splitlines()
    body = lines[0].partition(".jpg")[2]
    rows = [address("train", n // 4, n % 4 + 1, "view1_frontal")[:-4] + ".jpg" + body for n in range(200_000)]
    (tmp_path / "train.csv").write_text("\n".join([head, *rows]))
    monkeypatch.setattr("prdlib.data.chexpert.are_files", lambda paths: pd.Series(True, index=paths.index))
    studies = load_studies("chexpert", directory=tmp_path)
    train = studies.table[studies.table["split"] != "test"]
    assert (len(train), train["patient_id"].nunique()) == (200_000, 50_000)
    assert (train["label:Edema"] == 1).all()
    assert 0.94 < (train["split"] == "train").mean() < 0.96
    assert studies.dropped.empty
