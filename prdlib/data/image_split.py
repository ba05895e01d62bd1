"""The split that leaks, for ablations: images, not patients, are drawn into splits, as in the released code of the PRD paper.

Both films of a study, with one report, and all studies of a patient then fall on both sides.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from datasets import DatasetDict, concatenate_datasets

from prdlib.data.studies import SPLITS, split_of


def split_by_image(data: DatasetDict) -> DatasetDict:
    """The rows of prepared ``data`` in splits of the same shares, each by a hash of its study and its number in the study."""
    whole = concatenate_datasets([data[name] for name in SPLITS if name in data])
    seen: Counter[str] = Counter()
    parts = []
    for study in whole["study_id"]:
        parts.append(split_of(f"{study}/{seen[study]}"))
        seen[study] += 1
    where = np.array(parts)
    return DatasetDict({name: whole.select(np.flatnonzero(where == name)) for name in SPLITS if (where == name).any()})
