"""Embeddings of images and reports, computed once and used by every score.

A model is ours or any other :class:`prdlib.evaluation.adapters.DualEncoder`; features and regions are of ours alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from prdlib.models import PRDModel
from prdlib.text import plain

if TYPE_CHECKING:
    from prdlib.evaluation.adapters import DualEncoder


@torch.inference_mode()
def embed_images(model: PRDModel | DualEncoder, images: np.ndarray, batch_size: int = 128) -> Tensor:
    """image_embeds [N, D] of uint8 images [N, S, S], float32, on the CPU; ours are L2-normalised and in eval mode."""
    shown = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    if _ours(model):
        model.eval()
        shown = [torch.from_numpy(part) for part in shown]
    return torch.cat([torch.as_tensor(model.encode_images(part)).float().cpu() for part in shown])


def _ours(model: PRDModel | DualEncoder) -> bool:
    """A model that reads reports as words and images as tensors, not an adapter, which asks for strings and arrays."""
    return hasattr(getattr(model, "config", None), "segments")


@torch.inference_mode()
def image_features(model: PRDModel, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Pooled features [N, C] of uint8 images [N, S, S] before the projection: what a linear probe reads."""
    model.eval()
    parts = []
    for i in range(0, len(images), batch_size):
        pixels = model.prepare_images(torch.from_numpy(images[i : i + batch_size]))
        parts.append(model.image_features(pixels)[0].float().cpu())
    return torch.cat(parts).numpy()


@torch.inference_mode()
def region_features(model: PRDModel, images: np.ndarray, batch_size: int = 128) -> Tensor:
    """Regions [N, R, C_r] of uint8 images [N, S, S] before any projection, on the CPU."""
    model.eval()
    parts = []
    for i in range(0, len(images), batch_size):
        pixels = model.prepare_images(torch.from_numpy(np.ascontiguousarray(images[i : i + batch_size])))
        parts.append(model.image_features(pixels)[1].flatten(2).transpose(1, 2).float().cpu())
    return torch.cat(parts)


@torch.inference_mode()
def embed_reports(model: PRDModel | DualEncoder, reports: Sequence[Sequence[str]], batch_size: int = 32) -> Tensor:
    """report_embeds [N, D] of reports given as (marked) words; equal reports are encoded once, sorted by length."""
    ours = _ours(model)
    if ours:
        model.eval()
    if not (model.config.segments != "none" if ours else getattr(model, "reads_segments", False)):
        reports = [plain(words) for words in reports]
    unique = sorted(set(map(tuple, reports)), key=lambda words: (len(words), words))
    read = unique if ours else [" ".join(words) for words in unique]
    parts = [torch.as_tensor(model.encode_reports(read[i : i + batch_size])).float().cpu()
             for i in range(0, len(read), batch_size)]  # fmt: skip
    position = {words: i for i, words in enumerate(unique)}
    return torch.cat(parts)[torch.tensor([position[tuple(words)] for words in reports])]


def mean_image(images: np.ndarray) -> np.ndarray:
    """The mean of images [N, S, S] as one uint8 image [S, S]: the blind control, a model that sees no study."""
    return images.mean(axis=0, dtype=np.float64).round().astype(np.uint8)
