"""From a phantom study to pixels: body, findings, exposure, noise; masks and boxes of each finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.data.phantom_anatomy import draw_anatomy, draw_body, frame, smooth_noise
from prdlib.data.phantom_findings import DRAWINGS, Finding, heart_scale
from prdlib.repro import generator

MASK_LEVEL = 0.35


def render(seed: int, patient: str, film: str, findings: Sequence[Finding], size: int) -> np.ndarray:
    """The film, uint8 [size, size]. A finding's position depends on (seed, patient, name), not on the other findings."""
    anatomy = draw_anatomy(seed, patient, film)
    x, y = frame(anatomy, size)
    texture = generator(seed, patient, "texture")
    coarse, fine = smooth_noise(texture, size, 7), smooth_noise(texture, size, 28)
    heart = next((f for f in findings if f.name == "Cardiomegaly"), None)
    image, _ = draw_body(anatomy, x, y, heart_scale(heart), (coarse, fine))
    for finding in findings:
        added, _ = _drawing(seed, patient, finding, anatomy, x, y)
        image += added if finding.certain else 0.6 * added
    offset, contrast = anatomy.exposure
    image = (image - 0.45) * contrast + 0.45 + offset
    image = (
        np.clip(image, 0, None) / (0.75 + np.clip(image, 0, None)) * 1.55
    )  # the film's shoulder: highlights compress
    noise = generator(seed, film, "noise", size).standard_normal((size, size), dtype=np.float32)
    image += anatomy.noise * noise
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def mask(seed: int, patient: str, film: str, finding: Finding, size: int) -> np.ndarray:
    """Where a finding is: bool [size, size]."""
    anatomy = draw_anatomy(seed, patient, film)
    x, y = frame(anatomy, size)
    return _drawing(seed, patient, finding, anatomy, x, y)[1] > MASK_LEVEL


def box(seed: int, patient: str, film: str, finding: Finding, size: int = 64) -> list[float] | None:
    """[x0, y0, x1, y1] of a finding's mask in fractions of the image; None when nothing of it is in the picture."""
    inside = mask(seed, patient, film, finding, size)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return None
    return [round(float(v) / size, 4) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def _drawing(seed, patient, finding, anatomy, x, y):
    return DRAWINGS[finding.name](finding, anatomy, x, y, generator(seed, patient, finding.name, "shape"))
