"""Attributions of a model whose saliency is known; of one that looks at one place alone; leads; images that are not square."""

import numpy as np
import pytest
import torch
from linear_pair import CELL, PAD, SIDE, SIZE, LinearPair, number, saliency, spread

from prdlib.attribution import grad_cam, integrated_gradients, pixel_gradients
from prdlib.attribution_masking import (
    METHODS,
    SeenImages,
    change_by_words,
    occlusion,
    score_with_words,
    word_ablation,
    word_attribution,
    word_shapley,
)
from prdlib.attribution_methods import PAIR_METHODS, explain, lead_by_word, map_methods, study_maps
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import grounding
from prdlib.evaluation.grounding import Phrase, pointing
from prdlib.models import build_model
from prdlib.text import Perturbed, find_breaks, perturb_reports, tag
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import SEGMENTS, UNTRAINED, head_of

TEXTS = [("small", "left", "effusion", "seen"), ("no", "nodule")]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (2, SIZE, SIZE), dtype=np.uint8)
SMALL = IMAGES[:, :32, :32].copy()  # of the size of the model that is not linear
PAIR = [("small", "left", "effusion"), ("no", "nodule")]


@pytest.fixture(scope="module")
def linear():
    return LinearPair()


@pytest.fixture(scope="module")
def model(tiny_config):
    return build_model(tiny_config, 3, ["small left effusion", "no nodule seen"])[0].eval()


def contributions(linear, image, text):
    """Of words: <v, E[word] - E[pad]>."""
    with torch.no_grad():
        v = linear.encode_images(image[None])[0]
        table = linear.embedding.weight
        return np.array([float(v @ (table[number(word)] - table[PAD])) for word in text])


@pytest.mark.parametrize("method", METHODS)
def test_words_of_a_linear_model_are_their_own_products(linear, method):
    found = word_attribution(linear, IMAGES, TEXTS, method)
    for row, image, text in zip(found.words, IMAGES, TEXTS, strict=True):
        np.testing.assert_allclose(row[: len(text)], contributions(linear, image, text), rtol=1e-3, atol=1e-4)
        assert (row[len(text) :] == 0).all()
    assert found.maps is None
    assert found.delta is None if method == "Word ablation" else np.abs(found.delta).max() < 1e-3


def test_integrated_gradients_of_a_linear_model_are_weight_times_pixel(linear):
    expected = np.stack(
        [spread(saliency(linear, text)) / CELL**2 * image / 255 for image, text in zip(IMAGES, TEXTS, strict=True)]
    )
    np.testing.assert_allclose(pixel_gradients(linear, IMAGES, TEXTS).maps, expected, rtol=1e-3, atol=1e-5)


def test_occlusion_of_a_linear_model_is_weight_times_distance_from_grey(linear):
    """Windows that are the cells: each loses its own sum."""
    found = occlusion(linear, IMAGES, TEXTS, window=CELL, stride=CELL).maps
    for values, image, text in zip(found, IMAGES / 255, TEXTS, strict=True):
        lost = image.reshape(SIDE, CELL, SIDE, CELL).mean(axis=(1, 3)) - image.mean()
        np.testing.assert_allclose(values, spread(saliency(linear, text) * lost), rtol=1e-3, atol=1e-4)


def test_overlapping_windows_are_averaged_at_each_pixel(linear):
    found = occlusion(linear, IMAGES[:1], TEXTS[:1], window=32, stride=16).maps[0]
    image, weights = IMAGES[0] / 255, spread(saliency(linear, TEXTS[0])) / CELL**2
    total, count = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for y in range(0, SIZE - 31, 16):
        for x in range(0, SIZE - 31, 16):
            place = np.s_[y : y + 32, x : x + 32]
            total[place] += (weights[place] * (image[place] - image.mean())).sum()
            count[place] += 1
    np.testing.assert_allclose(found, total / count, rtol=1e-3, atol=1e-4)


def test_grad_cam_of_a_linear_model_is_the_mean_weight_times_the_map(linear):
    found = grad_cam(linear, IMAGES, TEXTS).maps
    for values, image, text in zip(found, IMAGES / 255, TEXTS, strict=True):
        cells = image.reshape(SIDE, CELL, SIDE, CELL).mean(axis=(1, 3))
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(cells * saliency(linear, text).mean())[None, None], size=SIZE, mode="bilinear"
        )[0, 0].numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", map_methods())
