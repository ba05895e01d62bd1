"""The ImageNet baseline: the weights that are on disk, with their pixel statistics, or one sentence with their address."""

import re
from dataclasses import replace

import pytest
import torch
from torchvision.models import resnet18

from prdlib.models import WeightsError, build_model, imagenet_twin
from prdlib.models.published import imagenet_weights

NAME = "resnet18-f37072fd.pth"


def built(config, encoder):
    return build_model(replace(config, model=replace(config.model, image_encoder=encoder)), 0, ["clear lungs"])[0]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The project's folder and torch.hub's, both empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    return tmp_path / "weights" / NAME, tmp_path / "torch" / "hub" / "checkpoints" / NAME


def test_a_twin_has_the_weights_on_disk_and_their_pixel_statistics(tiny_config, places):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        published = resnet18(weights=None).state_dict()
    places[0].parent.mkdir()
    torch.save(published, places[0])
    model = built(tiny_config, "resnet18")
    model.config.pixel_statistics = [0.0, 1.0]  # as a model that started from BioViL
    stem = model.image_encoder.resnet.conv1.weight.clone()
    twin = imagenet_twin(model)
    assert not twin.training
    for name, value in twin.image_encoder.resnet.state_dict().items():
        assert torch.equal(value, published[name]), name
    assert (twin.image_encoder.pixel_mean, twin.image_encoder.pixel_std) == (0.449, 0.226)
    assert twin.config.pixel_statistics == [0.449, 0.226]
    assert model.config.pixel_statistics == [0.0, 1.0]
    assert torch.equal(model.image_encoder.resnet.conv1.weight, stem)


def test_weights_are_found_in_the_projects_folder_before_the_cache_of_torch_hub(places):
    for place in reversed(places):
        place.parent.mkdir(parents=True)
        place.touch()
        assert place.samefile(imagenet_weights("resnet18"))
    assert imagenet_weights("tf_efficientnet_lite0") == "package"


def test_what_is_missing_is_one_sentence_with_its_address(tiny_config, places):
    sentence = (
        f"No ImageNet weights of resnet18 on disk: put https://download.pytorch.org/models/{NAME} into the folder 'weights' of "
        "the project while online; nothing is fetched at run time."
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
        imagenet_weights("resnet18")
    model = built(tiny_config, "narrow_resnet")
    with pytest.raises(
        WeightsError, match=r"^No ImageNet weights for image encoder 'narrow_resnet': resnet18, resnet34"
    ):
        imagenet_twin(model)
    with pytest.raises(WeightsError, match=r"^No weights file at 'mine\.pt'"):
        imagenet_twin(model, "mine.pt")
