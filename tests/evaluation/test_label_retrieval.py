"""Precision at k by label: by hand, on planted labels, at chance, with unjudged labels, equal reports and seeds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from written_collection import KINDS, of_kinds

from prdlib.evaluation.label_retrieval import label_precision_table, merged_labels, precision_at_k, retrieval_tables
from prdlib.evaluation.retrieval import DIRECTIONS, RETRIEVAL_COLUMNS, median_rank_table, retrieval_outcomes
from prdlib.models import build_model


def planted(number, classes):
    """Embeddings whose nearest is their own study, then those of its class; labels: one for each class."""
    kind = np.arange(number) % classes
    embeds = torch.cat([2 * torch.eye(classes)[kind], torch.eye(number)], dim=1)
    return embeds, np.eye(classes)[kind], [f"label {i}" for i in range(classes)]


def test_embeddings_that_are_equal_by_construction_find_everything():
    embeds, labels, names = planted(36, 3)
    outcomes = retrieval_outcomes(embeds, embeds, np.arange(36), np.arange(36), ks=(1,))
    assert (outcomes["outcome"] == 1).all()
    assert (median_rank_table([(embeds, embeds)], np.arange(36), 100)["value"] == 1).all()
    table = label_precision_table([(embeds, embeds)], np.arange(36), labels, names, resamples=100)
    assert table[["value", "ci_low", "ci_high"]].eq(1).all().all()
    assert len(table) == 2 * 3 * (3 + 1)
    assert set(table["metric"]) == {"P@1", "P@5", "P@10"}
    one = table[table["label"] == "label 0"]
    assert one["n"].eq(12).all()
    assert one["pool"].eq(35).all()
    assert one["chance"].to_numpy() == pytest.approx(11 / 35)


def test_a_constant_model_finds_no_positive_that_it_could_miss():
    constant, (_, labels, names) = torch.ones(36, 2), planted(36, 3)
    table = label_precision_table([(constant, constant)], np.arange(36), labels, names, resamples=100)
    assert (table["value"] == 0).all()
    forced = precision_at_k(np.zeros((1, 4)), np.array([True, True, True, False]), np.ones((1, 4), dtype=bool), 3)
    assert forced == pytest.approx([2 / 3])  # of three among one negative, two are positive in any order


def test_random_embeddings_have_chance_in_their_interval():
    generator = torch.Generator().manual_seed(1)
    embeds = tuple(torch.randn(300, 16, generator=generator) for _ in range(2))
    labels = (np.random.default_rng(0).random((300, 2)) < [0.5, 0.2]).astype(float)
    table = label_precision_table([embeds], np.arange(300), labels, ["a", "b"], (5,), 300)
    assert ((table["ci_low"] < table["chance"]) & (table["chance"] < table["ci_high"])).all()


def test_what_shows_every_query_the_same_neighbours_is_no_better_than_blind():
    # Every image is nearest to the same report, then the same second, both positive: far above chance without looking.
    images = torch.ones(4, 2) + torch.arange(4)[:, None] / 100
    reports = torch.tensor([[4.0, 0], [1, 0], [3, 0], [2, 0]])
    labels = np.array([[1.0], [0], [1], [0]])
    table = label_precision_table([(images, reports)], np.arange(4), labels, ["a"], (1,), 100)
    row = table[(table["direction"] == "image to report") & (table["label"] == "a")].iloc[0]
    assert row[["value", "blind"]].tolist() == [1, 1]
    assert row["chance"] == pytest.approx(1 / 3)


def test_the_blind_value_is_that_of_the_mean_query():
    embeds, labels, names = planted(36, 3)
    images = (
        embeds + 3 * torch.eye(39)[0] * torch.arange(36)[:, None]
    )  # the mean image is nearest to reports of the first class
    table = label_precision_table([(images, embeds)] * 2, np.arange(36), labels, names, (5,), 100)
    blind = table[table["direction"] == "image to report"].set_index("label")["blind"]
    assert blind.tolist() == pytest.approx([1, 0, 0, 1 / 3])
    mean = images.mean(dim=0, keepdim=True).expand_as(images)
    shown = label_precision_table([(mean, embeds)], np.arange(36), labels, names, (5,), 100)
    assert shown[shown["direction"] == "image to report"]["value"].tolist() == pytest.approx(blind.tolist())


def test_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.5, 0.5, 0.2]])
    positive, candidate = np.array([True, False, True, True]), np.ones((2, 4), dtype=bool)
    assert precision_at_k(scores, positive, candidate, 2).tolist() == [0.5, 0.5]
    assert precision_at_k(scores, positive, candidate, 1).tolist() == [
        1,
        0,
    ]  # of the equal ones the negative comes first
    candidate[0, 1] = False
    candidate[1, :3] = False
    assert precision_at_k(scores, positive, candidate, 2) == pytest.approx([1, np.nan], nan_ok=True)
    assert np.isnan(precision_at_k(scores, positive, candidate, 5)).all()


def test_what_says_the_same_as_the_query_is_no_candidate():
    # Rows 0 and 1 say the same; 2 shares their label, 3 does not. Image 0 is nearest to its own report, then to 3, then to 2.
    images = torch.tensor([[9.0, 0, 2, 3], [9, 0, 3, 2], [1, 0, 9, 0], [0, 0, 0, 9]])
    table = label_precision_table([(images, torch.eye(4))], np.array([5, 5, 6, 7]), np.array([[1.0], [1], [1], [0]]),
                                  ["a"], (1, 2, 3), 100)  # fmt: skip
    cells = table[table["label"] == "a"].set_index(["direction", "metric"])
    first = cells.loc["image to report"]
    # P@1: 0, 1, 1; P@2: a half each
    assert first["value"].tolist() == pytest.approx([2 / 3, 1 / 2, np.nan], nan_ok=True)
    assert first.loc["P@1", ["n", "pool"]].tolist() == [3, 2]
    assert first.loc["P@3", "note"] == "fewer than 3 candidates: not defined"
    second = cells.loc["report to image"]  # two queries; that of the equal reports may find images 2 and 3 alone
    assert second.loc["P@1", ["n", "pool"]].tolist() == [2, 2]


def test_labels_of_equal_reports_are_those_of_most_of_their_studies():
    labels = np.array([[1, 1, np.nan], [1, 0, -1], [0, 0, 1], [0, np.nan, np.nan]])
    merged = merged_labels(labels, np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(merged, [[1, 0, 1], [0, np.nan, np.nan]])
    assert merged_labels(np.array([[1.0], [0]]), np.array([0, 0])).tolist() == [[0]]  # as many against as for


def test_labels_that_cannot_be_scored_say_why_and_unjudged_ones_are_no_candidates():
    embeds, labels, _ = planted(12, 2)
    none, once, unjudged = np.zeros(12), np.eye(12)[0], np.where(np.arange(12) < 2, labels[:, 0], np.nan)
    two = np.where(np.arange(12) < 4, labels[:, 0], -1)
    table = label_precision_table([(embeds, embeds)], np.arange(12), np.stack([none, once, unjudged, two], axis=1),
                                  ["none", "once", "unjudged", "two"], (1,), 100)  # fmt: skip
    for direction in DIRECTIONS:
        part = table[table["direction"] == direction].set_index("label")
        assert part.loc["none", "note"] == "no query is positive: not defined"
        assert part.loc["once", "note"] == part.loc["unjudged", "note"] == "no candidate is positive: not defined"
        assert part.loc[["none", "once", "unjudged"], ["value", "ci_low", "ci_high"]].isna().all().all()
        assert part.loc["unjudged", "pool"] == 1
        assert part.loc["two", ["value", "n", "pool"]].tolist() == [1, 2, 3]
        assert part.loc["two", "chance"] == pytest.approx(1 / 3)
        assert part.loc["mean", ["value", "n", "note"]].tolist() == [1, 2, "of 1 labels"]


def test_one_query_has_no_interval():
    # Rows 0 to 2 say the same, and most of them are negative: the report of row 4 is the one positive query, image 0 a candidate.
    embeds, groups = torch.eye(5), np.array([0, 0, 0, 1, 2])
    one = label_precision_table([(embeds, embeds)], groups, np.array([[1.0], [0], [0], [0], [1]]), ["a"], (1,), 100)
    row = one[(one["direction"] == "report to image") & (one["label"] == "a")].iloc[0]
    assert (row["n"], row["note"]) == (1, "one query: no interval")
    assert np.isnan(row["ci_low"])


def test_seeds_are_a_second_level_of_the_interval():
    embeds, labels, names = planted(24, 2)
    constant = torch.ones(24, 2)
    one, same = (label_precision_table([(embeds, embeds)] * s, np.arange(24), labels, names, (5,), 200) for s in (1, 3))
    pd.testing.assert_frame_equal(one.drop(columns="seeds"), same.drop(columns="seeds"))
    trainings = [(embeds, embeds), (constant, constant)]
    apart = label_precision_table(trainings, np.arange(24), labels, names, (5,), 200)
    assert apart["value"].eq(0.5).all()
    assert apart[["ci_low", "ci_high"]].to_numpy().tolist() == [[0, 1]] * len(apart)


def test_labels_that_do_not_fit_are_one_sentence():
    eye = torch.eye(3)
    with pytest.raises(ValueError, match=r"^Labels must be \[studies, labels\], here \[3, 2\]: they are \[3, 1\]\.$"):
        label_precision_table([(eye, eye)], np.arange(3), np.ones((3, 1)), ["a", "b"])
    with pytest.raises(ValueError, match=r"^Precision at 0 is not defined: ask for one neighbour or more\.$"):
        label_precision_table([(eye, eye)], np.arange(3), np.ones((3, 1)), ["a"], (0, 5))


def test_table_of_models_with_seeds(tiny_config):
    data = of_kinds([*KINDS] * 3, size=32)
    data = replace(data, groups=np.arange(12), label_names=["Effusion", "Nowhere"], labels=data.labels * [1, 0])
    words = [" ".join(row) for row in data.words]
    models = {("clip", s): build_model(tiny_config.for_method("clip"), s, words)[0] for s in (0, 1)}
    models["prd", 0] = build_model(tiny_config.for_method("prd"), 5, words)[0]
    table = retrieval_tables(models, data, (1, 5), 100)
    assert list(table) == ["model", *RETRIEVAL_COLUMNS]
    assert table.groupby("model", sort=False)["seeds"].first().to_dict() == {"clip": 2, "prd": 1}
    assert table.groupby(["model", "metric"])["direction"].nunique().eq(2).all()
    scored = table["label"] != "Nowhere"
    assert table.loc[scored, ["value", "ci_low", "ci_high", "chance"]].notna().all().all()
    assert table.loc[~scored, "note"].eq("no query is positive: not defined").all()
    assert retrieval_tables({}, data).empty
