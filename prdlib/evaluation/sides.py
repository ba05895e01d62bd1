"""Does a model see left from right? A zero-shot test, and a linear probe, whose text is the same for every film.

Films whose report names one side alone (no label is needed) are ranked by how much nearer they are to prompts that say *left*
than to the same prompts with *right*. Both texts are the same for all films, so a score without the image ranks nothing: its
AUROC is exactly 0.5, on real films as on a phantom's. The probe asks whether the image's features know the side at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.classification import probe_scores
from prdlib.evaluation.embeddings import embed_images, embed_reports, image_features
from prdlib.evaluation.statistics import auroc_intervals
from prdlib.evaluation.zero_shot import Prompts, load_prompts
from prdlib.models import PRDModel

LABEL = "left, not right"


def side_named(words: Sequence[str]) -> float:
    """1.0 where a report's words say left and never right, 0.0 where right and never left, NaN otherwise."""
    left, right = "left" in words, "right" in words
    return float(left) if left != right else np.nan


def sides_named(split: EvaluationData) -> np.ndarray:
    """:func:`side_named` of every study: [N]."""
    return np.array([side_named(words) for words in split.words])


def side_scores(model: PRDModel, image_embeds: Tensor, prompts: Prompts | None = None) -> np.ndarray:
    """Mean similarity to prompts of the left minus mean similarity to those of the right: [N], image_embeds [N, D]."""
    prompts = prompts or load_prompts()
    left, right = (embed_reports(model, prompts.sides(side)).mean(dim=0) for side in ("left", "right"))
    return (image_embeds @ (left - right)).numpy()


def sides_table(
    models: Mapping[tuple[str, int], PRDModel],
    splits: Mapping[str, EvaluationData],
    resamples: int = 1000,
    prompts: Prompts | None = None,
) -> pd.DataFrame:
    """AUROC of left against right, zero-shot and by a linear probe, of each model: (name, training seed) -> model.

    Intervals are over patients. splits: 'train', 'validation' and 'test'. prompts: None: those that come with prdlib.
    Columns: model, task, value (mean over seeds), ci_low, ci_high, n, positives (left),
    chance, seeds, note.
    """
    truth = {name: sides_named(split)[:, None] for name, split in splits.items()}
    test, scores = splits["test"], {}
    for (name, _), model in models.items():
        zero = side_scores(model, embed_images(model, test.images), prompts)[:, None]
        train, validation = ((image_features(model, splits[s].images), truth[s]) for s in ("train", "validation"))
        probe, _ = probe_scores(train, validation, image_features(model, test.images))
        scores.setdefault((name, "zero-shot"), []).append(zero)
        scores.setdefault((name, "linear probe"), []).append(probe)
    rows = []
    for (name, task), found in scores.items():
        patients = np.asarray(test.patient_ids)
        table = auroc_intervals(truth["test"], np.stack(found), [LABEL], patients, resamples)
        rows.append(table[table["label"] == LABEL].assign(model=name, task=task, seeds=len(found)))
    columns = ["model", "task", "value", "ci_low", "ci_high", "n", "positives", "chance", "seeds", "note"]
    return pd.concat(rows, ignore_index=True)[columns]
