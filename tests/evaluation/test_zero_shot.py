"""Similarities of texts to images, and the two ensembles of prompts, against plain loops and planted answers."""

import numpy as np
import pytest
import torch

from prdlib.data.batches import EvaluationData
from prdlib.evaluation import zero_shot
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.evaluation.similarity import logit_scale, similarities
from prdlib.evaluation.zero_shot import class_prompts, class_similarities, pair_probabilities, prompts
from prdlib.losses import local_similarity
from prdlib.losses.segment_region import segment_region_similarity
from prdlib.models import build_model

FIVE = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
TEXTS = [tuple(text.split()) for text in ("small left effusion", "no effusion", "the heart is enlarged", "no effusion")]


@pytest.fixture(scope="module")
def images(tiny_data):
    return EvaluationData.first_views(tiny_data["train"]).images[:9]


@pytest.fixture(scope="module")
def models(tiny_config, tiny_data):
    reports = [" ".join(words) for words in tiny_data["train"]["words"]]
    return {name: PRDAdapter(build_model(tiny_config.for_method(name), 0, reports)[0]) for name in ("prd", "grounded")}


@pytest.mark.parametrize("method", ["prd", "grounded"])
@torch.inference_mode()
def test_similarities_are_those_of_one_image_and_one_text_at_a_time(models, images, method):
    model = models[method].model
    for kind in ("global", "local"):
        found = similarities(models[method], images, TEXTS, kind)
        for row, image in enumerate(images):
            for column, text in enumerate(TEXTS):
                shown, read = torch.from_numpy(image[None]), [text]
                if kind == "global":
                    one = model.encode_images(shown) @ model.encode_reports(read).T
                elif method == "grounded":
                    one = segment_region_similarity(model.encode_places(shown), *model.encode_segments(read))
                else:
                    one = local_similarity(model.encode_regions(shown), *model.encode_words(read), aggregation="mean")
                assert found[row, column] == pytest.approx(float(one), abs=1e-4)


def test_another_similarity_is_refused(models, images):
    with pytest.raises(ValueError, match="of this model is global or local, not 'regional'"):
        similarities(models["prd"], images, TEXTS, "regional")


class Brightness:
    """A foreign model: an image's vector is its brightness, a text's its number of words."""

    def encode_images(self, images):
        return torch.from_numpy(images.reshape(len(images), -1).mean(axis=1, keepdims=True))

    def encode_reports(self, reports):
        return torch.tensor([[float(len(report.split()))] for report in reports])


def test_another_model_has_the_global_similarity_alone(images):
    found = similarities(Brightness(), images, TEXTS)
    np.testing.assert_allclose(found, np.outer(images.mean(axis=(1, 2)), [3, 2, 4, 2]))
    with pytest.raises(ValueError, match="of this model is global, not 'local'"):
        similarities(Brightness(), images, TEXTS, "local")
    assert logit_scale(Brightness()) == pytest.approx(1 / 0.07)


def planted(values):
    """Stands for similarities: what each text is worth, on every image, times the image's brightness."""

    def found(_, images, texts, kind):
        brightness = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64) / 255
        return brightness[:, None] * np.array([values[tuple(text)] for text in texts])

    return found


def test_pairs_of_prompts_give_the_mean_of_their_softmax(models, monkeypatch):
    positive, negative = prompts("Edema")
    values = {tuple(p.split()): v for p, v in zip((*positive, *negative), (1, 2, 3, 4, 0, 2, 4, -2), strict=True)}
    monkeypatch.setattr(zero_shot, "similarities", planted(values))
    monkeypatch.setattr(zero_shot, "logit_scale", lambda *_: 1.5)
    shown = np.stack([np.full((8, 8), v, np.uint8) for v in (0, 255)])
    expected = np.mean([1 / (1 + np.exp(-1.5 * d)) for d in (1, 0, -1, 6)])
    np.testing.assert_allclose(pair_probabilities(models["prd"], shown, ["Edema"])[:, 0], [0.5, expected])


def test_prompts_are_pairs():
    for label in (*FIVE, "Normal", "Support Devices", "Something Rare"):
        assert len(prompts(label)[0]) == len(prompts(label)[1])


def test_class_prompts_are_every_combination_once_and_name_the_class():
    for name in FIVE:
        found = class_prompts(name)
        assert len(set(found)) == len(found) > 10
        assert all(text == " ".join(text.split()).lower() for text in found)
    assert class_prompts("Cardiomegaly")[:2] == ("cardiomegaly", "enlargement of the heart")
    assert class_prompts("Pleural Effusion")[-1] == "large effusion bilaterally"
    assert class_prompts("Something Rare") == prompts("Something Rare")[0]


def test_classes_are_scored_by_the_mean_of_their_prompts_and_centred_by_other_images(models, monkeypatch):
    values = {tuple(p.split()): v for name, v in (("Edema", 1.0), ("Cardiomegaly", 3.0)) for p in class_prompts(name)}
    monkeypatch.setattr(zero_shot, "similarities", planted(values))
    shown = np.stack([np.full((8, 8), v, np.uint8) for v in (51, 255)])
    found = class_similarities(models["prd"], shown, ["Edema", "Cardiomegaly"])
    np.testing.assert_allclose(found, [[0.2, 0.6], [1.0, 3.0]])
    others = np.full((3, 8, 8), 51, np.uint8)
    centred = class_similarities(models["prd"], shown, ["Edema", "Cardiomegaly"], centre=others)
    np.testing.assert_allclose(centred, [[0, 0], [0.8, 2.4]], atol=1e-12)
