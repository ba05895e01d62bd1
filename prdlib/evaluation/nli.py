"""Natural-language inference with a PRDModel's text encoder: fine-tuned, zero-shot, and their blind controls, in tidy tables.

Zero-shot, the cosine of the two sentences' embeddings is the score: an encoder that hears a changed side, grade or negation
places what a premise entails nearer to it than what contradicts it. Fine-tuned, see :mod:`prdlib.evaluation.nli_fine_tuning`.
What a task gives away without its premise is scored beside it: a classifier fine-tuned on hypotheses alone; the cosine of the
hypothesis with the mean of all premises, which says nothing of its own; the commonest label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.config import TrainingConfig
from prdlib.data.nli import SentencePairs
from prdlib.data.phantom_pairs import LABELS
from prdlib.data.studies import DataError
from prdlib.evaluation.embeddings import embed_reports
from prdlib.evaluation.nli_fine_tuning import FINE_TUNING, fine_tune, label_numbers, marked_pairs, marked_sentences
from prdlib.evaluation.statistics import auroc_intervals, bootstrap_weights, redraw_seeds
from prdlib.models import PRDModel

ENTAILMENT, NEUTRAL, CONTRADICTION = range(len(LABELS))
CHANCE = 1 / len(LABELS)  # accuracy and, of balanced classes, macro F1 of labels drawn blindly
AUROC = "AUROC, entailment against contradiction"
NLI_COLUMNS = ["task", "label", "series", "value", "ci_low", "ci_high", "n", "seeds", "chance", "control"]
Models = Mapping[tuple[str, int], PRDModel]


# -- zero-shot ---------------------------------------------------------------------------------------------------------


def similarities(model: PRDModel, pairs: pd.DataFrame, premise: Tensor | None = None) -> np.ndarray:
    """Cosine of the embeddings of premise and hypothesis, float64 [N] in [-1, 1]. premise: [D], taken for every premise."""
    premises, hypotheses = marked_pairs(model, pairs)
    second = embed_reports(model, hypotheses).double()
    first = embed_reports(model, premises).double() if premise is None else premise.double().expand_as(second)
    return (first * second).sum(dim=-1).numpy()


def mean_premise(model: PRDModel, pairs: pd.DataFrame) -> Tensor:
    """The mean embedding [D] of the distinct premises of ``pairs``, L2-normalised: a premise that says nothing of its own."""
    embeds = embed_reports(model, marked_sentences(model, pairs["premise"].drop_duplicates()))
    return normalize(embeds.mean(dim=0), dim=-1)


def choose_thresholds(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(low, high) with the highest accuracy of :func:`by_thresholds` on scores [N] with labels [N] (positions in LABELS).

    Every pair of cuts between distinct scores is weighed; of equal ones the first from below. Raises ValueError for no score.
    """
    if not len(scores):
        raise ValueError("Thresholds are chosen on scores: there is none.")
    values, place = np.unique(scores, return_inverse=True)
    counts = np.zeros((len(LABELS), len(values) + 1))  # of each label, pairs below the cut under the k-th value
    np.add.at(counts, (truth, place + 1), 1)
    below = counts.cumsum(axis=1)
    under = below[CONTRADICTION] - below[NEUTRAL]  # what the low cut adds
    over = below[NEUTRAL] + below[ENTAILMENT, -1] - below[ENTAILMENT]  # what the high cut adds
    best_low = np.maximum.accumulate(under)
    high = int((best_low + over).argmax())
    low = int(under[: high + 1].argmax())
    middle = (values[1:] + values[:-1]) / 2
    middle = np.where(middle > values[:-1], middle, values[1:])  # no number stands between neighbours
    cuts = np.concatenate([[-np.inf], middle, [np.inf]])
    return float(cuts[low]), float(cuts[high])


