"""Maps of models whose right answer is known."""

import numpy as np
import pytest
import torch

from prdlib.attribution import frozen, grad_cam, integrated_gradients, phrase_grad_cam, phrase_gradients
from prdlib.config import load_profile
from prdlib.evaluation.grounding import Phrase
from prdlib.models import build_model

WORDS = [("small", "left", "effusion"), ("no", "acute", "disease")]


@pytest.fixture(scope="module")
def model(tiny_config):
    return build_model(tiny_config, 3, ["small left effusion", "no acute disease"])[0].eval()


def images(size=32):
    return np.random.default_rng(1).integers(0, 255, (2, size, size), dtype=np.uint8)


def test_integrated_gradients_are_complete(model):
    blind = np.tile(np.linspace(0, 200, 32, dtype=np.uint8), (32, 1))
    result = integrated_gradients(model, images(), WORDS, blind, steps=128)
    with torch.no_grad():
        texts = model.encode_reports(WORDS)
        tokens = model.tokenise(WORDS)
        tokens["input_ids"] = torch.where(
            tokens["word_ids"] >= 0, torch.zeros_like(tokens["input_ids"]), tokens["input_ids"]
        )
        base_texts = model.encode_reports(tokens)
        end = (model.encode_images(images()) * texts).sum(dim=1)
        start = (model.encode_images([blind] * 2) * base_texts).sum(dim=1)
    total = result.maps.sum(axis=(1, 2)) + result.words.sum(axis=1)
    assert np.allclose(total, (end - start).numpy(), atol=0.02)
    assert np.allclose(result.delta, total - (end - start).numpy(), atol=1e-3)
    assert result.words.shape == (2, 3)


def test_integrated_gradients_of_segments_are_complete_and_each_reports_own(tiny_config):
    """Reports of one and of two segments: words in their order, the same alone, and their sum the change of the score."""
    marked = [("small", "left", "effusion", ";", "no", "disease"), ("no", "acute", "disease")]
    model = build_model(tiny_config.for_method("grounded"), 3, ["small left effusion", "no acute disease"])[0].eval()
    blind = np.zeros((32, 32), np.uint8)
    both = integrated_gradients(model, images(), marked, blind, steps=64)
    assert both.words.shape == (2, 5)
    assert (both.words[1, 3:] == 0).all()
    assert (both.words[0] != 0).all()
    assert np.abs(both.delta).max() < 0.02
    alone = integrated_gradients(model, images()[1:], marked[1:], blind, steps=64, batch_size=3)
    assert np.allclose(both.words[1, :3], alone.words[0], atol=1e-5)
    assert np.allclose(both.maps[1], alone.maps[0], atol=1e-5)


def test_integrated_gradients_do_not_depend_on_the_batch(model):
    blind = np.zeros((32, 32), np.uint8)
    both = integrated_gradients(model, images(), WORDS, blind, steps=8)
    alone = integrated_gradients(model, images()[:1], WORDS[:1], blind, steps=8, batch_size=3)
    assert np.allclose(both.maps[0], alone.maps[0], atol=1e-5)
    assert np.allclose(both.words[0], alone.words[0], atol=1e-5)


@pytest.mark.parametrize("encoder", ["narrow_resnet", "resnet18", "vit_b_16"])
def test_grad_cam_is_a_map_of_the_image(encoder):
    config = load_profile(
        "quick", {"data.image_size": 64, "model": {"image_encoder": encoder, "image_width": 4, "text_width": 32}}
    )
    model = build_model(config, 0, ["small left effusion no acute disease"])[0]
    result = grad_cam(model, images(64), WORDS)
    assert result.maps.shape == (2, 64, 64)
    assert np.isfinite(result.maps).all()
    assert result.maps.std() > 0


@pytest.mark.parametrize("encoder", ["narrow_resnet", "vit_b_16"])
def test_grad_cam_is_its_formula_and_frozen_changes_nothing(encoder):
    """Mean gradient of a channel times the channel, summed; of a ViT over the patch tokens of the last block's first norm."""
    config = load_profile(
        "quick", {"data.image_size": 64, "model": {"image_encoder": encoder, "image_width": 4, "text_width": 32}}
    )
    model = build_model(config, 0, ["small left effusion no acute disease"])[0].eval()
    result = grad_cam(model, images(64), WORDS).maps
    kept = []
    layer = model.image_encoder.attribution_layer
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    embeds = model.encode_images(torch.from_numpy(images(64)))
    handle.remove()
    (features,) = kept
    (gradient,) = torch.autograd.grad((embeds * model.encode_reports(WORDS)).sum(), features)
    if encoder == "vit_b_16":
        coarse = torch.einsum("bd,bnd->bn", gradient.mean(dim=1), features)[:, 1:].unflatten(1, (4, 4))
    else:
        coarse = torch.einsum("bc,bchw->bhw", gradient.mean(dim=(2, 3)), features)
    expected = torch.nn.functional.interpolate(coarse[:, None], size=64, mode="bilinear")[:, 0].detach().numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert frozen(model) is model
    assert not any(p.requires_grad for p in model.parameters())
    again = grad_cam(model, images(64), WORDS).maps
    np.testing.assert_allclose(again, result, rtol=1e-2, atol=1e-3 * np.abs(result).max())


