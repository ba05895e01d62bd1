"""Maps that follow a finding: a map that sees it, one that knows where it is common, one that looks at its old place."""

import numpy as np
import pandas as pd
import pytest

from prdlib.data import phantom
from prdlib.evaluation.moved_findings import follows, moved_findings, moved_outcomes, moved_table
from prdlib.text import plain, tag

IDS = [f"phantom-0-{index:06d}" for index in range(40)]
SIZE = 48


@pytest.fixture(scope="module")
def pairs():
    return moved_findings(IDS, SIZE)


def test_one_finding_has_moved_and_nothing_else(pairs):
    number = len(pairs.study_ids)
    assert 20 < number < 40
    assert len(pairs.images) == len(pairs.inside) == len(pairs.reports) == 2 * number
    for row, (study_id, name) in enumerate(zip(pairs.study_ids, pairs.moved, strict=True)):
        study = phantom.study(0, int(study_id.rsplit("-", 1)[1]))
        other, i = study.moved()
        assert getattr(other.findings[i], name) != getattr(study.findings[i], name)
        assert [f for k, f in enumerate(other.findings) if k != i] == [
            f for k, f in enumerate(study.findings) if k != i
        ]
        assert pairs.asked[row].name == study.findings[i].name
        assert plain(pairs.reports[row]) == tag([study.report])[0].words
        assert pairs.others[row].name not in [finding.name for finding in study.findings]
        changed = np.abs(pairs.images[row].astype(int) - pairs.images[number + row])
        inside = pairs.inside[row] | pairs.inside[number + row]
        assert changed[inside].mean() > changed[~inside].mean()  # what differs lies in the boxes


def test_sight_gains_while_a_prior_and_what_lights_up_for_any_words_do_not(pairs):
    number = len(pairs.study_ids)
    boxes = pairs.inside.astype(float)
    own = [item.name for item in pairs.asked]

    def sees(model, images, texts, items, size):
        return boxes * (items[0].name == own[0]) + np.linspace(0, 0.1, SIZE)

    def knows(model, images, texts, items, size):
        return np.concatenate([boxes[:number]] * 2)

    def lights_up(model, images, texts, items, size):
        return boxes

    def wrong(model, images, texts, items, size):
        return -boxes

    values = {
        f.__name__: moved_outcomes(None, pairs, f).mean(numeric_only=True) for f in (sees, knows, lights_up, wrong)
    }
    assert values["sees"].tolist() == [1, 0.5, 0.5]
    assert values["knows"].tolist() == [0.5, 0.5, 0]
    assert values["lights_up"].tolist() == [1, 1, 0]
    assert values["wrong"].tolist() == [0, 0, 0]


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
    for metric, chance in (("follows, own words", 0.5), ("follows, other words", 0.5), ("gain", 0.0)):
        row = table.loc[(metric, "all")]
        assert (row["n"], row["seeds"], row["chance"]) == (len(pairs.study_ids), 2, chance)
        assert row["ci_low"] < chance < row["ci_high"]  # maps of noise
    own, other, gain = (table.loc[(metric, "all"), "value"] for metric in table.index.unique(0))
    assert gain == pytest.approx(own - other)


def test_without_pairs_nothing_is_asked():
    none = moved_findings([], SIZE)
    assert none.images.shape == (0, SIZE, SIZE)
    assert moved_outcomes(None, none, lambda *_: np.zeros((0, SIZE, SIZE))).empty
