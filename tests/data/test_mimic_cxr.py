"""MIMIC-CXR-JPG: tables, official splits, reports read once, and one sentence for each wrong file."""

import gzip
import io
import os

import numpy as np
import pytest
from mimic_collection import IMAGES, report_file, write_mimic, write_reports
from published import picture, reasons

import prdlib.data.mimic_reports as mimic_reports
from prdlib.data import DataError, load_studies, prepare
from prdlib.data.chexpert_labels import LABELS


def edit_gz(path, old: str, new: str) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


def count_reads(monkeypatch) -> list:
    reads, plain = [], mimic_reports._text
    monkeypatch.setattr(mimic_reports, "_text", lambda path: reads.append(path.name) or plain(path))
    return reads


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv"])
def test_tables_images_and_reports_are_joined(tmp_path, suffix):
    studies = load_studies(
        "mimic_cxr", directory=write_mimic(tmp_path, suffix), views=("Frontal", "Lateral", "Unknown")
    )
    table = studies.table
    assert studies.reports
    assert studies.labels == list(LABELS)
    assert table["study_id"].tolist() == ["s50414267", "s50414267", "s53189527", "s51029426", "s56699142", "s56699142"]
    assert table["patient_id"].tolist() == ["p10000032"] * 3 + ["p11000011", "p12000012", "p12000012"]
    assert table["split"].tolist() == ["train"] * 3 + ["validation", "test", "test"]
    assert table["view"].tolist() == ["Frontal", "Lateral", "Frontal", "Frontal", "Unknown", "Lateral"]
    assert table["report"][0] == "The heart is large. Cardiomegaly."
    assert table["report"][2] == "No acute process."
    assert table["label:Cardiomegaly"][0] == 1
    assert table["label:Edema"][0] == -1
    assert table.filter(like="label:").iloc[-1].isna().all()
    assert studies.read_image(table.iloc[3])[0, 0] == pytest.approx(51, abs=3)
    assert reasons(studies) == {"view not asked for": 1}


def test_unknown_and_oblique_views_are_left_out_unless_asked_for(tmp_path):
    folder = write_mimic(tmp_path)
    assert reasons(load_studies("mimic_cxr", directory=folder)) == {"view not asked for": 2}
    assert load_studies("mimic_cxr", directory=folder, views="Other").table["view"].tolist() == ["Other"]


def test_labels_of_negbio_and_their_rules(tmp_path):
    folder = write_mimic(tmp_path)
    table = load_studies("mimic_cxr", directory=folder, labels="negbio", uncertain="ones", blanks="absent").table
    assert table.loc[0, ["label:Cardiomegaly", "label:Edema", "label:Fracture"]].tolist() == [0, 1, 0]
    assert np.isnan(table["label:Edema"].iloc[-1])  # no row of labels: nobody said anything, not even nothing


def test_what_is_missing_is_listed(tmp_path):
    folder = write_mimic(tmp_path)
    reports = folder / "mimic-cxr-reports"
    report_file(reports, "50414267").unlink()
    report_file(reports, "53189527").write_text("FINAL REPORT\n Portable film.\n")
    report_file(reports, "56699142").write_bytes(b"FINDINGS: \xff\xfe\xfa")
    studies = load_studies("mimic_cxr", directory=folder)
    assert reasons(studies) == {
        "no report file of this study": 2,
        "report without findings and impression": 1,
        "report file cannot be read as text": 3,
    }
    (folder / "files/p11/p11000011/s51029426" / f"{IMAGES[3][0]}.jpg").unlink()
    studies = load_studies("mimic_cxr", directory=folder, reports=False, exclude=["p12000012"])
    assert reasons(studies) == {"no image file of this name": 1, "view not asked for": 2, "patient excluded": 1}
    assert studies.table["patient_id"].unique().tolist() == ["p10000032"]
    assert not studies.reports
    assert (studies.table["report"] == "").all()


@pytest.mark.parametrize("wrong", ["p12000012", ["12000012"], [12000012]])
def test_patients_to_exclude_that_would_exclude_nobody_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match=r"Option exclude .*(a list as \['p10000032'\]|write ids as 'p10000032')"):
        load_studies("mimic_cxr", directory=write_mimic(tmp_path), reports=False, exclude=wrong)


