"""The embedded default: a procedural frontal chest radiograph with its report and full ground truth.

Everything is a function of (seed, index). An odd index may be a follow-up of the study before it: the same patient, with
one finding that improved, stayed or worsened. See phantom_card.md for what it can and cannot stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdlib.data import phantom_render
from prdlib.data.groups import report_groups
from prdlib.data.phantom_findings import KINDS, Finding, draw_findings, exchange, exchanges
from prdlib.data.phantom_pairs import sentence_pairs
from prdlib.data.phantom_report import Report, write
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, empty_drops, split_of
from prdlib.images import encode_png, read_grey
from prdlib.repro import generator, write_atomic
from prdlib.run_name import PHANTOM_VERSION

__all__ = ["PhantomStudy", "load", "masks", "render", "sentence_pairs", "study"]

VERSION = PHANTOM_VERSION
FOLLOW_UP_SHARE = 0.55  # of odd indices whose study before has a finding that can change: about 17 % of all studies
EXCHANGE_WEIGHT = {"side": 1, "grade": 1, "zone": 6}  # fewer studies have two zones to exchange
PROGRESSION = {"improved": -1, "stable": 0, "worsened": 1}
SCHEME = "phantom://"
SIZES = (32, 1024)


@dataclass(frozen=True)
class PhantomStudy:
    """A study with its truth.

    progression: '' or what the report says of finding ``compared`` since the study before. exchanged: '' or the attribute in
    which this twin differs from its study: 'side', 'zone' or 'grade'.
    """

    seed: int
    index: int
    patient_id: str
    findings: tuple[Finding, ...]
    progression: str = ""
    compared: int = -1
    exchanged: str = ""

    @property
    def study_id(self) -> str:
        return f"phantom-{self.seed}-{self.index:06d}" + ("-twin" if self.exchanged else "")

    @property
    def film(self) -> str:
        """The name of the exposure; a twin shares it."""
        return f"film-{self.index}"

    @cached_property
    def written(self) -> Report:
        """The report with the character spans of each finding."""
        return write(self.seed, f"study-{self.index}", self.findings, self.progression, self.compared)

    @property
    def report(self) -> str:
        return self.written.text

    @property
    def labels(self) -> dict[str, float]:
        """1 present, 0 absent, -1 uncertain, for every class: what the picture shows, whether the report says so or not."""
        found = {f.name: 1.0 if f.certain else -1.0 for f in self.findings}
        return {"Normal": float(not self.findings), **{name: found.get(name, 0.0) for name in KINDS}}

    @property
    def stated_labels(self) -> dict[str, float]:
        """What a reader of the report alone would know: as ``labels``, but NaN for a class that it does not mention."""
        stated = {f.name for f in self.findings} | set(self.written.denied) | {"Normal"}
        return {name: value if name in stated else np.nan for name, value in self.labels.items()}

    def render(self, size: int) -> np.ndarray:
        """The film, uint8 [size, size]."""
        return phantom_render.render(self.seed, self.patient_id, self.film, self.findings, size)

    def masks(self, size: int) -> list[np.ndarray]:
        """Where each finding is, bool [size, size], in the order of ``findings``."""
        return [phantom_render.mask(self.seed, self.patient_id, self.film, f, size) for f in self.findings]

    def truth(self, size: int) -> list[dict[str, Any]]:
        """Findings as plain dicts: name, attributes, spans in the report, box of the mask at ``size`` pixels, in fractions of the
        image."""
        return [
            {"name": f.name, "side": f.side, "zone": f.zone, "grade": f.grade_word, "margin": f.margin,
             "certain": f.certain, "box": phantom_render.box(self.seed, self.patient_id, self.film, f, size),
             "spans": [list(s) for s in spans]}
            for f, spans in zip(self.findings, self.written.spans, strict=True)
        ]  # fmt: skip

    def twin(self) -> PhantomStudy | None:
        """The counterfactual twin: the same film and words, but two findings have exchanged one attribute. None when the
        study has no two findings that could. The grade that a follow-up compares stays: 'worsened' tells something of it."""
        options, rng = exchanges(self.findings), generator(self.seed, self.index, "twin")
        options = [(name, i, j) for name, i, j in options if name != "grade" or self.compared not in (i, j)]
        if not options:
            return None
        names = sorted({name for name, _, _ in options})
        weights = np.array([EXCHANGE_WEIGHT[name] for name in names])
        attribute = str(rng.choice(names, p=weights / weights.sum()))
        pairs = [(i, j) for name, i, j in options if name == attribute]
        i, j = pairs[int(rng.integers(len(pairs)))]
        return replace(self, findings=exchange(self.findings, attribute, i, j), exchanged=attribute)


def study(seed: int, index: int) -> PhantomStudy:
    """Study ``index`` of the phantom ``seed``; raises DataError for a negative number."""
    if index < 0 or seed < 0:
        raise DataError(f"The phantom has no study (seed {seed}, index {index}): both must be 0 or more.")
    if index % 2:
        before = PhantomStudy(seed, index - 1, _patient(seed, index - 1), draw_findings(seed, f"study-{index - 1}"))
        rng = generator(seed, index, "follow-up")
        if _can_change(before.findings) and rng.random() < FOLLOW_UP_SHARE:
            return _follow_up(before, index, rng)
    return PhantomStudy(seed, index, _patient(seed, index), draw_findings(seed, f"study-{index}"))


def _patient(seed: int, index: int) -> str:
    return f"phantom-{seed}-patient-{index:06d}"


def _follow_up(before: PhantomStudy, index: int, rng: np.random.Generator) -> PhantomStudy:
    """The next film of the same patient: one finding has moved a grade, or none has."""
    name = str(rng.choice(list(PROGRESSION)))
    able = [i for i, f in enumerate(before.findings) if f.grade >= 0 and 0 <= f.grade + PROGRESSION[name] <= 2]
    compared = able[int(rng.integers(len(able)))]
    findings = list(before.findings)
    findings[compared] = replace(findings[compared], grade=findings[compared].grade + PROGRESSION[name])
    return PhantomStudy(before.seed, index, before.patient_id, tuple(findings), name, compared)


def _can_change(findings: tuple[Finding, ...]) -> bool:
    """Whether some finding could improve and some could worsen, so that the grades do not give the progression away."""
    return any(f.grade > 0 for f in findings) and any(0 <= f.grade < 2 for f in findings)


def render(item: PhantomStudy, size: int) -> np.ndarray:
    """The film of a study, uint8 [size, size]; the same as ``item.render(size)``."""
    return item.render(size)


def masks(item: PhantomStudy, size: int) -> list[np.ndarray]:
    """Where each finding of a study is, bool [size, size]; the same as ``item.masks(size)``."""
    return item.masks(size)


def load(n: int = 960, size: int = 64, seed: int = 0, cache: str | Path | None = None) -> Studies:
    """Studies 0 to n - 1 of the phantom ``seed`` as a table.

    size: side of the image in pixels (32 to 1024). cache: a folder that receives the films as PNG; without it nothing is
    written, ``image`` holds phantom://<seed>/<index> and ``Studies.read_image`` renders. Raises DataError for bad numbers.
    """
    if (
        not all(isinstance(v, Integral) for v in (n, size, seed))
        or n < 1
        or seed < 0
        or not SIZES[0] <= size <= SIZES[1]
    ):
        raise DataError(
            f"The phantom needs whole numbers: n of at least 1, size from {SIZES[0]} to {SIZES[1]} pixels, seed of at least 0, "
            f"not n={n!r}, size={size!r}, seed={seed!r}."
        )
    rows = []
    for item in (study(seed, i) for i in range(n)):
        address = f"{SCHEME}{seed}/{item.index}"
        rows.append(
            {"study_id": item.study_id, "patient_id": item.patient_id,
             "image": address if cache is None else str(_cached(Path(cache), item, size)), "view": "Frontal",
             "report": item.report, "split": split_of(item.patient_id), "source": "phantom",
             "findings": item.truth(size), **{LABEL_PREFIX + k: v for k, v in item.labels.items()}}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table.insert(5, "report_group", report_groups(table["report"]))

    def read_image(row: Mapping[str, Any]) -> np.ndarray:
        """uint8 [size, size]."""
        if str(row["image"]).startswith(SCHEME):
            number, index = str(row["image"]).removeprefix(SCHEME).split("/")
            return study(int(number), int(index)).render(size)
        return read_grey(row["image"])

    options = {"n": int(n), "size": int(size), "seed": int(seed), "version": VERSION}
    return Studies(table, empty_drops(), "phantom", options, read_image)


def _cached(folder: Path, item: PhantomStudy, size: int) -> Path:
    path = folder / f"{item.study_id}-{size}-v{VERSION}.png"
    if not path.is_file():
        write_atomic(path, encode_png(item.render(size)))
    return path
