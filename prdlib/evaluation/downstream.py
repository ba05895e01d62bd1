"""The tables of notebook 05: every task for several models, tidy (label, series = model, value, interval, n, chance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.evaluation.classification import probe_scores
from prdlib.evaluation.curves import curve_bands
from prdlib.evaluation.embeddings import image_features
from prdlib.evaluation.exclusive_scores import ALL
from prdlib.evaluation.similarity import logit_scale, similarities
from prdlib.evaluation.statistics import auroc_intervals
from prdlib.evaluation.zero_shot import Prompts, load_prompts, pair_probabilities, pair_texts
from prdlib.models import PRDModel


def prevalence(splits: Mapping[str, EvaluationData], labels: Sequence[str]) -> pd.DataFrame:
    """Judged studies, positives and their share for each label in each split."""
    rows = []
    for i, label in enumerate(labels):
        row: dict[str, object] = {"label": label}
        for name, data in splits.items():
            judged = np.isin(data.labels[:, i], (0, 1))
            positives = int((data.labels[judged, i] == 1).sum())
            row |= {f"{name} judged": int(judged.sum()), f"{name} positive": positives}
        row["test prevalence"] = positives / judged.sum() if judged.any() else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def auroc_tables(
    models: Mapping[tuple[str, int], PRDModel],
    splits: Mapping[str, EvaluationData],
    labels: Sequence[str],
    resamples: int = 1000,
    prompts: Prompts | None = None,
) -> dict[str, pd.DataFrame]:
    """'zero_shot' and 'linear_probe': AUROC per label and model, (name, training seed) -> model, seeds as a second level.

    The scores of the tasks zero_shot (global similarity) and classification (all labels), by themselves. Intervals over patients.
    prompts: None: those that come with prdlib.

    Columns: model, label, value (mean over seeds), ci_low, ci_high, n, positives, chance, seeds, note.
    """
    names, test, prompts = list(labels), splits["test"], prompts or load_prompts()
    truth = np.where(np.isin(test.labels, (0, 1)), test.labels, np.nan)
    scores: dict[str, dict[str, list[np.ndarray]]] = {"zero_shot": {}, "linear_probe": {}}
    for (name, _), model in models.items():
        adapter = PRDAdapter(model)
        found = similarities(adapter, test.images, pair_texts(names, prompts))
        zero = pair_probabilities(found, names, logit_scale(adapter), prompts)
        train, validation = (
            (image_features(model, splits[s].images), splits[s].labels) for s in ("train", "validation")
        )
        probe, _ = probe_scores(train, validation, image_features(model, test.images))
        scores["zero_shot"].setdefault(name, []).append(zero)
        scores["linear_probe"].setdefault(name, []).append(probe)
    tables = {}
    for task, by_model in scores.items():
        parts = [
            auroc_intervals(truth, np.stack(found), names, np.asarray(test.patient_ids), resamples).assign(
                model=name, seeds=len(found)
            )
            for name, found in by_model.items()
        ]
        joined = pd.concat(parts, ignore_index=True)
        tables[task] = joined[["model", *(c for c in joined.columns if c not in ("model", "metric"))]]
    return tables


def as_series(table: pd.DataFrame, metric: str, **chosen: object) -> pd.DataFrame:
    """The rows of one metric for prdlib.plots.scores: label, series (the model), value, interval, chance.

    chosen: further columns and the value that they must have, such as similarity="global".
    """
    part = table[table["metric"] == metric]
    for column, value in chosen.items():
        part = part[part[column] == value]
    return part.rename(columns={"model": "series"}).dropna(subset="value")


def means(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mean over labels, and of all classes together; of a table without rows none."""
    return table[table["label"].isin(["mean", ALL])] if len(table) else table


def probe_curves(
    models: Mapping[tuple[str, int], PRDModel], splits: Mapping[str, EvaluationData], label: str, resamples: int = 200
) -> tuple[dict[str, pd.DataFrame], float]:
    """(model -> curves of ``label`` by a linear probe on all training labels, prevalence in test), see evaluation/curves.py.

    The first training seed of each model is drawn.
    """
    column, truth = splits["test"].label_names.index(label), splits["test"].labels
    judged = np.where(np.isin(truth[:, column], (0, 1)), truth[:, column], np.nan)
    curves = {}
    for (name, _), model in models.items():
        if name not in curves:
            parts = {s: image_features(model, split.images) for s, split in splits.items()}
            known = ((parts[s], splits[s].labels) for s in ("train", "validation"))
            scores, _ = probe_scores(*known, parts["test"])  # of all labels, whose one strength validation chooses
            curves[name] = curve_bands(judged, expit(scores[:, column]), splits["test"].patient_ids, resamples)
    return curves, float(np.nanmean(judged))
