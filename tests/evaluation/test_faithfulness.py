"""Scores of faithfulness against independent loops, and of orders whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from prdlib.evaluation.faithfulness import (
    FRACTIONS,
    agreement,
    area,
    cells,
    completeness,
    curve_table,
    energy_inside,
    insertion_deletion,
    interval,
    most_important,
    randomisation,
    rank_correlation,
    with_known_ends,
)

RNG = np.random.default_rng(0)


def test_energy_is_the_share_of_what_is_positive():
    maps, inside = RNG.normal(size=(4, 9, 9)), RNG.random((4, 9, 9)) < 0.3
    for value, image, box in zip(energy_inside(maps, inside), maps, inside, strict=True):
        within = sum(v for v, b in zip(image.flat, box.flat, strict=True) if b and v > 0)
        assert value == pytest.approx(within / sum(v for v in image.flat if v > 0))
    assert energy_inside(-np.ones((1, 3, 3)), np.ones((1, 3, 3), bool)).tolist() == [0]
    constant = energy_inside(np.ones((1, 10, 10)), np.arange(100).reshape(1, 10, 10) < 30)
    assert constant.tolist() == pytest.approx([0.3])  # a map that says nothing scores the box's area


def test_the_most_important_parts_are_the_first_of_the_sorted():
    importance = RNG.normal(size=(5, 12))
    valid = np.arange(12) < np.array([12, 7, 1, 12, 4])[:, None]
    chosen = most_important(importance, (0, 0.5, 1), valid)
    for row, values, there in zip(chosen, importance, valid, strict=True):
        ranked = sorted(np.flatnonzero(there), key=lambda i: -values[i])
        for mine, fraction in zip(row, (0, 0.5, 1), strict=True):
            assert set(np.flatnonzero(mine)) == set(ranked[: round(fraction * there.sum())])


def test_curves_of_an_additive_score_are_its_sums():
    """Each part adds its worth: the right order has the largest insertion and the smallest deletion, a random one the mean."""
    worth = RNG.random((3, 12))

    def score(there):
        return (there * worth[:, None]).sum(axis=2)

    inserted, deleted = insertion_deletion(worth, score)
    for up, down, values in zip(inserted, deleted, worth, strict=True):
        ranked = np.sort(values)[::-1]
        most = [round(f * 12) for f in FRACTIONS]
        assert up == pytest.approx([ranked[:k].sum() for k in most])
        assert down == pytest.approx([ranked[k:].sum() for k in most])
    wrong = insertion_deletion(-worth, score)
    assert (area(inserted) > area(wrong[0])).all()
    assert area(inserted) - area(deleted) == pytest.approx(area(wrong[1]) - area(wrong[0]), abs=1e-12)
    random = np.mean([np.subtract(*map(area, insertion_deletion(RNG.random((3, 12)), score))) for _ in range(800)])
    assert abs(random) < 0.1


def test_known_ends_change_no_score():
    worth, asked = RNG.random((3, 12)), []

    def score(there):
        asked.append(there.shape[1])
        return (there * worth[:, None]).sum(axis=2)

    valid = np.arange(12) < np.array([12, 7, 9])[:, None]
    quick = with_known_ends(score, valid)
    for mine, plain in zip(
        insertion_deletion(worth, quick, valid=valid), insertion_deletion(worth, score, valid=valid), strict=True
    ):
        np.testing.assert_allclose(mine, plain)
    inner = len(FRACTIONS) - 2
    assert asked == [2, inner, inner, len(FRACTIONS), len(FRACTIONS)]


def test_area_is_the_trapezoid_rule():
    curve = RNG.random((2, len(FRACTIONS)))
    for value, row in zip(area(curve), curve, strict=True):
        steps = zip(row[:-1], row[1:], FRACTIONS[:-1], FRACTIONS[1:], strict=True)
        assert value == pytest.approx(sum((a + b) / 2 * (right - left) for a, b, left, right in steps))
    assert area(np.ones((1, len(FRACTIONS)))).tolist() == pytest.approx([1])


def test_rank_correlation_is_pearsons_of_ranks():
    one, other = RNG.integers(0, 6, (4, 20)).astype(float), RNG.normal(size=(4, 20))  # with ties
    for value, a, b in zip(rank_correlation(one, other), one, other, strict=True):
        assert value == pytest.approx(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])
    assert rank_correlation(one, -one) == pytest.approx([-1] * 4)
    assert rank_correlation(np.ones((1, 5)), other[:1, :5]).tolist() == [0]
    valid = np.arange(20) < 7
    part = rank_correlation(one, other, np.broadcast_to(valid, one.shape))
    np.testing.assert_allclose(part, rank_correlation(one[:, :7], other[:, :7]))


@pytest.mark.parametrize("size", [32, 30])
def test_cells_are_means_of_their_pixels(size):
    maps = RNG.normal(size=(2, size, size))
    edges = [round(i * size / 8) for i in range(9)]
    for values, image in zip(cells(maps), maps, strict=True):
        expected = [image[edges[y] : edges[y + 1], edges[x] : edges[x + 1]].mean() for y in range(8) for x in range(8)]
        np.testing.assert_allclose(values, expected)


def test_tables_have_every_pair_once_and_intervals_over_patients():
    parts = {"a": RNG.normal(size=(40, 9))}
    parts |= {"b": parts["a"] * 2, "c": RNG.normal(size=(40, 9))}
    blind = RNG.normal(size=(40, 9))
    inputs = {name: {"image": values, "mean image": blind} for name, values in parts.items()}
    table = agreement(inputs, [str(i // 2) for i in range(40)], 200)
    own = table[table["input"] == "image"].reset_index(drop=True)
    assert own[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert own.loc[0, ["value", "ci_low", "ci_high"]].tolist() == pytest.approx([1, 1, 1])
    assert own.loc[1, "ci_low"] < 0 < own.loc[1, "ci_high"]
    assert own["patients"].tolist() == [20] * 3
    assert own["chance"].tolist() == [0] * 3
    assert table.loc[table["input"] == "mean image", "value"].tolist() == pytest.approx([1, 1, 1])
    gain = table[table["input"] == "gain over best control"].set_index(["first", "second"])["value"]
    assert gain["a", "b"] == pytest.approx(0)
    assert gain["a", "c"] == pytest.approx(own.loc[1, "value"] - 1)
    changed = randomisation(
        "a", {"image": parts["a"], "untrained": parts["a"], "other image": parts["c"]}, ["x"] * 40, 100
    )
    assert changed["second"].tolist() == ["untrained", "other image"]
    assert changed["value"].tolist() == pytest.approx([1, own.loc[1, "value"]])
    curves = {"insertion": RNG.normal(size=(40, len(FRACTIONS)))}
    rows = curve_table(curves, [str(i) for i in range(40)], 2000)
    assert rows["fraction"].tolist() == list(FRACTIONS)
    for row, values in zip(rows.itertuples(), curves["insertion"].T, strict=True):
        assert row.value == pytest.approx(values.mean())
        assert (row.ci_high - row.ci_low) / 3.92 == pytest.approx(values.std() / 40**0.5, rel=0.1)
    assert interval(np.ones(3), ["a", "a", "b"])["patients"] == 2


def test_completeness_is_the_error_as_share_of_the_change():
    share = completeness(np.array([0.1, -0.1]), np.array([1.0, -1.0]), ["a", "b"], 100)
    assert [share[key] for key in ("value", "ci_low", "ci_high")] == pytest.approx([0.1, 0.1, 0.1])
    changes = np.array([0.5, -2.0])
    nothing = completeness(-changes, changes, ["a", "b"], 100)  # contributions of 0
    assert nothing["value"] == pytest.approx(nothing["chance"]) == 1
