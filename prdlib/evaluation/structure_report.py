"""The structure benchmark of several models on one split: every table of it, from one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import AdapterError, DualEncoder, reports_of
from prdlib.evaluation.benchmark_set import BenchmarkSet, make_benchmark_set
from prdlib.evaluation.image_gain import (
    CONTROLS,
    SEVERAL_KINDS,
    gain_differences,
    gain_table,
    plans_of,
    structure_benchmark,
)
from prdlib.evaluation.paraphrases import paraphrase_outcomes, paraphrase_table
from prdlib.evaluation.text_only import text_only_table
from prdlib.evaluation.twins import binding_table, make_twins, twin_outcomes, twin_table
from prdlib.models import PRDConfig

LEARN_CONSTANT = 600  # training reports whose copies every model encodes to learn its blind constants
LEARN_TEXT = 2.5  # times as many are read by the text-only models, which costs less


@dataclass(frozen=True)
class StructureReport:
    """Tables of several models on one split.

    gains: one row per model and test (see ``gain_table``; n = 0 where the edit applies to no study), with the text-only models
        beside it; ``trained_on``: were the test's edits in training ('yes', 'no', 'partly', '' unknown); ``studies``: of the
        split; ``noops``: of them, those where the edit applies but gave the original; ``learnt_from``: training studies behind
        the constant (below 8 there is none).
    families: seen and unseen edits apart. twins: scores of counterfactual twins (empty without a phantom).
    paraphrases: see ``paraphrase_table``. differences: see ``gain_differences``: paired, Holm-corrected.
    outcomes: one row per model, seed, test and study. benchmark: the set of copies. cut: model -> texts of the set that are
        longer than its context and were cut (two that are cut to the same one tie, which is wrong). binding: exchange accuracy of
        the twins across and inside sentences, and across and inside clauses (empty without a phantom).
    """

    gains: pd.DataFrame
    twins: pd.DataFrame
    paraphrases: pd.DataFrame
    differences: pd.DataFrame
    families: pd.DataFrame
    outcomes: pd.DataFrame
    benchmark: BenchmarkSet
    cut: dict[str, int]
    binding: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that a reader wants, by name."""
        return {
            "image_gain": self.gains, "gain_families": self.families, "gain_differences": self.differences,
            "twins": self.twins, "binding": self.binding, "paraphrases": self.paraphrases,
            "failures": worst_copies(self.outcomes),
            "cut": pd.DataFrame({"model": list(self.cut), "texts cut": list(self.cut.values())}),
        }  # fmt: skip

    def answers(self) -> pd.DataFrame:
        """What ``gain_table`` and ``gain_differences`` are made of, to be kept: one row per model, seed, test and study, with
        family, chance, and 1 or 0 for correct, tie and each blind control; no text."""
        asked = [name for name in ("correct", "tie", *CONTROLS) if name in self.outcomes]
        columns = ["model", "seed", "test", "family", "study_id", "chance", *asked]
        return self.outcomes[columns].astype(dict.fromkeys(asked, "Int8"))


def training_set(train: EvaluationData, benchmark: BenchmarkSet, most: int) -> BenchmarkSet:
    """Copies of the first ``most`` training reports by the edits of ``benchmark``: what blind controls learn from."""
    return make_benchmark_set(
        train.tagged[:most], train.study_ids[:most], benchmark.kinds, benchmark.seed + 1, benchmark.source
    )


def check_sizes(models: Mapping[tuple[str, int], DualEncoder], size: int, word_limit: int) -> None:
    """Raise AdapterError for a checkpoint of ours that was trained on images or reports of another size."""
    for (name, _), model in models.items():
        config = getattr(getattr(model, "model", None), "config", None)
        if isinstance(config, PRDConfig) and (config.image_size, config.word_limit) != (size, word_limit):
            raise AdapterError(
                f"{name} was trained on {config.image_size} px and {config.word_limit} words, these data have {size} px and "
                f"{word_limit} words: give the --profile (and --set) of its run."
            )


