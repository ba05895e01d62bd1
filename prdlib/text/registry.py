"""Every perturbation by its name: word order (the paper's nine), clinical edits, paraphrases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.repro import generator
from prdlib.text import clinical, paraphrase, word_order
from prdlib.text.perturbation import Perturbation, Perturbed, apply, nearest
from prdlib.text.tagging import TaggedReport
from prdlib.text.word_order import ZERO_SHOT_KINDS

__all__ = ["FAMILIES", "PERTURBATIONS", "ZERO_SHOT_KINDS", "perturb", "perturb_reports"]

PERTURBATIONS: dict[str, Perturbation] = {
    entry.name: entry for entry in (*word_order.ENTRIES, *clinical.ENTRIES, *paraphrase.ENTRIES)
}
FAMILIES: dict[str, tuple[str, ...]] = {
    family: tuple(name for name, entry in PERTURBATIONS.items() if entry.family == family)
    for family in ("word_order", "clinical", "paraphrase")
}


def perturb(tagged: TaggedReport, name: str, rng: np.random.Generator) -> Perturbed:
    """A perturbed copy of a report by the edit ``name``.

    Raises ValueError for an unknown ``name`` (and names the nearest known one).
    """
    if name not in PERTURBATIONS:
        hint = nearest(name, list(PERTURBATIONS))
        raise ValueError(f"Unknown perturbation {name!r}{hint}: choose one of {', '.join(PERTURBATIONS)}.")
    return apply(PERTURBATIONS[name], tagged, rng)


def perturb_reports(
    tagged: Sequence[TaggedReport], names: Sequence[str], seed: int, epoch: int, ids: Sequence[str]
) -> list[list[Perturbed]]:
    """Copies [len(tagged)][len(names)]; each depends on (seed, epoch, id, name) and its report alone."""
    return [
        [perturb(report, name, generator(seed, epoch, str(study), name)) for name in names]
        for report, study in zip(tagged, ids, strict=True)
    ]
