"""Prepared data: made once, changed when the input changes, never half-written."""

import json

import numpy as np
import pytest

from prdlib.data import DataError, load_prepared, load_studies, prepare, prepared_info
from prdlib.data.batches import EvaluationData, images_of
from prdlib.data.preparation import content_hash, tagged_report
from prdlib.text import tag


def test_a_second_call_does_nothing(tiny_studies, tmp_path):
    prepare(tiny_studies, tmp_path, 32, 40)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = prepare(tiny_studies, tmp_path, 32, 40)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert sum(map(len, again.values())) == len(tiny_studies.table)


def test_images_words_and_labels_survive(tiny_studies, tiny_data):
    row = tiny_data["train"][5]
    source = tiny_studies.table[tiny_studies.table["study_id"] == row["study_id"]].iloc[0]
    assert np.array_equal(images_of(tiny_data["train"])[5], tiny_studies.read_image(source))
    assert tagged_report(row) == tag([source["report"]], 40)[0]
    assert row["labels"] == [source[f"label:{name}"] for name in tiny_studies.labels]
    assert json.loads(row["findings"]) == source["findings"]


def test_an_interrupted_preparation_goes_on_and_a_half_written_one_is_not_used(tiny_studies, tmp_path, monkeypatch):
    import prdlib.data.preparation as module

    monkeypatch.setattr(module, "SHARD", 20)
    read = tiny_studies.read_image
    count = 0

    def failing(row):
        nonlocal count
        count += 1
        if count == 45:
            raise KeyboardInterrupt
        return read(row)

    object.__setattr__(tiny_studies, "read_image", failing)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepare(tiny_studies, tmp_path, 32, 40)
        with pytest.raises(DataError, match="No prepared data"):
            load_prepared(tmp_path)
        done = count
        prepare(tiny_studies, tmp_path, 32, 40)
        assert count - done == len(tiny_studies.table) - 40  # two whole shards were kept
    finally:
        object.__setattr__(tiny_studies, "read_image", read)
    assert sum(c["images"] for c in prepared_info(tmp_path)["counts"].values()) == len(tiny_studies.table)


def test_the_hash_follows_table_size_and_limit(tiny_studies):
    other = load_studies("phantom", n=61, size=32, seed=3)
    hashes = {
        content_hash(tiny_studies, 32, 40), content_hash(tiny_studies, 33, 40), content_hash(tiny_studies, 32, 41),
        content_hash(other, 32, 40),
    }  # fmt: skip
    assert len(hashes) == 4
    assert content_hash(tiny_studies, 32, 40) == content_hash(load_studies("phantom", n=60, size=32, seed=3), 32, 40)


def test_one_study_with_a_report_of_2000_words(tmp_path):
    studies = load_studies("phantom", n=1, size=32)
    studies.table.loc[0, "report"] = "small effusion " * 1000
    data = prepare(studies, tmp_path, 32, 50)
    row = next(iter(data.values()))[0]
    assert (len(row["words"]), row["n_words"]) == (50, 2000)


def test_evaluation_takes_one_frontal_image_per_study(tiny_data):
    data = EvaluationData.first_views(tiny_data["train"], ["a"])
    assert len(set(data.study_ids)) == len(data.study_ids) == len(data.images) == len(data.tagged)
    views = (
        tiny_data["train"]
        .select(range(3))
        .map(lambda _, i: {"study_id": "s", "view": ["Lateral", "Frontal", "Frontal"][i]}, with_indices=True)
    )
    chosen = EvaluationData.first_views(views)
    assert np.array_equal(chosen.images[0], images_of(views)[1])