def structure_report(
    models: Mapping[tuple[str, int], DualEncoder],
    test: EvaluationData,
    train: EvaluationData,
    blind_image: np.ndarray,
    source: str,
    word_limit: int,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    resamples: int = 1000,
    benchmark: BenchmarkSet | None = None,
    seed: int = 0,
    learn: int = LEARN_CONSTANT,
) -> StructureReport:
    """Score ``models``, (name, training seed) -> model, on the test split.

    train: training reports, which teach the blind controls: ``learn`` of them the constants of each model, LEARN_TEXT times as
    many the text-only models. blind_image: uint8 [S, S], the mean
    training image. source: name of the collection; 'phantom' adds the twins. word_limit: as the studies were prepared.
    trained_on: name -> edits that its training used, where the checkpoint does not say so itself. benchmark: a frozen set of the
    test studies (None: drawn with ``seed``).
    """
    if benchmark is None:
        benchmark = make_benchmark_set(test.tagged, test.study_ids, seed=seed, source=source)
    place = {study: i for i, study in enumerate(test.study_ids)}
    rows = np.array([place[study] for study in benchmark.study_ids])
    images, groups = test.images[rows], test.groups[rows]
    check_sizes(models, images.shape[-1], word_limit)
    training = training_set(train, benchmark, int(LEARN_TEXT * learn))
    learning = training.first(learn)
    twins = make_twins(benchmark.study_ids, images.shape[-1], word_limit) if source == "phantom" else None
    outcomes, paired, reworded, cut = [], [], [], {}
    known, texts = {**(trained_on or {}), **found_trainings(models)}, reports_of([benchmark])
    for (name, training_seed), model in models.items():
        facts = {"model": name, "seed": training_seed}
        if hasattr(model, "cut") and (number := model.cut(texts)):
            cut[name] = number
        part = structure_benchmark(model, images, benchmark, groups, blind_image, learning, seed)
        outcomes.append(part.assign(**facts))
        reworded.append(paraphrase_outcomes(model, images, benchmark).assign(**facts))
        if twins is not None:
            paired.append(twin_outcomes(model, twins).assign(**facts))
    table = pd.concat(outcomes, ignore_index=True)
    gains = _with_unasked(_by_model(table, lambda part: gain_table(part, resamples)), benchmark)
    gains = gains.merge(
        text_only_table(benchmark, training).drop(columns=["n", "chance"]), on=["test", "family"], how="left"
    )
    gains.insert(3, "trained_on", [_trained_on(row, benchmark, known) for row in gains.to_dict("records")])
    gains["studies"] = len(benchmark.study_ids)
    gains["noops"] = [len(benchmark.noops(*kinds_of_test(t))) for t in gains["test"]]
    gains["learnt_from"] = [len(learning.applicable(*kinds_of_test(t))) for t in gains["test"]]
    pairs = _by_model(pd.concat(paired), lambda part: twin_table(part, resamples)) if paired else pd.DataFrame()
    binding = _by_model(pd.concat(paired), lambda part: _binding(part, resamples)) if paired else pd.DataFrame()
    return StructureReport(
        gains,
        pairs,
        _by_model(pd.concat(reworded), lambda part: paraphrase_table(part, resamples)),
        gain_differences(table, resamples=resamples),
        seen_and_unseen(gains),
        table,
        benchmark,
        cut,
        binding,
    )


def _binding(outcomes: pd.DataFrame, resamples: int) -> pd.DataFrame:
    parts = [binding_table(outcomes, kind, resamples).assign(segments=kind) for kind in ("sentence", "clause")]
    return pd.concat(parts, ignore_index=True)


def _with_unasked(gains: pd.DataFrame, benchmark: BenchmarkSet) -> pd.DataFrame:
    """``gains`` with a row of n = 0, and no scores, for each model and test whose edit applies to no study of the set."""
    asked, models, parts = set(gains["test"]), list(dict.fromkeys(gains["model"])), []
    for name, family, kinds in plans_of(benchmark):
        if name in asked:
            parts.append(gains[gains["test"] == name])
        else:
            row = {"test": name, "family": family, "chance": 1 / (1 + len(kinds)), "n": 0}
            parts.append(pd.DataFrame([{"model": model, **row} for model in models]))
    order = {model: i for i, model in enumerate(models)}
    whole = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True).reindex(
        columns=gains.columns
    )
    whole["seeds"] = whole["seeds"].fillna(gains["seeds"].max()).astype(int)
    return whole.sort_values("model", key=lambda m: m.map(order), kind="stable", ignore_index=True)


