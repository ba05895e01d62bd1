"""From a phantom study to pixels: body, findings, exposure, noise; masks and boxes of each finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.data.phantom_anatomy import Anatomy, Film, draw_anatomy, smooth_noise
from prdlib.data.phantom_body import draw_body
from prdlib.data.phantom_drawings import DRAWINGS, Drawing
from prdlib.data.phantom_findings import Finding, heart_scale
from prdlib.repro import generator

MASK_LEVEL = 0.35


def render(seed: int, patient: str, film: str, findings: Sequence[Finding], size: int) -> np.ndarray:
    """The film, uint8 [size, size]. A finding's position depends on (seed, patient, name), not on the other findings."""
    anatomy = draw_anatomy(seed, patient, film)
    canvas = Film.of(anatomy, size)
    texture = generator(seed, patient, "texture")
    coarse, fine = smooth_noise(texture, size, 7), smooth_noise(texture, size, 28)
    heart = next((f for f in findings if f.name == "Cardiomegaly"), None)
    image = draw_body(canvas, heart_scale(heart), (coarse, fine))
    for finding in findings:
        added, _ = _drawing(seed, patient, finding, canvas)
        image += added if finding.certain else 0.6 * added
    image += 0.6 * _marker(size)
    film_grey = _tone(image, anatomy)
    film_grey += anatomy.noise * generator(seed, film, "noise", size).standard_normal((size, size), dtype=np.float32)
    return (np.clip(film_grey, 0, 1) * 255 + 0.5).astype(np.uint8)


def mask(seed: int, patient: str, film: str, finding: Finding, size: int) -> np.ndarray:
    """Where a finding is: bool [size, size]."""
    canvas = Film.of(draw_anatomy(seed, patient, film), size)
    return _drawing(seed, patient, finding, canvas)[1] > MASK_LEVEL


def box(seed: int, patient: str, film: str, finding: Finding, size: int) -> list[float] | None:
    """[x0, y0, x1, y1] of a finding's mask in fractions of the image; None when nothing of it is in the picture."""
    inside = mask(seed, patient, film, finding, size)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return None
    return [round(float(v) / size, 4) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def _drawing(seed: int, patient: str, finding: Finding, canvas: Film) -> Drawing:
    return DRAWINGS[finding.name](finding, canvas, generator(seed, patient, finding.name, "shape"))


def _tone(attenuation: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """The film's curve: the lungs stay dark, dense tissue saturates slowly. Values about 0 to 1."""
    offset, contrast = anatomy.exposure
    value = np.clip((attenuation - 0.5) * contrast + 0.5 + offset, 0, None)
    return 1.16 * (1 - np.exp(-1.45 * value * (0.55 + 0.45 * np.minimum(value / 0.6, 1))))


def _marker(size: int) -> np.ndarray:
    """The letter L that marks the patient's left, in the film's upper right corner: [size, size] of 0 and 1."""
    place = (np.arange(size) + 0.5) / size
    down, right = place[:, None], place[None, :]
    upright = (abs(right - 0.915) < 0.010) & (abs(down - 0.085) < 0.040)
    foot = (abs(right - 0.930) < 0.025) & (abs(down - 0.117) < 0.010)
    return (upright | foot).astype(np.float32)
