"""Zero-shot classification of several models: every label by pairs of prompts, and exclusive classes by class prompts.

No label is seen. What a threshold or a constant needs (balanced accuracy, the chance of Brier and ECE) is taken from validation;
without a validation split there is no threshold, and the constant is 0.5.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import softmax

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.class_scores import choose_threshold, multi_label_scores
from prdlib.evaluation.exclusive_scores import NOT_JUDGED, exclusive_classes, exclusive_scores
from prdlib.evaluation.label_subsets import has_both_classes, only_labels, prevalences
from prdlib.evaluation.similarity import kinds_of, logit_scale
from prdlib.evaluation.zero_shot import class_similarities, listed_classes, pair_probabilities

Models = dict[tuple[str, int], DualEncoder]
KEYS = ["model", "similarity"]


def zero_shot_tables(
    models: Models, test: EvaluationData, validation: EvaluationData | None, resamples: int = 1000
) -> dict[str, pd.DataFrame]:
    """'zero_shot': the scores of prdlib.evaluation.class_scores of each label, model and similarity; 'zero_shot_classes': those
    of prdlib.evaluation.exclusive_scores, of the studies with exactly one of the classes that prompts.yaml lists (without two
    such classes in the data there is no such table).

    models: (name, training seed) -> model, seeds being a second level of the intervals. Intervals are over patients.
    """
    tables = {"zero_shot": _of_labels(models, test, validation, resamples)}
    classes = [name for name in listed_classes() if name in test.label_names]
    if len(classes) > 1 and (exclusive_classes(only_labels(test, classes).labels) != NOT_JUDGED).any():
        tables["zero_shot_classes"] = _of_classes(models, test, validation, classes, resamples)
    return tables


def _of_labels(models: Models, test: EvaluationData, validation: EvaluationData | None, resamples: int) -> pd.DataFrame:
    names, found = list(test.label_names), {}
    truth = np.where(np.isin(test.labels, (0, 1)), test.labels, np.nan)
    for (name, _), model in models.items():
        for kind in kinds_of(model):
            part = found.setdefault((name, kind), ([], []))
            part[0].append(pair_probabilities(model, test.images, names, kind))
            part[1].append(_thresholds(model, validation, names, kind))
    known = np.full(len(names), 0.5) if validation is None else prevalences(validation.labels)
    tables = []
    for (name, kind), (probabilities, thresholds) in found.items():
        constants = np.tile(np.nan_to_num(known, nan=0.5), (len(thresholds), 1))
        table = multi_label_scores(
            truth, np.stack(probabilities), names, test.patient_ids, np.stack(thresholds), constants, resamples
        )
        tables.append(table.assign(model=name, similarity=kind, seeds=len(thresholds)))
    joined = pd.concat(tables, ignore_index=True)
    return joined[[*KEYS, *(c for c in joined.columns if c not in KEYS)]]


def _thresholds(model: DualEncoder, validation: EvaluationData | None, names: list[str], kind: str) -> np.ndarray:
    """[L], NaN where validation has no label of both kinds."""
    if validation is None:
        return np.full(len(names), np.nan)
    found = pair_probabilities(model, validation.images, names, kind)
    chosen = []
    for column, both in enumerate(has_both_classes(validation.labels)):
        values = validation.labels[:, column]
        judged = np.isin(values, (0, 1))
        chosen.append(choose_threshold(values[judged] == 1, found[judged, column]) if both else np.nan)
    return np.array(chosen)


def _of_classes(
    models: Models, test: EvaluationData, validation: EvaluationData | None, classes: list[str], resamples: int
) -> pd.DataFrame:
    truth = exclusive_classes(only_labels(test, classes).labels)
    known = truth if validation is None else exclusive_classes(only_labels(validation, classes).labels)
    counts = np.bincount(known[known != NOT_JUDGED], minlength=len(classes))
    centre = None if validation is None else validation.images
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for (name, _), model in models.items():
        for kind in kinds_of(model):
            scores = class_similarities(model, test.images, classes, kind, centre)
            found.setdefault((name, kind), []).append(softmax(logit_scale(model, kind) * scores, axis=1))
    tables = [
        exclusive_scores(truth, np.stack(p), classes, test.patient_ids, int(counts.argmax()), resamples).assign(
            model=name, similarity=kind, seeds=len(p), classes=", ".join(classes)
        )
        for (name, kind), p in found.items()
    ]
    joined = pd.concat(tables, ignore_index=True)
    return joined[[*KEYS, *(c for c in joined.columns if c not in KEYS)]]


def zero_shot_lines(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Of :func:`zero_shot_tables` the means over labels, and the exclusive classes, with metric and control: for an overview."""
    means = tables["zero_shot"][tables["zero_shot"]["label"] == "mean"]
    parts = [means.assign(metric="mean " + means["metric"] + ", " + means["similarity"], control=means["chance"])]
    if "zero_shot_classes" in tables:
        table = tables["zero_shot_classes"]
        number = table["classes"].str.split(", ").str.len().astype(str)
        parts.append(
            table.assign(
                metric=table["metric"] + " of " + number + " classes, " + table["similarity"], control=table["majority"]
            )
        )
    return pd.concat(parts, ignore_index=True)
