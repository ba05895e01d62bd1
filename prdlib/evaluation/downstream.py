"""The tables of notebook 05: every task for several models, tidy (label, series = model, value, interval, n, chance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.classification import linear_probe, probe_scores
from prdlib.evaluation.embeddings import embed_images, image_features
from prdlib.evaluation.overview import overview
from prdlib.evaluation.statistics import auroc_intervals
from prdlib.evaluation.zero_shot import zero_shot, zero_shot_scores
from prdlib.models import PRDModel

TIDY = ["task", "label", "series", "value", "ci_low", "ci_high", "n", "chance"]


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


def zero_shot_table(
    models: Mapping[str, PRDModel], test: EvaluationData, labels: Sequence[str], resamples: int = 1000
) -> pd.DataFrame:
    """Zero-shot AUROC per label and model on the test split."""
    parts = [
        zero_shot(model, test.images, test.labels, list(labels), np.asarray(test.study_ids), resamples).assign(
            series=name
        )
        for name, model in models.items()
    ]
    return pd.concat(parts, ignore_index=True)


def probe_table(
    models: Mapping[str, PRDModel], splits: Mapping[str, EvaluationData], labels: Sequence[str], resamples: int = 1000
) -> pd.DataFrame:
    """Linear-probe AUROC per label and model: fitted on train, strength from validation, scored on test."""
    parts = []
    for name, model in models.items():
        train, validation, test = (
            (image_features(model, splits[s].images), splits[s].labels) for s in ("train", "validation", "test")
        )
        ids = np.asarray(splits["test"].study_ids)
        parts.append(linear_probe(train, validation, test, list(labels), ids, resamples).assign(series=name))
    return pd.concat(parts, ignore_index=True)


def auroc_tables(
    models: Mapping[tuple[str, int], PRDModel],
    splits: Mapping[str, EvaluationData],
    labels: Sequence[str],
    resamples: int = 1000,
) -> dict[str, pd.DataFrame]:
    """'zero_shot' and 'linear_probe': AUROC per label and model, (name, training seed) -> model, seeds as a second level.

    Columns: model, label, value (mean over seeds), ci_low, ci_high, n, positives, chance, seeds, note.
    """
    names, test = list(labels), splits["test"]
    truth = np.where(np.isin(test.labels, (0, 1)), test.labels, np.nan)
    scores: dict[str, dict[str, list[np.ndarray]]] = {"zero_shot": {}, "linear_probe": {}}
    for (name, _), model in models.items():
        zero = zero_shot_scores(model, embed_images(model, test.images), names)
        train, validation = (
            (image_features(model, splits[s].images), splits[s].labels) for s in ("train", "validation")
        )
        probe, _ = probe_scores(train, validation, image_features(model, test.images))
        scores["zero_shot"].setdefault(name, []).append(zero)
        scores["linear_probe"].setdefault(name, []).append(probe)
    tables = {}
    for task, by_model in scores.items():
        parts = [
            auroc_intervals(truth, np.stack(found), names, np.asarray(test.study_ids), resamples).assign(
                model=name, seeds=len(found)
            )
            for name, found in by_model.items()
        ]
        joined = pd.concat(parts, ignore_index=True)
        tables[task] = joined[["model", *(c for c in joined.columns if c not in ("model", "metric"))]]
    return tables


def overview_table(
    models: Mapping[str, PRDModel],
    test: EvaluationData,
    blind_image: np.ndarray,
    resamples: int = 1000,
    exclude: np.ndarray | None = None,
) -> pd.DataFrame:
    """Retrieval and the 5-option test per model on the test split."""
    parts = []
    for name, model in models.items():
        table, _ = overview(
            model, test.images, test.tagged, test.study_ids, test.groups, blind_image, resamples, exclude
        )
        label = table["metric"] + np.where(table["metric"].str.startswith("R@"), "", ", " + table["input"])
        parts.append(table.assign(label=label, series=name, task="retrieval and structure"))
    return pd.concat(parts, ignore_index=True)


def only(table: pd.DataFrame, text: str) -> pd.DataFrame:
    """The rows whose label contains ``text``."""
    return table[table["label"].str.contains(text, regex=False)]


def combine(*tables: pd.DataFrame) -> pd.DataFrame:
    """The tidy columns of several tables below each other."""
    return pd.concat([table[TIDY] for table in tables], ignore_index=True)
