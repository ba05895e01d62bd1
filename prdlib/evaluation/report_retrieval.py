"""Retrieval in the place of generation: the training report nearest to a test image, scored against the study's own.

A report generator must beat this, and this must beat what needs no look at the study's image. Controls: a *random report* of a
training study; the *most frequent report* of training; the *medoid report*, the one whose words are nearest to all training
reports on average (cosine of TF-IDF); the report nearest to the *mean image*. The constants are chosen on training alone. What
counts is the gain over the best of them. Ceiling: the training report *nearest by text* to the study's own report, about the
best that any choice among training reports could do (of the CLOSEST by TF-IDF the one with the highest ROUGE-L).

Training reports of one group (that say the same) are one candidate: its first report, with the labels of most of its studies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from prdlib.data.batches import EvaluationData
from prdlib.data.studies import DataError
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.label_retrieval import merged_labels
from prdlib.evaluation.report_overlap import METRICS, overlap_scores, overlap_statistics, require_generation, rouge_l
from prdlib.evaluation.statistics import bootstrap_weights, redraw_seeds
from prdlib.models import PRDModel
from prdlib.repro import generator

CONTROLS = ("random report", "most frequent report", "medoid report", "mean image")
CEILING, GAIN = "nearest by text", "gain over best control"
CLOSEST = 10  # reports nearest by TF-IDF among which ROUGE-L decides
COLUMNS = ["model", "metric", "input", "value", "ci_low", "ci_high", "n", "pool", "seeds", "chance", "note"]


def nearest_reports(image_embeds: Tensor, report_embeds: Tensor) -> np.ndarray:
    """Row of the report nearest to each image, [N]; of equally near ones the first. image_embeds [N, D], report_embeds [T, D]."""
    reports = report_embeds.double().T
    return torch.cat([(images.double() @ reports).argmax(dim=1) for images in image_embeds.split(256)]).numpy()


def text_choices(train: EvaluationData, test: EvaluationData, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of ``train`` whose report stands for each study of ``test``, chosen without a model: [N] for each of the first three
    CONTROLS and CEILING. The most frequent report is that of the group with the most studies, of equal ones the one nearest to
    all. Raises DataError as :func:`report_retrieval_table`."""
    _refuse(train, test)
    _, first, member = np.unique(train.groups, return_index=True, return_inverse=True)
    number = len(test.study_ids)
    texts = [" ".join(train.tagged[row].words) for row in first]
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+", lowercase=False)
    vectors = vectoriser.fit_transform(texts)
    sizes = np.bincount(member)
    central = vectors @ (vectors.T @ (sizes / sizes.sum()))  # mean cosine with the report of every training study
    asked = vectoriser.transform([" ".join(words) for words in test.words])
    closest = NearestNeighbors(n_neighbors=min(CLOSEST, len(first)), metric="cosine", algorithm="brute").fit(vectors)
    shortlist = first[closest.kneighbors(asked, return_distance=False)]  # [N, CLOSEST]
    own = [words for words in test.words for _ in range(shortlist.shape[1])]
    overlap = rouge_l([train.tagged[row].words for row in shortlist.ravel()], own).reshape(shortlist.shape)
    return {
        "random report": first[member[generator(seed, "random report").integers(len(member), size=number)]],
        "most frequent report": np.full(number, first[np.lexsort((-central, -sizes))[0]]),
        "medoid report": np.full(number, first[central.argmax()]),
        CEILING: shortlist[np.arange(number), overlap.argmax(axis=1)],
    }