def test_every_map_of_a_model_that_looks_at_one_place_points_there(method):
    """96 random images, each model with another place: more than 95 %."""
    hits = []
    for k in range(16):
        y, x = divmod(k, SIDE)
        seen = np.zeros((SIDE, SIDE))
        seen[y, x] = 1
        planted = LinearPair(seed=1, seen=seen)
        planted.embedding.weight.data[number("seen")] = 1.0  # positive, as the projection is
        images = RNG.integers(100, 255, (6, SIZE, SIZE), dtype=np.uint8)
        images[:, y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = 255  # what is looked for is there
        place = (x / SIDE, y / SIDE, (x + 1) / SIDE, (y + 1) / SIDE)
        items = [Phrase(i, "seen", (0,), place) for i in range(6)]
        maps = map_methods()[method](planted, images, [("seen", "left", "nodule")] * 6, items, SIZE)
        hits += pointing(maps, items).tolist()
    assert len(hits) == 96
    assert np.mean(hits) > 0.95


def test_maps_of_a_head_that_is_not_of_words_bear_its_name():
    own = {ATTENTION: ["word maps", "attention"], SEGMENTS: ["segment maps"], UNTRAINED: ["word maps, untrained head"]}
    for head, names in own.items():
        assert list(map_methods(head=head)) == [*names, "Grad-CAM", "Integrated Gradients", "Occlusion"]


def test_figures_of_a_model_of_segments_show_its_segments(tiny_config, tiny_data):
    split = EvaluationData.first_views(tiny_data["train"])
    grounded = build_model(tiny_config.for_method("grounded"), 3, [" ".join(words) for words in split.words])[0].eval()
    phrases = grounding.phrases(split.findings, [t.offsets for t in split.tagged])
    _, maps, titles, _ = study_maps(grounded, split, phrases, phrases[0].row)
    assert head_of(grounded) == SEGMENTS
    assert list(maps) == list(map_methods(head=SEGMENTS))
    assert all(len(found) == len(titles) for found in maps.values())


def test_ablation_and_shapley_share_values_in_groups(model):
    groups = [[0, 0, 1], [0, 1]]
    with torch.no_grad():
        embeds = model.encode_images(SMALL)[:, None]
    for method in (word_shapley, word_ablation):
        found = method(model, embeds, PAIR, groups=groups)[:, 0]
        assert found[0, 0] == found[0, 1] != found[0, 2]
    shapley = word_shapley(model, embeds, PAIR, groups=groups)[:, 0]
    np.testing.assert_allclose(
        [shapley[0, 0] + shapley[0, 2], shapley[1, :2].sum()], change_by_words(model, embeds, PAIR)[:, 0], atol=1e-5
    )
    with pytest.raises(ValueError, match="3 words has groups for 2"):
        word_ablation(model, embeds, PAIR, groups=[[0, 0], [0, 1]])


def test_shapley_values_are_the_mean_over_all_orders(model):
    """Every one of the 3! orders, from scores of every coalition."""
    from itertools import permutations

    text = [("small", "left", "effusion")]
    with torch.no_grad():
        embeds = model.encode_images(SMALL[:1])[:, None]
    coalitions = np.array([[[bool(k >> w & 1) for w in range(3)] for k in range(8)]])
    scores = score_with_words(model, embeds, text, coalitions)[0, 0]
    expected = np.zeros(3)
    for order in permutations(range(3)):
        there = 0
        for word in order:
            expected[word] += (scores[there | 1 << word] - scores[there]) / 6
            there |= 1 << word
    found = word_shapley(model, embeds, text, samples=600)[0, 0]
    np.testing.assert_allclose(found, expected, atol=0.003)
    ablated = word_ablation(model, embeds, text)[0, 0]
    np.testing.assert_allclose(ablated, [scores[7] - scores[7 & ~(1 << w)] for w in range(3)], atol=1e-6)


def test_several_images_for_one_report_are_as_one_by_one(model):
    with torch.no_grad():
        embeds = model.encode_images(SMALL)
    both = torch.stack([embeds, embeds.flip(0)], dim=1)
    for method in METHODS.values():
        together = method(model, both, PAIR)
        np.testing.assert_allclose(together[:, :1], method(model, both[:, :1], PAIR), atol=1e-5)
        np.testing.assert_allclose(together[:, 1:], method(model, both[:, 1:], PAIR), atol=1e-5)


def test_shapley_draws_from_its_seed_alone(model):
    before = torch.random.get_rng_state()
    first, again, other = (
        word_attribution(model, SMALL[:1], [("small", "left", "effusion")], "Shapley values", samples=2, seed=s).words
        for s in (1, 1, 2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_occlusion_does_not_depend_on_the_batch(model):
    both = occlusion(model, SMALL, PAIR, batch_size=3).maps
    np.testing.assert_allclose(both[:1], occlusion(model, SMALL[:1], PAIR[:1], batch_size=64).maps, atol=1e-5)


@pytest.mark.parametrize("method", PAIR_METHODS)
def test_a_lead_is_the_report_minus_its_copy_word_by_word(model, method):
    tagged = tag(["Small left effusion. No nodule seen."])
    (copy,) = perturb_reports(tagged, ["reverse_sentence"], 0, 0, ["a"])[0]
    options = {"samples": 400} if method == "Shapley values" else {}
    own, other, lead = (
        explain(model, SMALL[:1], [text], method, against, **options)[0]
        for text, against in ((tagged[0].words, None), (copy.marked, None), (tagged[0].words, [copy]))
    )
    if method == ATTENTION:
        assert lead.target == f"{own.target}, minus that of the perturbed report"
    else:
        assert (own.target, lead.target) == ("similarity of the pair", "lead over the perturbed report")
    if own.map is not None:
        np.testing.assert_allclose(lead.map, own.map - other.map, atol=1e-6)
    if own.values is not None:
        np.testing.assert_allclose(lead.values, own.values - other.values[::-1], atol=1e-6)
        assert lead.words == tagged[0].words


def test_words_that_only_the_copy_has_stand_behind():
    copy = Perturbed("no big mass", "a small mass", False, ("no", "big", 2))
    words, values = lead_by_word(("a", "small", "mass"), np.array([1.0, 2.0, 3.0]), copy, np.array([10.0, 20.0, 30.0]))
    assert words == ("a", "small", "mass", "no", "big")
    assert values.tolist() == [1, 2, -27, -10, -20]


@pytest.mark.parametrize("shape", [(48, 80), (90, 40), (32, 32), (64, 64)])
@pytest.mark.parametrize("method", ["Integrated Gradients", "Occlusion"])
def test_maps_lie_in_the_image_as_it_was_given(shape, method):
    """A bright square, at a place inside the crop, on black: the centre of the map's weight is its centre."""
    height, width = shape
    short = min(shape)
    square = LinearPair()
    square.projection = torch.ones(SIDE * SIDE, 4)
    square.embedding.weight.data[number("seen")] = 1.0
    y, x = (height - short) // 2 + short // 4, (width - short) // 2 + short // 2  # top left
    image = np.zeros(shape, np.uint8)
    image[y : y + short // 8, x : x + short // 8] = 255
    options = {"window": 8, "stride": 4} if method == "Occlusion" else {}
    (found,) = explain(square, [image], [("seen",)], method, **options)
    assert found.map.shape == shape
    rows, columns = np.nonzero(found.map > found.map.max() / 2)
    assert abs(rows.mean() - (y + short / 16 - 0.5)) < short / 32
    assert abs(columns.mean() - (x + short / 16 - 0.5)) < short / 32
    cut = np.ones(shape, dtype=bool)  # beyond the square, and the two pixels over which enlarging smooths its edge
    cut[
        max(0, (height - short) // 2 - 2) : (height + short) // 2 + 2,
        max(0, (width - short) // 2 - 2) : (width + short) // 2 + 2,
    ] = False
    assert (found.map[cut] == 0).all()


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (20, 20), (48, 80), (90, 40)])
@pytest.mark.parametrize("against", [False, True])
def test_contributions_add_up_in_an_image_of_any_size(model, shape, against):
    """Map and words of the explanation itself: the change of the score and delta."""
    image = RNG.integers(0, 255, shape, dtype=np.uint8)
    tagged = tag(["Small left effusion."])
    copies = perturb_reports(tagged, ["reverse_sentence"], 0, 0, ["a"])[0]
    texts = [tagged[0].words, copies[0].text.split()][: 1 + against]
    (found,) = explain(model, [image], texts[:1], against=copies if against else None, steps=16)
    square = model.prepare_images([image])
    changes = []
    for text in texts:
        embeds = [model.encode_images(pixels).detach() for pixels in (square, torch.zeros_like(square))]
        score = (embeds[0] * model.encode_reports([text]).detach()).sum()
        blank = model.tokenise([text])
        blank["input_ids"] = blank["input_ids"].masked_fill(blank["word_ids"] >= 0, model.word_tokenizer.pad_id)
        changes.append(float(score - (embeds[1] * model.encode_reports(blank).detach()).sum()))
    change = changes[0] - changes[1] if against else changes[0]
    assert found.map.shape == shape
    assert found.map.sum() + found.values.sum() == pytest.approx(change + found.delta, abs=1e-4)


def test_what_cannot_be_explained_is_said(model):
    with pytest.raises(ValueError, match="Unknown method 'LIME': choose one of Word-to-region attention, Grad-CAM"):
        explain(model, SMALL, PAIR, "LIME")
    with pytest.raises(ValueError, match="differ in length"):
        explain(model, SMALL, PAIR[:1], "Grad-CAM")


@pytest.fixture(scope="module")
def segmented(tiny_config):
    return build_model(tiny_config.for_method("grounded"), 3, ["small left effusion", "no nodule seen"])[0].eval()


@pytest.mark.parametrize("method", PAIR_METHODS)
@pytest.mark.parametrize("reader", ["model", "segmented"])
def test_text_is_explained_as_its_words(reader, method, request):
    """A string as its normalised words, with the marks of its segments of a model that reads them; never as its letters."""
    asked = request.getfixturevalue(reader)
    text = "Small left effusion, with edema. No nodule seen."
    (tagged,) = find_breaks(tag([text]))
    (copy,) = perturb_reports([tagged], ["reverse_sentence"], 0, 0, ["a"])[0]
    for against in (None, [copy]):
        one, other = (explain(asked, SMALL[:1], [form], method, against)[0] for form in (text, tagged.marked))
        assert one.words == other.words
        assert one.words in ((), tagged.words)
        for mine, its in ((one.map, other.map), (one.values, other.values)):
            assert (mine is None) == (its is None)
            if mine is not None:
                np.testing.assert_allclose(mine, its, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_words_of_a_text_are_its_words(model, method):
    text, words = ["Small, left effusion."], [("small", "left", "effusion")]
    one, other = (word_attribution(model, SMALL[:1], form, method).words for form in (text, words))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_words_that_the_model_does_not_read_are_worth_nothing(model):
    words = ("small", "left", "effusion") * 20
    (found,) = explain(model, SMALL[:1], [words], "Integrated Gradients", steps=4)
    limit = model.config.word_limit
    assert found.words == words
    assert (found.values[limit:] == 0).all()
    assert (found.values[:limit] != 0).all()


@pytest.mark.parametrize("method", PAIR_METHODS)
def test_a_copy_that_is_its_report_has_no_lead(model, method):
    tagged = tag(["No nodule."])
    (copy,) = perturb_reports(tagged, ["replace_adjectives_with_antonyms"], 0, 0, ["a"])[0]
    assert copy.is_noop
    with pytest.raises(ValueError, match=r"against\[0\] equals its report, to which the perturbation does not apply"):
        explain(model, SMALL[:1], [tagged[0].words], method, [copy])
    with pytest.raises(ValueError, match=r"against\[0\] is a copy of another report"):
        explain(model, SMALL[:1], ["Small left effusion."], method, [copy])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"reports": "small effusion"}, "reports is a single string"),
        ({"reports": [()], "method": "Word ablation"}, "Report 0 has no words"),
        ({"reports": ["..."], "method": "Word ablation"}, "Report 0 has no words"),
        ({"images": SMALL[0]}, "images is a single image"),
        ({"images": []}, "No images"),
        ({"method": "Shapley values", "samples": 0}, "samples is 0: give at least 1"),
        ({"method": "Integrated Gradients", "steps": 0}, "steps is 0: give at least 1"),
        ({"against": [[Perturbed("left small", "small left", False)]]}, "against.0. is a list, not one perturbed copy"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_sentence(model, asked, told):
    with pytest.raises(ValueError, match=told):
        explain(model, **({"images": SMALL[:1], "reports": [("small", "left")]} | asked))


def test_words_without_steps_or_samples_are_refused(model):
    for method, options in (("Integrated Gradients", {"steps": 0}), ("Shapley values", {"samples": 0})):
        with pytest.raises(ValueError, match="is 0: give at least 1"):
            word_attribution(model, SMALL[:1], PAIR[:1], method, **options)
    with pytest.raises(ValueError, match="steps is 0"):
        pixel_gradients(model, SMALL[:1], PAIR[:1], steps=0)


@pytest.mark.parametrize("method", [name for name in PAIR_METHODS if name != "Shapley values"])
def test_batches_are_explained_as_single_pairs(model, method):
    both = explain(model, SMALL, PAIR, method)
    for i, found in enumerate(both):
        (alone,) = explain(model, SMALL[i : i + 1], PAIR[i : i + 1], method)
        assert (found.words, found.method, found.target) == (alone.words, alone.method, alone.target)
        for one, other in ((found.map, alone.map), (found.values, alone.values)):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-5)
        assert found.delta == (None if alone.delta is None else pytest.approx(alone.delta, abs=1e-5))


def test_shapley_values_of_a_batch_are_complete_as_those_of_single_pairs(model):
    """Their orders are drawn for the longest report of a batch: other draws, the same sums."""
    both = explain(model, SMALL, PAIR, "Shapley values")
    alone = [explain(model, SMALL[i : i + 1], PAIR[i : i + 1], "Shapley values")[0] for i in (0, 1)]
    for one, other in zip(both, alone, strict=True):
        assert one.values.sum() == pytest.approx(other.values.sum(), abs=1e-5)
        assert abs(one.delta) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_one_word_that_counts(method):
    """96 reports in which one word alone changes the similarity, at another place in each: more than 95 %."""
    pair = LinearPair(seed=2)
    table = pair.embedding.weight.data
    table[:] = table[PAD]
    table[number("seen")] = pair.projection.sum(dim=0)  # along what every image has
    others = [word for word in ("small", "left", "effusion", "no", "nodule") if number(word) != number("seen")]
    places = RNG.integers(0, 6, 96)
    texts = [(*RNG.choice(others, place), "seen", *RNG.choice(others, 5 - place)) for place in places]
    found = word_attribution(pair, RNG.integers(1, 255, (96, SIZE, SIZE), dtype=np.uint8), texts, method)
    assert np.mean(found.words.argmax(axis=1) == places) > 0.95


def test_covered_images_are_encoded_once_and_give_the_same_maps(model):
    counted, encode, seen = [], model.encode_images, SeenImages()
    try:
        model.encode_images = lambda pixels: counted.append(len(pixels)) or encode(pixels)
        first = occlusion(model, SMALL, PAIR, encode=seen).maps
        once = sum(counted)
        again = occlusion(model, SMALL[::-1].copy(), PAIR, encode=seen).maps  # the same images, other words
        assert sum(counted) == once == 2 * (1 + 49)
    finally:
        del model.encode_images
    np.testing.assert_allclose(first, occlusion(model, SMALL, PAIR).maps, atol=1e-6)
    np.testing.assert_allclose(again, occlusion(model, SMALL[::-1].copy(), PAIR).maps, atol=1e-6)


def test_explanations_come_in_the_order_of_pairs_whatever_the_batch(model):
    images, texts = [*SMALL, SMALL[0][:, :20]], [("no", "nodule"), ("small", "left", "effusion"), ("nodule",)]
    whole, parts = (explain(model, images, texts, "Grad-CAM", batch_size=size) for size in (8, 1))
    assert [e.map.shape for e in whole] == [(32, 32), (32, 32), (32, 20)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.map, other.map, atol=1e-5)


def test_joint_gradients_are_complete(model):
    found = explain(model, SMALL, PAIR, "Integrated Gradients", steps=64)
    direct = integrated_gradients(model, SMALL, PAIR, np.zeros((32, 32), np.uint8), 64)
    assert [e.delta for e in found] == pytest.approx(direct.delta.tolist(), abs=1e-5)
    assert np.abs(direct.delta).max() < 0.02