def by_thresholds(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Labels [N] as positions in LABELS: contradiction below ``low``, entailment from ``high`` on, neutral in between."""
    return np.where(scores < low, CONTRADICTION, np.where(scores < high, NEUTRAL, ENTAILMENT))


def zero_shot_nli(models: Models, pairs: SentencePairs, resamples: int = 1000) -> pd.DataFrame:
    """AUROC of entailment against contradiction by the cosine, and accuracy and macro F1 of the two-threshold rule, on test.

    models: (name, training seed) -> model; the seeds of a name are a second level of the bootstrap. Thresholds are chosen for
    each model on validation; no label of test is read for them. Rows 'zero-shot' and their control 'zero-shot, mean premise'.
    Columns: NLI_COLUMNS. Raises DataError for a collection without validation or test pairs.
    """
    validation, test = _held_out(pairs)
    known = label_numbers(validation)
    found: dict[tuple[str, bool], list[tuple[np.ndarray, np.ndarray]]] = {}
    for (name, _), model in models.items():
        blind = mean_premise(model, validation)
        for premise in (blind, None):
            scores = similarities(model, test, premise)
            thresholds = choose_thresholds(similarities(model, validation, premise), known)
            found.setdefault((name, premise is None), []).append((scores, by_thresholds(scores, *thresholds)))
    rows = []
    for name in dict.fromkeys(name for name, _ in models):
        control: dict[str, float] = {}
        for sees in (False, True):
            scores, predicted = (np.stack(part) for part in zip(*found[name, sees], strict=True))
            part = [_auroc_row(scores, test, resamples), *label_rows(predicted, test, resamples)]
            task = "zero-shot" if sees else "zero-shot, mean premise"
            rows += [row | {"task": task, "series": name, "control": control.get(row["label"], np.nan)} for row in part]
            control = {row["label"]: row["value"] for row in part}
    return pd.DataFrame(rows)[NLI_COLUMNS]


def _auroc_row(scores: np.ndarray, test: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """scores: [S, n]; neutral pairs are not judged."""
    labels = label_numbers(test)
    truth = np.select([labels == ENTAILMENT, labels == CONTRADICTION], [1.0, 0.0], np.nan)[:, None]
    table = auroc_intervals(truth, scores[..., None], [AUROC], test["group"].to_numpy(), resamples)
    return {**table.iloc[0][["label", "value", "ci_low", "ci_high", "n", "chance"]], "seeds": len(scores)}


# -- labels --------------------------------------------------------------------------------------------------------------


def label_metrics(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """'accuracy' and 'macro F1' of predictions [S, n] of labels [n] (positions in LABELS), for each row of weights [b, n] (how
    often each pair counts): [b, S] each. A label that is neither there nor predicted has F1 0, as scikit-learn's zero_division.
    """
    weights, total = weights.astype(float), weights.sum(axis=1, keepdims=True, dtype=float)
    scores = []
    for label in range(len(LABELS)):
        said, there = (predicted == label).T.astype(float), (truth == label).astype(float)[:, None]
        both, either = weights @ (said * there), weights @ said + weights @ there
        scores.append(np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0))
    right = weights @ (predicted == truth).T.astype(float)
    return {"accuracy": right / total, "macro F1": np.mean(scores, axis=0)}


def label_rows(predicted: np.ndarray, test: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """A row for accuracy and one for macro F1: label, value (mean over seeds), ci_low, ci_high, n, seeds, chance.

    predicted: [S, n] of S seeds; intervals of 95 % over groups of pairs and, of two or more, seeds.
    """
    truth, n = label_numbers(test), len(test)
    values = label_metrics(truth, predicted, np.ones((1, n)))
    drawn = label_metrics(truth, predicted, bootstrap_weights(test["group"].to_numpy(), resamples, seed))
    rows = []
    for name, value in values.items():
        low, high = np.clip(np.percentile(redraw_seeds(drawn[name], seed), [2.5, 97.5]), 0, 1)
        rows.append({"label": name, "value": float(value.mean()), "ci_low": float(low), "ci_high": float(high), "n": n,
                     "seeds": len(predicted), "chance": CHANCE})  # fmt: skip
    return rows


def fine_tuned_nli(
    models: Models,
    pairs: SentencePairs,
    settings: TrainingConfig = FINE_TUNING,
    resamples: int = 1000,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Accuracy and macro F1 on test after fine-tuning on the training split, the epoch chosen on validation.

    models: (name, seed) -> model; each is fine-tuned with its seed, and the seeds of a name are a second level of the bootstrap.
    For several fine-tunings of one model give it under several seeds. Rows 'fine-tuned' and their controls 'fine-tuned,
    hypothesis only', the same encoder and seed without premises, and 'majority class' of training.
    Columns: NLI_COLUMNS. Raises DataError for a collection without one of the splits, and what fine_tune raises.
    """
    _, test = _held_out(pairs)
    rows = []
    for name in dict.fromkeys(name for name, _ in models):
        control: dict[str, float] = {}
        for reads, task in (("hypothesis", "fine-tuned, hypothesis only"), ("pair", "fine-tuned")):
            predicted = [
                fine_tune(model, pairs, seed, reads, settings, report).classifier.predict(*marked_pairs(model, test))
                for (other, seed), model in models.items()
                if other == name
            ]
            part = label_rows(np.stack(predicted), test, resamples)
            rows += [row | {"task": task, "series": name, "control": control.get(row["label"], np.nan)} for row in part]
            control = {row["label"]: row["value"] for row in part}
    return pd.concat([pd.DataFrame(rows), majority_nli(pairs, resamples)], ignore_index=True)[NLI_COLUMNS]


def majority_nli(pairs: SentencePairs, resamples: int = 1000) -> pd.DataFrame:
    """Test scores of always saying the commonest label of training (without that split, of validation). Columns: NLI_COLUMNS."""
    validation, test = _held_out(pairs)
    train = pairs.split("train")
    known = label_numbers(validation if train.empty else train)
    label = int(np.bincount(known, minlength=len(LABELS)).argmax())
    rows = label_rows(np.full((1, len(test)), label), test, resamples)
    facts = {"task": "majority class", "series": f"always {LABELS[label]}", "control": np.nan}
    return pd.DataFrame([row | facts for row in rows])[NLI_COLUMNS]


def _held_out(pairs: SentencePairs) -> Sequence[pd.DataFrame]:
    parts = [pairs.split(name) for name in ("validation", "test")]
    for name, part in zip(("validation", "test"), parts, strict=True):
        if part.empty:
            raise DataError(f"{pairs.name} has no {name} pairs: load more of the collection.")
    return parts
