"""The frozen set: the same for everybody, without texts, and it notices other reports."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prdlib import text
from prdlib.data import phantom
from prdlib.evaluation import benchmark_set
from prdlib.evaluation.benchmark_set import (
    BenchmarkError,
    _packed,
    _unpacked,
    benchmark_header,
    benchmark_split,
    load_benchmark_set,
    make_benchmark_set,
    report_hash,
)
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
    assert (made.split, made.of) == ("test", len(made.study_ids))
    assert benchmark_split(tmp_path / "set.jsonl") == "test"
    assert benchmark_header(tmp_path / "set.jsonl")["hash"] == made.hash


def test_texts_are_written_for_phantoms_alone_and_the_rules_are_named(reports, tmp_path):
    for source, written in (("phantom", True), ("openi", False)):
        made = make_benchmark_set(*reports, seed=4, source=source)
        header, *lines = (json.loads(line) for line in made.save(tmp_path / source).read_text().splitlines())
        assert header["rules"] == benchmark_set.rules_hash()
        assert {"text" in line for line in lines} == {written}
        copies = {(s, k): made.copies[k][i] for i, s in enumerate(made.study_ids) for k in made.kinds}
        for line in lines if written else ():
            copy = copies[line["study_id"], line["kind"]]
            assert line["text"] == (" ".join(copy) if copy else line["text"])
            assert (line["text"] is None) == (not line["applies"])


def test_a_study_that_stands_twice_is_refused(reports):
    with pytest.raises(BenchmarkError, match="stands in the table more than once"):
        make_benchmark_set(reports[0][:2], ["a", "a"])


def test_a_copy_that_came_out_as_its_original_is_a_noop_and_not_an_edit_that_does_not_apply(tmp_path):
    tagged, ids = tag(["Effusion effusion.", "Small left effusion."]), ["a", "b"]
    kinds = ("shuffle_all_words", "swap_laterality")
    made = make_benchmark_set(tagged, ids, kinds)
    assert made.noops("shuffle_all_words") == [0]
    assert made.noops("swap_laterality") == []  # to the first it does not apply
    assert made.applicable("shuffle_all_words") == made.applicable("swap_laterality") == [1]
    assert made.noops(*kinds) == [0]
    again = load_benchmark_set(made.save(tmp_path / "set.jsonl"), tagged, ids)
    assert again == made
    assert again.noops("shuffle_all_words") == [0]


def test_the_hash_covers_lines_and_header(reports):
    made = make_benchmark_set(*reports, seed=4, source="phantom")
    assert make_benchmark_set(*reports, seed=4, source="phantom").hash == made.hash
    others = [make_benchmark_set(*reports, seed=5, source="phantom"), make_benchmark_set(*reports, seed=4, source="openi"),
              make_benchmark_set(*reports, seed=4, source="phantom", split="validation"),
              make_benchmark_set(*reports, kinds=made.kinds[:-1], seed=4, source="phantom"),
              replace(made, seed=5)]  # fmt: skip
    assert len({made.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_a_report_is_hashed_once_a_study(reports, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(benchmark_set, "report_hash", lambda words: hashed.append(words) or report_hash(words))
    made = make_benchmark_set(*reports)
    assert made.hash == made.hash
    assert len(hashed) == len(made.study_ids)
    path = made.save(tmp_path / "set.jsonl")
    hashed.clear()
    load_benchmark_set(path, *reports)
    assert len(hashed) == len(made.study_ids)


def test_order_of_the_table_and_missing_studies_do_not_matter(reports, tmp_path):
    tagged, ids = reports
    made = make_benchmark_set(tagged, ids, ("swap_laterality",), source="phantom")
    path = made.save(tmp_path / "set.jsonl")
    part = load_benchmark_set(path, tagged[10:][::-1], ids[10:][::-1])
    assert part.study_ids == made.study_ids[10:]
    assert (len(part.study_ids), part.of) == (30, 40)
    assert part.hash != made.hash
    assert part.copies["swap_laterality"] == made.copies["swap_laterality"][10:]


def leaves(node):
    """Every word of a YAML file, keys too."""
    if isinstance(node, dict):
        node = [*node, *node.values()]
    if isinstance(node, list):
        return {word for part in node for word in leaves(part)}
    return set(str(node).replace("_", " ").split())


def new_words(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return {part[1:] for line in lines for part in line["edit"] or () if part.startswith("=")}


def test_no_report_text_is_in_the_file(tmp_path):
    """New words are the edits' own, so none is a word that only the reports have."""
    folder = Path(text.__file__).parent
    known = set.union(*(leaves(yaml.safe_load((folder / f"{n}.yaml").read_text())) for n in ("clinical", "lexicon")))
    items = [phantom.study(3, i) for i in range(200)]
    tagged, ids = tag([item.report for item in items]), [item.study_id for item in items]
    made = make_benchmark_set(tagged, ids, source="phantom")
    new = new_words(made.save(tmp_path / "set.jsonl"))
    assert len(new) > 30
    assert {word for word in new - known if not word.replace(".", "").isdigit()} == set()
    assert len({word for words in made.originals for word in words} - known) > 30  # that a leak would show
    spelled = dict(made.operations, swap_laterality=made.originals)
    leaked = replace(made, operations=spelled).save(tmp_path / "leaked.jsonl")
    assert new_words(leaked) - known


def rehashed(text, drop=None, **changes):
    """A file whose hash is right and whose content is not."""
    header, *lines = map(json.loads, text.splitlines())
    lines = [{name: value for name, value in line.items() if name != drop} for line in lines]
    header |= changes
    header["hash"] = benchmark_set._hash(header, lines)
    return "\n".join(map(json.dumps, [header, *lines]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace('"applies": true', '"applies": false', 1), "was changed or cut off"),
        (lambda text: "\n".join(text.splitlines()[:-3]), "was changed or cut off"),
        (lambda text: text.replace('"version": 4', '"version": 9'), "has version 9"),
        (lambda text: text.replace('"version": 4, ', ""), "has version None"),
        (lambda text: text.replace('"seed": 0, ', ""), "no valid seed"),
        (lambda text: text.replace('"seed": 0', '"seed": "0"'), "no valid seed"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "was changed or cut off"),
        (lambda text: text.replace('"split": "test"', '"split": "train"'), "was changed or cut off"),
        (lambda text: text.replace('"kinds": ["swap_laterality"]', '"kinds": []'), "was changed or cut off"),
        (lambda text: text.replace('"kinds": ["swap_laterality"]', '"kinds": 3'), "no valid kinds"),
        (lambda text: text.replace('["swap_laterality"]', '["swap_laterality", "new"]'), "an edit 'new'"),
        (lambda text: rehashed(text, drop="kind"), "was changed or cut off"),
        (lambda text: rehashed(text, kinds=[]), "was changed or cut off"),
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


def test_the_first_studies_are_the_set_drawn_for_them_alone(reports):
    made, alone = make_benchmark_set(*reports, seed=4), make_benchmark_set(reports[0][:15], reports[1][:15], seed=4)
    assert made.first(15) == alone
    assert made.first(15).hash == alone.hash != made.hash
    assert made.first(100) == made
