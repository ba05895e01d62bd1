"""Similarities of texts to images, and the two ensembles of prompts, against plain loops and planted answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prdlib.config import ConfigError, load_profile
from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.evaluation.similarity import logit_scale, similarities
from prdlib.evaluation.zero_shot import (
    check_labels,
    class_similarities,
    class_texts,
    load_prompts,
    pair_probabilities,
    pair_texts,
)
from prdlib.evaluation.zero_shot_tables import zero_shot_tables
from prdlib.losses import local_similarity
from prdlib.losses.segment_region import segment_region_similarity
from prdlib.models import build_model

OWN = load_prompts()
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


def test_pairs_of_prompts_give_the_mean_of_their_softmax():
    brightness = np.array([0.0, 1.0])[:, None]
    found = brightness * np.array([1, 2, 3, 4, 0, 2, 4, -2])  # positive, then negative
    assert len(pair_texts(["Edema"], OWN)) == found.shape[1]
    expected = np.mean([1 / (1 + np.exp(-1.5 * d)) for d in (1, 0, -1, 6)])
    np.testing.assert_allclose(pair_probabilities(found, ["Edema"], 1.5, OWN)[:, 0], [0.5, expected])
    both = pair_probabilities(np.concatenate([found, -found], axis=1), ["Edema", "Something Rare"], 1.5, OWN)
    np.testing.assert_allclose(both[:, 1], 1 - both[:, 0])  # every label has its own columns


def test_prompts_are_pairs():
    for label in (*FIVE, "Normal", "Support Devices", "Something Rare"):
        assert len({len(side) for side in OWN.pairs(label)}) == 1


def test_class_prompts_are_every_combination_once_and_name_the_class():
    for name in FIVE:
        found = OWN.class_prompts(name)
        assert len(set(found)) == len(found) > 10
        assert all(text == " ".join(text.split()).lower() for text in found)
    assert OWN.class_prompts("Cardiomegaly")[:2] == ("cardiomegaly", "enlargement of the heart")
    assert OWN.class_prompts("Pleural Effusion")[-1] == "large effusion bilaterally"
    assert OWN.class_prompts("Something Rare") == OWN.pairs("Something Rare")[0]


def test_classes_are_scored_by_the_mean_of_their_prompts_and_centred_by_other_images():
    classes, brightness = ["Edema", "Cardiomegaly"], np.array([0.2, 1.0])[:, None]
    worth = np.concatenate(
        [np.full(len(OWN.class_prompts(name)), v) for name, v in zip(classes, (1.0, 3.0), strict=True)]
    )
    assert len(class_texts(classes, OWN)) == len(worth)
    found = brightness * worth
    np.testing.assert_allclose(class_similarities(found, classes, OWN), [[0.2, 0.6], [1.0, 3.0]])
    centred = class_similarities(found, classes, OWN, np.tile(0.2 * worth, (3, 1)))
    np.testing.assert_allclose(centred, [[0, 0], [0.8, 2.4]], atol=1e-12)


class Planted:
    """Sees the brightness of an image, and hears whether a text says 'no' or denies: effusions are bright."""

    def encode_images(self, images):
        bright = torch.from_numpy(images.reshape(len(images), -1).mean(axis=1)) / 255 - 0.5
        return torch.stack([bright, torch.ones_like(bright)], dim=1)

    def encode_reports(self, reports):
        says = ["effusion" in report and not report.startswith(("no ", "there is no", "without")) for report in reports]
        return torch.tensor([[1.0 if said else -1.0, 0.0] for said in says])


def test_a_planted_label_is_found_without_a_label_and_thresholds_are_of_validation(tiny_data):
    data = EvaluationData.first_views(tiny_data["train"], ["Pleural Effusion", "Edema"])
    labels = np.tile([[1.0, 0.0], [0.0, 1.0]], (len(data.study_ids), 1))[: len(data.study_ids)]
    images = np.where(labels[:, 0] == 1, 200, 50).astype(np.uint8)[:, None, None] * np.ones((8, 8), np.uint8)
    planted = replace(data, labels=labels, images=images)
    tables = zero_shot_tables({("m", 0): Planted(), ("m", 1): Planted()}, planted, planted, 100)
    scored = tables["zero_shot"].set_index(["label", "metric"])
    assert scored.loc[("Pleural Effusion", "AUROC"), ["value", "ci_low", "seeds"]].tolist() == [1, 1, 2]
    assert scored.loc[("Pleural Effusion", "balanced accuracy"), "value"] == 1
    assert set(tables["zero_shot_classes"]["classes"]) == {"Edema, Pleural Effusion"}
    blind = zero_shot_tables({("m", 0): Planted()}, planted, None, 100)["zero_shot"].set_index(["label", "metric"])
    assert np.isnan(blind.loc[("Pleural Effusion", "balanced accuracy"), "value"])
    assert blind.loc[("Pleural Effusion", "balanced accuracy"), "note"].startswith("no threshold")


def written(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_prompts_of_ones_own(tmp_path, tiny_data):
    mine = load_prompts(
        written(tmp_path, 'default: {positive: ["{name}"], negative: ["no {name}"]}\nclasses:\n'
                '  Edema: {severity: [""], kind: [oedema], place: [""]}\n'
                '  Pleural Effusion: {severity: [small, ""], kind: [effusion], place: [""]}\n')
    )  # fmt: skip
    assert mine.pairs("Edema") == (("edema",), ("no edema",))
    assert mine.classes == ["Edema", "Pleural Effusion"]
    assert class_texts(mine.classes, mine) == [("oedema",), ("small", "effusion"), ("effusion",)]
    with pytest.raises(ConfigError, match="have no 'sides'"):
        mine.sides("left")
    data = EvaluationData.first_views(tiny_data["train"], ["Pleural Effusion", "Edema"])
    data = replace(data, labels=np.tile([[1.0, 0.0], [0.0, 1.0]], (len(data.study_ids), 1))[: len(data.study_ids)])
    scored, usual = (zero_shot_tables({("m", 0): Brightness()}, data, None, 100, p)["zero_shot"] for p in (mine, None))
    assert not scored["value"].equals(usual["value"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- edema", "need an entry 'default'"),
        ("Edema: {positive: [a], negative: [b]}", "need an entry 'default'"),
        ("default: {positive: [a], negative: [b, c]}", "default needs as many negative prompts as positive ones"),
        ("default: {positive: [a]}", "default must hold the lists positive, negative, and nothing else"),
        ("default: {positive: [a], negative: [no]}", "default.negative must be a list of texts"),
        ("default: {positive: [a], negative: [b]}\nclasses: {Edema: {kind: [a]}}", "classes.Edema must hold the lists severity"),
        ("default: {positive: [a], negative: [b]}\nclasses: [Edema]", "classes must hold the lists"),
        ("default: {positive: [a], negative: [b]}\nsides: left", "sides must be a list of texts"),
        ("default: {positive: [a", "not valid YAML"),
        ("default: {positive: ['{label}'], negative: [b]}", "default.positive has '{label}': the only thing in braces"),
        ("default: {positive: ['{}'], negative: [b]}", "the only thing in braces can be {name}"),
        ("default: {positive: ['...'], negative: [b]}", "default.positive has '...', which holds no word"),
    ],
)  # fmt: skip
def test_prompts_of_another_form_are_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=r"Prompts .*mine\.yaml") as raised:
        load_prompts(written(tmp_path, text))
    assert said in str(raised.value)


def test_a_misspelt_label_is_named_and_one_of_other_data_is_not(tmp_path):
    text = "default: {positive: [a], negative: [b]}\n"
    entry = "{positive: [a], negative: [b]}\n"
    with pytest.raises(ConfigError, match="no label 'Edemma' in these data, did you mean 'Edema'"):
        check_labels(load_prompts(written(tmp_path, f"{text}Edemma: {entry}")), ["Edema"])
    check_labels(load_prompts(written(tmp_path, f"{text}Pneumonia: {entry}")), ["Pneumothorax"])  # read anew, too


def test_prompts_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"No file of prompts at 'nowhere.yaml': set evaluation.prompts"):
        load_prompts("nowhere.yaml")


def test_prompts_of_another_file_name_another_run(tmp_path):
    ids = set()
    for negative in ("none", "absent"):
        path = written(tmp_path, f"default: {{positive: [a], negative: [{negative}]}}")
        ids.add(load_profile("quick", {"evaluation.prompts": path}).run_id)
    assert len({*ids, load_profile("quick").run_id}) == 3
