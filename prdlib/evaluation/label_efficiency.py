"""How well labels are told from images when 1, 10 or 100 % of the training labels are known: probes and fine-tuning.

Parts of the training split are drawn by patient (:mod:`prdlib.evaluation.label_subsets`); the trainings of a model and the
draws of a part, each training with every draw, are two further levels of every interval. Choices (strength of a probe, epoch of a
fine-tuning, thresholds) are made on validation, whole at every share. Beside each score stand two that owe nothing to
pre-training: ``control``, the same number for the untrained encoder, and the rows of CONSTANT, which says the part's prevalence
of every image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import expit

from prdlib.config import TrainingConfig
from prdlib.data.batches import EvaluationData
from prdlib.data.studies import DataError
from prdlib.evaluation.class_scores import choose_threshold, multi_label_scores
from prdlib.evaluation.classification import probe_scores
from prdlib.evaluation.embeddings import image_features
from prdlib.evaluation.exclusive_scores import NOT_JUDGED, exclusive_classes, exclusive_scores
from prdlib.evaluation.fine_tuning import IMAGE_FINE_TUNING, fine_tune_images, refuse_without_third_class
from prdlib.evaluation.label_subsets import (
    has_both_classes,
    prevalences,
    refuse_shared_patients,
    subset_table,
    subsets,
    take,
)
from prdlib.models import PRDModel, random_twin

__all__ = ["CONSTANT", "MODES", "TABLE", "UNTRAINED", "label_efficiency", "single_label_table", "subset_table"]

MODES = ("linear probe", "fine-tuned")
UNTRAINED, CONSTANT = "untrained", "majority / constant"
SHARES = (0.01, 0.1, 1.0)
LEAST_STEPS = 100  # of a fine-tuning: a part of few studies is read several times an epoch
FROM_SCRATCH = 1.0  # encoder_learning_rate_factor of untrained encoders: nothing there is worth keeping
TABLE = ["model", "mode", "share", "label", "metric", "value", "ci_low", "ci_high", "n", "positives", "prevalence", "chance",
         "control", "seeds", "note"]  # fmt: skip
Models = Mapping[tuple[str, int], PRDModel]


@dataclass
class _Predictions:
    """Of one model, mode and share, a list over seeds: probabilities [n, L]; threshold, prevalence and learnt of each label."""

    probabilities: list[np.ndarray] = field(default_factory=list)
    thresholds: list[np.ndarray] = field(default_factory=list)
    prevalences: list[np.ndarray] = field(default_factory=list)
    learnt: list[np.ndarray] = field(default_factory=list)
    trainings: int = 1


def label_efficiency(
    models: Models,
    splits: Mapping[str, EvaluationData],
    shares: Sequence[float] = SHARES,
    subset_seeds: Sequence[int] = (0, 1, 2),
    modes: Sequence[str] = MODES,
    head: str = "multi-label",
    classes: int = 2,
    settings: TrainingConfig = IMAGE_FINE_TUNING,
    least_steps: int = LEAST_STEPS,
    resamples: int = 1000,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """The scores of :mod:`prdlib.evaluation.class_scores` on test, of each model, mode, share and label. Columns: TABLE.

    models: (name, training seed) -> model; an ImageNet baseline is one of them: ``{("ImageNet", 0): imagenet_twin(model)}``.
    splits: 'train', 'validation' and 'test', with labels 1, 0 and others, which are not judged (but see ``classes``). shares: of
    the training patients; subset_seeds: draws of each part, three or more where a share is below 1. modes: of MODES. head,
    classes, settings: of fine-tuning, see :mod:`prdlib.evaluation.fine_tuning` ('multi-label' or 'multi-task'; a part without an
    uncertain label has two classes). least_steps: see LEAST_STEPS.
    Rows of the model UNTRAINED, for each image encoder (a twin for each training's seed, all of it learning at the head's rate),
    and of CONSTANT; their control is NaN. A label of one class in a draw counts as the constant there, one that no draw can
    teach is NaN; its note says so.
    Raises DataError for splits that share a patient or differ in labels, and what fine-tuning and drawing of parts raise;
    ValueError for no model, a name that is taken and an unknown mode.
    """
    _check(models, splits, modes)
    if head == "single-label":
        raise ValueError("Classes that exclude each other are another table's: call single_label_table.")
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    refuse_without_third_class(train, classes)
    parts = subsets(train.patient_ids, shares, subset_seeds)
    twins, twin_of = _untrained(models)
    found: dict[tuple[str, str, float], _Predictions] = {}
    for (name, seed), model in {**models, **twins}.items():
        trainings = sum(other == name for other, _ in (*models, *twins))
        for mode in modes:
            tuning = _settings_of(settings, (name, seed) in twins)
            for (share, draw), rows, validated, tested in (
                _probed(model, splits, parts)
                if mode == MODES[0]
                else _tuned(model, splits, parts, seed, head, classes, tuning, least_steps, report)
            ):
                part = found.setdefault((name, mode, share), _Predictions(trainings=trainings))
                _add(part, train.labels[rows], validated, tested, validation.labels)
                if report:
                    report(f"{name}, seed {seed}, {mode}, {share:.0%} of patients, draw {draw}: done")
    for mode in modes:
        for (share, _), rows in parts.items():
            known = np.nan_to_num(prevalences(train.labels[rows]))
            part = found.setdefault((CONSTANT, mode, share), _Predictions())
            part.probabilities.append(np.tile(known, (len(test.labels), 1)))
            part.thresholds.append(np.full(len(known), 0.5))
            part.prevalences.append(known)
            part.learnt.append(np.ones(len(known), dtype=bool))
    for part in found.values():
        never = ~np.any(part.learnt, axis=0)  # in no draw: there is nothing to score
        part.probabilities = [np.where(never, np.nan, probabilities) for probabilities in part.probabilities]
    truth = np.where(np.isin(test.labels, (0, 1)), test.labels, np.nan)
    tables = [
        multi_label_scores(truth, np.stack(p.probabilities), test.label_names, test.patient_ids, np.stack(p.thresholds),
                           np.stack(p.prevalences), resamples, trainings=p.trainings
                           ).assign(model=name, mode=mode, share=share, seeds=len(p.thresholds))
        for (name, mode, share), p in found.items()
    ]  # fmt: skip
    for table, part in zip(tables, found.values(), strict=True):
        _note_what_was_not_learnt(table, np.stack(part.learnt), test.label_names)
    return _with_control(pd.concat(tables, ignore_index=True), twin_of)


def _note_what_was_not_learnt(table: pd.DataFrame, learnt: np.ndarray, names: Sequence[str]) -> None:
    """Add to the notes of a label, and of the mean, how often a part could not teach it. learnt: [seeds, L] bool."""
    counts = {name: (int(column.sum()), len(column)) for name, column in zip(names, learnt.T, strict=True)}
    some = learnt[:, learnt.any(axis=0)]
    counts["mean"] = (int(some.sum()), some.size)
    for row in table.index:
        number, of = counts[table.loc[row, "label"]]
        if 0 < number < of:
            what = "labels of draws" if table.loc[row, "label"] == "mean" else "draws"
            note = f"learnt in {number} of {of} {what}, the constant in the others"
            table.loc[row, "note"] = "; ".join(filter(None, [table.loc[row, "note"], note]))


Predicted = tuple[tuple[float, int], np.ndarray, np.ndarray, np.ndarray]  # (share, draw), rows, of validation, of test


def _probed(
    model: PRDModel, splits: Mapping[str, EvaluationData], parts: Mapping[tuple[float, int], np.ndarray]
) -> Iterator[Predicted]:
    features = {name: image_features(model, splits[name].images) for name in ("train", "validation", "test")}
    validation, number = splits["validation"].labels, len(features["validation"])
    both = np.concatenate([features["validation"], features["test"]])
    for key, rows in parts.items():
        known = features["train"][rows], splits["train"].labels[rows]
        scores, _ = probe_scores(known, (features["validation"], validation), both)
        yield key, rows, expit(scores[:number]), expit(scores[number:])


def _tuned(
    model: PRDModel,
    splits: Mapping[str, EvaluationData],
    parts: Mapping[tuple[float, int], np.ndarray],
    seed: int,
    head: str,
    classes: int,
    settings: TrainingConfig,
    least_steps: int,
    report: Callable[[str], None] | None,
) -> Iterator[Predicted]:
    for key, rows in parts.items():
        steps = settings.epochs * -(-len(rows) // settings.batch_size)
        passes = max(1, -(-least_steps // steps))
        train, held_out = take(splits["train"], rows), [splits["validation"], splits["test"]]
        if not has_both_classes(train.labels).any():
            yield key, rows, *(np.full(split.labels.shape, np.nan) for split in held_out)
            continue
        number = classes if (train.labels == -1).any() else 2
        tuned = fine_tune_images(model, train, held_out[0], seed, head, number, settings, report, passes).classifier
        yield key, rows, *(tuned.predict(split.images) for split in held_out)


def _add(part: _Predictions, known: np.ndarray, validated: np.ndarray, tested: np.ndarray, labels: np.ndarray) -> None:
    """One more seed. A label of one class in the part cannot be learnt: the constant at its prevalence is what is known of it
    then, and counts, since draws that could be learnt alone would flatter small parts. A threshold is NaN where validation has
    one class."""
    learnt = has_both_classes(known)
    constant = np.nan_to_num(prevalences(known))
    cuts = np.where(learnt, np.nan, 0.5)
    for column in np.flatnonzero(learnt):
        judged = np.isin(labels[:, column], (0, 1))
        if judged.any():
            cuts[column] = choose_threshold(labels[judged, column] == 1, validated[judged, column])
    part.probabilities.append(np.where(learnt, tested, constant))
    part.thresholds.append(cuts)
    part.prevalences.append(prevalences(known))
    part.learnt.append(learnt)


# -- what stands beside --------------------------------------------------------------------------------------------------


def _untrained(models: Models) -> tuple[dict[tuple[str, int], PRDModel], dict[str, str]]:
    """({(name, seed): twin}, model name -> name of its twin). Models of one image encoder share their twins, whose weights
    depend on that and the seed alone."""
    kinds: dict[tuple[object, ...], str] = {}
    twins: dict[tuple[str, int], PRDModel] = {}
    twin_of: dict[str, str] = {}
    for (name, seed), model in models.items():
        c, encoder = model.config, model.image_encoder
        kind = (c.image_encoder, c.image_width, c.image_size, encoder.pixel_mean, encoder.pixel_std)
        twin = kinds.setdefault(kind, UNTRAINED if not kinds else f"{UNTRAINED} ({name})")
        twin_of[name] = twin
        if (twin, seed) not in twins:
            twins[twin, seed] = random_twin(model, seed)
    return twins, twin_of


def _settings_of(settings: TrainingConfig, untrained: bool) -> TrainingConfig:
    return replace(settings, encoder_learning_rate_factor=FROM_SCRATCH) if untrained else settings


def _with_control(table: pd.DataFrame, twin_of: Mapping[str, str]) -> pd.DataFrame:
    keys = ["mode", "share", "label", "metric"]
    values = table.set_index(["model", *keys])["value"]
    table["control"] = [
        values[(twin_of[row["model"]], *(row[key] for key in keys))] if row["model"] in twin_of else np.nan
        for row in table.to_dict("records")
    ]
    return table[TABLE]


def _check(models: Models, splits: Mapping[str, EvaluationData], modes: Sequence[str]) -> None:
    if not models or not modes or not set(modes) <= set(MODES):
        raise ValueError(
            f"Give a model or more, and modes out of {', '.join(MODES)}: got {len(models)} and {list(modes)}."
        )
    taken = [name for name, _ in models if name == CONSTANT or name.startswith(UNTRAINED)]
    if taken:
        raise ValueError(f"A model cannot be named {taken[0]!r}: such rows are made here.")
    refuse_shared_patients(splits)
    names = [splits[name].label_names for name in ("train", "validation", "test")]
    if not names[0] or names[0] != names[1] or names[0] != names[2]:
        raise DataError(f"The labels of train, validation and test are {names}: choose the same for all, one or more.")


# -- classes that exclude each other ---------------------------------------------------------------------------------------


def single_label_table(
    models: Models,
    splits: Mapping[str, EvaluationData],
    settings: TrainingConfig = IMAGE_FINE_TUNING,
    resamples: int = 1000,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Accuracy, balanced accuracy and macro AUROC on test after fine-tuning for one of K classes on the whole training split.

    models, splits: as of :func:`label_efficiency`; the class of a study is its one label that is 1. Rows of the models, of
    UNTRAINED and of CONSTANT, which says the commonest class of training. Columns: TABLE. Raises what label_efficiency does.
    """
    _check(models, splits, MODES[1:])
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    twins, twin_of = _untrained(models)
    found: dict[str, list[np.ndarray]] = {}
    for (name, seed), model in {**models, **twins}.items():
        tuning = _settings_of(settings, (name, seed) in twins)
        tuned = fine_tune_images(model, train, validation, seed, "single-label", settings=tuning, report=report)
        found.setdefault(name, []).append(tuned.classifier.predict(test.images))
    known, truth = exclusive_classes(train.labels), exclusive_classes(test.labels)
    number = len(test.label_names)
    majority = int(np.bincount(known[known != NOT_JUDGED], minlength=number).argmax())
    found[CONSTANT] = [np.tile(np.eye(number)[majority], (len(truth), 1))]
    tables = [
        exclusive_scores(truth, np.stack(p), test.label_names, test.patient_ids, majority, resamples).assign(
            model=name, mode=MODES[1], share=1.0, seeds=len(p)
        )
        for name, p in found.items()
    ]
    return _with_control(pd.concat(tables, ignore_index=True), twin_of)
