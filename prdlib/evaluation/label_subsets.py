"""Which studies are labelled: parts of a training split drawn by patient, and splits that share a patient refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from prdlib.data.batches import EvaluationData
from prdlib.data.studies import DataError
from prdlib.repro import generator

FEWEST_SUBSETS = 3  # draws of a part of the training split: one draw says nothing of how much the next would differ


def refuse_shared_patients(splits: Mapping[str, EvaluationData]) -> None:
    """DataError when two splits share a patient: who was seen in training is recognised in test by more than the finding."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        for patient in dict.fromkeys(split.patient_ids):
            if patient in seen:
                raise DataError(f"Patient {patient!r} stands in {seen[patient]} and in {name}: split by patient.")
        seen |= dict.fromkeys(split.patient_ids, name)


def only_labels(split: EvaluationData, names: Sequence[str]) -> EvaluationData:
    """``split`` with the labels ``names`` alone, in that order. Raises DataError for a label that it has not."""
    for name in names:
        if name not in split.label_names:
            raise DataError(f"No label {name!r} in these data: they have {', '.join(split.label_names) or 'none'}.")
    columns = [split.label_names.index(name) for name in names]
    return replace(split, labels=split.labels[:, columns], label_names=list(names))


def take(split: EvaluationData, rows: np.ndarray) -> EvaluationData:
    """The studies ``rows`` (int [n]) of ``split``, in that order; all of them: ``split`` itself, whose images are not copied."""
    if np.array_equal(rows, np.arange(len(split.study_ids))):
        return split
    lists = {
        name: [getattr(split, name)[row] for row in rows] for name in ("tagged", "study_ids", "patient_ids", "findings")
    }
    return replace(split, images=split.images[rows], groups=split.groups[rows], labels=split.labels[rows], **lists)


def subset_rows(patient_ids: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Rows, in their order, of the studies of a random ``share`` of the patients: int [n]; one patient at least.

    Which patients depends on (seed, share) and the set of patients alone. Raises ValueError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"A share of the training patients is above 0 and at most 1, not {share!r}.")
    patients = np.unique(np.asarray(patient_ids))
    number = max(1, round(share * len(patients)))
    chosen = generator(seed, "label subset", f"{share:g}").choice(patients, number, replace=False)
    return np.flatnonzero(np.isin(np.asarray(patient_ids), chosen))


def subsets(
    patient_ids: Sequence[str], shares: Sequence[float], seeds: Sequence[int]
) -> dict[tuple[float, int], np.ndarray]:
    """(share, seed) -> :func:`subset_rows`; the whole stands there once, under the first seed.

    Raises ValueError for fewer than FEWEST_SUBSETS different seeds where a share is below 1, and for no share or seed.
    """
    needed = FEWEST_SUBSETS if any(share < 1 for share in shares) else 1
    if not len(shares) or len(set(seeds)) < needed:
        raise ValueError(
            f"{len(shares)} shares with {len(set(seeds))} different seeds: give a share or more, and {needed} seeds or more."
        )
    return {
        (share, seed): subset_rows(patient_ids, share, seed)
        for share in shares
        for seed in (seeds if share < 1 else seeds[:1])
    }


def subset_table(
    train: EvaluationData, shares: Sequence[float] = (0.01, 0.1, 1.0), seeds: Sequence[int] = (0, 1, 2)
) -> pd.DataFrame:
    """What the labels of each part of ``train`` hold: share, subset (its seed), patients, studies, label, judged (1 or 0),
    positives, note. A label without both classes cannot be learnt there, and says so."""
    rows = []
    for (share, seed), chosen in subsets(train.patient_ids, shares, seeds).items():
        patients = len({train.patient_ids[row] for row in chosen})
        for column, label in enumerate(train.label_names):
            values = train.labels[chosen, column]
            judged, positives = int(np.isin(values, (0, 1)).sum()), int((values == 1).sum())
            note = "no positives: not learnt" if not positives else "no negatives: not learnt" * (positives == judged)
            rows.append({"share": share, "subset": seed, "patients": patients, "studies": len(chosen), "label": label,
                         "judged": judged, "positives": positives, "note": note})  # fmt: skip
    return pd.DataFrame(rows)


def has_both_classes(labels: np.ndarray) -> np.ndarray:
    """Which labels [n, L] have a 1 and a 0: bool [L]."""
    return (labels == 1).any(axis=0) & (labels == 0).any(axis=0)


def prevalences(labels: np.ndarray) -> np.ndarray:
    """Share of 1 among the 1 and 0 of each label [n, L]: [L], NaN where nothing is judged."""
    judged, positives = np.isin(labels, (0, 1)).sum(axis=0), (labels == 1).sum(axis=0)
    return np.divide(positives, judged, out=np.full(labels.shape[1], np.nan), where=judged > 0)
