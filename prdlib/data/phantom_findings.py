"""The phantom's findings: what they are and how they are drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prdlib.repro import generator

SIDES = ("left", "right")
ZONES = ("upper", "mid", "lower")
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
NUMBERS = (0.225, 0.105, 0.45, 0.22)  # studies with 0, 1, 2, 3 findings
# Drawn before pairs without an attribute to exchange are rejected; after that every class is about equally common.
_WEIGHTS = np.array([1.175, 1.046, 0.983, 1.121, 1.80, 0.777, 1.785, 0.767, 1.486])


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


def draw_finding(rng: np.random.Generator, name: str) -> Finding:
    kind = KINDS[name]
    return Finding(
        name,
        side=str(rng.choice(SIDES)) if kind.sided else "",
        zone=str(rng.choice(ZONES)) if kind.zoned else "",
        grade=int(rng.integers(3)) if kind.grades else -1,
        margin=str(rng.choice(MARGINS)) if kind.margin else "",
        device=str(rng.choice(("line", "pacemaker"))) if name == "Support Devices" else "",
        certain=name == "Support Devices" or bool(rng.random() >= 0.08),
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
        findings = tuple(draw_finding(rng, name) for name in names)
        if number < 2 or exchangeable(findings[0], findings[1]):
            return findings


def exchange(findings: tuple[Finding, ...], attribute: str) -> tuple[Finding, ...]:
    """The findings with ``attribute`` exchanged between the first two."""
    a, b, *rest = findings
    value_a, value_b = getattr(a, attribute), getattr(b, attribute)
    return (replace(a, **{attribute: value_b}), replace(b, **{attribute: value_a}), *rest)


def heart_scale(finding: Finding | None) -> float:
    """Width of the heart relative to a normal one."""
    if finding is None:
        return 1.0
    scale = (1.26, 1.48, 1.72)[finding.grade]
    return scale if finding.certain else 1 + 0.6 * (scale - 1)
