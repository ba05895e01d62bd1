"""Linear probe: a logistic regression on frozen image features; its strength is chosen on validation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from prdlib.evaluation.statistics import auroc, auroc_intervals

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    names: list[str],
    test_ids: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC per label on the test split with 95 % intervals; see :func:`probe_scores`.

    train, validation, test: (features [n, C], labels [n, L] with 1 present, 0 absent, other values not judged).
    A label without both classes in train or test has value NaN and a note.
    """
    scores, strength = probe_scores(train, validation, test[0])
    truth = np.where(np.isin(test[1], (0, 1)), test[1], np.nan)
    return auroc_intervals(truth, scores, names, test_ids, resamples, seed).assign(
        task="linear probe", strength=strength
    )


@threadpool_limits.wrap(limits=1, user_api="blas")  # small products: threads wait for each other, and round otherwise
def probe_scores(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], test: np.ndarray
) -> tuple[np.ndarray, float]:
    """(scores [n, L] of the test features [n, C], C of the logistic regression).

    One C for all labels, by mean AUROC on validation, of equal ones by log loss (its probabilities are read too); NaN for a label
    without both classes in train. No test label is read.
    """
    scaler = StandardScaler().fit(train[0])
    features = {
        name: scaler.transform(part) for name, part in (("train", train[0]), ("val", validation[0]), ("test", test))
    }
    best, best_value = None, (-np.inf, -np.inf)
    for strength in STRENGTHS:
        models = [_fit(features["train"], train[1][:, c], strength) for c in range(train[1].shape[1])]
        told = _scores(models, features["val"])
        value = round(mean_auroc(told, validation[1]), 9), -_log_loss(told, validation[1])
        if best is None or value > best_value:
            best, best_value = (strength, models), value
    strength, models = best
    return _scores(models, features["test"]), strength


def _fit(features: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression | None:
    judged = np.isin(labels, (0, 1))
    if len(np.unique(labels[judged])) < 2:
        return None
    model = LogisticRegression(C=strength, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps rank as well as a thousand
        return model.fit(features[judged], labels[judged])


def _log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over what is judged of labels [n, L], scores being logits [n, L]; infinite where nothing is."""
    judged = np.isin(labels, (0, 1)) & np.isfinite(scores)
    signed = np.where(labels == 1, scores, -scores)[judged]
    return float(np.logaddexp(0, -signed).mean()) if judged.any() else np.inf


def _scores(models: list[LogisticRegression | None], features: np.ndarray) -> np.ndarray:
    missing = np.full(len(features), np.nan)
    return np.stack([missing if m is None else m.decision_function(features) for m in models], axis=1)


def mean_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """What choices on validation are made by: mean AUROC of scores [n, L] over the labels [n, L] with both classes among what is
    judged (1 or 0, with a finite score); -1 where there is none."""
    areas = []
    for column in range(labels.shape[1]):
        judged = np.isin(labels[:, column], (0, 1)) & np.isfinite(scores[:, column])
        areas.append(float(auroc(labels[judged, column] == 1, scores[judged, column])) if judged.any() else np.nan)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else -1.0