def test_grad_cam_of_a_vit_that_looks_at_one_patch_points_there():
    """16 patches in turn; the class token of the last norm is left out, and tokens are no channels."""

    class OnePatch(torch.nn.Module):
        in_channels, pixel_mean, pixel_std, vit = 1, 0.0, 1.0, True

        def __init__(self, place):
            super().__init__()
            self.norm, self.place = torch.nn.Identity(), place

        @property
        def attribution_layer(self):
            return self.norm

        def forward(self, pixels):
            patches = torch.nn.functional.unfold(pixels, 16, stride=16).transpose(1, 2)[..., :2]
            tokens = self.norm(torch.cat([torch.full_like(patches[:, :1], 9.0), patches], dim=1))
            pooled = tokens[:, 1 + self.place]
            return pooled, tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))

    config = load_profile("quick", {"data.image_size": 64, "model": {"image_width": 4, "text_width": 32}})
    planted = build_model(config, 0, ["small left effusion"])[0].eval()
    for place in range(16):
        planted.image_encoder = OnePatch(place)
        planted.image_projection = torch.nn.Linear(2, config.model.projection_dim)
        y, x = divmod(place, 4)
        bright = np.full((1, 64, 64), 10, np.uint8)
        bright[0, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = 255
        values = np.abs(grad_cam(planted, bright, [("small", "left")]).maps[0])
        row, column = np.unravel_index(values.argmax(), values.shape)
        assert (row // 16, column // 16) == (y, x)


def test_frozen_integrated_gradients_are_the_same(model, tiny_config):
    blind = np.zeros((32, 32), np.uint8)
    before = integrated_gradients(model, images(), WORDS, blind, steps=8)
    other = build_model(tiny_config, 3, ["small left effusion", "no acute disease"])[0]
    after = integrated_gradients(frozen(other), images(), WORDS, blind, steps=8)
    np.testing.assert_allclose(after.maps, before.maps, atol=1e-5)
    np.testing.assert_allclose(after.words, before.words, atol=1e-5)


def test_grad_cam_of_a_model_that_looks_at_one_corner_points_there(model):
    class Corner(torch.nn.Module):
        in_channels, pixel_mean, pixel_std = 1, 0.0, 1.0

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.AvgPool2d(4)

        @property
        def attribution_layer(self):
            return self.layer

        def forward(self, pixels):
            regions = self.layer(pixels)
            pooled = torch.cat([regions[:, :, :2, :2].mean(dim=(2, 3)), torch.ones(len(pixels), 1)], dim=1)
            return pooled, regions

    import copy

    planted = copy.deepcopy(model)
    planted.image_encoder = Corner()
    planted.image_projection = torch.nn.Linear(2, 16, bias=False)
    bright = np.zeros((2, 32, 32), np.uint8)
    bright[:, :8, :8] = 255
    result = grad_cam(planted, bright, WORDS)
    for values in np.abs(result.maps):
        y, x = np.unravel_index(values.argmax(), values.shape)
        assert y < 10
        assert x < 10


def test_phrase_gradients_are_complete_up_to_the_enlargement(model):
    maps = phrase_gradients(model, images(), WORDS, steps=128, cell=8)
    with torch.no_grad():
        texts = model.encode_reports(WORDS)
        end = (model.encode_images(images()) * texts).sum(dim=1)
        start = (model.encode_images(np.zeros((2, 32, 32), np.uint8)) * texts).sum(dim=1)
    corners = maps[:, 4::8, 4::8] + maps[:, 3::8, 3::8] + maps[:, 3::8, 4::8] + maps[:, 4::8, 3::8]
    assert maps.shape == (2, 32, 32)
    assert np.allclose(corners.sum(axis=(1, 2)) / 4 * 64, (end - start).numpy(), atol=0.05)


def test_phrases_have_a_map_of_their_own_words(model):
    """Of marked reports: the map of a phrase is that of its words alone, on the image of its row."""
    marked = [("no", "edema", ";", "small", "left", "effusion"), ("no", "acute", "disease")]
    items = [Phrase(0, "effusion", (2, 3, 4), (0, 0, 1, 1)), Phrase(1, "disease", (1, 2), (0, 0, 1, 1))]
    maps = phrase_grad_cam(model, images(), marked, items, 32, batch_size=1)
    alone = grad_cam(model, images(), [("small", "left", "effusion"), ("acute", "disease")]).maps
    np.testing.assert_allclose(maps, alone, rtol=1e-4, atol=1e-6)
    assert phrase_grad_cam(model, images(), marked, [], 32).shape == (0, 32, 32)
