"""Sentence pairs: RadNLI and MedNLI in their published layouts, the phantom's own, and what is refused or left out."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from prdlib.data import DataError
from prdlib.data.nli import PAIR_COLUMNS, SentencePairs, load_mednli, load_phantom_pairs, load_radnli
from prdlib.data.phantom_pairs import LABELS
from prdlib.data.studies import empty_drops

PREMISES = {
    "radnli_dev_v1": ["No pneumothorax.", "Small left effusion."],
    "radnli_test_v1": ["Heart size is normal.", "Mild edema."],
    "mli_train_v1": ["He denied chest pain.", "Labs were notable for Cr 1.7."],
    "mli_dev_v1": ["She has a history of asthma.", "EKG showed sinus rhythm."],
    "mli_test_v1": ["The patient was intubated.", "Afebrile overnight."],
}


def lines_of(stem):
    """Three pairs of each premise, in the keys of the published files."""
    lines = []
    for number, premise in enumerate(PREMISES[stem]):
        for label in LABELS:
            pair = {"sentence1": premise, "sentence2": f"Hypothesis, {label}, of {number}.", "gold_label": label}
            if stem.startswith("mli"):
                parses = {f"sentence{k}_{kind}": "(ROOT (S))" for k in (1, 2) for kind in ("parse", "binary_parse")}
                pair |= {"pairID": f"{stem}-{number}-{label}", **parses}
            else:
                pair["pair_id"] = f"{stem}-{number}-{label}"
            lines.append(pair)
    return lines


def write(folder, **changed):
    """Every file of both collections. changed: stem -> a function that changes its list of lines in place."""
    for stem in PREMISES:
        lines = lines_of(stem)
        changed.get(stem, lambda _: None)(lines)
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        (folder / f"{stem}.jsonl").write_text(text, encoding="utf-8")
    return folder


def put(number, **values):
    """A change of line ``number`` (from 1): None removes a key."""

    def change(lines):
        lines[number - 1] = {k: v for k, v in {**lines[number - 1], **values}.items() if v is not None}

    return change


def replaced(number, text):
    def change(lines):
        lines[number - 1] = text

    return change


def test_mednli_has_three_splits_under_pairid(tmp_path):
    pairs = load_mednli(write(tmp_path))
    assert tuple(pairs.table.columns) == PAIR_COLUMNS
    assert pairs.table["split"].value_counts().to_dict() == {"train": 6, "validation": 6, "test": 6}
    first = pairs.split("train").iloc[0]
    assert first["pair_id"] == "mli_train_v1-0-entailment"
    assert (first["premise"], first["hypothesis"]) == ("He denied chest pain.", "Hypothesis, entailment, of 0.")
    assert pairs.table["group"].nunique() == 6
    assert pairs.summary().loc["test"].to_dict() == {
        "pairs": 6, "premises": 2, "hypotheses": 6, "entailment": 2, "neutral": 2, "contradiction": 2,
    }  # fmt: skip
    assert pairs.dropped.empty


def test_radnli_has_no_training_part_and_takes_mednlis(tmp_path):
    folder = write(tmp_path)
    alone = load_radnli(folder)
    assert alone.split("train").empty
    assert set(alone.split("validation")["premise"]) == set(PREMISES["radnli_dev_v1"])
    assert set(alone.split("test")["premise"]) == set(PREMISES["radnli_test_v1"])
    assert alone.options == {"training": "none"}
    both = load_radnli(folder, mednli=folder)
    assert set(both.split("train")["premise"]) == set(PREMISES["mli_train_v1"])
    assert both.split("test").equals(alone.split("test"))
    assert both.options == {"training": "MedNLI"}


def test_numbers_may_be_ids_and_files_may_number_alike(tmp_path):
    folder = write(tmp_path, radnli_dev_v1=put(1, pair_id=7), radnli_test_v1=put(2, pair_id="7"))
    assert (load_radnli(folder).table["pair_id"] == "7").sum() == 2


def test_blank_lines_are_no_pairs_and_spaces_around_are_cut(tmp_path):
    def change(lines):
        lines[0]["sentence1"] = "  No pneumothorax.\n"
        lines.insert(1, "   ")

    pairs = load_radnli(write(tmp_path, radnli_dev_v1=change))
    assert len(pairs.split("validation")) == 6
    assert pairs.split("validation")["premise"].iloc[0] == "No pneumothorax."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced(3, '{"sentence1": '), r"MedNLI: mli_dev_v1\.jsonl, line 3: not valid JSON"),
        (replaced(2, "[1, 2]"), r"line 2: a list, not an object"),
        (put(4, gold_label="-"), r"line 4: gold_label is '-': it must be one of entailment, neutral, contradiction"),
        (put(4, gold_label=1), r"line 4: gold_label is 1, not text"),
        (put(1, sentence2=None), r"line 1: no key 'sentence2' \(it has sentence1, gold_label"),
        (put(1, pairID=None, pair_id="x"), r"line 1: no key 'pairID'"),
        (put(6, sentence1=["He"]), r"line 6: sentence1 is \['He'\], not text"),
        (put(6, pairID=" "), r"line 6: pairID is empty"),
        (put(6, pairID=True), r"line 6: pairID is True, not text"),
        (put(5, pairID="mli_dev_v1-0-neutral"), r"line 5: pair 'mli_dev_v1-0-neutral' stands above already"),
        (lambda lines: lines.clear(), r"mli_dev_v1\.jsonl holds no pair"),
    ],
)
def test_a_bad_line_is_one_sentence_with_file_and_line(tmp_path, change, message):
    with pytest.raises(DataError, match=message) as caught:
        load_mednli(write(tmp_path, mli_dev_v1=change))
    assert "\n" not in str(caught.value)


def test_missing_folders_and_files_and_other_encodings_are_one_sentence(tmp_path):
    for name, load in (("MedNLI", load_mednli), ("RadNLI", load_radnli)):
        message = rf"^{name} not found at '': give its folder as downloaded \(setting evaluation.nli_directory\).$"
        with pytest.raises(DataError, match=message):
            load("")
    folder = write(tmp_path)
    (folder / "radnli_test_v1.jsonl").write_bytes('{"sentence1": "größer"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"radnli_test_v1\.jsonl is not UTF-8"):
        load_radnli(folder)
    (folder / "radnli_test_v1.jsonl").unlink()
    with pytest.raises(DataError, match=r"RadNLI: radnli_test_v1\.jsonl is missing in"):
        load_radnli(folder)
    with pytest.raises(DataError, match=r"MedNLI not found at .*\(setting evaluation.nli_training\)"):
        load_radnli(write(tmp_path), mednli=tmp_path / "nowhere")


def test_sentences_without_words_are_left_out_and_listed(tmp_path):
    pairs = load_mednli(write(tmp_path, mli_train_v1=put(2, sentence2=" .. "), mli_test_v1=put(1, sentence1="")))
    assert len(pairs.table) == 16
    assert pairs.dropped.to_dict("records") == [
        {"item": "mli_train_v1-0-neutral", "reason": "a sentence without words", "where": "mli_train_v1.jsonl, line 2"},
        {
            "item": "mli_test_v1-0-entailment",
            "reason": "a sentence without words",
            "where": "mli_test_v1.jsonl, line 1",
        },
    ]


def test_a_premise_of_two_splits_stays_where_it_is_scored(tmp_path):
    shared, chosen = PREMISES["mli_test_v1"][0], PREMISES["mli_dev_v1"][0]
    changes = {
        "mli_dev_v1": put(4, sentence1=shared.upper()),  # also in test
        "mli_train_v1": lambda lines: [put(1, sentence1=shared)(lines), put(2, sentence1=chosen)(lines)],
    }
    pairs = load_mednli(write(tmp_path, **changes))
    assert len(pairs.split("test")) == 6
    assert (pairs.split("validation")["premise"] == chosen).sum() == 3
    assert set(pairs.dropped["item"]) == {
        "mli_dev_v1-1-entailment",
        "mli_train_v1-0-entailment",
        "mli_train_v1-0-neutral",
    }
    assert set(pairs.dropped["reason"]) == {"premise stands in another split"}
    assert "mli_dev_v1.jsonl, line 4" in set(pairs.dropped["where"])


def table(**changes):
    values = {
        "pair_id": ["1", "2", "3"], "premise": ["A b.", "A b.", "C."], "hypothesis": ["D.", "E.", "F."],
        "label": list(LABELS), "split": ["train", "train", "test"], "group": ["g", "g", "h"],
    }  # fmt: skip
    return pd.DataFrame(values | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"split": ["train", "test", "test"], "group": ["g", "h", "h"]},
            "'premise' is 'A b.': it stands in more than one",
        ),
        (
            {"premise": ["A b.", "a B", "C."], "split": ["train", "test", "test"], "group": ["g", "i", "h"]},
            "more than one",
        ),
        ({"group": ["g", "g", "g"]}, "column 'group' is 'g': it stands in more than one split"),
        ({"pair_id": ["1", "1", "3"]}, "Row 1 .* 'pair_id' is '1': it stands twice"),
        ({"label": ["entailment", "yes", "neutral"]}, "Row 1 .* 'label' is 'yes'"),
        ({"split": ["train", "train", "dev"]}, "Row 2 .* 'split' is 'dev'"),
        ({"hypothesis": ["D.", None, "F."]}, "Row 1 .* 'hypothesis' is .*text with words"),
        ({"premise": ["A b.", "A b.", "?!"]}, "Row 2 .* 'premise' is '\\?!'"),
    ],
)
def test_the_table_refuses_bad_cells(changes, message):
    assert len(SentencePairs(table(), empty_drops(), "mine").table) == 3
    with pytest.raises(DataError, match=message):
        SentencePairs(table(**changes), empty_drops(), "mine")


def test_the_table_refuses_missing_columns_emptiness_and_unknown_splits():
    with pytest.raises(DataError, match="no column 'group'"):
        SentencePairs(table().drop(columns="group"), empty_drops(), "mine")
    with pytest.raises(DataError, match="No usable sentence pair in 'mine'"):
        SentencePairs(table().head(0), empty_drops(), "mine")
    with pytest.raises(DataError, match="Unknown split 'dev'"):
        SentencePairs(table(), empty_drops(), "mine").split("dev")


@pytest.fixture(scope="module")
def phantom_pairs():
    return load_phantom_pairs(400, seed=1)


def test_the_phantoms_pairs_are_balanced_in_every_split(phantom_pairs):
    counts = phantom_pairs.summary()
    assert (counts[list(LABELS)].nunique(axis=1) == 1).all()
    assert (counts["pairs"] > 90).all()
    assert len(phantom_pairs.table) + len(phantom_pairs.dropped) == 3600
    assert (phantom_pairs.table.groupby("group").size() == 9).all()
    assert set(phantom_pairs.dropped["reason"]) <= {"premise stands in another split"}


@pytest.mark.parametrize("column", ["hypothesis", "premise"])
def test_one_sentence_of_the_phantom_says_nothing_of_the_label(phantom_pairs, column):
    train, test = phantom_pairs.split("train"), phantom_pairs.split("test")

    def accuracy(known, asked):
        features = CountVectorizer(ngram_range=(1, 2))
        model = LogisticRegression(max_iter=500).fit(features.fit_transform(known), train["label"])
        return model.score(features.transform(asked), test["label"])

    assert accuracy(train[column], test[column]) == pytest.approx(1 / 3)
    told = accuracy(train[column] + " " + train["label"], test[column] + " " + test["label"])
    assert told > 0.99  # the same classifier reads a label that is there


def test_the_phantoms_pairs_depend_on_the_seed_alone(phantom_pairs):
    assert load_phantom_pairs(400, seed=1).table.equals(phantom_pairs.table)
    few = load_phantom_pairs(20, seed=1)
    known = phantom_pairs.table.set_index("pair_id").drop(columns="split")
    shared = few.table[np.isin(few.table["pair_id"], known.index)].set_index("pair_id").drop(columns="split")
    assert len(shared) > 90
    assert known.loc[shared.index].equals(shared)
    assert not load_phantom_pairs(20, seed=2).table["premise"].isin(known["premise"]).all()


@pytest.mark.parametrize(("squares", "seed"), [(0, 0), (3, -1)])
def test_the_phantom_refuses_bad_numbers(squares, seed):
    with pytest.raises(DataError, match="at least"):
        load_phantom_pairs(squares, seed)
