"""CheXpert 5x200, rebuilt: 200 studies for each of five findings, a test of zero-shot classification with one right answer each.

The set is GLoRIA's (Huang et al., ICCV 2021), which draws it at random from CheXpert's training table; its list is not published
with CheXpert, so ours is another draw under a rule anyone can repeat:

1. frontal images of train.csv; of a study the first that is there, in the order of names
2. studies in which exactly one of the five findings is 1, and none of the other four uncertain (-1); blank counts as absent. The
   other nine labels are free (a script of MGCA's asks them to be absent as well, which leaves fewer studies)
3. of each finding the ``each`` studies whose SHA-256 of '<seed>:<study_id>' comes first, whatever the order of rows

These patients must not be in pre-training: :func:`patients` names them, and ``chexpert.load(exclude=...)`` leaves them out, of a
list or of a file that ``patient_lists.write_patients(patients(studies), "excluded.txt")`` writes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

from prdlib.data import chexpert
from prdlib.data.studies import LABEL_PREFIX, DataError, Studies, empty_drops, existing_folder
from prdlib.data.tables import Drops, finish

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


def load(directory: str | Path, seed: int = 0, each: int = 200, reports: bool | None = None) -> Studies:
    """``each`` studies of each of FINDINGS, one frontal image a study, all in the split 'test', with these five labels (1 or 0).

    directory, reports: see data.chexpert.load; seed: of the draw. The drop table has what CheXpert's reader left out, and the
    frontal images that were not drawn.
    Raises DataError for what CheXpert's reader refuses, and when a finding has fewer studies than ``each``.
    """
    if not isinstance(each, int) or each < 1:
        raise DataError(f"each is {each!r}: draw a whole number of studies of each finding, 1 or more.")
    whole = chexpert.load(directory, "keep", "unmentioned", ("Frontal",), reports)
    known = whole.table[whole.table["split"] != "test"].sort_values("image").drop_duplicates("study_id")
    labels = known[[LABEL_PREFIX + name for name in FINDINGS]]
    known = known[((labels == 1).sum(axis=1) == 1) & ((labels == -1).sum(axis=1) == 0)]
    ranks = known["study_id"].map(lambda study: hashlib.sha256(f"{seed}:{study}".encode()).hexdigest())
    known = known.loc[ranks.sort_values().index]
    parts = []
    for name in FINDINGS:
        mine = known[known[LABEL_PREFIX + name] == 1]
        if len(mine) < each:
            raise DataError(
                f"CheXpert 5x200: {name} is the only one of the five in {len(mine)} studies of train.csv whose image is there, "
                f"{each} are asked for: put the missing images there, or lower each."
            )
        parts.append(mine[:each])
    table = pd.concat(parts, ignore_index=True).assign(split="test")
    one = (table[[LABEL_PREFIX + name for name in FINDINGS]] == 1).astype("float64")
    table = pd.concat([table.drop(columns=[LABEL_PREFIX + name for name in whole.labels]), one], axis=1)
    drops = Drops()
    rest = whole.table.loc[~whole.table["image"].isin(table["image"]), "image"]
    below = f"{existing_folder(directory, chexpert.NAME)}{os.sep}"
    drops.add(rest.str.removeprefix(below), "not drawn for the 5x200", "train.csv, valid.csv")
    kept = [part for part in (whole.dropped, drops.table()) if len(part)]
    return Studies(
        finish(table, "chexpert_5x200", whole.reports),
        pd.concat(kept, ignore_index=True) if kept else empty_drops(),
        "chexpert_5x200",
        {"seed": seed, "each": each, "reports": whole.reports},
        whole.read_image,
        whole.reports,
    )


def patients(studies: Studies) -> list[str]:
    """The patients of a 5x200, sorted: those that pre-training must leave out (``chexpert.load(exclude=...)``)."""
    return sorted(studies.table["patient_id"].unique())
