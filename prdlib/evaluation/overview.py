"""The scores of one pre-training (notebook 02), with the outcome of every query, so that 03 can compare methods in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.retrieval import retrieval_outcomes, retrieval_table
from prdlib.evaluation.structure import structure_outcomes, structure_table
from prdlib.models import PRDModel
from prdlib.text import TaggedReport


def overview(
    model: PRDModel,
    images: np.ndarray,
    tagged: Sequence[TaggedReport],
    ids: Sequence[str],
    groups: np.ndarray,
    blind_image: np.ndarray,
    resamples: int = 1000,
    exclude: np.ndarray | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Retrieval and the 5-option test of one model on one split.

    images: uint8 [N, S, S]; tagged, ids, groups: the reports, their study ids and report groups; blind_image: the mean
    image [S, S]; exclude: [N] bool, studies left out of retrieval (reports that also stand in training).
    Returns (table: metric, input, value, ci_low, ci_high, n, chance; outcomes: metric, input, query, outcome, chance).
    """
    ids, groups = np.asarray(ids), np.asarray(groups)
    keep = np.ones(len(ids), dtype=bool) if exclude is None else ~exclude
    image_embeds = embed_images(model, images)
    report_embeds = embed_reports(model, [t.marked for t in tagged])
    queries = retrieval_outcomes(image_embeds[keep], report_embeds[keep], groups[keep], ids[keep])
    tests = structure_outcomes(model, images, tagged, ids, blind_image)
    table = pd.concat([retrieval_table(queries, resamples), structure_table(tests, resamples)], ignore_index=True)
    return table, pd.concat([queries, tests], ignore_index=True)


def missing_runs(outcomes: pd.DataFrame, methods: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Methods x seeds of the profile: 'finished', or 'missing' where no scores were found."""
    there = set(zip(outcomes["method"], outcomes["seed"].astype(int), strict=True))
    table = pd.DataFrame(
        [["finished" if (m, s) in there else "missing" for s in seeds] for m in methods],
        index=pd.Index(methods, name="method"),
        columns=[f"seed {s}" for s in seeds],
    )
    return table.reset_index()
