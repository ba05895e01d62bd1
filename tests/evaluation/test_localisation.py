"""Localisation scores against independent loops; controls; a model that looks only at a planted place."""

import numpy as np
import pandas as pd
import pytest
import torch

from prdlib.evaluation.grounding import Phrase
from prdlib.evaluation.localisation import (
    CONTROLS,
    THRESHOLDS,
    contrast_to_noise,
    inside_box,
    localisation_maps,
    localisation_table,
    localisation_values,
    mean_iou,
    phrase_maps,
    table_with_controls,
)
from prdlib.models import build_model

RNG = np.random.default_rng(0)
BOXES = [(0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.1, 0.2, 0.4, 0.9)]
ITEMS = [Phrase(i, "x", (0,), box) for i, box in enumerate(BOXES)]


def loop_inside(box, size):
    return np.array(
        [
            [box[0] <= (x + 0.5) / size <= box[2] and box[1] <= (y + 0.5) / size <= box[3] for x in range(size)]
            for y in range(size)
        ]
    )


def test_boxes_are_the_pixels_whose_centre_they_hold():
    for mine, item in zip(inside_box(ITEMS, 9), ITEMS, strict=True):
        np.testing.assert_array_equal(mine, loop_inside(item.box, 9))


def test_cnr_is_the_definition():
    maps, inside = RNG.normal(size=(3, 9, 9)), inside_box(ITEMS, 9)
    for value, image, box in zip(contrast_to_noise(maps, inside), maps, inside, strict=True):
        a, b = (
            [v for v, i in zip(image.flat, box.flat, strict=True) if i],
            [v for v, i in zip(image.flat, box.flat, strict=True) if not i],
        )
        expected = (np.mean(a) - np.mean(b)) / (np.var(a) + np.var(b)) ** 0.5
        assert value == pytest.approx(expected)
    low_inside = 1.0 - inside_box(ITEMS, 9) + RNG.normal(size=(3, 9, 9)) / 100
    assert (contrast_to_noise(low_inside, inside) < 0).all()  # a map that is low in the box is wrong


def test_mean_iou_is_the_definition():
    maps, inside = RNG.random((3, 9, 9)), inside_box(ITEMS, 9)
    for value, image, box in zip(mean_iou(maps, inside), maps, inside, strict=True):
        scaled = (image - image.min()) / (image.max() - image.min())
        ious = []
        for t in THRESHOLDS:
            both = sum(bool(s > t and b) for s, b in zip(scaled.flat, box.flat, strict=True))
            either = sum(bool(s > t or b) for s, b in zip(scaled.flat, box.flat, strict=True))
            ious.append(both / either)
        assert value == pytest.approx(np.mean(ious))


def test_a_perfect_map_and_a_constant_one():
    inside = inside_box(ITEMS, 10)
    assert mean_iou(inside.astype(float), inside) == pytest.approx([1, 1, 1])
    constant = np.ones((3, 10, 10))
    assert mean_iou(constant, inside).tolist() == contrast_to_noise(constant, inside).tolist() == [0, 0, 0]


def test_the_gain_is_over_the_best_control_of_each_resample():
    right = inside_box(ITEMS, 8).astype(float)
    values = localisation_values({"image": right, "mean image": right, "untrained": 1 - right}, ITEMS)
    table = localisation_table([values], ITEMS, 100).set_index(["metric", "input"])
    assert table.loc[("pointing", "image"), "value"] == 1
    gain = table.loc[("pointing", "gain over best control")]
    assert (gain["value"], gain["ci_low"], gain["ci_high"]) == (0, 0, 0)
    assert table.loc[("pointing", "image"), "chance"] == pytest.approx(
        np.mean([(b[2] - b[0]) * (b[3] - b[1]) for b in BOXES])
    )
    assert localisation_table([localisation_values({}, [])], []).empty


def test_seeds_are_a_second_level_of_the_interval():
    right = inside_box(ITEMS, 8).astype(float)
    good, bad = (localisation_values({"image": image, "mean image": 1 - right}, ITEMS) for image in (right, 1 - right))
    one, two = (localisation_table(trainings, ITEMS, 200) for trainings in ([good], [good, bad]))
    for table, value, seeds, interval in ((one, 1, 1, (1, 1)), (two, 0.5, 2, (0, 1))):
        row = table.set_index(["metric", "input"]).loc[("pointing", "image")]
        assert (row["value"], row["seeds"]) == (value, seeds)
        assert (row["ci_low"], row["ci_high"]) == interval