def test_an_image_without_a_split_is_listed(tmp_path):
    folder = write_mimic(tmp_path, ".csv")
    path = folder / "mimic-cxr-2.0.0-split.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if IMAGES[3][0] not in line))
    studies = load_studies("mimic_cxr", directory=folder, views="Frontal")
    assert reasons(studies)["image without a split"] == 1


@pytest.mark.parametrize("where", ["mimic-cxr-reports", "beside", "given"])
def test_reports_may_lie_in_three_places(tmp_path, where):
    folder = write_mimic(tmp_path / "jpg")
    options = {"cache": ""}
    if where != "mimic-cxr-reports":
        (folder / "mimic-cxr-reports").rename(tmp_path / "gone")
        write_reports(folder if where == "beside" else tmp_path / "txt")
        options |= {"report_directory": tmp_path / "txt"} if where == "given" else {}
    assert load_studies("mimic_cxr", directory=folder, **options).table["report"].iloc[0].startswith("The heart")


def test_reports_are_read_once_until_one_of_them_changes(tmp_path, monkeypatch):
    folder = write_mimic(tmp_path)
    reads = count_reads(monkeypatch)
    first = load_studies("mimic_cxr", directory=folder).table
    assert len(reads) == 4
    again = load_studies("mimic_cxr", directory=folder, views="Frontal").table
    assert len(reads) == 4
    assert set(again["report"]) <= set(first["report"])
    path = report_file(folder / "mimic-cxr-reports", "53189527")
    path.write_text(" IMPRESSION: Edema.\n")
    assert "Edema." in set(load_studies("mimic_cxr", directory=folder).table["report"])
    assert len(reads) == 8


def test_a_text_of_equal_length_is_another_text(tmp_path):
    folder = write_mimic(tmp_path)
    load_studies("mimic_cxr", directory=folder)
    path = report_file(folder / "mimic-cxr-reports", "53189527")
    path.write_text(path.read_text().replace("acute", "focal"))
    os.utime(path, ns=(1, 1))
    assert "No focal process." in set(load_studies("mimic_cxr", directory=folder).table["report"])


def test_the_cache_keeps_what_cannot_be_read_and_is_made_anew_when_damaged(tmp_path, monkeypatch):
    folder = write_mimic(tmp_path / "jpg")
    report_file(folder / "mimic-cxr-reports", "56699142").write_bytes(b"\xff")
    reads = count_reads(monkeypatch)
    first, second = (load_studies("mimic_cxr", directory=folder, cache=tmp_path / "cache") for _ in range(2))
    assert reasons(first) == reasons(second)
    assert first.table.equals(second.table)
    assert len(reads) == 4
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:50])
    load_studies("mimic_cxr", directory=folder, cache=tmp_path / "cache")
    assert len(reads) == 8
    assert not list((folder / "mimic-cxr-reports").glob("prdlib*"))
    load_studies("mimic_cxr", directory=folder, cache=tmp_path / "cache")
    assert len(reads) == 8


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path):
    folder = write_mimic(tmp_path / "jpg")
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="will be read again next time: .*give another folder as cache"):
        studies = load_studies("mimic_cxr", directory=folder, cache=tmp_path / "file")
    assert len(studies.table) == 5


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    load_studies("mimic_cxr", directory=write_mimic(tmp_path), cache="")
    assert ("reports" in stream.getvalue()) == terminal


