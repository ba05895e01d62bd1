"""What a reader of notebook 01 should see: varied examples, no-op shares, distributions. Deterministic, no model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from datasets import DatasetDict

from prdlib.data.batches import EvaluationData
from prdlib.text import PERTURBATIONS, perturb_reports


def varied_rows(data: EvaluationData, number: int) -> list[int]:
    """Rows whose labels differ: in turn the first study, not yet taken, that shows the label seen least so far."""
    present = (data.labels == 1).astype(float)
    seen, chosen = np.zeros(present.shape[1]), []
    for _ in range(min(number, len(present))):
        score = (present / (1 + seen)).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        score[chosen] = -1
        row = int(score.argmax())
        chosen.append(row)
        seen += present[row]
    return chosen


def titles(data: EvaluationData, rows: Sequence[int], width: int = 26) -> list[str]:
    """The labels that are present in each row, wrapped; 'no finding' where there is none."""
    return [
        textwrap.fill(", ".join(n for n, v in zip(data.label_names, data.labels[r], strict=True) if v == 1), width)
        or "no finding"
        for r in rows
    ]


def report_text(data: EvaluationData, rows: Sequence[int], width: int = 110) -> str:
    """The reports of ``rows`` as given, one paragraph each under its study id."""
    return "\n\n".join(
        f"{data.study_ids[r]}\n{textwrap.fill(data.tagged[r].text, width, initial_indent='  ', subsequent_indent='  ')}"
        for r in rows
    )


def middling_row(data: EvaluationData) -> int:
    """The first row whose report has the median number of words."""
    lengths = np.array([len(w) for w in data.words])
    return int(np.abs(lengths - np.median(lengths)).argmin())


def no_op_shares(data: EvaluationData, most: int = 500) -> pd.DataFrame:
    """Share of reports (of the first ``most``) that each perturbation leaves as they are."""
    number = min(most, len(data.tagged))
    copies = perturb_reports(data.tagged[:number], list(PERTURBATIONS), 0, 0, list(data.study_ids[:number]))
    share = np.mean([[copy.is_noop for copy in row] for row in copies], axis=0)
    return pd.DataFrame({"perturbation": list(PERTURBATIONS), "no-ops": share, "reports": number})


def distributions(data: DatasetDict, labels: Sequence[str]) -> tuple[dict[str, list[int]], pd.DataFrame]:
    """(split -> words of each report before truncation, per cent of studies with each label present, uncertain, absent)."""
    lengths, values = {}, []
    for split in data:
        first = pd.DataFrame({"id": data[split]["study_id"]}).drop_duplicates("id").index
        part = data[split].select(first)
        lengths[split] = list(part["n_words"])
        values.append(np.asarray(part["labels"], dtype=float).reshape(len(part), len(labels)))
    stacked = np.concatenate(values)
    shares = {
        name: 100 * (stacked == code).mean(axis=0) for name, code in (("present", 1), ("uncertain", -1), ("absent", 0))
    }
    return lengths, pd.DataFrame(shares, index=pd.Index(labels, name="label"))
