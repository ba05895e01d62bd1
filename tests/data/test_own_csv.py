"""One CSV file: read, split, and told apart from what cannot be used."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prdlib.data import DataError, load_studies


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
