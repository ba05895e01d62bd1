"""The phantom's anatomy: what differs between patients and films, and the outlines of lungs and heart.

Frame: x in [-1, 1] from the image's left to its right (the patient's left is at x > 0), y in [-1, 1] downwards; u = |x| on one
side of the midline. Soft masks have values in [0, 1]; distances are positive inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from prdlib.repro import generator

WALL = 0.80  # half width of the rib cage, inside
APEX = 1.14  # height of the lung above y = 0.3


@dataclass(frozen=True)
class Anatomy:
    """What differs from patient to patient and, from ``rotation`` on, from film to film."""

    width: float
    height: float
    dome: tuple[float, float]  # y of the diaphragm's highest point, image's left and right
    heart: tuple[float, float, float]  # centre x, half width, half height
    ribs: tuple[float, float]  # spacing, phase
    knob: float  # radius of the aortic knob
    bubble: tuple[float, float]  # stomach air: x, radius
    breast: float  # density of the breast shadow, 0 for none
    rotation: float  # of the film, radians
    turn: float  # of the patient: shift of what lies in front against the spine
    shift: tuple[float, float]
    exposure: tuple[float, float]  # offset and contrast
    noise: float


def draw_anatomy(seed: int, patient: str, film: str) -> Anatomy:
    """The anatomy of a patient and the position and exposure of one film of him or her."""
    body, shot = generator(seed, patient, "anatomy"), generator(seed, film, "film")
    u = body.uniform
    left = u(0.46, 0.54)
    return Anatomy(
        width=u(0.90, 1.03),
        height=u(0.95, 1.05),
        dome=(left - u(0.03, 0.09), left),  # the liver lifts the patient's right dome
        heart=(u(0.09, 0.13), u(0.31, 0.355), u(0.28, 0.32)),
        ribs=(u(0.165, 0.185), u(0, 1)),
        knob=u(0.07, 0.095),
        bubble=(u(0.30, 0.44), u(0.06, 0.10)),
        breast=max(0.0, u(-0.05, 0.06)),
        rotation=shot.normal(0, 0.03),
        turn=shot.normal(0, 0.012),
        shift=(shot.normal(0, 0.025), shot.normal(0, 0.025)),
        exposure=(shot.uniform(-0.05, 0.05), shot.uniform(0.86, 1.16)),
        noise=shot.uniform(0.012, 0.03),
    )


def step(values: np.ndarray, softness: float = 0.02) -> np.ndarray:
    """0 to 1 across ``values`` = 0, smooth over about 4 x ``softness``; same shape."""
    return 0.5 + 0.5 * np.tanh(values / (2 * softness))


def bump(squared_distance: np.ndarray) -> np.ndarray:
    """exp(-d^2 / 2) of a squared distance in standard deviations; same shape."""
    return np.exp(-0.5 * squared_distance)


@lru_cache(maxsize=16)
def _axis(size: int) -> np.ndarray:
    return ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)


@dataclass(frozen=True)
class Film:
    """One film to draw on: the anatomy and the body's coordinates x, y [size, size] of its pixels."""

    anatomy: Anatomy
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, anatomy: Anatomy, size: int) -> Film:
        """The pixels of a square film: rotation and shift undone."""
        axis = _axis(size)
        x, y = axis[None, :] - anatomy.shift[0], axis[:, None] - anatomy.shift[1]
        c, s = math.cos(anatomy.rotation), math.sin(anatomy.rotation)
        return cls(anatomy, (c * x + s * y) / anatomy.width, (c * y - s * x) / anatomy.height)

    @property
    def size(self) -> int:
        return len(self.x)

    @cached_property
    def lungs(self) -> dict[int, np.ndarray]:
        """Soft masks [size, size], 0 to 1: -1 the image's left (the patient's right), +1 the image's right."""
        return {side: self._lung(side) for side in (-1, 1)}

    @cached_property
    def air(self) -> np.ndarray:
        """Soft mask [size, size] of both lungs."""
        return self.lungs[-1] + self.lungs[1]

    def _lung(self, side: int) -> np.ndarray:
        u = side * self.x
        sideways = np.minimum(wall_distance(np.maximum(u, 0), self.y), inner_border(u, self.y))
        return step(np.minimum(sideways, diaphragm(self.anatomy, u, side) - self.y), 0.012)


@lru_cache(maxsize=64)
def _interpolation(size: int, cells: int) -> np.ndarray:
    """[size, cells]: smooth interpolation from ``cells`` knots to ``size`` pixels."""
    place = np.linspace(0, cells - 1, size)
    left = np.minimum(place.astype(int), cells - 2)
    part = place - left
    part = part * part * (3 - 2 * part)
    weights = np.zeros((size, cells), dtype=np.float32)
    weights[np.arange(size), left] = 1 - part
    weights[np.arange(size), left + 1] = part
    return weights


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Random texture [size, size] with about ``cells`` blobs a side, standard normal at the knots; the same at any size."""
    weights = _interpolation(size, cells)
    return weights @ rng.standard_normal((cells, cells), dtype=np.float32) @ weights.T


def wall_distance(u: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the rib cage's inner outline (side and apex), positive inside; the body's units and the
    shape of ``u`` (from the midline) and ``y``, here and below."""
    t = np.clip((0.3 - y) / APEX, 0, None)
    return 0.42 * (1 - (u / WALL) ** 2 - t * t * np.sqrt(t))


def inner_border(u: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the mediastinum, positive inside the lung."""
    top, bottom = np.clip(-0.55 - y, 0, None), np.clip(y + 0.1, 0, None)
    return u - 0.115 - 0.5 * top - 0.08 * bottom


def diaphragm(anatomy: Anatomy, u: np.ndarray, side: int) -> np.ndarray:
    """y of the diaphragm at distance ``u`` from the midline: a dome that falls steeply to the costophrenic angle."""
    away = u - 0.36
    return anatomy.dome[0 if side < 0 else 1] + (1 + 0.2 * np.sign(away)) * away * away


def collapsed_lung(x: np.ndarray, y: np.ndarray, side: int, share: float) -> np.ndarray:
    """Distance from the outline of a lung that has shrunk to ``share`` of its size towards its root, positive inside."""
    u = (side * x - 0.14) / share + 0.14
    v = (y - 0.55) / share + 0.55
    return share * wall_distance(np.maximum(u, 0), v)


def heart_mask(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Soft mask of the heart, 0 to 1, shaped as ``x`` and ``y``; ``scale`` widens it, mostly to the patient's left."""
    centre, half_width, half_height = anatomy.heart
    x = x - anatomy.turn
    half_height *= 0.8 + 0.2 * scale
    centre, middle = centre + 0.10 * (scale - 1), anatomy.dome[1] + 0.03 - half_height
    dx, dy = (x - centre) / (half_width * scale), (y - middle) / half_height
    # Upright on the patient's right (atrium), sloping down to the apex on the left (ventricle).
    tilt = dx - 0.30 * dy
    distance = 1 - np.sqrt(tilt * tilt / (1 + 0.16 * np.clip(dy, -1, 1)) + (dy - 0.10 * dx) ** 2)
    return step(distance, 0.04)
