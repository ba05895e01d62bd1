"""The phantom's findings: what they are, how they are drawn at random, and how each shows in the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from prdlib.data.phantom_anatomy import Anatomy, bump, heart_mask, lung, outer_margin, smooth_noise, step
from prdlib.repro import generator

SIDES = ("left", "right")
ZONES = ("upper", "mid", "lower")
ZONE_Y = {"upper": -0.46, "mid": -0.12, "lower": 0.20}
SIZE = ("small", "moderate", "large")
SEVERITY = ("mild", "moderate", "severe")
MARGINS = ("sharp", "indistinct")


@dataclass(frozen=True)
class Kind:
    """What a class of finding has: a side, a zone, the words of its three grades, a margin."""

    sided: bool
    zoned: bool
    grades: tuple[str, ...]
    margin: bool = False


KINDS: dict[str, Kind] = {
    "Pleural Effusion": Kind(True, False, SIZE),
    "Consolidation": Kind(True, True, SIZE, True),
    "Lung Lesion": Kind(True, True, SIZE, True),
    "Pneumothorax": Kind(True, False, SIZE),
    "Cardiomegaly": Kind(False, False, SEVERITY),
    "Atelectasis": Kind(True, True, SEVERITY),
    "Edema": Kind(False, False, SEVERITY),
    "Reticular Opacity": Kind(True, True, SEVERITY),
    "Support Devices": Kind(True, False, ()),
}
NUMBERS = (0.20, 0.12, 0.46, 0.22)  # studies with 0, 1, 2, 3 findings
# Drawn before pairs without an attribute to exchange are rejected; after that every class is about equally common.
_WEIGHTS = np.array([1.22, 1.0, 1.05, 1.13, 1.75, 0.77, 1.75, 0.77, 1.54])


@dataclass(frozen=True)
class Finding:
    """One finding. side: 'left' or 'right' of the patient, or ''; zone: '' or one of ZONES; grade: 0, 1, 2 (-1: has none);
    margin: '' or one of MARGINS; device: '' or 'line' or 'pacemaker'; certain: False for a faint, uncertain finding."""

    name: str
    side: str = ""
    zone: str = ""
    grade: int = -1
    margin: str = ""
    device: str = ""
    certain: bool = True

    @property
    def grade_word(self) -> str:
        """'small' ... 'severe', or ''."""
        return KINDS[self.name].grades[self.grade] if self.grade >= 0 else ""

    @property
    def image_side(self) -> int:
        """+1 for the image's right, which is the patient's left."""
        return 1 if self.side == "left" else -1


def _draw(rng: np.random.Generator, name: str) -> Finding:
    kind = KINDS[name]
    return Finding(
        name,
        side=str(rng.choice(SIDES)) if kind.sided else "",
        zone=str(rng.choice(ZONES)) if kind.zoned else "",
        grade=int(rng.integers(3)) if kind.grades else -1,
        margin=str(rng.choice(MARGINS)) if kind.margin else "",
        device=str(rng.choice(("line", "pacemaker"))) if name == "Support Devices" else "",
        certain=bool(rng.random() >= 0.08),
    )


def exchangeable(a: Finding, b: Finding) -> list[str]:
    """Attributes in which ``a`` and ``b`` differ and which they could exchange: 'side', 'zone', 'grade'."""
    found = [n for n in ("side", "zone") if getattr(a, n) and getattr(b, n) and getattr(a, n) != getattr(b, n)]
    same_scale = KINDS[a.name].grades == KINDS[b.name].grades and a.grade >= 0
    return [*found, "grade"] if same_scale and a.grade != b.grade else found


def draw_findings(seed: int, key: str) -> tuple[Finding, ...]:
    """Findings of a study. With two or more, the first two differ in an attribute that they could exchange."""
    rng = generator(seed, key, "findings")
    number = int(rng.choice(4, p=NUMBERS))
    while True:
        names = [str(n) for n in rng.choice(list(KINDS), number, replace=False, p=_WEIGHTS / _WEIGHTS.sum())]
        findings = tuple(_draw(rng, name) for name in names)
        if number < 2 or exchangeable(findings[0], findings[1]):
            return findings


def exchange(findings: tuple[Finding, ...], attribute: str) -> tuple[Finding, ...]:
    """The findings with ``attribute`` exchanged between the first two."""
    a, b, *rest = findings
    value_a, value_b = getattr(a, attribute), getattr(b, attribute)
    return (replace(a, **{attribute: value_b}), replace(b, **{attribute: value_a}), *rest)


# -- how they look: (finding, anatomy, x, y, rng) -> (attenuation to add, mask of where it is) ---------------------------

Drawing = tuple[np.ndarray, np.ndarray]


def _effusion(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    side = f.image_side
    base = a.dome[0 if side < 0 else 1]
    level = base - (0.13, 0.34, 0.62)[f.grade] + rng.uniform(-0.03, 0.03)
    meniscus = 0.20 * np.clip(side * x - 0.25, 0, None)  # fluid stands higher along the outer wall
    inside = lung(a, x, y, side)
    fluid = inside * step(y - level + meniscus, 0.02)
    return 0.44 * fluid, fluid


def _centre(f: Finding, rng: np.random.Generator) -> tuple[float, float]:
    return f.image_side * (0.44 + rng.uniform(-0.07, 0.07)), ZONE_Y[f.zone] + rng.uniform(-0.05, 0.05)


def _consolidation(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    cx, cy = _centre(f, rng)
    radius = (0.13, 0.19, 0.27)[f.grade]
    texture = smooth_noise(rng, x.shape[0], 9)
    distance = np.sqrt(((x - cx) / radius) ** 2 + ((y - cy) / (0.85 * radius)) ** 2) + 0.16 * texture
    mask = step(1 - distance, 0.04 if f.margin == "sharp" else 0.16) * lung(a, x, y, f.image_side)
    return 0.30 * mask * (1 + 0.10 * texture), mask


def _lesion(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    cx, cy = _centre(f, rng)
    radius = (0.055, 0.085, 0.12)[f.grade]
    dx, dy = x - cx, y - cy
    distance = np.sqrt(dx * dx + dy * dy) / radius
    if f.margin == "indistinct":  # a spiculated rim
        distance = distance * (1 + 0.16 * np.sin(11 * np.arctan2(dy, dx) + rng.uniform(0, 6)))
    mask = step(1 - distance, 0.08)
    return 0.42 * mask, mask


def _pneumothorax(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    margin = outer_margin(a, x, y, f.image_side)
    depth = (0.10, 0.19, 0.30)[f.grade] * (0.55 + 0.45 * step(-y, 0.3)) + 0.05
    air = lung(a, x, y, f.image_side) * step(depth - margin, 0.012) * step(0.35 - y, 0.05)
    line = lung(a, x, y, f.image_side) * bump(((margin - depth) / 0.016) ** 2) * step(0.35 - y, 0.05)
    return 0.26 * line - 0.16 * air, air


def _atelectasis(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    cx, cy = _centre(f, rng)
    half, thick = (0.16, 0.22, 0.28)[f.grade], (0.020, 0.032, 0.048)[f.grade]
    slope = f.image_side * rng.uniform(0.05, 0.22)
    mask = np.zeros_like(x)
    for offset in ((0.0,), (-0.05, 0.05), (-0.09, 0.0, 0.09))[f.grade]:
        band = (y - cy - offset - slope * (x - cx)) / thick
        mask = np.maximum(mask, bump(band**2) * step(half - np.abs(x - cx), 0.02))
    mask = mask * lung(a, x, y, f.image_side)
    return 0.40 * mask, mask


def _reticular(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    cx, cy = _centre(f, rng)
    region = step(1 - np.sqrt(((x - cx) / 0.26) ** 2 + ((y - cy) / 0.20) ** 2), 0.10) * lung(a, x, y, f.image_side)
    turn, pitch = rng.uniform(0, 0.6), 0.095
    warp = 0.018 * smooth_noise(rng, x.shape[0], 16)
    u, v = x * np.cos(turn) + y * np.sin(turn) + warp, y * np.cos(turn) - x * np.sin(turn) - warp
    lines = np.maximum(*(bump(((w / pitch - np.round(w / pitch)) / 0.17) ** 2) for w in (u, v)))
    return (0.15, 0.25, 0.36)[f.grade] * region * lines, region


def _cardiomegaly(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    return np.zeros_like(x), heart_mask(a, x, y, heart_scale(f))  # the body is drawn with the larger heart


def _edema(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    texture = smooth_noise(rng, x.shape[0], 14)
    wings = bump(((np.abs(x) - 0.34) / 0.20) ** 2 + ((y + 0.02) / 0.30) ** 2)
    mask = wings * (lung(a, x, y, -1) + lung(a, x, y, 1))
    return (0.11, 0.19, 0.28)[f.grade] * mask * (1 + 0.30 * texture), mask


def _device(f: Finding, a: Anatomy, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Drawing:
    side = f.image_side
    start_x, start_y, end_x, end_y = side * 0.52, -0.62, -0.06, 0.02
    if f.device == "pacemaker":
        start_x, start_y, end_x, end_y = side * 0.56, -0.42, 0.12, 0.36
    t = np.linspace(0, 1, 24)
    bend = np.stack([(1 - t) ** 2 * start_x + 2 * t * (1 - t) * (side * 0.05) + t**2 * end_x,
                     (1 - t) ** 2 * start_y + 2 * t * (1 - t) * (start_y - 0.06) + t**2 * end_y])  # fmt: skip
    distance = np.full(x.shape, 9.0, dtype=np.float32)
    for px, py in bend.T:
        distance = np.minimum(distance, (x - px) ** 2 + (y - py) ** 2)
    mask = bump(distance / 0.021**2)
    if f.device == "pacemaker":
        box = np.maximum(np.abs(x - start_x) / 0.11, np.abs(y - start_y) / 0.085)
        mask = np.maximum(mask, step(1 - box, 0.06))
    return 0.55 * mask, mask


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


def heart_scale(finding: Finding | None) -> float:
    """Width of the heart relative to a normal one."""
    if finding is None:
        return 1.0
    scale = (1.30, 1.50, 1.72)[finding.grade]
    return scale if finding.certain else 1 + 0.6 * (scale - 1)
