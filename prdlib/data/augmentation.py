"""Small random changes of training images that leave every finding on its side: shift, zoom, rotation and exposure, no mirror."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prdlib.repro import generator


def augmented(pixels: Tensor, seed: int, epochs: Sequence[int], study_ids: Sequence[str]) -> Tensor:
    """Pixels [B, 1, S, S] in [0, 1], each changed by draws of (seed, its epoch, its study) alone, whatever else is in the batch.

    epochs, study_ids: of each of the B images. Shift by up to 4 % of the side, zoom by up to 8 %, rotation by up to 0.1 radian,
    contrast by up to 20 %, brightness by up to .08; what comes into view from outside is black.
    """
    draws = np.stack(
        [
            generator(seed, epoch, study_id, "augment").uniform(-1, 1, 6)
            for epoch, study_id in zip(epochs, study_ids, strict=True)
        ]
    ).astype(np.float32)
    angle, zoom = 0.10 * draws[:, 0], 1 - 0.08 * draws[:, 1]
    cos, sin, right, down = (
        torch.from_numpy(v)[:, None, None]
        for v in (zoom * np.cos(angle), zoom * np.sin(angle), 0.08 * draws[:, 2], 0.08 * draws[:, 3])
    )
    side = pixels.shape[-1]
    place = (torch.arange(side) + 0.5) * (2 / side) - 1  # centres of pixels, from -1 to 1
    x, y = place[None, None, :], place[None, :, None]
    grid = torch.stack([cos * x - sin * y + right, sin * x + cos * y + down], dim=-1)
    moved = torch.nn.functional.grid_sample(pixels, grid, align_corners=False)
    contrast, offset = (torch.from_numpy(draws[:, i, None, None, None]) for i in (4, 5))
    return ((moved - 0.5) * (1 + 0.2 * contrast) + 0.5 + 0.08 * offset).clamp(0, 1)
