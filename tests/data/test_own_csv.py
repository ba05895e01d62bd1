"""One CSV file: read, split, and told apart from what cannot be used."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from published_dicom import write_dicom

from prdlib.data import DataError, dicom, load_studies


def write(folder, **changes):
    for i in range(4):
        Image.fromarray(np.full((20, 30), 10 * i, np.uint8)).save(folder / f"{i}.png")
    table = pd.DataFrame(
        {"study_id": ["007", "8", "9", "10"], "patient_id": ["01", "01", "2", "3"], "image": [f"{i}.png" for i in range(4)],
         "report": ["Clear lungs.", "Small effusion.", "Clear lungs.", "Edema."], "label:Edema": [0, 0, None, 1]}
    )  # fmt: skip
    table = table.assign(**changes)
    table.to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def test_ids_stay_text_images_lie_beside_the_file_and_patients_stay_together(tmp_path):
    studies = load_studies("own_csv", file=write(tmp_path))
    assert studies.table["study_id"].tolist() == ["007", "8", "9", "10"]
    assert studies.table.groupby("patient_id")["split"].nunique().max() == 1
    assert studies.read_image(studies.table.iloc[2])[0, 0] == 20
    assert studies.labels == ["Edema"]
    assert studies.table["report_group"].nunique() == 3
    assert studies.name == "own data"


def test_a_patient_may_be_called_na(tmp_path):
    studies = load_studies("own_csv", file=write(tmp_path, patient_id=["NA", "NA", "None", "3"]))
    assert set(studies.table["patient_id"]) == {"NA", "None", "3"}


def test_rows_without_words_are_listed_and_a_split_of_ones_own_is_kept(tmp_path):
    file = write(tmp_path, report=["Clear lungs.", None, "...", "Edema."], split=["train", "train", "test", "test"])
    studies = load_studies("own_csv", file=file, title="mine")
    assert studies.table["split"].tolist() == ["train", "test"]
    assert len(studies.dropped) == 2
    assert studies.name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": ["train", "test", "test", "test"]}, "more than one split"),
        ({"label:Edema": ["1", "yes", "", ""]}, "mine.csv, line 3: label:Edema is 'yes'"),
        ({"label:Edema": [0, 0, 0, 2], "report": [None, "Clear.", "Clear.", "Clear."]}, "line 5: label:Edema is '2'"),
        ({"split": ["train", "train", "tset", "test"]}, "line 4: split is 'tset'"),
        ({"report": [None] * 4}, "No usable study"),
        ({"study_id": ["1", "1", "2", "3"]}, "two reports"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load_studies("own_csv", file=write(tmp_path, **changes))


def test_missing_files_and_columns_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="No table at"):
        load_studies("own_csv", file=tmp_path / "none.csv")
    (tmp_path / "half.csv").write_text("study_id,report\n1,Clear.\n")
    with pytest.raises(DataError, match="no column 'image'"):
        load_studies("own_csv", file=tmp_path / "half.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        load_studies("own_csv", file=tmp_path / "empty.csv")


HEADER = "study_id,patient_id,image,report\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1,p1,0.png,Clear, lungs\n2,p2,1.png,No, edema\n",
         "mine.csv, line 2: the row has 5 cells, the header 4: put texts that hold commas in double quotes."),
        (HEADER + '1,p1,0.png,"Clear,\nlungs"\n2,p2,1.png,No, edema\n',
         "mine.csv, line 4: the row has 5 cells, the header 4: put texts that hold commas in double quotes."),
        (HEADER.replace("\n", ",\n") + "1,p1,0.png,Clear,\n2,p2,1.png,No, edema\n",
         "mine.csv, line 3: a cell below no name is ' edema': name the column, or put texts that hold commas in double quotes."),
        (HEADER + '1,p1,0.png,"Clear lungs\n2,p2,1.png,No edema\n',
         "mine.csv cannot be read as CSV (Error tokenizing data. C error: EOF inside string starting at row 1): put texts that "
         "hold commas in double quotes, and close each quote."),
        (HEADER.replace("\n", ",label:Edema, label:Edema\n") + "1,p1,0.png,Clear,0,1\n",
         "mine.csv has two columns 'label:Edema': keep one, or rename the other."),
        (HEADER.replace(",", ";") + "1;p1;0.png;Clear, dry lungs\n",
         "mine.csv has semicolons between its cells: save it with commas."),
        (HEADER.replace(",", "\t") + "1\tp1\t0.png\tClear\n", "mine.csv has tabs between its cells: save it with commas."),
        ('"' + HEADER, "mine.csv cannot be read as CSV (Error tokenizing data. C error: EOF inside string starting at row 0): "
         "put texts that hold commas in double quotes, and close each quote."),
        ("", "mine.csv cannot be read as CSV (it is empty): write a header and a row per image."),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_one_sentence(tmp_path, content, message):
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        load_studies("own_csv", file=tmp_path / "mine.csv")


def test_another_encoding_is_one_sentence(tmp_path):
    (tmp_path / "mine.csv").write_bytes((HEADER + "1,p1,0.png,größer\n").encode("latin-1"))
    with pytest.raises(DataError, match=r"^mine.csv is not UTF-8 text \(.*\): save it as UTF-8.$"):
        load_studies("own_csv", file=tmp_path / "mine.csv")


def test_blanks_around_names_and_columns_without_one_are_let_go(tmp_path):
    text = write(tmp_path).read_text().replace("study_id,patient_id", " study_id , patient_id").replace("\n", ",,\n")
    (tmp_path / "mine.csv").write_text(text)
    studies = load_studies("own_csv", file=tmp_path / "mine.csv")
    assert studies.table["study_id"].tolist() == ["007", "8", "9", "10"]
    assert studies.labels == ["Edema"]
    assert "" not in studies.table


def test_row_numbers_in_front_are_no_column(tmp_path):
    table = pd.read_csv(write(tmp_path), dtype=str)
    table.to_csv(tmp_path / "numbered.csv")
    numbered, plain = (load_studies("own_csv", file=tmp_path / name).table for name in ("numbered.csv", "mine.csv"))
    pd.testing.assert_frame_equal(numbered, plain)


def test_dicom_files_are_read_by_their_reader(tmp_path, monkeypatch):
    file = write(tmp_path, image=["0.png", "1.png", "film.DCM", "3.png"])
    with monkeypatch.context() as patch:
        patch.setattr(dicom, "find_spec", lambda name: None)
        with pytest.raises(DataError, match="pydicom, which is not installed: pip install"):
            load_studies("own_csv", file=file)
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "film.DCM", np.full((6, 8), 77, np.uint8))
    studies = load_studies("own_csv", file=file)
    assert [int(studies.read_image(row)[0, 0]) for _, row in studies.table.iterrows()] == [0, 10, 77, 30]