def image_choices(
    model: PRDModel | DualEncoder, train: EvaluationData, test: EvaluationData, blind_image: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows of ``train`` whose report is nearest to each image of ``test``, and to the mean image: [N] for 'image', 'mean image'.

    blind_image: uint8 [S, S], the mean of the training images.
    """
    first = np.unique(train.groups, return_index=True)[1]
    reports = embed_reports(model, [train.tagged[row].marked for row in first])
    own, blind = (embed_images(model, images) for images in (test.images, blind_image[None]))
    return {"image": first[nearest_reports(own, reports)],
            "mean image": np.repeat(first[nearest_reports(blind, reports)], len(own))}  # fmt: skip


def choice_statistics(rows: np.ndarray, train: EvaluationData, test: EvaluationData) -> np.ndarray:
    """:func:`overlap_statistics` of the reports in ``rows`` [N] of ``train`` with those of ``test``, in order."""
    _, member = np.unique(train.groups, return_inverse=True)
    stated = merged_labels(train.labels, member)[member[rows]]
    return overlap_statistics([train.tagged[row].words for row in rows], test.words, stated, test.labels)


def report_retrieval_table(
    models: Mapping[tuple[str, int], PRDModel | DualEncoder],
    train: EvaluationData,
    test: EvaluationData,
    blind_image: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """BLEU-4, ROUGE-L and label F1 of the nearest training report, its controls, its gain over the best of them, and the ceiling.

    models: (name, training seed) -> model; the value is the mean over a name's seeds, intervals (95 %) are over test patients and
    seeds, the best control is chosen anew in each resample. blind_image: uint8 [S, S], the mean of the training images. Test
    studies whose report also stands in training (Studies.shared_reports) can be answered word for word: leave them out of
    ``test`` where that is not wanted.
    Columns: COLUMNS; input: 'image', CONTROLS, GAIN, CEILING; n: studies; pool: distinct training reports; chance: what the
    random report scores (of the gain: 0). A score without anything to be found has value NaN and says so in ``note``.
    Raises DataError for a split without studies or with a report without words, for labels that differ, and where sacrebleu or
    rouge-score is missing.
    """
    require_generation()
    fixed = {name: choice_statistics(rows, train, test) for name, rows in text_choices(train, test, seed).items()}
    weights = bootstrap_weights(np.asarray(test.patient_ids), resamples, seed).astype(float)
    known = {name: _scored(statistics, weights) for name, statistics in fixed.items()}
    found: dict[str, list[dict[str, tuple[pd.DataFrame, pd.DataFrame]]]] = {}
    for (name, _), model in models.items():
        seen = image_choices(model, train, test, blind_image)
        scored = {key: _scored(choice_statistics(rows, train, test), weights) for key, rows in seen.items()}
        found.setdefault(name, []).append({**known, **scored})
    facts = {"n": len(test.study_ids), "pool": len(np.unique(train.groups))}
    rows = [
        {"model": name, **facts, "seeds": len(trainings), **row}
        for name, trainings in found.items()
        for row in _rows(trainings, seed)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _scored(statistics: np.ndarray, weights: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(METRICS of all studies, one row; of each resample, weights [draws, n]) of :func:`choice_statistics`."""
    return overlap_scores(statistics.sum(axis=0, keepdims=True)), overlap_scores(weights @ statistics)


def _rows(trainings: list[dict[str, tuple[pd.DataFrame, pd.DataFrame]]], seed: int) -> list[dict[str, object]]:
    rows = []
    for metric in METRICS:
        table = {}
        for name in ("image", *CONTROLS, CEILING):
            mean = float(np.mean([scored[name][0][metric].iloc[0] for scored in trainings]))
            drawn = redraw_seeds(np.stack([scored[name][1][metric].to_numpy() for scored in trainings], axis=1), seed)
            table[name] = (mean, drawn.clip(0, 100 if metric == "BLEU-4" else 1))
        own, controls = table["image"], [table[name] for name in CONTROLS]
        gain = (own[0] - max(mean for mean, _ in controls), own[1] - np.max([drawn for _, drawn in controls], axis=0))
        for name in ("image", *CONTROLS, GAIN, CEILING):
            value, drawn = gain if name == GAIN else table[name]
            low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(value) else (np.nan, np.nan)
            note = "" if np.isfinite(value) else "no label is present in any study: not defined"
            rows.append({"metric": metric, "input": name, "value": value, "ci_low": low, "ci_high": high,
                         "chance": 0.0 if name == GAIN else table["random report"][0], "note": note})  # fmt: skip
    return rows


def _refuse(train: EvaluationData, test: EvaluationData) -> None:
    for name, data in (("training", train), ("test", test)):
        if not data.study_ids:
            raise DataError(f"There is no {name} study: report retrieval needs both splits.")
        silent = [study for study, words in zip(data.study_ids, data.words, strict=True) if not words]
        if silent:
            raise DataError(
                f"Study {silent[0]!r} of the {name} split has no report: report retrieval needs one of every study."
            )
    if train.label_names != test.label_names:
        raise DataError(
            f"Training has the labels {train.label_names}, test has {test.label_names}: read both from one collection."
        )
