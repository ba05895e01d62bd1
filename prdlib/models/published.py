"""Where published weights are found: files and folders on disk, or the hub while its user is online. No remote code is run."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from torchvision.models import get_model_weights

from prdlib.repro import project_root

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
DESCRIPTIONS = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                "vocab.json", "merges.txt")  # fmt: skip
MICROSOFT = (
    "BioViL's image weights (setting model.image_weights) and CXR-BERT (setting model.text_encoder) are Microsoft's (MIT), "
    "at https://huggingface.co/microsoft/BiomedVLP-CXR-BERT-specialized: while online, run 'hf download "
    "microsoft/BiomedVLP-CXR-BERT-specialized --local-dir weights' in the project's folder, and set model.text_encoder=weights"
)


class WeightsError(ValueError):
    """Weights that are missing, cannot be read, or do not fit the encoder: one sentence with what, where and what to do."""


def on_disk(name: str | Path) -> Path:
    """``name`` as a path; a relative one that is not below the working directory is looked for in the project's folder too
    (notebooks run in notebooks/)."""
    path = Path(name).expanduser()
    at_root = project_root() / path
    return at_root if not path.exists() and at_root.exists() else path


def image_weights_file(name: str) -> Path:
    """The file of setting model.image_weights. Raises WeightsError when it is not there."""
    path = on_disk(name)
    if not path.is_file():
        advice = MICROSOFT if "biovil" in name.lower() else "download it first, nothing is fetched at run time"
        raise WeightsError(f"No weights file at {name!r} (setting model.image_weights): {advice}.")
    return path


def imagenet_weights(image_encoder: str) -> str:
    """Setting model.image_weights of an encoder trained on ImageNet: torchvision's file for a ResNet, by its own name in
    'weights/' or in the cache of torch.hub, or 'package' for tf_efficientnet_lite0; nothing is fetched.

    Raises WeightsError with the file's address when it is in neither, and for an encoder for which there is none.
    """
    if image_encoder == "tf_efficientnet_lite0":
        return "package"
    if not image_encoder.startswith("resnet"):
        raise WeightsError(
            f"No ImageNet weights for image encoder {image_encoder!r}: resnet18, resnet34, resnet50 and tf_efficientnet_lite0 "
            "have them."
        )
    address = get_model_weights(image_encoder).IMAGENET1K_V1.url
    name = address.rsplit("/", 1)[-1]
    places = (on_disk(Path("weights") / name), Path(torch.hub.get_dir()) / "checkpoints" / name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise WeightsError(
            f"No ImageNet weights of {image_encoder} on disk: put {address} into the folder 'weights' of the project while "
            "online; nothing is fetched at run time."
        )
    return str(found)


def text_encoder_folder(name: str) -> Path:
    """The folder of setting model.text_encoder: ``name`` itself, or the hub's owner/name, of which configuration, tokenizer and
    weights are fetched into the hub's cache. Raises WeightsError when neither is there."""
    folder = on_disk(name)
    if folder.is_dir():
        return folder
    why = "no such folder"
    if not folder.is_absolute() and name.count("/") <= 1:
        try:
            return _fetched(name)
        except (OSError, ValueError, HfHubHTTPError) as error:
            why = f"no such folder, and the hub did not give it ({type(error).__name__}; is this machine online?)"
    advice = "give a folder with config.json, tokenizer and weights, or a hub name while online"
    raise WeightsError(
        f"No text encoder at {name!r} (setting model.text_encoder): {why}; {MICROSOFT if 'cxr-bert' in name.lower() else advice}."
    )


def _fetched(name: str) -> Path:
    for weights in WEIGHTS:
        folder = Path(snapshot_download(name, allow_patterns=[*DESCRIPTIONS, weights]))
        if (folder / weights).is_file():
            break
    return folder
