"""Prepared data: complete or absent, made once, never at the cost of anyone's files."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from openi_collection import REPORTS, write_csv

from prdlib.data import DataError, load_prepared, load_studies, prepare, prepared_info
from prdlib.data import studies as studies_room
from prdlib.images import decode_png, resize


@pytest.fixture(scope="module")
def openi(tmp_path_factory):
    return load_studies("openi", directory=write_csv(tmp_path_factory.mktemp("openi")))


def test_rows_hold_image_words_tags_and_labels(openi, tmp_path):
    data = prepare(openi, tmp_path / "p", 32, word_limit=5)
    rows = [row for part in data.values() for row in part]
    table = openi.table.set_index(["study_id", "view"])
    assert len(rows) == len(table) == 8
    for row in rows:
        source = table.loc[(row["study_id"], row["view"])]
        expected = resize(openi.read_image({"image": source["image"]}), 32)
        assert np.array_equal(decode_png(row["image"]), expected)
        assert row["report"] == source["report"]
        assert row["report_group"] == source["report_group"]
        assert len(row["words"]) == len(row["tags"]) == len(row["offsets"]) == min(5, row["n_words"])
        assert [row["report"][a:b].lower() for a, b in row["offsets"]] == row["words"]
        assert row["labels"] == [source[f"label:{name}"] for name in openi.labels]
    for name, part in data.items():
        assert set(part["study_id"]) == set(openi.split(name)["study_id"])


def test_info_tells_hash_labels_and_counts(openi, tmp_path):
    prepare(openi, tmp_path, 32)
    info = prepared_info(tmp_path)
    assert info["labels"] == openi.labels
    assert sum(count["images"] for count in info["counts"].values()) == 8
    assert info["image_size"] == 32


def test_second_call_does_nothing(openi, tmp_path, monkeypatch):
    prepare(openi, tmp_path, 32)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.arrow")}
    monkeypatch.setattr("prdlib.text.tagging._tagger", lambda: pytest.fail("tagged again"))
    data = prepare(openi, tmp_path, 32)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.arrow")} == before
    assert sum(map(len, data.values())) == 8


def test_other_settings_or_other_files_are_prepared_anew(tmp_path):
    (tmp_path / "c").mkdir()
    folder = write_csv(tmp_path / "c")
    hashes = []
    for size, limit in ((32, 60), (40, 60), (40, 8)):
        prepare(load_studies("openi", directory=folder), tmp_path / "p", size, word_limit=limit)
        hashes.append(prepared_info(tmp_path / "p")["hash"])
    table = pd.read_csv(folder / "indiana_reports.csv", dtype=str)
    table.loc[0, "impression"] = "No cardiomegaly."
    table.to_csv(folder / "indiana_reports.csv", index=False)
    prepare(load_studies("openi", directory=folder), tmp_path / "p", 40, word_limit=8)
    assert len({*hashes, prepared_info(tmp_path / "p")["hash"]}) == 4


def test_the_hash_does_not_depend_on_where_the_collection_lies(tmp_path):
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        prepare(load_studies("openi", directory=write_csv(tmp_path / place)), tmp_path / f"{place}-out", 32)
        found.append(prepared_info(tmp_path / f"{place}-out")["hash"])
    assert found[0] == found[1]


def test_unfinished_folder_is_not_loaded(tmp_path):
    with pytest.raises(DataError, match="No prepared data"):
        load_prepared(tmp_path)


def test_unreadable_images_are_dropped_and_listed(tmp_path):
    (tmp_path / "c").mkdir()
    folder = write_csv(tmp_path / "c")
    broken = folder / "images" / "5_IM-0005-2001.dcm.jpg"
    broken.write_bytes(broken.read_bytes()[:150])
    studies = load_studies("openi", directory=folder)
    data = prepare(studies, tmp_path / "p", 32)
    dropped = pd.read_csv(tmp_path / "p" / "dropped.csv")
    assert sum(map(len, data.values())) == 7
    assert dropped["item"].str.startswith("5_IM-0005-2001").sum() == 1
    assert len(dropped) == len(studies.dropped) + 1


def test_one_study_and_a_report_of_two_thousand_words(tmp_path):
    (tmp_path / "c").mkdir()
    long = {"7": ("clear lungs and " * 666 + "no effusion", "", "normal")}
    data = prepare(load_studies("openi", directory=write_csv(tmp_path / "c", long)), tmp_path / "p", 32, word_limit=50)
    (part,) = data.values()
    assert part[0]["n_words"] == 2000
    assert len(part[0]["words"]) == 50


def test_a_killed_preparation_goes_on_and_gives_the_same(tmp_path):
    (tmp_path / "c").mkdir()
    reports = {str(n): (f"Finding number {n} is stable.", "", "normal") for n in range(1, 41)}
    folder = write_csv(tmp_path / "c", reports)
    script = (
        "import sys, prdlib.data.preparation as p\n"
        "from prdlib.data import load_studies\n"
        "sys.modules['prdlib.data.preparation'].SHARD = 7\n"
        "p = sys.modules['prdlib.data.preparation']\n"
        f"p.prepare(load_studies('openi', directory={str(folder)!r}), {str(tmp_path / 'p')!r}, 32)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not list((tmp_path / "p").glob("shards/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    studies = load_studies("openi", directory=folder)
    resumed, fresh = prepare(studies, tmp_path / "p", 32), prepare(studies, tmp_path / "q", 32)
    for name in fresh:
        assert resumed[name].to_dict() == fresh[name].to_dict()
    assert (tmp_path / "p" / "dropped.csv").read_text() == (tmp_path / "q" / "dropped.csv").read_text()


def test_no_patient_stands_in_two_splits(openi):
    table = openi.table.copy()
    table["patient_id"] = "one"
    table["split"] = ["train", "test"] * 4
    with pytest.raises(DataError, match="more than one split"):
        studies_room.Studies(table, openi.dropped, "made up")


def test_findings_survive(openi, tmp_path):
    table = openi.table.copy()
    table["findings"] = [[{"name": "Edema", "box": [0.1, 0.2, 0.3, 0.4], "spans": [[0, 3]]}] for _ in range(len(table))]
    studies = studies_room.Studies(table, openi.dropped, "boxes", {}, openi.read_image)
    data = prepare(studies, tmp_path, 32)
    assert json.loads(next(iter(data.values()))[0]["findings"])[0]["spans"] == [[0, 3]]


def test_reports_are_those_of_the_fixture(openi):
    assert set(openi.table["study_id"]) == {f"openi-{uid}" for uid in REPORTS if uid != "3"}


def test_labels_may_be_any_kind_of_number_or_empty(openi, tmp_path):
    table = openi.table[[c for c in openi.table if not c.startswith("label:")]].copy()
    table["label:Object"] = pd.Series([1, None, True, 0, -1, None, 1.0, 0], dtype=object)
    studies = studies_room.Studies(table, openi.dropped, "labels", {}, openi.read_image)
    found = [row["labels"][0] for part in prepare(studies, tmp_path, 32).values() for row in part]
    assert sorted(v for v in found if v == v) == [-1, 0, 0, 1, 1, 1]
