"""prepare never deletes what it did not write, and two processes may call it at once."""

import json
import subprocess
import sys

import pytest
from datasets import are_progress_bars_disabled
from openi_collection import write_csv

from prdlib.data import DataError, load_prepared, load_studies, prepare


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c").mkdir()
    return write_csv(tmp_path / "c")


def test_a_folder_with_other_files_is_refused_and_untouched(folder, tmp_path):
    studies = load_studies("openi", directory=folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for place in (tmp_path / "mine", folder):
        before = sorted(p for p in place.rglob("*"))
        with pytest.raises(DataError, match="not prepared data"):
            prepare(studies, place, 32)
        assert sorted(p for p in place.rglob("*")) == before


def test_a_file_put_beside_prepared_data_is_not_deleted(folder, tmp_path):
    studies = load_studies("openi", directory=folder)
    prepare(studies, tmp_path / "p", 32)
    (tmp_path / "p" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        prepare(studies, tmp_path / "p", 40)
    assert (tmp_path / "p" / "notes.txt").read_text() == "mine"


def test_all_images_unreadable_is_one_sentence_with_a_list(folder, tmp_path):
    for path in (folder / "images").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="can be read"):
        prepare(load_studies("openi", directory=folder), tmp_path / "p", 32)
    assert (tmp_path / "p" / "dropped.csv").read_text().count("cannot be read as an image") == 8


def test_a_kill_while_old_data_are_removed_leaves_nothing_that_looks_whole(folder, tmp_path, monkeypatch):
    import sys

    room = sys.modules["prdlib.data.preparation"]
    studies = load_studies("openi", directory=folder)
    prepare(studies, tmp_path / "p", 32)

    def killed(path, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(room.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(studies, tmp_path / "p", 40)
    monkeypatch.undo()
    with pytest.raises(DataError, match="No prepared data"):
        load_prepared(tmp_path / "p")
    assert json.loads((tmp_path / "p" / "started.json").read_text())["hash"] is None
    assert sum(map(len, prepare(studies, tmp_path / "p", 32).values())) == 8


def test_two_processes_at_once(folder, tmp_path):
    script = (
        "from prdlib.data import load_studies, prepare\n"
        f"data = prepare(load_studies('openi', directory={str(folder)!r}), {str(tmp_path / 'p')!r}, 32)\n"
        "assert sum(map(len, data.values())) == 8\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]


def test_progress_bars_are_left_as_they_were(folder, tmp_path):
    before = are_progress_bars_disabled()
    prepare(load_studies("openi", directory=folder), tmp_path / "p", 32)
    assert are_progress_bars_disabled() == before


def test_a_sentence_keeps_its_end_when_the_token_goes(tmp_path):
    reports = {"1": ("Lungs are clear XXXX. Heart is normal.", "", "normal")}
    report = load_studies("openi", directory=write_csv(tmp_path, reports)).table["report"].iloc[0]
    assert report == "Lungs are clear. Heart is normal."
