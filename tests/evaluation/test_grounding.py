"""Pointing on maps drawn by hand; phrases from spans."""

import numpy as np

from prdlib.evaluation import grounding
from prdlib.evaluation.grounding import Phrase
from prdlib.evaluation.localisation import inside_box, mean_iou
from prdlib.models import build_model

ITEMS = [Phrase(0, "a", (0,), (0.5, 0.0, 1.0, 0.5)), Phrase(1, "b", (1,), (0.0, 0.5, 0.5, 1.0))]


def spot(y, x):
    image = np.zeros((8, 8))
    image[y, x] = 1
    return image


def test_a_map_points_where_its_maximum_is():
    assert grounding.pointing(np.stack([spot(1, 6), spot(6, 1)]), ITEMS).tolist() == [True, True]
    assert grounding.pointing(np.stack([spot(6, 6), spot(6, 1)]), ITEMS).tolist() == [False, True]


def test_a_constant_map_points_nowhere():
    assert not grounding.pointing(np.ones((2, 8, 8)), [Phrase(0, "a", (0,), (0, 0, 1, 1))] * 2).any()


def test_chance_is_the_area_of_the_boxes_and_random_maps_score_it():
    maps = np.random.default_rng(0).random((400, 8, 8))
    table = grounding.pointing_table({"random": maps}, [ITEMS[0]._replace(row=i) for i in range(400)])
    row = table.iloc[0]
    assert row["chance"] == 0.25
    assert row["ci_low"] <= 0.25 <= row["ci_high"]


def test_phrases_are_the_words_under_the_spans():
    findings = [[{"name": "x", "box": [0, 0, 1, 1], "spans": [[3, 9]]}, {"name": "y", "box": None, "spans": [[0, 2]]}]]
    found = grounding.phrases(findings, [[(0, 2), (3, 6), (7, 9), (10, 12)]])
    assert [p.words for p in found] == [(1, 2)]
    cut = grounding.phrases(findings, [[(0, 2)]])  # the finding stands behind the word limit
    assert cut == []


def test_a_collection_without_boxes_shows_nouns():
    assert [p.words for p in grounding.shown_phrases(0, [], ("JJ", "NN", "VBZ", "NNS"))] == [(1,), (3,)]


def test_attention_of_a_word_sums_to_one_over_the_grid(tiny_config, tiny_data):
    from prdlib.data.batches import EvaluationData

    data = EvaluationData.first_views(tiny_data["train"])
    model = build_model(tiny_config, 0, [" ".join(w) for w in data.words])[0]
    attention, side = grounding.word_region_maps(model, data.images[:3], data.words[:3])
    assert side == 2
    assert np.allclose(attention[0, 0].sum(), 1, atol=1e-5)


def test_the_first_mention_ends_where_the_words_do():
    assert grounding.Phrase(0, "Edema", (3, 4, 5, 9, 10), (0.0, 0.0, 1.0, 1.0)).first_mention == (3, 4, 5)
    assert grounding.Phrase(0, "Edema", (7,), (0.0, 0.0, 1.0, 1.0)).first_mention == (7,)


def test_boxes_of_one_phrase_are_one_region():
    findings = [[{"name": "Edema", "box": [0.0, 0.0, 0.25, 0.5], "spans": [[0, 5]]},
                 {"name": "Edema", "box": [0.75, 0.0, 1.0, 0.5], "spans": [[0, 5]]},
                 {"name": "Effusion", "box": [0.0, 0.0, 1.0, 1.0], "spans": [[6, 9]]}]]  # fmt: skip
    both, other = grounding.phrases(findings, [[(0, 5), (6, 9)]])
    assert both.boxes == ((0.0, 0.0, 0.25, 0.5), (0.75, 0.0, 1.0, 0.5))
    assert other.more == ()
    assert grounding.box_area([both, other]).tolist() == [0.25, 1.0]
    assert grounding.pointing(np.stack([spot(1, 1), spot(1, 6), spot(1, 4)]), [both] * 3).tolist() == [
        True,
        True,
        False,
    ]
    overlapping = both._replace(more=((0.125, 0.0, 0.375, 0.5),))
    assert grounding.box_area([overlapping]).tolist() == [0.1875]
    region = inside_box([both], 8)[0].astype(float)
    assert mean_iou(region[None], inside_box([both], 8)).tolist() == [1.0]


def test_a_phrase_alone_has_a_row_of_its_own_and_keeps_its_boxes():
    item = grounding.Phrase(3, "Edema", (1, 2), (0.0, 0.0, 1.0, 0.5), ((0.0, 0.5, 1.0, 1.0),))
    assert grounding.by_themselves([item, item]) == [item._replace(row=i, words=(0, 1)) for i in (0, 1)]


def test_findings_without_reports_are_asked_for_by_name():
    findings = [[], [{"name": "Pleural Effusion", "box": [0, 0, 1, 1]}, {"name": "Edema", "box": None}]]
    items, texts = grounding.named(findings)
    assert items == [grounding.Phrase(1, "Pleural Effusion", (0, 1), (0, 0, 1, 1))]
    assert texts == [("pleural", "effusion")]
