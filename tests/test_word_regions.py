"""Attention of words over regions: against its formula, in the coordinates of images of any size, of a word inside its report."""

import numpy as np
import pytest
import torch
from linear_pair import CELL, SIDE, SIZE, LinearPair, number

from prdlib.attribution_methods import explain
from prdlib.evaluation.grounding import Phrase
from prdlib.images import fit
from prdlib.models import build_model
from prdlib.word_regions import METHOD, SEGMENTS, UNTRAINED, phrase_attention, report_attention, word_maps

RNG = np.random.default_rng(0)
TEXTS = [("small", "left", "effusion"), ("no", "nodule")]


@pytest.fixture(scope="module")
def model(tiny_config):
    return build_model(tiny_config, 3, ["small left effusion", "no nodule seen"])[0].eval()


def by_formula(model, image, text, tau=4.0):
    """alpha [W, h, h] of one pair, word by word."""
    with torch.no_grad():
        regions, words = model.encode_regions(image[None])[0].numpy(), model.encode_words([text])[0][0].numpy()
    products = np.exp(regions @ words.T)
    shares = products / products.sum(axis=1, keepdims=True)  # of each region between the words
    alpha = np.exp(tau * shares)
    side = round(len(regions) ** 0.5)
    return (alpha / alpha.sum(axis=0)).T.reshape(-1, side, side)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_maps_of_words_are_the_attention_of_the_local_loss(model, tau):
    images = RNG.integers(0, 255, (2, 32, 32), dtype=np.uint8)
    for found, image, text in zip(word_maps(model, images, TEXTS, tau), images, TEXTS, strict=True):
        coarse = torch.from_numpy(by_formula(model, image, text, tau) - 1 / 4)[:, None]
        expected = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")[:, 0].numpy()
        np.testing.assert_allclose(found.maps, expected, atol=1e-5)
        assert found.words == text
        assert found.method == METHOD


def test_pairs_are_as_one_by_one_and_a_report_is_the_mean_of_its_words(model):
    images = RNG.integers(0, 255, (2, 32, 32), dtype=np.uint8)
    both, whole = word_maps(model, images, TEXTS), report_attention(model, images, TEXTS)
    for i, found in enumerate(both):
        (alone,) = word_maps(model, images[i : i + 1], TEXTS[i : i + 1])
        np.testing.assert_allclose(found.maps, alone.maps, atol=1e-6)
        np.testing.assert_allclose(whole.maps[i], found.maps.mean(axis=0), atol=1e-6)
    assert whole.words is whole.delta is None


def test_text_has_the_maps_of_its_words(model):
    image = RNG.integers(0, 255, (1, 32, 32), dtype=np.uint8)
    (one,), (other,) = (word_maps(model, image, [form]) for form in ("Small, left effusion.", TEXTS[0]))
    assert one.words == other.words == TEXTS[0]
    np.testing.assert_allclose(one.maps, other.maps, atol=1e-6)
    with pytest.raises(ValueError, match="images is a single image"):
        word_maps(model, image[0], TEXTS[:1])
    with pytest.raises(ValueError, match="reports is a single string"):
        word_maps(model, image, "small left effusion")


def test_words_of_a_model_of_segments_have_the_cosine_of_their_segment(tiny_config):
    """Its head of words is not trained: the trained one is that of segments, in the image as it was given too."""
    grounded = build_model(tiny_config.for_method("grounded"), 3, ["small left effusion", "no nodule seen"])[0].eval()
    marked, image = ("small", "left", "effusion", ".", "no", "nodule"), RNG.integers(0, 255, (40, 64), dtype=np.uint8)
    (found,) = word_maps(grounded, [image], [marked])
    assert (found.method, found.target) == (SEGMENTS, "cosine of the word's segment with the region")
    assert found.maps.shape == (5, 40, 64)
    with torch.no_grad():
        segments, places = grounded.encode_segments([marked])[0][0], grounded.encode_places([image])[0, :-1]
    side = round(len(places) ** 0.5)
    for word, values in enumerate(found.maps):
        coarse = (places @ segments[0 if word < 3 else 1]).view(1, 1, side, side)
        square = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")[0, 0].numpy()
        np.testing.assert_allclose(values, fit(40, 64, 32).to_image(square), atol=1e-5)
    (whole,) = explain(grounded, [image], [marked], METHOD)
    assert whole.method == SEGMENTS
    np.testing.assert_allclose(whole.map, found.maps.mean(axis=0), atol=1e-5)


def test_a_head_of_words_that_no_loss_trained_is_named(tiny_config):
    for method, weight, name in (("clip", 0.0, UNTRAINED), ("prd", 0.1, METHOD)):
        model = build_model(tiny_config.for_method(method), 3, ["small left effusion", "no nodule seen"])[0].eval()
        model.config.training = {"method": method, "objective": {"local_weight": weight}}
        images = RNG.integers(0, 255, (1, 32, 32), dtype=np.uint8)
        assert (
            word_maps(model, images, TEXTS[:1])[0].method == explain(model, images, TEXTS[:1], METHOD)[0].method == name
        )
    assert "untrained" in UNTRAINED


def test_words_beyond_the_limit_have_no_map(model):
    words = ("small", "left", "effusion") * 20
    (found,) = word_maps(model, RNG.integers(0, 255, (1, 32, 32), dtype=np.uint8), [words])
    assert found.words == words[: model.config.word_limit]
    assert len(found.maps) == model.config.word_limit


def test_a_phrase_has_the_mean_of_its_words_read_in_its_report(model):
    images = RNG.integers(0, 255, (2, 32, 32), dtype=np.uint8)
    items = [Phrase(1, "nodule", (0, 1), (0, 0, 1, 1)), Phrase(0, "effusion", (1, 2), (0, 0, 1, 1))]
    maps = phrase_attention(model, images, TEXTS, items, 32)
    words = word_maps(model, images, TEXTS)
    np.testing.assert_allclose(maps[0], words[1].maps.mean(axis=0) + 1 / 4, atol=1e-6)
    np.testing.assert_allclose(maps[1], words[0].maps[1:].mean(axis=0) + 1 / 4, atol=1e-6)
    assert phrase_attention(model, images, TEXTS, [], 32).shape == (0, 32, 32)


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (160, 64), (96, 200)])
def test_a_word_looks_at_its_place_in_the_image_as_it_was_given(shape):
    """What the word "seen" looks for is a bright square inside the crop: the map's weight is there, and 0 beyond the crop."""
    pair = LinearPair()
    pair.embedding.weight.data[number("seen")] = 1.0
    height, width = shape
    short = min(shape)
    cell = short * CELL // SIZE
    y, x = (height - short) // 2 + cell, (width - short) // 2 + 2 * cell
    image = np.zeros(shape, np.uint8)
    image[y : y + cell, x : x + cell] = 255
    (found,) = word_maps(pair, [image], [("seen", "left")], 40.0)
    assert found.maps.shape == (2, *shape)
    row, column = (axis.mean() for axis in np.nonzero(found.maps[0] > found.maps[0].max() / 2))
    assert abs(row - (y + cell / 2 - 0.5)) < cell / 4
    assert abs(column - (x + cell / 2 - 0.5)) < cell / 4
    beyond = np.ones(shape, dtype=bool)
    beyond[max(0, (height - short) // 2 - 2) : (height + short) // 2 + 2,
           max(0, (width - short) // 2 - 2) : (width + short) // 2 + 2] = False  # fmt: skip
    assert (found.maps[:, beyond] == 0).all()
    assert SIDE == 4
