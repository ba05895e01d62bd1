"""Ranks, ties, merged reports and chance on cases worked out by hand."""

import itertools

import numpy as np
import pytest
import torch

from prdlib.evaluation.retrieval import (
    RETRIEVAL_COLUMNS,
    _chance,
    expected_median_rank,
    median_rank_table,
    recall_table,
    retrieval_outcomes,
    retrieval_ranks,
    retrieval_table,
    retrieved_examples,
)


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


def random_embeds(number, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(number, width, generator=generator) for _ in range(2))


class TestMedianRank:
    def test_perfect_embeddings_rank_first_and_constant_ones_last(self):
        groups = np.array([0, 0, 1, 2, 3, 4])
        for embeds, ranks in ((torch.eye(5)[groups], [1, 1]), (torch.ones(6, 3), [5, 6])):
            table = median_rank_table([(embeds, embeds)], groups, 100)
            assert table["value"].tolist() == ranks
            assert table["pool"].tolist() == [5, 6]
            assert table["n"].tolist() == [6, 5]

    def test_by_hand(self):
        # The right answers of the three images rank first, second and third; those of the reports too.
        scores = torch.tensor([[9.0, 1, 2], [5, 4, 3], [8, 7, 1]])
        table = median_rank_table([(scores, torch.eye(3))], np.arange(3), 100).set_index("direction")
        assert table.loc["image to report", "value"] == 2
        assert table.loc["report to image", "value"] == 2
        assert table["chance"].tolist() == pytest.approx([2, 2])

    def test_chance_equals_enumeration(self):
        for pool, right in ((3, [1, 2]), (3, [1, 1, 2]), (4, [3, 1]), (2, [2, 2, 1]), (5, [1])):
            orders = list(itertools.permutations(range(pool)))  # where each candidate stands, the right ones first
            places = [[1 + min(order[:r]) for order in orders] for r in right]
            medians = [np.median(ranks) for ranks in itertools.product(*places)]
            assert expected_median_rank(pool, np.array(right)) == pytest.approx(np.mean(medians))

    def test_chance_of_one_right_answer_is_the_middle(self):
        for number, pool in ((1, 7), (40, 401), (401, 40), (900, 900)):
            assert expected_median_rank(pool, np.ones(number, dtype=int)) == pytest.approx((pool + 1) / 2)

    def test_random_embeddings_have_chance_in_their_interval(self):
        table = median_rank_table([random_embeds(300)], np.arange(300) // 2, 300)
        assert ((table["ci_low"] < table["chance"]) & (table["chance"] < table["ci_high"])).all()

    def test_seeds_are_a_second_level(self):
        perfect, constant = torch.eye(9), torch.ones(9, 2)
        same = median_rank_table([(perfect, perfect)] * 2, np.arange(9), 200)
        assert same[["value", "ci_low", "ci_high", "seeds"]].to_numpy().tolist() == [[1, 1, 1, 2]] * 2
        apart = median_rank_table([(perfect, perfect), (constant, constant)], np.arange(9), 200)
        assert apart[["value", "ci_low", "ci_high"]].to_numpy().tolist() == [[5, 1, 9]] * 2


def test_examples_are_the_nearest_rows_and_say_which_are_right():
    images = torch.tensor([[1.0, 0, 0], [0.9, 0.5, 0], [0, 0, 1]])
    reports = torch.tensor([[1.0, 0, 0], [0, 7, 0], [0, 1, 0]])
    table = retrieved_examples(images, reports, np.array([4, 4, 2]), [1, 2], k=2)
    first = table[table["direction"] == "image to report"]  # the pool has the reports of rows 0 and 2
    assert first[["query", "place", "row", "right"]].to_numpy().tolist() == [
        [1, 1, 0, True], [1, 2, 2, False], [2, 1, 0, False], [2, 2, 2, True]]  # fmt: skip
    assert first["score"].tolist() == pytest.approx([0.9, 0.5, 0, 0])
    second = table[table["direction"] == "report to image"]
    assert second[["query", "place", "row", "right"]].to_numpy().tolist() == [
        [1, 1, 0, True], [1, 2, 1, True], [2, 1, 1, False], [2, 2, 0, False]]  # fmt: skip
    assert retrieved_examples(images, reports, np.arange(3), []).empty


def test_examples_agree_with_the_ranks():
    images, reports = random_embeds(30)
    groups = np.arange(30) // 2
    table = retrieved_examples(images, reports, groups, range(30), k=30)
    for direction, (rank, _, query, _) in retrieval_ranks(images, reports, groups).items():
        part = table[(table["direction"] == direction) & table["right"]]
        first = part.groupby("query")["place"].min()
        assert first.loc[query].tolist() == rank.tolist()


def test_what_cannot_be_retrieved_is_one_sentence():
    eye = torch.eye(3)
    with pytest.raises(ValueError, match=r"^Retrieval needs an image, a report and a group .* there are 3, 2 and 3\.$"):
        retrieval_ranks(eye, eye[:2], np.arange(3))
    with pytest.raises(ValueError, match=r"there are 0, 0 and 0\.$"):
        median_rank_table([(eye[:0], eye[:0])], np.arange(0))
    with pytest.raises(ValueError, match=r"^There is no row 3: queries are rows of the 3 studies, from 0\.$"):
        retrieved_examples(eye, eye, np.arange(3), [0, 3])
    with pytest.raises(ValueError, match=r"^The 0 nearest are nothing: ask for one neighbour or more\.$"):
        retrieved_examples(eye, eye, np.arange(3), [0], k=0)


def test_recall_of_seeds_is_the_mean_of_their_outcomes_and_its_chance_theirs():
    groups = np.arange(30) // 2
    embeds = [random_embeds(30), (torch.eye(30).double(), torch.eye(30).double())]
    table = recall_table(embeds, groups, (1, 5), 200)
    assert list(table) == RETRIEVAL_COLUMNS
    for row in table.itertuples():
        seeds = [retrieval_outcomes(*pair, groups, np.arange(30), (1, 5)) for pair in embeds]
        parts = [seed[seed["metric"] == f"{row.metric} {row.direction}"] for seed in seeds]
        assert row.value == pytest.approx(np.mean([part["outcome"].mean() for part in parts]))
        assert (row.chance, row.n, row.pool, row.seeds) == (
            pytest.approx(parts[0]["chance"].mean()), len(parts[0]), parts[0]["pool"].iloc[0], 2
        )  # fmt: skip
        assert row.ci_low <= row.value <= row.ci_high
    alone = recall_table(embeds[1:], np.arange(30), (1,), 200)
    assert alone[["value", "ci_low", "ci_high"]].eq(1).all().all()


def test_studies_of_a_patient_are_resampled_together():
    """Ten patients of ten studies that are all found or all missed: as sure as ten queries, not as a hundred."""
    images = torch.eye(100)
    right = np.repeat(np.arange(10) % 2 == 0, 10)
    reports = torch.where(torch.from_numpy(right)[:, None], images, -images)
    patients = np.repeat(np.arange(10), 10).astype(str)
    alone, together = (
        recall_table([(images, reports)], np.arange(100), (1,), 500, patients=p).iloc[0] for p in (None, patients)
    )
    ten = recall_table(
        [(torch.eye(10), torch.eye(10) * torch.tensor(right[::10] * 2.0 - 1)[:, None])], np.arange(10), (1,), 500
    )
    assert alone["value"] == together["value"] == 0.5
    wide, narrow = (row["ci_high"] - row["ci_low"] for row in (together, alone))
    assert wide == pytest.approx(ten.iloc[0]["ci_high"] - ten.iloc[0]["ci_low"])
    assert wide > 2 * narrow
    median = [median_rank_table([(images, reports)], np.arange(100), 500, patients=p).iloc[0] for p in (None, patients)]
    assert median[1]["ci_high"] - median[1]["ci_low"] >= median[0]["ci_high"] - median[0]["ci_low"]
