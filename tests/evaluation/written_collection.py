"""A collection written down: four reports with their labels, and images that are one grey level for each report."""

import numpy as np

from prdlib.data.batches import EvaluationData
from prdlib.text import TaggedReport

NAMES = ["Effusion", "Edema"]
KINDS = {
    (1, 0): "there is a small left pleural effusion today",
    (0, 1): "mild edema of both lungs is seen again",
    (1, 1): "pleural effusion and mild edema have both grown",
    (0, 0): "the lungs are clear and the heart is normal",
}
KNOWN = list(KINDS.values())


def collection(reports, labels, first=0, size=4):
    """EvaluationData of ``reports`` (texts) with ``labels`` [N, 2]; equal texts are a group, study ids count from ``first``."""
    tagged = [TaggedReport(r, tuple(r.split()), ("NN",) * len(r.split()), (), (), len(r.split())) for r in reports]
    levels = [KNOWN.index(r) if r in KNOWN else len(KNOWN) for r in reports]
    images = np.tile(np.array(levels, dtype=np.uint8)[:, None, None], (1, size, size))
    ids = [f"s{first + i}" for i in range(len(reports))]
    groups = np.unique(reports, return_inverse=True)[1]
    return EvaluationData(images, tagged, ids, ids, groups, np.array(labels, dtype=float), NAMES, [[] for _ in reports])


def of_kinds(kinds, first=0, size=4):
    """EvaluationData of reports of KINDS, named by their labels."""
    return collection([KINDS[kind] for kind in kinds], kinds, first, size)