def _by_model(table: pd.DataFrame, summarise: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    parts = [summarise(part).assign(model=name) for name, part in table.groupby("model", sort=False)]
    if not parts:
        return pd.DataFrame()
    joined = pd.concat(parts, ignore_index=True)
    return joined[["model", *(c for c in joined.columns if c != "model")]]


def _trained_on(row: Mapping[str, object], benchmark: BenchmarkSet, trained_on: Mapping[str, Sequence[str]]) -> str:
    known = trained_on.get(str(row["model"]))
    if known is None:
        return ""
    kinds = kinds_of_test(str(row["test"]))
    seen = [kind in known for kind in kinds]
    return "yes" if all(seen) else "partly" if any(seen) else "no"


def found_trainings(models: Mapping[tuple[str, int], DualEncoder]) -> dict[str, Sequence[str]]:
    """Name -> edits that the model's training used, for models that say so (our checkpoints do)."""
    found = {}
    for (name, _), model in models.items():
        facts = getattr(getattr(getattr(model, "model", None), "config", None), "training", None)
        if isinstance(facts, dict) and "perturbations" in facts:
            found[name] = facts["perturbations"]
    return found


def seen_and_unseen(gains: pd.DataFrame) -> pd.DataFrame:
    """Tests whose edits were in training apart from those that were not: model, family, trained_on, tests (single edits with an
    interval), above_0 (tests whose interval of image gain lies above 0), median_accuracy, median_blind, median_gain. The tests of
    5 and 10 options have another chance level and stay out."""
    known = gains[gains["gain_low"].notna() & (gains["chance"] == 0.5)]
    grouped = known.assign(above=known["gain_low"] > 0).groupby(["model", "family", "trained_on"], sort=False)
    table = grouped.agg(
        tests=("test", "size"), above_0=("above", "sum"), median_accuracy=("accuracy", "median"),
        median_blind=("blind", "median"), median_gain=("image_gain", "median"),
    )  # fmt: skip
    return table.reset_index()


def kinds_of_test(name: str) -> tuple[str, ...]:
    """The edits of a test by its name."""
    return SEVERAL_KINDS.get(name, (name,))


def worst_copies(outcomes: pd.DataFrame, number: int = 4) -> pd.DataFrame:
    """Studies in which a model likes a false copy best: of each model the largest wrong margin of each clinical edit in turn,
    each study once. Columns: model, seed, test, study_id, score (of the original), margin (over the copy's)."""
    chosen = []
    wrong = outcomes[(outcomes["family"] == "clinical") & (outcomes["margin"] < 0)]
    for _, part in wrong.groupby("model", sort=False):
        worst = part.sort_values("margin").drop_duplicates("test")
        chosen.append(worst.drop_duplicates("study_id").head(number))
    columns = ["model", "seed", "test", "study_id", "score", "margin"]
    return pd.concat(chosen)[columns].reset_index(drop=True) if chosen else pd.DataFrame(columns=columns)


def failures(worst: pd.DataFrame, test: EvaluationData, seed: int = 0) -> pd.DataFrame:
    """Rows of :func:`worst_copies` with what was read: row (of the test split), original and copy (words) beside their columns.

    seed: of the benchmark set, whose copies of these studies are drawn anew, the same ones.
    """
    rows = [test.study_ids.index(study) for study in worst["study_id"]]
    kinds = tuple(dict.fromkeys(worst["test"]))
    places = list(dict.fromkeys(rows))
    drawn = make_benchmark_set([test.tagged[i] for i in places], [test.study_ids[i] for i in places], kinds, seed)
    copies = [drawn.copies[kind][places.index(row)] for row, kind in zip(rows, worst["test"], strict=True)]
    return worst.assign(row=rows, original=[test.words[row] for row in rows], copy=copies)
