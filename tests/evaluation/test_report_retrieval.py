"""The nearest training report and its controls: planted reports, degenerate collections, resamples, a model with two seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from written_collection import KINDS, KNOWN, collection, of_kinds

from prdlib.data import DataError
from prdlib.evaluation import report_retrieval
from prdlib.evaluation.embeddings import mean_image
from prdlib.evaluation.report_overlap import METRICS, overlap_scores
from prdlib.evaluation.report_retrieval import (
    CEILING,
    COLUMNS,
    CONTROLS,
    GAIN,
    choice_statistics,
    image_choices,
    nearest_reports,
    report_retrieval_table,
    text_choices,
)
from prdlib.models import build_model

ALL = [*KINDS] * 3
TRAIN = [(0, 0)] * 6 + [(1, 0)] * 4 + [(0, 1)] * 3 + [(1, 1)] * 2


@pytest.fixture
def sighted(monkeypatch):
    """A model that knows whose report an image is: both have the axis of their kind. 'blind' gives every image the same."""

    def images(model, pixels):
        levels = torch.from_numpy(pixels[:, 0, 0].astype(np.int64))
        return torch.eye(len(KNOWN) + 1)[levels if model == "sighted" else torch.zeros_like(levels)]

    def reports(model, marked):
        return torch.eye(len(KNOWN) + 1)[[KNOWN.index(" ".join(words)) for words in marked]]

    monkeypatch.setattr(report_retrieval, "embed_images", images)
    monkeypatch.setattr(report_retrieval, "embed_reports", reports)


def test_the_nearest_report_is_the_first_of_equally_near_ones():
    reports = torch.tensor([[0.0, 1], [1, 0], [1, 0]])
    assert nearest_reports(torch.tensor([[1.0, 0], [0, 1], [1, 1]]), reports).tolist() == [1, 0, 0]


def test_planted_reports_are_found_word_for_word_and_beat_every_control(sighted):
    train, test = of_kinds(TRAIN), of_kinds(ALL, first=100)
    table = report_retrieval_table({("m", 0): "sighted"}, train, test, mean_image(train.images), 200)
    assert list(table) == COLUMNS
    cells = table.set_index(["metric", "input"])
    for metric, full in zip(METRICS, (100, 1, 1, 1), strict=True):
        for name in ("image", CEILING):
            assert cells.loc[(metric, name), ["value", "ci_low", "ci_high"]].tolist() == pytest.approx([full] * 3)
        assert cells.loc[(metric, GAIN), "ci_low"] > 0
        controls = cells.loc[[(metric, name) for name in CONTROLS], "value"]
        assert cells.loc[(metric, GAIN), "value"] == pytest.approx(full - controls.max())
        assert cells.loc[(metric, "image"), "chance"] == cells.loc[(metric, "random report"), "value"]
        assert cells.loc[(metric, GAIN), "chance"] == 0
    assert table[["n", "pool", "seeds"]].eq([12, 4, 1]).all().all()
    # 'the lungs are clear' is the commonest report of training and states no label.
    assert cells.loc[("label F1, micro", "most frequent report"), "value"] == 0


def test_a_model_that_sees_nothing_gains_nothing(sighted):
    train, test = of_kinds(TRAIN), of_kinds(ALL, first=100)
    table = report_retrieval_table({("m", 0): "blind"}, train, test, mean_image(train.images), 200)
    cells = table.set_index(["input", "metric"])
    same = ["value", "ci_low", "ci_high"]
    assert np.array_equal(cells.loc["image", same], cells.loc["mean image", same])
    assert (cells.loc[GAIN, ["value", "ci_high"]] <= 0).all().all()


def test_seeds_are_a_second_level(sighted):
    train, test = of_kinds(TRAIN), of_kinds(ALL, first=100)
    models = {("m", 0): "sighted", ("m", 1): "blind", ("n", 0): "sighted"}
    table = report_retrieval_table(models, train, test, mean_image(train.images), 200).set_index(
        ["model", "metric", "input"]
    )
    both, one = (table.loc[(name, "ROUGE-L", "image")] for name in "mn")
    assert (both["seeds"], one["seeds"]) == (2, 1)
    assert one["value"] == 1
    rows = image_choices("blind", train, test, mean_image(train.images))["image"]
    blind = overlap_scores(choice_statistics(rows, train, test).sum(axis=0, keepdims=True))["ROUGE-L"].iloc[0]
    assert both["value"] == pytest.approx((1 + blind) / 2)
    assert both["ci_low"] < blind + 0.1
    assert both["ci_high"] == 1


class TestControls:
    def test_where_all_reports_say_the_same_every_control_is_the_answer(self, sighted):
        train, test = of_kinds([(1, 0)] * 5), of_kinds([(1, 0)] * 3, first=50)
        table = report_retrieval_table({("m", 0): "sighted"}, train, test, mean_image(train.images), 100)
        values = table.pivot(index="input", columns="metric", values="value")[list(METRICS)]
        assert values.drop(index=GAIN).to_numpy() == pytest.approx(np.array([[100, 1, 1, 1]] * 6))
        assert (values.loc[GAIN] == 0).all()
        assert table["pool"].eq(1).all()

    def test_the_most_frequent_report_is_of_the_largest_group_and_the_medoid_is_nearest_to_all(self):
        reports = ["a b c d", "a b c e", "a b c f", "x y z", "x y z"]
        train = collection(reports, [[0, 0]] * 5)
        chosen = text_choices(train, train)
        assert chosen["most frequent report"].tolist() == [3] * 5
        assert set(chosen["medoid report"]) <= {0, 1, 2}
        single = text_choices(collection(reports[:4], [[0, 0]] * 4), train)  # no group is larger than another
        assert np.array_equal(single["most frequent report"], single["medoid report"])
        assert set(single["medoid report"]) <= {0, 1, 2}

    def test_random_reports_are_of_training_studies_as_often_as_they_occur(self):
        train = of_kinds([(0, 0)] * 9 + [(1, 1)])
        test = of_kinds([(0, 0)] * 400)
        drawn = text_choices(train, test, seed=1)["random report"]
        assert set(drawn) == {0, 9}
        assert 330 < (drawn == 0).sum() < 390  # 360 +- 5 standard deviations
        assert np.array_equal(drawn, text_choices(train, test, seed=1)["random report"])

    def test_the_ceiling_shares_more_in_order_than_what_has_the_same_words(self):
        reports = ["mild edema with left effusion small", "small today left again effusion now with then"]
        train = collection(reports, [[1, 1]] * 2)  # the first has all words, two in order; the second four in order
        test = collection(["small left effusion with mild edema"], [[1, 1]])
        assert text_choices(train, test)[CEILING].tolist() == [1]

    def test_a_report_of_several_studies_has_the_labels_of_most(self):
        train = collection(["clear"] * 3, [[1, 0], [1, 1], [0, 0]])
        test = collection(["clear"], [[1, 1]])
        scores = overlap_scores(choice_statistics(np.array([0]), train, test))
        assert scores["label F1, micro"].tolist() == pytest.approx([2 / 3])  # effusion found, edema missed

    def test_labels_that_no_study_has_are_noted(self, sighted):
        train, test = of_kinds([*KINDS]), replace(of_kinds([*KINDS], 9), labels=np.full((4, 2), np.nan))
        table = report_retrieval_table({("m", 0): "sighted"}, train, test, mean_image(train.images), 100)
        labelled = table["metric"].str.startswith("label")
        assert table.loc[labelled, ["value", "ci_low", "ci_high"]].isna().all().all()
        assert table.loc[labelled, "note"].eq("no label is present in any study: not defined").all()
        assert table.loc[~labelled, "note"].eq("").all()


def test_what_cannot_be_compared_is_one_sentence(sighted):
    data, blind = of_kinds([*KINDS]), np.zeros((4, 4), np.uint8)
    empty, silent = of_kinds([*KINDS]), collection(["clear", ""], [[0, 0]] * 2)
    empty = replace(empty, tagged=[], study_ids=[], groups=empty.groups[:0])
    for train, test, sentence in (
        (empty, data, r"^There is no training study: report retrieval needs both splits\.$"),
        (data, empty, r"^There is no test study: report retrieval needs both splits\.$"),
        (data, silent, r"^Study 's1' of the test split has no report: report retrieval needs one of every study\.$"),
        (replace(data, label_names=["a", "b"]), data,
         r"^Training has the labels \['a', 'b'\], test has \['Effusion', 'Edema'\]: read both from one collection\.$"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=sentence):
            report_retrieval_table({("m", 0): "sighted"}, train, test, blind)


def test_of_models_the_ceiling_is_above_all_that_they_retrieve(tiny_config):
    train, test = of_kinds(TRAIN, size=32), of_kinds(ALL, 100, size=32)
    words = [" ".join(row) for row in train.words]
    models = {("prd", s): build_model(tiny_config.for_method("prd"), s, words)[0] for s in (0, 1)}
    table = report_retrieval_table(models, train, test, mean_image(train.images), 100)
    assert len(table) == len(METRICS) * (len(CONTROLS) + 3)
    assert table[["seeds", "n"]].eq([2, 12]).all().all()
    assert (table["ci_low"] <= table["ci_high"]).all()
    rouge = table.set_index(["metric", "input"]).loc["ROUGE-L", "value"]
    assert rouge[CEILING] == 1 > rouge.drop(CEILING).max()
