"""The phantom's findings: what they are and how they are drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, permutations

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
NUMBERS = (0.21, 0.03, 0.31, 0.45)  # studies with 0, 1, 2, 3 findings
# Of a pair of classes that share an attribute, the product of the two: so every class is equally common among pairs.
PAIR_WEIGHTS = dict(zip(KINDS, (0.93, 0.93, 0.93, 0.93, 1.65, 0.52, 1.65, 0.52, 0.93), strict=True))


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


def exchanges(findings: Sequence[Finding]) -> list[tuple[str, int, int]]:
    """(attribute, i, j) for every two findings that differ in an attribute which they could exchange. Exchanging leaves the
    number of such options of each attribute as it is, so a study and its twin are drawn equally often."""
    pairs = combinations(range(len(findings)), 2)
    return [(name, i, j) for i, j in pairs for name in exchangeable(findings[i], findings[j])]


def draw_findings(seed: int, key: str) -> tuple[Finding, ...]:
    """Findings of a study. The first two are of classes that share an attribute; the attributes of all findings are drawn
    independently, whatever their classes, so that those of one say nothing of another's."""
    rng = generator(seed, key, "findings")
    number = int(rng.choice(4, p=NUMBERS))
    if number < 2:
        names = [str(name) for name in rng.choice(list(KINDS), number, replace=False)]
    else:
        pairs, shares = _pairs_of_classes()
        names = list(pairs[int(rng.choice(len(pairs), p=shares))])
        others = [name for name in KINDS if name not in names]
        names += [str(name) for name in rng.choice(others, number - 2, replace=False)]
    return tuple(draw_finding(rng, name) for name in names)


@cache
def _pairs_of_classes() -> tuple[list[tuple[str, str]], np.ndarray]:
    """Ordered pairs of classes that share a side, a zone or the words of a grade, and how often each is drawn."""
    pairs = [(a, b) for a, b in permutations(KINDS, 2) if _share_an_attribute(KINDS[a], KINDS[b])]
    weights = np.array([PAIR_WEIGHTS[a] * PAIR_WEIGHTS[b] for a, b in pairs])
    return pairs, weights / weights.sum()


def _share_an_attribute(a: Kind, b: Kind) -> bool:
    return (a.sided and b.sided) or (a.zoned and b.zoned) or (a.grades == b.grades and bool(a.grades))


def exchange(findings: tuple[Finding, ...], attribute: str, i: int, j: int) -> tuple[Finding, ...]:
    """The findings with ``attribute`` exchanged between findings ``i`` and ``j``."""
    changed = list(findings)
    changed[i] = replace(findings[i], **{attribute: getattr(findings[j], attribute)})
    changed[j] = replace(findings[j], **{attribute: getattr(findings[i], attribute)})
    return tuple(changed)


def heart_scale(finding: Finding | None) -> float:
    """Width of the heart relative to a normal one."""
    if finding is None:
        return 1.0
    scale = (1.26, 1.48, 1.72)[finding.grade]
    return scale if finding.certain else 1 + 0.6 * (scale - 1)
