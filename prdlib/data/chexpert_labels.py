"""The 14 labels of CheXpert's labeller, as CheXpert and MIMIC-CXR-JPG write them: 1.0, 0.0, -1.0 or blank.

uncertain: what -1 becomes, by the names of CheXpert's paper (arXiv 1901.07031): 'keep' it, 'ones', 'zeros', or 'ignore' (NaN).
blanks: 'unmentioned' (NaN, the default: a report that is silent about a finding has not denied it, and Studies says so of an
empty label) or 'absent' (0, the field's convention in classification on CheXpert, needed to compare with published numbers).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from prdlib.data.studies import LABEL_PREFIX, DataError
from prdlib.data.tables import chosen, refuse_cells

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
UNCERTAIN = {"keep": -1.0, "ones": 1.0, "zeros": 0.0, "ignore": np.nan}
BLANKS = {"unmentioned": np.nan, "absent": 0.0}


def check_rules(uncertain: str, blanks: str) -> None:
    """DataError for a rule that is not known."""
    if uncertain == "multi-class":
        raise DataError(
            "uncertain is 'multi-class': that is 'keep' here, with evaluation.fine_tuning_head=multi-class."
        )
    chosen("uncertain", uncertain, UNCERTAIN)
    chosen("blanks", blanks, BLANKS)


def label_columns(file: str, table: pd.DataFrame, uncertain: str, blanks: str) -> pd.DataFrame:
    """``label:<name>`` of each of LABELS from the text cells of ``table``: 1, 0, -1 or NaN, under the two rules.

    Raises DataError with ``file`` and line for any other value.
    """
    found = {}
    for name in LABELS:
        text = table[name].str.strip()
        numbers = pd.to_numeric(text, errors="coerce").astype("float64")
        wrong = (text != "") & ~numbers.isin([1, 0, -1])
        refuse_cells(file, table[name], wrong, "a label is 1.0, 0.0, -1.0 or blank: download the file again")
        numbers = numbers.where(text != "", BLANKS[blanks])
        found[LABEL_PREFIX + name] = numbers.mask(numbers == -1, UNCERTAIN[uncertain])
    return pd.DataFrame(found)
