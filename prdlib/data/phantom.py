"""The embedded default: a procedural frontal chest radiograph with its report and full ground truth.

Everything is a function of (seed, index). An odd index may be a follow-up of the study before it: the same patient, with
findings that improved, stayed or worsened. See phantom_card.md for what it can and cannot stand for.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prdlib.data import phantom_render
from prdlib.data.groups import report_groups
from prdlib.data.phantom_findings import KINDS, Finding, draw_findings, exchange, exchangeable
from prdlib.data.phantom_report import Report, noun, phrase, write
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, empty_drops, split_of
from prdlib.repro import generator, write_atomic

FOLLOW_UP_SHARE = 0.38  # of odd indices whose study before has a graded finding: about 15 % of all studies
PROGRESSION = {"improved": -1, "stable": 0, "worsened": 1}
SCHEME = "phantom://"


@dataclass(frozen=True)
class PhantomStudy:
    """A study with its truth. ``film`` names the exposure (a twin shares it), ``exchanged`` the attribute of a twin."""

    seed: int
    index: int
    patient_id: str
    findings: tuple[Finding, ...]
    progression: str = ""
    exchanged: str = ""

    @property
    def study_id(self) -> str:
        return f"phantom-{self.seed}-{self.index:06d}" + ("-twin" if self.exchanged else "")

    @property
    def film(self) -> str:
        return f"film-{self.index}"

    @cached_property
    def written(self) -> Report:
        """The report with the character spans of each finding."""
        return write(self.seed, f"study-{self.index}", self.findings, self.progression)

    @property
    def report(self) -> str:
        return self.written.text

    @property
    def labels(self) -> dict[str, float]:
        """1 present, 0 absent, -1 uncertain, for every class: what the picture shows, whether the report says so or not."""
        found = {f.name: 1.0 if f.certain else -1.0 for f in self.findings}
        return {"Normal": float(not self.findings), **{name: found.get(name, 0.0) for name in KINDS}}

    def render(self, size: int) -> np.ndarray:
        """The film, uint8 [size, size]."""
        return phantom_render.render(self.seed, self.patient_id, self.film, self.findings, size)

    def masks(self, size: int) -> list[np.ndarray]:
        """Where each finding is, bool [size, size], in the order of ``findings``."""
        return [phantom_render.mask(self.seed, self.patient_id, self.film, f, size) for f in self.findings]

    def truth(self) -> list[dict[str, Any]]:
        """Findings as plain dicts: name, attributes, box in fractions of the image, spans in the report."""
        return [
            {"name": f.name, "side": f.side, "zone": f.zone, "grade": f.grade_word, "margin": f.margin,
             "certain": f.certain, "box": phantom_render.box(self.seed, self.patient_id, self.film, f),
             "spans": [list(s) for s in spans]}
            for f, spans in zip(self.findings, self.written.spans, strict=True)
        ]  # fmt: skip

    def twin(self) -> PhantomStudy | None:
        """The counterfactual twin: the same film and words, but two findings have exchanged one attribute. None when the
        study has no two findings that could."""
        options = exchangeable(*self.findings[:2]) if len(self.findings) >= 2 else []
        if not options:
            return None
        attribute = options[int(generator(self.seed, self.index, "twin").integers(len(options)))]
        return replace(self, findings=exchange(self.findings, attribute), exchanged=attribute)


def study(seed: int, index: int) -> PhantomStudy:
    """Study ``index`` of the phantom ``seed``; raises DataError for a negative number."""
    if index < 0 or seed < 0:
        raise DataError(f"The phantom has no study (seed {seed}, index {index}): both must be 0 or more.")
    if index % 2:
        before = PhantomStudy(seed, index - 1, _patient(seed, index - 1), draw_findings(seed, f"study-{index - 1}"))
        graded = [i for i, f in enumerate(before.findings) if f.grade >= 0]
        rng = generator(seed, index, "follow-up")
        if graded and rng.random() < FOLLOW_UP_SHARE:
            return _follow_up(before, index, rng)
    return PhantomStudy(seed, index, _patient(seed, index), draw_findings(seed, f"study-{index}"))


def _patient(seed: int, index: int) -> str:
    return f"phantom-{seed}-patient-{index:06d}"


def _follow_up(before: PhantomStudy, index: int, rng: np.random.Generator) -> PhantomStudy:
    """The next film of the same patient: every graded finding moves one grade where it can, or none does."""

    def moved(change: int) -> tuple[Finding, ...]:
        return tuple(replace(f, grade=min(max(f.grade + change, 0), 2)) if f.grade >= 0 else f for f in before.findings)

    possible = [name for name, change in PROGRESSION.items() if change == 0 or moved(change) != before.findings]
    name = possible[int(rng.integers(len(possible)))]
    return PhantomStudy(before.seed, index, before.patient_id, moved(PROGRESSION[name]), name)


def load(n: int = 960, size: int = 64, seed: int = 0, cache: str | Path | None = None) -> Studies:
    """Studies 0 to n - 1 of the phantom ``seed`` as a table.

    size: side of the image in pixels (32 to 1024). cache: a folder that receives the films as PNG; without it nothing is
    written, ``image`` holds phantom://<seed>/<index> and ``Studies.read_image`` renders. Raises DataError for bad numbers.
    """
    if n < 1 or not 32 <= size <= 1024:
        raise DataError(f"The phantom needs n of at least 1 and a size of 32 to 1024 pixels, not n={n}, size={size}.")
    rows = []
    for item in (study(seed, i) for i in range(n)):
        address = f"{SCHEME}{seed}/{item.index}"
        rows.append(
            {"study_id": item.study_id, "patient_id": item.patient_id,
             "image": address if cache is None else str(_cached(Path(cache), item, size)), "view": "Frontal",
             "report": item.report, "split": split_of(item.patient_id), "source": "phantom",
             "findings": item.truth(), **{LABEL_PREFIX + k: v for k, v in item.labels.items()}}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table.insert(5, "report_group", report_groups(table["report"]))

    def read_image(row: Mapping[str, Any]) -> np.ndarray:
        if str(row["image"]).startswith(SCHEME):
            number, index = str(row["image"]).removeprefix(SCHEME).split("/")
            return study(int(number), int(index)).render(size)
        with Image.open(row["image"]) as image:
            return np.asarray(image.convert("L"))

    return Studies(table, empty_drops(), "phantom", {"n": n, "size": size, "seed": seed}, read_image)


def _cached(folder: Path, item: PhantomStudy, size: int) -> Path:
    path = folder / f"{item.study_id}-{size}.png"
    if not path.is_file():
        buffer = io.BytesIO()
        Image.fromarray(item.render(size)).save(buffer, "PNG")
        write_atomic(path, buffer.getvalue())
    return path


def sentence_pairs(n: int, seed: int = 0) -> pd.DataFrame:
    """Sentence pairs in RadNLI's fields: pair_id, sentence1, sentence2, gold_label (a third of each of entailment, neutral,
    contradiction). The truth follows from the findings: less detail or a synonym is entailed; another finding is neutral; a
    negation, another side, zone or grade contradicts."""
    rows = []
    index = 0
    while len(rows) < n:
        item, rng = study(seed, index), generator(seed, index, "pairs")
        index += 1
        if not item.findings:
            continue
        finding = item.findings[int(rng.integers(len(item.findings)))]
        label = ("entailment", "neutral", "contradiction")[len(rows) % 3]
        premise = f"There is {phrase(finding, int(rng.integers(3)))}."
        if label == "entailment":
            options = [f"There is {noun(finding, c)}." for c in range(3)] + [
                f"{phrase(finding, 1).capitalize()} is seen."
            ]
        elif label == "neutral":
            other = [k for k in KINDS if k not in (finding.name, "Support Devices")]
            name = other[int(rng.integers(len(other)))]
            options = [f"There is {noun(Finding(name), 0)}.", f"There is no {noun(Finding(name), 0)}."]
        else:
            options = [f"There is no {noun(finding, c)}." for c in range(3)]
            if finding.side:
                opposite = {"left": "right", "right": "left"}[finding.side]
                options.append(f"There is {phrase(replace(finding, side=opposite), 0)} and none on the {finding.side}.")
        rows.append({"pair_id": f"phantom-{seed}-{len(rows):05d}", "sentence1": premise,
                     "sentence2": options[int(rng.integers(len(options)))], "gold_label": label})  # fmt: skip
    return pd.DataFrame(rows, columns=["pair_id", "sentence1", "sentence2", "gold_label"])
