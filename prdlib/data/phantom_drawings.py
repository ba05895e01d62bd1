"""How each finding of the phantom shows: (finding, film, rng) -> (attenuation to add, soft mask of where it is).

``rng`` belongs to the patient and the class, never to the attributes: a finding that changes its side, zone or grade keeps
its shape and its place within the zone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from prdlib.data.phantom_anatomy import (
    Film,
    bump,
    collapsed_lung,
    diaphragm,
    heart_mask,
    smooth_noise,
    step,
    wall_distance,
)
from prdlib.data.phantom_findings import Finding, heart_scale

Drawing = tuple[np.ndarray, np.ndarray]
ZONE_Y = {"upper": -0.45, "mid": -0.10, "lower": 0.25}


def _centre(f: Finding, rng: np.random.Generator) -> tuple[float, float]:
    u, dy = 0.46 + rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.04)
    return f.image_side * (u - (0.06 if f.zone == "upper" else 0.0)), ZONE_Y[f.zone] + dy


def _effusion(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    u = f.image_side * x
    level = 0.56 - (0.17, 0.42, 0.76)[f.grade] + rng.uniform(-0.02, 0.02)
    surface = level + 0.12 - 0.75 * np.clip(u - 0.35, 0, None) ** 2 - 0.06 * u  # the meniscus climbs the wall
    # Fluid also fills the angle below the dome's level, where the wall and the diaphragm meet.
    space = np.minimum(
        wall_distance(np.maximum(u, 0), y), np.minimum(u - 0.10, diaphragm(film.anatomy, u, f.image_side) - y)
    )
    fluid = step(space, 0.012) * step(y - surface, 0.022)
    return 0.50 * fluid * (1 - 0.55 * heart_mask(film.anatomy, x, y)), fluid


def _consolidation(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    cx, cy = _centre(f, rng)
    radius = (0.13, 0.20, 0.29)[f.grade]
    cloud, grain = smooth_noise(rng, film.size, 13), smooth_noise(rng, film.size, 30)
    dx, dy = x - cx, y - cy
    distance = np.sqrt((dx / (1.25 * radius)) ** 2 + (dy / (0.85 * radius)) ** 2) + 0.15 * cloud
    slope = f.image_side * rng.uniform(-0.25, 0.1)
    if f.margin == "sharp":  # lobar: it ends at a fissure
        mask = step(np.minimum(1 - distance, (0.45 * radius - dy + slope * dx) / radius), 0.03)
    else:
        mask = step(1 - distance + 0.10 * grain, 0.13)
    mask *= film.lungs[f.image_side]
    return 0.41 * mask * (1 + 0.12 * cloud + 0.10 * grain), mask


def _lesion(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    cx, cy = _centre(f, rng)
    radius = (0.066, 0.104, 0.150)[f.grade]
    dx, dy = x - cx, y - cy
    squeeze = rng.uniform(0.85, 1.0)
    distance = np.sqrt(dx * dx + (dy / squeeze) ** 2) / radius
    turn = rng.uniform(0, 6)
    if f.margin == "sharp":
        mask = step(1 - distance, 0.07)
    else:  # a soft core with thin spicules
        angle = np.arctan2(dy, dx)
        spikes = np.square(np.square(np.sin(4 * angle + turn))) * (0.75 + 0.25 * np.sin(3 * angle))
        mask = np.maximum(step(0.90 - distance, 0.16), 0.65 * spikes * step(1.65 - distance, 0.2))
    return 0.54 * mask, mask


def _pneumothorax(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    inside = film.lungs[f.image_side]
    edge = collapsed_lung(x, y, f.image_side, (0.87, 0.73, 0.56)[f.grade] + rng.uniform(-0.015, 0.015))
    air = inside * step(-edge, 0.010)
    line = inside * bump((edge / 0.013) ** 2)
    return 0.26 * line - 0.17 * air + 0.05 * inside * step(edge, 0.01), air


def _atelectasis(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    cx, cy = _centre(f, rng)
    half, thick = (0.19, 0.24, 0.30)[f.grade], (0.024, 0.028, 0.034)[f.grade]
    slope, bow = f.image_side * rng.uniform(0.08, 0.30), rng.uniform(-0.5, 0.5)
    across = (x - cx) / half
    mask = np.zeros_like(x)
    for offset in ((0.0,), (-0.055, 0.055), (-0.115, 0.0, 0.115))[f.grade]:
        shift = rng.uniform(-0.2, 0.2)
        taper = np.clip(1 - (across + shift) ** 2, 0, None)
        ridge = y - cy - offset - (slope - offset) * (x - cx) - bow * (x - cx) ** 2
        mask = np.maximum(mask, bump((ridge / (thick * (0.4 + 0.6 * taper))) ** 2) * np.sqrt(taper))
    mask = mask * film.lungs[f.image_side]
    return 0.42 * mask, mask


def _reticular(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    cx, cy = _centre(f, rng)
    region = step(1 - np.sqrt(((x - cx) / 0.27) ** 2 + ((y - cy) / 0.20) ** 2), 0.07) * film.lungs[f.image_side]
    # Zero lines of a random field run like the walls of a mesh.
    mesh = np.maximum(*(bump((smooth_noise(rng, film.size, cells) / 0.20) ** 2) for cells in (24, 27)))
    return (0.19, 0.29, 0.40)[f.grade] * region * mesh + (0.03, 0.045, 0.06)[f.grade] * region, region


def _cardiomegaly(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    return np.zeros_like(x), heart_mask(film.anatomy, x, y, heart_scale(f))  # the body is drawn with the larger heart


def _edema(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    cloud, grain = smooth_noise(rng, film.size, 14), smooth_noise(rng, film.size, 34)
    reach = (0.15, 0.19, 0.23)[f.grade]
    wings = bump(((np.abs(x) - 0.32) / reach) ** 2 + ((y - 0.02) / (1.5 * reach)) ** 2)
    mask = wings * film.air
    haze = mask * (1 - 0.5 * heart_mask(film.anatomy, x, y))
    return (0.15, 0.26, 0.40)[f.grade] * haze * (1 + 0.22 * cloud + 0.20 * grain), mask


def _path_distance(x: np.ndarray, y: np.ndarray, corners: list[tuple[float, float]]) -> np.ndarray:
    """Squared distance from a line through ``corners``, rounded by cutting each of them."""
    start, end = np.array(corners[:-1]), np.array(corners[1:])
    cut = np.stack([0.75 * start + 0.25 * end, 0.25 * start + 0.75 * end], axis=1).reshape(-1, 2)
    points = [(float(px), float(py)) for px, py in [corners[0], *cut[1:-1], corners[-1]]]
    best = np.full(x.shape, 9.0, dtype=np.float32)
    for (ax, ay), (bx, by) in pairwise(points):
        dx, dy = bx - ax, by - ay
        px, py = x - ax, y - ay
        t = np.minimum(np.maximum((px * dx + py * dy) / (dx * dx + dy * dy), 0), 1)
        np.minimum(best, np.square(px - t * dx) + np.square(py - t * dy), out=best)
    return best


def _device(f: Finding, film: Film, rng: np.random.Generator) -> Drawing:
    x, y = film.x, film.y
    s, sway, drop = f.image_side, rng.uniform(-0.02, 0.02), rng.uniform(-0.03, 0.03)
    if f.device == "line":  # from below the clavicle into the superior vena cava, on the patient's right
        path = [(0.86 * s, -0.40), (0.66 * s, -0.53), (0.44 * s, -0.585), (0.22 * s, -0.56), (0.02 * s - 0.04, -0.45),
                (-0.075 + sway, -0.25), (-0.075, 0.04 + drop)]  # fmt: skip
        mask = bump(_path_distance(x, y, path) / 0.0150**2)
        return 0.55 * mask, mask
    path = [(0.50 * s, -0.50), (0.36 * s, -0.60), (0.20 * s, -0.57), (0.04 * s - 0.03, -0.45), (-0.07 + sway, -0.20),
            (-0.07, 0.10), (0.02, 0.30), (0.22, 0.36 + drop)]  # fmt: skip
    lead = bump(_path_distance(x, y, path) / 0.014**2)
    px, py = (x - 0.56 * s) / 0.135, (y + 0.43) / 0.105
    can = 1 - np.sqrt(np.sqrt(np.square(px * px) + np.square(py * py)))
    mask = np.maximum(lead, step(can, 0.05))
    return 0.55 * lead + 0.62 * step(can, 0.05) * (1 + 0.15 * bump((can / 0.18) ** 2)), mask


DRAWINGS: dict[str, Callable[..., Drawing]] = {
    "Pleural Effusion": _effusion,
    "Consolidation": _consolidation,
    "Lung Lesion": _lesion,
    "Pneumothorax": _pneumothorax,
    "Cardiomegaly": _cardiomegaly,
    "Atelectasis": _atelectasis,
    "Edema": _edema,
    "Reticular Opacity": _reticular,
    "Support Devices": _device,
}
