"""The phantom's body: a frontal chest film without findings, drawn in a frame of its own.

Frame: x in [-1, 1] from the image's left to its right (the patient's left is at x > 0), y in [-1, 1] downwards.
Attenuation adds up as on a film: bright is dense. All masks are soft (values in [0, 1]).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prdlib.repro import generator


@dataclass(frozen=True)
class Anatomy:
    """What differs from patient to patient, and from film to film (last line)."""

    width: float
    lung_height: float
    dome: tuple[float, float]  # height of the diaphragm, image's left and right
    heart: tuple[float, float, float]  # centre x, half width, half height
    ribs: tuple[float, float]  # spacing, phase
    knob: float
    bubble: tuple[float, float]
    rotation: float
    shift: tuple[float, float]
    exposure: tuple[float, float]  # offset, contrast
    noise: float


def draw_anatomy(seed: int, patient: str, film: str) -> Anatomy:
    """The anatomy of a patient and the position and exposure of one film of him or her."""
    body, shot = generator(seed, patient, "anatomy"), generator(seed, film, "film")
    u = body.uniform
    return Anatomy(
        width=u(0.92, 1.06),
        lung_height=u(0.94, 1.06),
        dome=(u(0.42, 0.52), u(0.48, 0.58)),
        heart=(u(0.09, 0.15), u(0.32, 0.37), u(0.25, 0.30)),
        ribs=(u(0.185, 0.215), u(0, 1)),
        knob=u(0.07, 0.10),
        bubble=(u(0.34, 0.48), u(0.07, 0.12)),
        rotation=shot.normal(0, 0.035),
        shift=(shot.normal(0, 0.03), shot.normal(0, 0.03)),
        exposure=(shot.uniform(-0.04, 0.06), shot.uniform(0.88, 1.12)),
        noise=shot.uniform(0.012, 0.03),
    )


def step(values: np.ndarray, softness: float = 0.02) -> np.ndarray:
    """0 to 1 across ``values`` = 0, smooth over about 4 x ``softness``."""
    return 0.5 + 0.5 * np.tanh(values / (2 * softness))


def bump(squared_distance: np.ndarray) -> np.ndarray:
    """exp(-d^2 / 2) of a squared distance in standard deviations."""
    return np.exp(-0.5 * squared_distance)


@lru_cache(maxsize=16)
def _axis(size: int) -> np.ndarray:
    return ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)


def frame(anatomy: Anatomy, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of the body's frame for every pixel, [size, size] each: rotation and shift of the film undone."""
    axis = _axis(size)
    x, y = axis[None, :] - anatomy.shift[0], axis[:, None] - anatomy.shift[1]
    c, s = np.float32(np.cos(anatomy.rotation)), np.float32(np.sin(anatomy.rotation))
    return (c * x + s * y) / np.float32(anatomy.width), (c * y - s * x) / np.float32(anatomy.lung_height)


@lru_cache(maxsize=32)
def _interpolation(size: int, cells: int) -> np.ndarray:
    """[size, cells]: linear interpolation from ``cells`` knots to ``size`` pixels."""
    place = np.linspace(0, cells - 1, size)
    left = np.minimum(place.astype(int), cells - 2)
    weights = np.zeros((size, cells), dtype=np.float32)
    weights[np.arange(size), left] = 1 - (place - left)
    weights[np.arange(size), left + 1] = place - left
    return weights


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Random texture [size, size] with about ``cells`` blobs a side, standard normal at the knots."""
    weights = _interpolation(size, cells)
    return weights @ rng.standard_normal((cells, cells), dtype=np.float32) @ weights.T


def lung(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    """Soft mask of a lung: side -1 the image's left (the patient's right), +1 the image's right."""
    u = side * x
    height = np.clip(1 - ((y - 0.22) / 1.06) ** 2, 0.0, None)
    outer = 0.80 * np.sqrt(height)
    base = anatomy.dome[0 if side < 0 else 1] - 0.13 * (1 - ((u - 0.40) / 0.40) ** 2)
    return step(outer - u) * step(u - 0.115 - 0.05 * (y > -0.2) * (y + 0.2)) * step(base - y)


