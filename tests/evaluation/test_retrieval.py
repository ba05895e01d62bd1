"""Ranks, ties, merged reports and chance on cases worked out by hand."""

import itertools

import numpy as np
import pytest
import torch

from prdlib.evaluation.retrieval import _chance, retrieval_outcomes, retrieval_ranks, retrieval_table


def test_perfect_embeddings_answer_everything():
    embeds = torch.eye(6)
    table = retrieval_table(retrieval_outcomes(embeds, embeds, np.arange(6), np.arange(6)))
    assert (table["value"] == 1).all()
    assert table.set_index("metric").loc["R@1 image to report", "chance"] == pytest.approx(1 / 6)


def test_a_constant_model_answers_nothing_but_what_chance_cannot_miss():
    constant = torch.ones(4, 3)
    table = retrieval_table(retrieval_outcomes(constant, constant, np.arange(4), np.arange(4), ks=(1, 3)))
    assert (table["value"] == 0).all()


def test_equal_reports_are_one_candidate():
    images = torch.eye(3)
    reports = torch.stack([images[0], images[0], images[2]])
    ranks = retrieval_ranks(images, reports, np.array([7, 7, 9]))
    rank, right, _, pool = ranks["image to report"]
    assert (pool, rank.tolist(), right.tolist()) == (2, [1, 2, 1], [1, 1, 1])
    rank, right, query, pool = ranks["report to image"]
    assert (pool, rank.tolist(), right.tolist(), query.tolist()) == (3, [1, 1], [2, 1], [0, 2])


def test_chance_equals_enumeration():
    for pool, right, k in ((5, 1, 2), (6, 2, 3), (4, 4, 1), (3, 1, 10)):
        orders = list(itertools.permutations(range(pool)))
        hits = np.mean([any(x < right for x in order[:k]) for order in orders])
        assert _chance(pool, np.array([right]), k)[0] == pytest.approx(hits)


def test_random_embeddings_score_chance():
    generator = torch.Generator().manual_seed(0)
    images, reports = (torch.randn(400, 16, generator=generator) for _ in range(2))
    table = retrieval_table(retrieval_outcomes(images, reports, np.arange(400), np.arange(400), ks=(10,)))
    assert ((table["ci_low"] <= table["chance"]) & (table["chance"] <= table["ci_high"])).all()
