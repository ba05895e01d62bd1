"""Tiny splits whose labels are painted into the images: the right answer is known."""

import numpy as np

from prdlib.data.batches import EvaluationData

SIZES = {"train": 96, "validation": 32, "test": 48}


def painted(size, seed, corners=((0, 0), (1, 1)), uncertain=0.0):
    """Noise, in which each label is a bright square in its corner, and a dark one where it is uncertain; None: a label that is
    not painted. A patient has two studies."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((size, len(corners))) < 0.5).astype(float)
    labels[rng.random(labels.shape) < uncertain] = -1
    images = rng.integers(0, 160, size=(size, 32, 32), dtype=np.uint8)
    for column, (down, right) in [(i, corner) for i, corner in enumerate(corners) if corner]:
        for value, shade in ((1, 255), (-1, 0)):
            images[labels[:, column] == value, 24 * down + 1 : 24 * down + 7, 24 * right + 1 : 24 * right + 7] = shade
    ids = [f"{seed}-{i}" for i in range(size)]
    patients = [f"p{seed}-{i // 2}" for i in range(size)]
    return EvaluationData(
        images,
        [None] * size,
        ids,
        patients,
        np.arange(size),
        labels,
        [f"l{i}" for i in range(len(corners))],
        [[]] * size,
    )
