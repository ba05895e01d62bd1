"""The frozen set: the same for everybody, without texts, and it notices other reports."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prdlib.data import phantom
from prdlib.evaluation.benchmark_set import BenchmarkError, _packed, _unpacked, load_benchmark_set, make_benchmark_set
from prdlib.text import PERTURBATIONS, tag


@pytest.fixture(scope="module")
def reports():
    items = [phantom.study(3, i) for i in range(40)]
    return tag([item.report for item in items]), [item.study_id for item in items]


@given(st.lists(st.one_of(st.integers(0, 60), st.sampled_from(["no", "a", "3.5", "left"])), max_size=40))
def test_operations_survive_packing(operations):
    assert _unpacked(_packed(operations)) == tuple(operations)


def test_a_set_read_again_is_the_set_that_was_written(reports, tmp_path):
    made = make_benchmark_set(*reports, seed=4, source="phantom")
    assert made.kinds == tuple(PERTURBATIONS)
    again = load_benchmark_set(made.save(tmp_path / "set.jsonl"), *reports)
    assert again == made
    assert again.hash == made.hash
    assert make_benchmark_set(*reports, seed=5, source="phantom").hash != made.hash


def test_order_of_the_table_and_missing_studies_do_not_matter(reports, tmp_path):
    tagged, ids = reports
    made = make_benchmark_set(tagged, ids, ("swap_laterality",), source="phantom")
    path = made.save(tmp_path / "set.jsonl")
    part = load_benchmark_set(path, tagged[10:][::-1], ids[10:][::-1])
    assert part.study_ids == made.study_ids[10:]
    assert part.copies["swap_laterality"] == made.copies["swap_laterality"][10:]


def test_no_report_text_is_in_the_file(reports, tmp_path):
    """New words are the edits' own: no line holds two neighbouring words of a report."""
    tagged, ids = reports
    lines = make_benchmark_set(tagged, ids, source="x").save(tmp_path / "set.jsonl").read_text().splitlines()[1:]
    for line in map(json.loads, lines):
        new = [part[1:] for part in line["edit"] or [] if part.startswith("=")]
        assert len(new) <= 16


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace('"applies": true', '"applies": false', 1), "was changed or cut off"),
        (lambda text: "\n".join(text.splitlines()[:-3]), "was changed or cut off"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "has version 9"),
        (lambda text: "{}\n" + text, "lacks the format"),
        (lambda text: text + "not json", "no JSON"),
        (lambda text: "", "the file is empty"),
    ],
)
def test_a_damaged_file_is_one_sentence(reports, tmp_path, change, sentence):
    path = make_benchmark_set(*reports, kinds=("swap_laterality",)).save(tmp_path / "set.jsonl")
    path.write_text(change(path.read_text()))
    with pytest.raises(BenchmarkError, match=sentence):
        load_benchmark_set(path, *reports)


def test_other_reports_and_other_studies_are_found_out(reports, tmp_path):
    tagged, ids = reports
    path = make_benchmark_set(tagged, ids, ("swap_laterality",), source="phantom").save(tmp_path / "set.jsonl")
    with pytest.raises(BenchmarkError, match=r"the report of .* is not the one"):
        load_benchmark_set(path, tagged[1:] + tagged[:1], ids)
    with pytest.raises(BenchmarkError, match="has none of these studies"):
        load_benchmark_set(path, tagged, [f"other-{i}" for i in ids])
    with pytest.raises(BenchmarkError, match="benchmark-set"):
        load_benchmark_set(tmp_path / "missing.jsonl", tagged, ids)