@pytest.mark.parametrize("reports", [True, False])
def test_what_was_read_can_be_prepared(tmp_path, reports):
    folder = write_mimic(tmp_path / "jpg")
    data = prepare(load_studies("mimic_cxr", directory=folder, reports=reports), tmp_path / "p", 32)
    assert {name: len(part) for name, part in data.items()} == {"train": 3, "validation": 1, "test": 1}
    assert data["validation"][0]["words"] == (["small", "left", "effusion"] if reports else [])


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("metadata", "ViewPosition", "View", r"metadata.csv.gz has no column 'ViewPosition'"),
        (
            "metadata",
            ",10000032,50414267,LATERAL",
            ",../x,50414267,LATERAL",
            "line 3: subject_id is '../x': it is no id",
        ),
        ("metadata", ",50414267,LATERAL", ",s5,LATERAL", "line 3: study_id is 's5': it is no id"),
        ("metadata", IMAGES[1][0], "/etc/passwd", "line 3: dicom_id is '/etc/passwd': it is no id"),
        ("metadata", IMAGES[1][0], IMAGES[0][0], r"line 3: dicom_id .* stands already in line 2: keep one"),
        ("split", "validate", "valid", "split.csv.gz, line 5: split is 'valid': write one of train, validate, test"),
        ("split", "train", "test", "Patient 'p10000032' of 'mimic_cxr' stands in more than one split"),
        ("split", "dicom_id,", "id,", r"split.csv.gz has no column 'dicom_id'"),
        ("chexpert", "Lung Lesion", "Lesion", r"chexpert.csv.gz has no column 'Lung Lesion'"),
        ("chexpert", "-1.0", "3", r"chexpert.csv.gz, line 2: Edema is '3': a label is 1.0, 0.0, -1.0 or blank"),
        ("chexpert", "53189527", "50414267", r"chexpert.csv.gz, line 3: study_id '50414267' stands already in line 2"),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_line(tmp_path, kind, old, new, message):
    edit_gz(write_mimic(tmp_path) / f"mimic-cxr-2.0.0-{kind}.csv.gz", old, new)
    with pytest.raises(DataError, match=message):
        load_studies("mimic_cxr", directory=tmp_path)


@pytest.mark.parametrize("kind", ["metadata", "split", "chexpert"])
def test_missing_and_damaged_tables_are_one_sentence(tmp_path, kind):
    path = write_mimic(tmp_path) / f"mimic-cxr-2.0.0-{kind}.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=rf"mimic-cxr-2.0.0-{kind}.csv.gz is not a readable CSV table .*download it again"
    ):
        load_studies("mimic_cxr", directory=tmp_path)
    path.unlink()
    with pytest.raises(
        DataError, match=rf"mimic-cxr-2.0.0-{kind}.csv.gz is missing .*as downloaded with MIMIC-CXR-JPG"
    ):
        load_studies("mimic_cxr", directory=tmp_path)


def test_missing_folders_and_unknown_options_are_one_sentence(tmp_path):
    folder = write_mimic(tmp_path / "jpg")
    for options in ({"labels": "radgraph"}, {"uncertain": "maybe"}, {"views": "AP"}):
        with pytest.raises(DataError, match=f"{next(iter(options))} is .*: choose"):
            load_studies("mimic_cxr", directory=folder, **options)
    with pytest.raises(DataError, match="MIMIC-CXR reports not found at"):
        load_studies("mimic_cxr", directory=folder, report_directory=tmp_path / "nowhere")
    (folder / "mimic-cxr-reports").rename(tmp_path / "gone")
    with pytest.raises(
        DataError, match=r"none of the 4 reports is below .*extract mimic-cxr-reports.zip .*reports=False"
    ):
        load_studies("mimic_cxr", directory=folder)
    (folder / "files").rename(tmp_path / "images")
    with pytest.raises(DataError, match=r"none of the 5 images .*put the folder files of MIMIC-CXR-JPG"):
        load_studies("mimic_cxr", directory=folder, reports=False)


def test_images_may_lie_behind_a_link_and_damaged_ones_are_found_in_preparation(tmp_path):
    folder = write_mimic(tmp_path / "jpg")
    (folder / "files").rename(tmp_path / "far")
    (folder / "files").symlink_to(tmp_path / "far")
    broken = picture(tmp_path / "far/p11/p11000011/s51029426" / f"{IMAGES[3][0]}.jpg")
    broken.write_bytes(broken.read_bytes()[:90])
    studies = load_studies("mimic_cxr", directory=folder)
    assert len(studies.table) == 5
    prepare(studies, tmp_path / "p", 32)
    assert f"{IMAGES[3][0]}.jpg cannot be read as an image" in (tmp_path / "p" / "dropped.csv").read_text()
