"""Zero-shot classification of several models: every label by pairs of prompts, and exclusive classes by class prompts.

No label is seen. What a threshold or a constant needs (balanced accuracy, the chance of Brier and ECE) is taken from validation;
without a validation split there is no threshold, and the constant is 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.class_scores import choose_threshold, multi_label_scores
from prdlib.evaluation.exclusive_scores import NOT_JUDGED, exclusive_classes, exclusive_scores
from prdlib.evaluation.label_subsets import has_both_classes, only_labels, prevalences
from prdlib.evaluation.similarity import kinds_of, logit_scale, similarities
from prdlib.evaluation.zero_shot import (
    Prompts,
    class_similarities,
    class_texts,
    load_prompts,
    pair_probabilities,
    pair_texts,
)

Models = dict[tuple[str, int], DualEncoder]
KEYS = ["model", "similarity"]


@dataclass(frozen=True)
class _Seen:
    """Similarities of one training of a model, [N, T] of test and [M, T] of validation (None without that split)."""

    test: np.ndarray
    validation: np.ndarray | None
    scale: float

    def part(self, texts: slice) -> _Seen:
        return _Seen(self.test[:, texts], None if self.validation is None else self.validation[:, texts], self.scale)


Seen = dict[tuple[str, str], list[_Seen]]  # (model, similarity) -> its trainings


def zero_shot_tables(
    models: Models,
    test: EvaluationData,
    validation: EvaluationData | None,
    resamples: int = 1000,
    prompts: Prompts | None = None,
) -> dict[str, pd.DataFrame]:
    """'zero_shot': the scores of prdlib.evaluation.class_scores of each label, model and similarity; 'zero_shot_classes': those
    of prdlib.evaluation.exclusive_scores, of the studies with exactly one of the classes that the prompts list (without two
    such classes in the data there is no such table).

    prompts: None: those that come with prdlib.
    models: (name, training seed) -> model, seeds being a second level of the intervals. Intervals are over patients.
    """
    prompts = prompts or load_prompts()
    classes = [name for name in prompts.classes if name in test.label_names]
    if len(classes) < 2 or (exclusive_classes(only_labels(test, classes).labels) == NOT_JUDGED).all():
        classes = []
    of_labels = pair_texts(test.label_names, prompts)
    pairs, texts = len(of_labels), [*of_labels, *class_texts(classes, prompts)]
    seen: Seen = {}
    for (name, _), model in models.items():
        for kind in kinds_of(model):  # every image is encoded once for all prompts
            held_out = None if validation is None else similarities(model, validation.images, texts, kind)
            found = _Seen(similarities(model, test.images, texts, kind), held_out, logit_scale(model, kind))
            seen.setdefault((name, kind), []).append(found)
    by_label = {key: [part.part(slice(0, pairs)) for part in found] for key, found in seen.items()}
    tables = {"zero_shot": _of_labels(by_label, test, validation, resamples, prompts)}
    if classes:
        by_class = {key: [part.part(slice(pairs, None)) for part in found] for key, found in seen.items()}
        tables["zero_shot_classes"] = _of_classes(by_class, test, validation, classes, resamples, prompts)
    return tables


def _of_labels(
    seen: Seen, test: EvaluationData, validation: EvaluationData | None, resamples: int, prompts: Prompts
) -> pd.DataFrame:
    names = list(test.label_names)
    truth = np.where(np.isin(test.labels, (0, 1)), test.labels, np.nan)
    known = np.full(len(names), 0.5) if validation is None else prevalences(validation.labels)
    tables = []
    for (name, kind), found in seen.items():
        probabilities = np.stack([pair_probabilities(part.test, names, part.scale, prompts) for part in found])
        thresholds = np.stack([_thresholds(part, validation, names, prompts) for part in found])
        constants = np.tile(np.nan_to_num(known, nan=0.5), (len(found), 1))
        table = multi_label_scores(truth, probabilities, names, test.patient_ids, thresholds, constants, resamples)
        tables.append(table.assign(model=name, similarity=kind, seeds=len(found)))
    joined = pd.concat(tables, ignore_index=True)
    return joined[[*KEYS, *(c for c in joined.columns if c not in KEYS)]]


def _thresholds(part: _Seen, validation: EvaluationData | None, names: list[str], prompts: Prompts) -> np.ndarray:
    """[L], NaN where validation has no label of both kinds."""
    if validation is None or part.validation is None:
        return np.full(len(names), np.nan)
    found = pair_probabilities(part.validation, names, part.scale, prompts)
    chosen = []
    for column, both in enumerate(has_both_classes(validation.labels)):
        values = validation.labels[:, column]
        judged = np.isin(values, (0, 1))
        chosen.append(choose_threshold(values[judged] == 1, found[judged, column]) if both else np.nan)
    return np.array(chosen)


def _of_classes(
    seen: Seen,
    test: EvaluationData,
    validation: EvaluationData | None,
    classes: list[str],
    resamples: int,
    prompts: Prompts,
) -> pd.DataFrame:
    truth = exclusive_classes(only_labels(test, classes).labels)
    known = truth if validation is None else exclusive_classes(only_labels(validation, classes).labels)
    majority = int(np.bincount(known[known != NOT_JUDGED], minlength=len(classes)).argmax())
    tables = []
    for (name, kind), found in seen.items():
        scores = [part.scale * class_similarities(part.test, classes, prompts, part.validation) for part in found]
        probabilities = softmax(np.stack(scores), axis=2)
        table = exclusive_scores(truth, probabilities, classes, test.patient_ids, majority, resamples)
        tables.append(table.assign(model=name, similarity=kind, seeds=len(found), classes=", ".join(classes)))
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
