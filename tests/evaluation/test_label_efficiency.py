"""Labels at 1, 10 and 100 %: parts drawn by patient, planted and shuffled labels, controls, patients that two splits share."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from painted import SIZES, painted
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from prdlib.data import DataError
from prdlib.evaluation import label_efficiency as module
from prdlib.evaluation.class_scores import multi_label_scores
from prdlib.evaluation.classification import probe_scores
from prdlib.evaluation.embeddings import image_features
from prdlib.evaluation.fine_tuning import IMAGE_FINE_TUNING
from prdlib.evaluation.label_efficiency import (
    CONSTANT,
    MODES,
    TABLE,
    UNTRAINED,
    label_efficiency,
    single_label_table,
    subset_table,
)
from prdlib.evaluation.label_subsets import only_labels, refuse_shared_patients, subset_rows, subsets, take
from prdlib.models import random_twin

QUICK = replace(IMAGE_FINE_TUNING, epochs=4, batch_size=16, learning_rate=1e-2, encoder_learning_rate_factor=0.3,
                precision="float32", augment=False)  # fmt: skip
PROBE, TUNED = MODES


@pytest.fixture(scope="module")
def splits():
    """l0 is painted into a corner, l1 is chance."""
    return {name: painted(size, seed, ((0, 0), None)) for seed, (name, size) in enumerate(SIZES.items())}


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model


@pytest.fixture(scope="module")
def probed(model, splits):
    models = {("tiny", 0): model, ("tiny", 1): random_twin(model, 5)}
    return label_efficiency(models, splits, (0.1, 1.0), modes=(PROBE,), resamples=200)


def cell(table, model, share, label="mean", metric="AUROC", mode=PROBE):
    keys = {"model": model, "mode": mode, "share": share, "label": label, "metric": metric}
    [row] = table[np.logical_and.reduce([table[k] == v for k, v in keys.items()])].to_dict("records")
    return row


# -- parts of the training split -------------------------------------------------------------------------------------------


def test_a_part_is_drawn_by_patient_and_from_seed_and_share_alone(splits):
    patients = splits["train"].patient_ids
    rows = subset_rows(patients, 0.25, 0)
    chosen = {patients[row] for row in rows}
    assert len(chosen) == 12  # of 48
    assert rows.tolist() == [row for row, patient in enumerate(patients) if patient in chosen]
    turned = subset_rows(patients[::-1], 0.25, 0)
    assert {patients[::-1][row] for row in turned} == chosen
    draws = [tuple(subset_rows(patients, 0.25, seed)) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(subset_rows(patients, 1e-6, 0)) == 2  # one patient at least
    assert subset_rows(patients, 1.0, 3).tolist() == list(range(96))
    with pytest.raises(ValueError, match=r"^A share of the training patients is above 0 and at most 1, not 1\.5\.$"):
        subset_rows(patients, 1.5, 0)


def test_subset_table_counts_studies_and_positives_and_names_what_is_not_learnt(splits):
    labels = splits["train"].labels.copy()
    labels[:, 1] = 0
    labels[:40, 0] = np.nan
    table = subset_table(replace(splits["train"], labels=labels), (0.1, 1.0))
    assert table.groupby("share").size().tolist() == [6, 2]  # three draws of a part, one of the whole
    whole = table[table["share"] == 1].set_index("label")
    assert whole.loc["l0", ["patients", "studies", "judged", "positives"]].tolist() == [
        48,
        96,
        56,
        (labels[40:, 0] == 1).sum(),
    ]
    assert whole["note"].tolist() == ["", "no positives: not learnt"]
    assert (table["studies"] == 2 * table["patients"]).all()
    only_present = subset_table(replace(splits["train"], labels=np.ones_like(labels)), (1.0,))
    assert set(only_present["note"]) == {"no negatives: not learnt"}
    with pytest.raises(
        ValueError, match=r"^2 shares with 2 different seeds: give a share or more, and 3 seeds or more\.$"
    ):
        subset_table(splits["train"], (0.1, 1.0), (0, 1))


def test_rows_and_labels_are_taken_together(splits):
    train, rows = splits["train"], np.array([5, 2])
    part = take(only_labels(train, ["l1"]), rows)
    assert part.label_names == ["l1"]
    assert part.labels[:, 0].tolist() == train.labels[rows, 1].tolist()
    assert [part.study_ids, part.patient_ids] == [["0-5", "0-2"], ["p0-2", "p0-1"]]
    assert np.array_equal(part.images, train.images[rows])
    with pytest.raises(DataError, match=r"^No label 'Edema' in these data: they have l0, l1\.$"):
        only_labels(train, ["Edema"])


def test_splits_that_share_a_patient_are_refused(model, splits):
    refuse_shared_patients(splits)
    shared = {**splits, "test": replace(splits["test"], patient_ids=["p0-7", *splits["test"].patient_ids[1:]])}
    sentence = r"^Patient 'p0-7' stands in train and in test: split by patient\.$"
    with pytest.raises(DataError, match=sentence):
        refuse_shared_patients(shared)
    for table in (label_efficiency, single_label_table):
        with pytest.raises(DataError, match=sentence):
            table({("tiny", 0): model}, shared)


# -- the table -------------------------------------------------------------------------------------------------------------


def test_a_painted_label_is_found_by_the_probe_beside_its_controls(probed, splits):
    assert list(probed.columns) == TABLE
    assert cell(probed, "tiny", 1.0, "l0")["value"] > 0.99
    chance = cell(probed, "tiny", 1.0, "l1")
    assert chance["ci_low"] < 0.5 < chance["ci_high"]
    assert set(probed["model"]) == {"tiny", UNTRAINED, CONSTANT}
    seeds = probed.groupby(["model", "share"])["seeds"].first()
    assert [seeds["tiny", 0.1], seeds["tiny", 1.0], seeds[CONSTANT, 0.1], seeds[CONSTANT, 1.0]] == [6, 2, 3, 1]
    assert (probed["ci_low"] <= probed["value"] + 1e-12).all()
    assert (probed["value"] <= probed["ci_high"] + 1e-12).all()
    own = probed[probed["model"] == "tiny"].reset_index(drop=True)
    twin = probed[probed["model"] == UNTRAINED].reset_index(drop=True)
    pd.testing.assert_series_equal(own["control"], twin["value"], check_names=False)
    assert probed[probed["model"] != "tiny"]["control"].isna().all()
    constant = probed[(probed["model"] == CONSTANT) & (probed["label"] != "mean")]
    assert constant["value"].to_numpy() == pytest.approx(constant["chance"].to_numpy())
    prevalence = splits["test"].labels.mean(axis=0)
    assert cell(probed, "tiny", 0.1, "l1", "AUPRC")["chance"] == pytest.approx(prevalence[1])


def test_the_probe_is_that_of_classification_on_the_rows_of_the_part(model, splits):
    table = label_efficiency({("tiny", 0): model}, splits, (0.5,), modes=(PROBE,), resamples=20)
    features = {name: image_features(model, split.images) for name, split in splits.items()}
    areas = []
    for seed in (0, 1, 2):
        rows = subset_rows(splits["train"].patient_ids, 0.5, seed)
        known = features["train"][rows], splits["train"].labels[rows]
        scores, _ = probe_scores(known, (features["validation"], splits["validation"].labels), features["test"])
        areas.append(roc_auc_score(splits["test"].labels[:, 0], scores[:, 0]))
    assert cell(table, "tiny", 0.5, "l0")["value"] == pytest.approx(np.mean(areas))


def test_shuffled_labels_have_chance_in_their_interval(model, splits):
    """As often as an interval of 95 % should: in 18 of 20 shuffles or more, 19 being expected."""
    features = {name: image_features(model, split.images) for name, split in splits.items()}
    half, inside = np.full((1, 2), 0.5), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shuffled = {name: replace(split, labels=rng.permutation(split.labels)) for name, split in splits.items()}
        known = [(features[name], shuffled[name].labels) for name in ("train", "validation")]
        scores, _ = probe_scores(*known, features["test"])
        test = shuffled["test"]
        rows = multi_label_scores(test.labels, expit(scores)[None], ["a", "b"], test.patient_ids, half, half, 200)
        mean = rows[(rows["metric"] == "AUROC") & (rows["label"] == "mean")].iloc[0]
        inside += mean["ci_low"] < 0.5 < mean["ci_high"]
    assert 18 <= inside <= 20


def test_a_label_that_no_part_can_teach_says_so_and_test_labels_are_not_read(model, splits):
    none = {name: replace(split, labels=split.labels.copy()) for name, split in splits.items()}
    none["train"].labels[:, 1] = 0
    table = label_efficiency({("tiny", 0): model}, none, (1.0,), (0,), (PROBE,), resamples=20)
    row = cell(table, "tiny", 1.0, "l1")
    assert np.isnan(row["value"])
    assert row["note"] == "not learnt: one class only in training"
    assert cell(table, "tiny", 1.0)["note"] == "of 1 of 2 labels"
    turned = {**none, "test": replace(none["test"], labels=1 - none["test"].labels)}
    other = label_efficiency({("tiny", 0): model}, turned, (1.0,), (0,), (PROBE,), resamples=20)
    assert cell(other, "tiny", 1.0, "l0")["value"] == pytest.approx(1 - cell(table, "tiny", 1.0, "l0")["value"])


def test_fine_tuning_stands_in_the_same_table(model, splits):
    models, lines = {("tiny", 0): model}, []
    table = label_efficiency(
        models, splits, (1.0,), (0,), settings=QUICK, least_steps=0, resamples=100, report=lines.append
    )
    assert cell(table, "tiny", 1.0, "l0", mode=TUNED)["value"] > 0.99
    assert cell(table, "tiny", 1.0, mode=TUNED)["control"] == cell(table, UNTRAINED, 1.0, mode=TUNED)["value"]
    assert table.groupby(["model", "mode"]).size().tolist() == [15] * 6
    assert sum(line.endswith("done") for line in lines) == 4


def test_small_parts_are_read_more_often_and_those_that_teach_nothing_are_not_read(model, splits, monkeypatch):
    asked = []

    def spy(model, train, validation, seed, head, classes, settings, report, passes):
        asked.append((len(train.study_ids), head, classes, passes, settings.encoder_learning_rate_factor))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fine_tune_images", spy)
    with pytest.raises(KeyboardInterrupt):
        label_efficiency({("tiny", 0): model}, splits, (0.25,), modes=(TUNED,), settings=QUICK, least_steps=100)
    steps = 2 * QUICK.epochs
    assert asked == [(24, "multi-label", 2, -(-100 // steps), 0.3)]
    absent = {**splits, "train": replace(splits["train"], labels=np.zeros_like(splits["train"].labels))}
    table = label_efficiency({("tiny", 0): model}, absent, (0.1,), modes=(TUNED,), settings=QUICK, resamples=20)
    assert set(table[table["model"] != CONSTANT]["note"]) == {
        "not learnt: one class only in training",
        "no label has this score",
    }
    assert len(asked) == 1


def test_exclusive_classes_have_a_table_of_their_own(model, splits):
    one_hot = {
        name: replace(split, labels=np.stack([split.labels[:, 0], 1 - split.labels[:, 0]], axis=1))
        for name, split in splits.items()
    }
    table = single_label_table({("tiny", 0): model}, one_hot, replace(QUICK, epochs=4), 100)
    assert list(table.columns) == TABLE
    rows = table.set_index(["model", "metric"])
    assert rows.loc[("tiny", "macro AUROC"), "value"] > 0.95
    assert rows.loc[("tiny", "accuracy"), "control"] == rows.loc[(UNTRAINED, "accuracy"), "value"]
    common = int(one_hot["train"].labels.sum(axis=0).argmax())
    assert rows.loc[(CONSTANT, "accuracy"), "value"] == pytest.approx(one_hot["test"].labels[:, common].mean())
    assert rows["chance"].tolist() == [0.5] * 9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modes": ("probe",)}, "Give a model or more, and modes out of linear probe, fine-tuned: got 1 and ['probe']."),
        ({"head": "single-label"}, "Classes that exclude each other are another table's: call single_label_table."),
        ({"name": "untrained"}, "A model cannot be named 'untrained': such rows are made here."),
        ({"classes": 3}, "No training label is uncertain (-1), so there is no third class: load with uncertain='keep', or "
                         "take two classes (evaluation.fine_tuning_head=multi-task; classes=2)."),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(model, splits, options, sentence):
    name = options.pop("name", "tiny")
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        label_efficiency({(name, 0): model}, splits, **options)


def test_splits_with_other_labels_are_refused(model, splits):
    with pytest.raises(DataError, match=r"^The labels of train, validation and test are .*: choose the same for all"):
        label_efficiency({("tiny", 0): model}, {**splits, "test": only_labels(splits["test"], ["l1"])})


def test_a_label_that_some_draws_cannot_teach_counts_as_the_constant_there(model, splits):
    """Two of three draws hold no positive of a rare label: the mean is not that of the lucky draw alone."""
    train = splits["train"]
    labels = train.labels.copy()
    parts = subsets(train.patient_ids, (0.3,), (0, 1, 2))
    only = [
        set(rows) - set().union(*(other for key, other in parts.items() if key != draw)) for draw, rows in parts.items()
    ]
    labels[:, 0] = 0
    labels[sorted(only[0])[:2], 0] = 1
    table = label_efficiency(
        {("tiny", 0): model}, {**splits, "train": replace(train, labels=labels)}, (0.3,), modes=(PROBE,), resamples=20
    )
    own = table[(table["model"] == "tiny") & (table["metric"] == "AUROC")].set_index("label")
    name = train.label_names[0]
    assert own.loc[name, "note"].endswith("learnt in 1 of 3 draws, the constant in the others")
    assert own.loc["mean", "note"].endswith("learnt in 4 of 6 labels of draws, the constant in the others")
    alone = label_efficiency(
        {("tiny", 0): model},
        {**splits, "train": take(replace(train, labels=labels), parts[0.3, 0])},
        (1.0,),
        modes=(PROBE,),
        resamples=20,
    )
    lucky = alone[(alone["model"] == "tiny") & (alone["metric"] == "AUROC") & (alone["label"] == name)]["value"].iloc[0]
    assert own.loc[name, "value"] == pytest.approx((lucky + 0.5 + 0.5) / 3)
