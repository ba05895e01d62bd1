"""Lists of patients to leave out: ids of a layout, or a file of them; anything else is one sentence."""

import re
from pathlib import Path

import pytest

from prdlib.data import DataError
from prdlib.data.patient_lists import excluded_patients, write_patients

LAYOUT = r"p\d+", "p10000032"


def test_ids_are_taken_as_they_are_whether_the_collection_has_them_or_not():
    assert excluded_patients((), *LAYOUT) == set()
    assert excluded_patients(["p1", "p2", "p1"], *LAYOUT) == {"p1", "p2"}


@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_written_is_read(tmp_path, kind):
    file = write_patients(["p2", "p1", "p2"], kind(tmp_path / "excluded.txt"))
    assert file.read_text() == "p1\np2\n"
    assert excluded_patients(kind(file), *LAYOUT) == {"p1", "p2"}


def test_a_csv_file_of_one_column_is_read_below_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbfpatient_id\r\np1 \r\n\r\np2")
    monkeypatch.chdir(tmp_path)
    assert excluded_patients("mine.csv", *LAYOUT) == {"p1", "p2"}


@pytest.mark.parametrize(
    "wrong", [["10001032"], ["p1", "p10001032 "], ["P1"], [10001032], 10001032, None, [["p1"]], {"p": 1}]
)
def test_an_id_of_another_layout_is_refused(wrong):
    with pytest.raises(
        DataError, match=r"^Option exclude holds .*, which is no patient's id here: write ids as 'p10000032'.$"
    ):
        excluded_patients(wrong, *LAYOUT)


@pytest.mark.parametrize("wrong", ["p10000032", "", "p1," * 400])
def test_text_that_names_no_file_is_refused(wrong):
    message = f"Option exclude is '{wrong}', which is no file that can be read: give one with a patient in each"
    with pytest.raises(DataError, match=re.escape(message)):
        excluded_patients(wrong, *LAYOUT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"p1\n\n10001032\n", "mine.txt, line 3: a patient to exclude is '10001032': write ids as 'p10000032'."),
        (b"p1,p2\n", "mine.txt, line 1: a patient to exclude is 'p1,p2'"),
        (b"patient_id\n\n", "of option exclude names no patient: write one in each line."),
        (b"\xff\xfe", "of option exclude is not text: write a patient in each line, as UTF-8."),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, content, message):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        excluded_patients(tmp_path / "mine.txt", *LAYOUT)
