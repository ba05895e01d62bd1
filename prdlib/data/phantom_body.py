"""The phantom's body: attenuation of a frontal chest film without findings. Attenuation adds up: bright is dense."""

from __future__ import annotations

import numpy as np

from prdlib.data.phantom_anatomy import Anatomy, Film, bump, diaphragm, heart_mask, step, wall_distance


def draw_body(film: Film, heart_scale: float, texture: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Attenuation [S, S] of the body without findings: about 0.1 in air, 0.2 in lung, 0.7 in soft tissue, 1.2 in bone.

    heart_scale: 1 is a normal heart. texture: coarse and fine noise [S, S] of this patient.
    """
    anatomy, x, y, air = film.anatomy, film.x, film.y, film.air
    u = np.abs(x)
    body = _outline(u, y)
    trunk = body * (0.62 + 0.10 * y + 0.03 * texture[0])
    image = trunk - 0.44 * air * body
    image += body * (1 - air) * 0.10 * step(y - diaphragm(anatomy, u, 1) - 0.02, 0.05)  # the abdomen is thicker
    image += _mediastinum(anatomy, x, y, heart_scale, air) * body
    image += _vessels(u, y, texture[1]) * air
    image += _bones(anatomy, x, u, y, air) * body
    if anatomy.breast:
        shadow = 1 - np.sqrt(((u - 0.46) / 0.34) ** 2 + ((y - 0.30) / 0.34) ** 2)
        image += anatomy.breast * step(shadow, 0.05)
    image -= _stomach(anatomy, x, y)
    return image


def _outline(u: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Neck, shoulders that slope away from it, and the trunk."""
    shoulder = -0.93 + 0.36 * np.clip(u - 0.24, 0, None) + 0.9 * np.clip(u - 0.80, 0, None) ** 2
    neck = 0.27 - u
    return step(np.minimum(np.maximum(y - shoulder, neck), 0.985 - u - 0.03 * np.cos(3 * y)), 0.015)


def _mediastinum(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, heart_scale: float, air: np.ndarray) -> np.ndarray:
    """Great vessels, aortic knob, windpipe, heart, hila."""
    front = x - anatomy.turn
    u = np.abs(front)
    column = step(0.135 + 0.05 * step(-0.55 - y, 0.08) - np.abs(front - 0.005), 0.022) * step(0.55 - y, 0.08)
    image = (0.16 + 0.18 * air) * column
    image -= 0.15 * bump((front / 0.042) ** 2) * step(-0.24 - y, 0.04)  # windpipe
    knob = 1 - np.sqrt((front - 0.125) ** 2 + (y + 0.37) ** 2) / anatomy.knob
    descending = step(0.175 - np.abs(front), 0.015) * step(y + 0.37, 0.04) * step(0.3 - y, 0.1) * (front > 0)
    image += 0.22 * air * np.maximum(step(knob, 0.10), 0.7 * descending)
    trunk = 1 - np.sqrt(((front - 0.15) / 0.075) ** 2 + ((y + 0.17) / 0.10) ** 2)  # pulmonary artery
    image += 0.14 * air * step(trunk, 0.12)
    heart = heart_mask(anatomy, x, y, heart_scale)
    image += (0.10 + 0.30 * air) * heart
    hila = bump(((u - 0.22) / 0.055) ** 2 + ((y + 0.02 + 0.05 * np.sign(front)) / 0.11) ** 2)
    return image + 0.15 * hila * air * (1 - heart)


def _vessels(u: np.ndarray, y: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Branching markings that fan out of the hilum and thin out towards the wall."""
    du, dy = u - 0.16, y + 0.02
    radius = np.sqrt(du * du + dy * dy)
    angle = np.arctan2(dy, du) * (8 / np.pi) + 0.8 * fine
    ray = np.abs(angle - np.round(angle))
    fade = bump((radius / 0.30) ** 2) * step(radius - 0.10, 0.03)
    return fade * (0.085 * bump((ray * radius / 0.045) ** 2) + 0.045) + 0.016 * fine


def _band(distance: np.ndarray, half: float) -> np.ndarray:
    """A bone across ``distance``: a body with brighter edges."""
    return 0.6 * step(half - np.abs(distance), 0.35 * half) + 0.5 * bump(
        ((np.abs(distance) - 0.8 * half) / (0.35 * half)) ** 2
    )


def _bones(anatomy: Anatomy, x: np.ndarray, u: np.ndarray, y: np.ndarray, air: np.ndarray) -> np.ndarray:
    """Ribs (back and front), clavicles, shoulder blades, spine."""
    spacing, phase = anatomy.ribs
    cage = step(wall_distance(u, y) + 0.05, 0.015) * step(0.72 - y, 0.05)
    back = (y - 0.42 * np.clip(u - 0.12, 0, None) ** 2 + 0.05 * u) / spacing + phase
    ribs = 0.095 * _band(back - np.round(back), 0.23) * step(u - 0.07, 0.03)
    front = (y + 0.62 * u - 0.25 * u * u) / (1.15 * spacing) + phase
    ribs += 0.06 * _band(front - np.round(front), 0.20) * step(u - 0.42, 0.06) * step(y + 0.60, 0.05)
    bones = ribs * cage * (0.35 + 0.65 * air)
    along = u - 0.10 - np.sign(x) * anatomy.turn
    clavicle = y + 0.665 + 0.20 * along - 0.035 * np.sin(6.5 * along)
    bones += 0.26 * _band(clavicle, 0.034) * step(along, 0.015) * step(0.74 - along, 0.02)
    blade = np.minimum(u - 0.60 - 0.25 * (y + 0.35), (y + 0.78) * 0.8)
    bones += 0.05 * step(blade, 0.02) * step(-0.02 - y + 0.3 * (u - 0.6), 0.03) * step(1.05 - u, 0.05)
    joint = 1 - np.sqrt((u - 0.90) ** 2 + (y + 0.66) ** 2) / 0.11
    bones += 0.12 * step(joint, 0.10)
    disc = np.cos((y * 1.02 + anatomy.ribs[1]) * 38)
    spine = step(0.085 - np.abs(x), 0.012) * (0.12 + 0.05 * disc)
    bones += spine + 0.06 * bump((x / 0.02) ** 2) * step(disc, 0.2)
    return bones


def _stomach(anatomy: Anatomy, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Air under the patient's left dome: round above, level below."""
    place, radius = anatomy.bubble
    top = diaphragm(anatomy, x, 1) + 0.055
    bubble = 1 - np.sqrt(((x - place) / (1.9 * radius)) ** 2 + ((y - top - radius) / (1.25 * radius)) ** 2)
    return 0.34 * step(bubble, 0.06) * step(y - top, 0.012) * step(anatomy.dome[1] + 0.06 + 1.9 * radius - y, 0.012)