def outer_margin(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    """Distance from the lung's outer wall and apex, positive inside."""
    u = side * x
    outer = 0.80 * np.sqrt(np.clip(1 - ((y - 0.22) / 1.06) ** 2, 0.0, None))
    return np.minimum(outer - u, (y + 0.84) * 0.9)


def heart_mask(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Soft mask of the heart; ``scale`` widens it (cardiomegaly), mostly to the patient's left."""
    centre, half_width, half_height = anatomy.heart
    centre, half_width = centre + 0.09 * (scale - 1), half_width * scale
    dx, dy = x - centre, y - 0.26
    rx = (dx - 0.30 * dy) / (half_width * (1 + 0.5 * dy))
    ry = (dy - 0.12 * dx) / (half_height * (0.85 + 0.15 * scale))
    return step(1 - np.sqrt(rx * rx + ry * ry), 0.035)


def draw_body(
    anatomy: Anatomy, x: np.ndarray, y: np.ndarray, heart_scale: float, texture: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """(attenuation [S, S] of the body without findings, its lungs {-1: mask, +1: mask}).

    heart_scale: 1 is a normal heart. texture: coarse and fine noise [S, S] of this patient.
    """
    lungs = {side: lung(anatomy, x, y, side) for side in (-1, 1)}
    air = lungs[-1] + lungs[1]
    shoulders = 0.30 + 0.72 * step(y + 0.74 + 0.10 * np.abs(x), 0.05)
    body = step(shoulders + 0.06 * y - np.abs(x), 0.02)
    image = 0.04 + 0.50 * body + 0.03 * texture[0] * body
    image -= 0.36 * air
    # Soft tissue of the chest wall, and the mediastinum with the spine behind it.
    image += 0.10 * body * step(np.abs(x) - 0.78, 0.05)
    vertebrae = 0.5 + 0.5 * np.cos((y + anatomy.ribs[1]) * 34)
    image += body * bump((x / 0.085) ** 2) * (0.15 + 0.06 * vertebrae)
    image += 0.16 * body * step(0.17 - np.abs(x - 0.02), 0.03) * step(0.5 - y, 0.1)
    heart = heart_mask(anatomy, x, y, heart_scale)
    image += 0.26 * heart * air + 0.10 * heart * (1 - air)
    knob = bump(((x - 0.15) ** 2 + (y + 0.33) ** 2) / anatomy.knob**2)
    image += 0.22 * knob
    # Hila, vessels that thin out towards the wall, ribs, clavicles.
    ax = np.abs(x)
    image += 0.14 * air * bump(((ax - 0.24) / 0.09) ** 2 + ((y - 0.0) / 0.16) ** 2)
    image += 0.045 * air * texture[1] * step(0.7 - ax, 0.15)
    spacing, phase = anatomy.ribs
    arc = (y - 0.34 * np.clip(ax - 0.05, 0, None) ** 1.5 + 0.12 * ax) / spacing + phase
    image += 0.085 * bump(((arc - np.round(arc)) / 0.16) ** 2) * (0.25 + 0.75 * air) * body * step(0.62 - y, 0.05)
    clavicle = y + 0.70 - 0.20 * (ax - 0.12) + 0.16 * (ax - 0.45) ** 2
    image += 0.17 * bump((clavicle / 0.034) ** 2) * step(ax - 0.10) * step(0.86 - ax)
    # Below the diaphragm: abdomen, with air in the stomach under the patient's left dome.
    place, radius = anatomy.bubble
    below = y - anatomy.dome[1] - 0.05
    bubble = step(1 - np.sqrt(((x - place) / (1.6 * radius)) ** 2 + ((below - 0.06) / radius) ** 2), 0.12)
    image -= 0.26 * bubble * step(below, 0.015)
    return image, lungs