def test_a_name_alone_without_a_map_is_no_weak_control():
    """Of three phrases one has a name of several words: the control is scored there, beside the own map of the same phrase."""
    right = inside_box(ITEMS, 8).astype(float)
    alone = np.full_like(right, 1 / 64) * (1 + 1e-7 * RNG.random(right.shape))  # constant up to rounding
    alone[1] = right[1]
    maps = {"image": right, "mean image": 1 - right, "name alone": alone}
    values = localisation_values(maps, ITEMS)
    assert values["pointing", "name alone"].isna().tolist() == [True, False, True]
    table = localisation_table([values], ITEMS, 200).set_index(["metric", "input"]).loc["pointing"]
    assert table["n"].to_dict() == {"image": 3, "mean image": 3, "name alone": 1, "gain over best control": 3}
    assert table.loc["name alone", "value"] == 1
    assert table.loc["gain over best control", "value"] == 0
    without = localisation_table([localisation_values(maps | {"name alone": 0 * right}, ITEMS)], ITEMS, 200)
    assert "name alone" not in set(without["input"])
    assert (without[without["metric"] == "pointing"].iloc[-1][["value", "n"]] == [1, 3]).all()


def test_a_gain_over_few_phrases_is_of_these():
    """The own map is right where the name alone is too, and wrong elsewhere: it has no gain over it."""
    own = np.array([1.0, 0.0, 0.0, 1.0])
    values = pd.DataFrame(
        {("m", "image"): own, ("m", "mean image"): [0, 0, 0, 0.4], ("m", "name alone"): [1, np.nan, np.nan, 1]}
    )
    table = table_with_controls([values], {"m": 0.5}, np.arange(4), resamples=300).set_index("input")
    gain = table.loc["gain over best control"]
    assert (gain["value"], gain["n"], table.loc["name alone", "n"]) == (0, 4, 2)
    assert gain["ci_high"] <= 0.5


@pytest.mark.parametrize("method", ["clip", "grounded"])
def test_maps_of_a_model_and_of_every_control(tiny_config, method):
    config = tiny_config.for_method(method)
    reports = [
        ("small", "left", "effusion", ";", "with", "edema"),
        ("no", "edema"),
        ("a", "nodule", ".", "left", "effusion"),
    ]
    model, other = (build_model(config, seed, [" ".join(r) for r in reports])[0] for seed in (0, 1))
    images = RNG.integers(0, 255, (3, 32, 32), dtype=np.uint8)
    items = [Phrase(2, "effusion", (2, 3), BOXES[2]), Phrase(0, "edema", (4,), BOXES[0])]  # in no order
    maps = localisation_maps(model, other, images, reports, np.arange(3), images[0], items)
    assert list(maps) == ["image", *CONTROLS]
    assert all(value.shape == (2, 32, 32) for value in maps.values())
    assert not np.allclose(maps["image"], maps["untrained"])
    alone = phrase_maps(model, images, reports, items[:1], 32)
    np.testing.assert_allclose(alone[0], maps["image"][0], rtol=1e-4, atol=1e-5)


def test_a_text_of_one_word_is_found_by_the_image_and_not_everywhere_alike(tiny_config):
    model = build_model(tiny_config.for_method("prd"), 0, ["cardiomegaly with edema"])[0]
    images = RNG.integers(0, 255, (2, 32, 32), dtype=np.uint8)
    items = [Phrase(row, "cardiomegaly", (0,), BOXES[0]) for row in (0, 1)]
    maps = phrase_maps(model, images, [("cardiomegaly",)] * 2, items, 32)
    assert maps.std(axis=(1, 2)).min() > 0
    assert not np.allclose(maps[0], maps[1])
    with torch.no_grad():
        regions = model.encode_regions(torch.from_numpy(images[:1]))[0]
        word = model.encode_words([("cardiomegaly",)])[0][0, 0]
    side = round(len(regions) ** 0.5)
    expected = np.array([float((region * word).sum()) for region in regions]).reshape(side, side)
    assert np.unravel_index(expected.argmax(), expected.shape) == tuple(
        int(i * side / 32) for i in np.unravel_index(maps[0].argmax(), maps[0].shape)
    )


def test_the_map_of_a_phrase_is_that_of_the_segment_that_holds_it(tiny_config):
    reports = [("small", "left", "effusion", ";", "with", "edema")]
    model = build_model(tiny_config.for_method("grounded"), 0, ["small left effusion with edema"])[0]
    images = RNG.integers(0, 255, (1, 32, 32), dtype=np.uint8)
    first, same, second = phrase_maps(model, images, reports, [Phrase(0, "", (i,), BOXES[0]) for i in (0, 2, 3)], 32)
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, second)
    alone = phrase_maps(model, images, [("with", "edema")], [Phrase(0, "", (0,), BOXES[0])], 32)
    np.testing.assert_allclose(alone[0], second, rtol=1e-4, atol=1e-5)
