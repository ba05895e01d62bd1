"""Maps that follow a finding: a map that sees it, one that knows where it is common, one that looks at its old place."""

import numpy as np
import pandas as pd
import pytest

from prdlib.data import phantom
from prdlib.evaluation.localisation import inside_box
from prdlib.evaluation.moved_findings import follows, moved_findings, moved_outcomes, moved_table

IDS = [f"phantom-0-{index:06d}" for index in range(40)]
SIZE = 48


@pytest.fixture(scope="module")
def pairs():
    return moved_findings(IDS, SIZE)


def test_one_finding_has_moved_and_nothing_else(pairs):
    assert 20 < len(pairs.study_ids) < 40
    assert len(pairs.images) == len(pairs.texts) == len(pairs.items) == 2 * len(pairs.study_ids)
    for study_id, name in zip(pairs.study_ids, pairs.moved, strict=True):
        study = phantom.study(0, int(study_id.rsplit("-", 1)[1]))
        other, i = study.moved()
        assert getattr(other.findings[i], name) != getattr(study.findings[i], name)
        assert [f for k, f in enumerate(other.findings) if k != i] == [
            f for k, f in enumerate(study.findings) if k != i
        ]
    number = len(pairs.study_ids)
    for row in range(number):
        first, second = pairs.images[row].astype(int), pairs.images[number + row].astype(int)
        inside = inside_box([pairs.items[row], pairs.items[number + row]], SIZE).any(axis=0)
        changed = np.abs(first - second)
        assert changed[inside].mean() > changed[~inside].mean()  # what differs lies in the boxes
        assert pairs.texts[row] == pairs.texts[number + row]


def test_sight_follows_a_prior_ties_and_the_wrong_way_is_wrong(pairs):
    number = len(pairs.study_ids)
    boxes = inside_box(pairs.items, SIZE).astype(float)

    def sees(model, images, texts, items, size):
        return boxes + np.linspace(0, 0.1, SIZE)

    def knows(model, images, texts, items, size):
        return np.concatenate([boxes[:number]] * 2)

    def wrong(model, images, texts, items, size):
        return np.concatenate([boxes[number:], boxes[:number]])

    values = {f.__name__: moved_outcomes(None, pairs, f)[["follows", "both"]].mean() for f in (sees, knows, wrong)}
    assert values["sees"].tolist() == [1, 1]
    assert values["knows"]["follows"] == 0.5
    assert values["knows"]["both"] < 0.5
    assert values["wrong"]["follows"] == 0


def test_follows_is_the_double_difference_outside_what_both_boxes_share():
    rng = np.random.default_rng(0)
    maps, inside = rng.random((8, 5, 5)), rng.random((8, 5, 5)) < 0.5
    for k, value in enumerate(follows(maps, inside)):
        here = [(y, x) for y in range(5) for x in range(5) if inside[k, y, x] and not inside[k + 4, y, x]]
        there = [(y, x) for y in range(5) for x in range(5) if inside[k + 4, y, x] and not inside[k, y, x]]
        gain = [
            sum(m[p] for p in here) / len(here) - sum(m[p] for p in there) / len(there) for m in (maps[k], maps[k + 4])
        ]
        assert value == (gain[0] > gain[1])
    same = np.ones((2, 5, 5), dtype=bool)
    assert follows(maps[:2], same).tolist() == [0.5]


def test_the_table_has_chance_interval_and_seeds(pairs):
    rng = np.random.default_rng(0)
    maps = [lambda model, images, texts, items, size: rng.random((len(items), size, size)) for _ in range(2)]
    found = [
        moved_outcomes(None, pairs, maps_of).assign(seed=seed, input="untrained") for seed, maps_of in enumerate(maps)
    ]
    table = moved_table(pd.concat(found), 200).set_index(["metric", "moved"])
    row = table.loc[("follows", "all")]
    assert (row["n"], row["seeds"], row["chance"]) == (len(pairs.study_ids), 2, 0.5)
    assert row["ci_low"] < 0.5 < row["ci_high"]  # maps of noise
    assert table.loc[("both", "all"), "chance"] < 0.1
    assert moved_findings([], SIZE).images.shape == (0, SIZE, SIZE)
    assert moved_outcomes(None, moved_findings([], SIZE)).empty
