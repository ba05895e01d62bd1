"""The structure benchmark of several models on one split: every table of it, from one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.benchmark_set import BenchmarkSet, make_benchmark_set
from prdlib.evaluation.image_gain import gain_table, structure_benchmark
from prdlib.evaluation.paraphrases import paraphrase_table
from prdlib.evaluation.statistics import holm, mean_interval, sign_flip_test
from prdlib.evaluation.text_only import text_only_table
from prdlib.evaluation.twins import make_twins, twin_outcomes, twin_table
from prdlib.text import FAMILIES, ZERO_SHOT_KINDS

MOST_TRAINING = 400  # training reports that the blind constants and the text-only models learn from


@dataclass(frozen=True)
class StructureReport:
    """gains: one row per model and test (see ``gain_table``), with the text-only models beside it and ``trained_on``: whether the
    test's edits were in training ('yes', 'no', 'partly'; '' unknown); twins: scores of counterfactual twins (empty without a
    phantom); paraphrases; differences: image gain of each model minus the baseline's, paired, Holm-corrected; outcomes: one row
    per model, seed, test and study; benchmark: the set of copies."""

    gains: pd.DataFrame
    twins: pd.DataFrame
    paraphrases: pd.DataFrame
    differences: pd.DataFrame
    outcomes: pd.DataFrame
    benchmark: BenchmarkSet

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that a reader wants, by name."""
        return {
            "image_gain": self.gains,
            "gain_differences": self.differences,
            "twins": self.twins,
            "paraphrases": self.paraphrases,
        }


def training_set(train: EvaluationData, benchmark: BenchmarkSet) -> BenchmarkSet:
    """Copies of the first MOST_TRAINING training reports by the edits of ``benchmark``: what blind controls learn from."""
    return make_benchmark_set(
        train.tagged[:MOST_TRAINING],
        train.study_ids[:MOST_TRAINING],
        benchmark.kinds,
        benchmark.seed + 1,
        benchmark.source,
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
) -> StructureReport:
    """Score ``models``, (name, training seed) -> model, on the test split.

    train: training reports, of which the first MOST_TRAINING teach the blind controls. blind_image: uint8 [S, S], the mean
    training image. source: name of the collection; 'phantom' adds the twins. word_limit: as the studies were prepared.
    trained_on: name -> edits that its training used. benchmark: a frozen set of the test studies (None: drawn with ``seed``).
    """
    if benchmark is None:
        benchmark = make_benchmark_set(test.tagged, test.study_ids, seed=seed, source=source)
    place = {study: i for i, study in enumerate(test.study_ids)}
    rows = np.array([place[study] for study in benchmark.study_ids])
    images, groups = test.images[rows], test.groups[rows]
    training = training_set(train, benchmark)
    twins = make_twins(benchmark.study_ids, images.shape[-1], word_limit) if source == "phantom" else None
    outcomes, paired, reworded = [], [], []
    for (name, training_seed), model in models.items():
        facts = {"model": name, "seed": training_seed}
        part = structure_benchmark(model, images, benchmark, groups, blind_image, training, seed)
        outcomes.append(part.assign(**facts))
        reworded.append(paraphrase_table(model, images, benchmark, resamples).assign(**facts))
        if twins is not None:
            paired.append(twin_outcomes(model, twins).assign(**facts))
    table = pd.concat(outcomes, ignore_index=True)
    gains = _by_model(table, lambda part: gain_table(part, resamples))
    gains = gains.merge(
        text_only_table(benchmark, training).drop(columns=["n", "chance"]), on=["test", "family"], how="left"
    )
    gains.insert(3, "trained_on", [_trained_on(row, benchmark, trained_on or {}) for row in gains.to_dict("records")])
    pairs = _by_model(pd.concat(paired), lambda part: twin_table(part, resamples)) if paired else pd.DataFrame()
    return StructureReport(
        gains,
        pairs,
        pd.concat(reworded, ignore_index=True),
        gain_differences(table, resamples=resamples),
        table,
        benchmark,
    )


def _by_model(table: pd.DataFrame, summarise: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    parts = [summarise(part).assign(model=name) for name, part in table.groupby("model", sort=False)]
    joined = pd.concat(parts, ignore_index=True)
    return joined[["model", *(c for c in joined.columns if c != "model")]]


def _trained_on(row: Mapping[str, object], benchmark: BenchmarkSet, trained_on: Mapping[str, Sequence[str]]) -> str:
    known = trained_on.get(str(row["model"]))
    if known is None:
        return ""
    kinds = kinds_of_test(str(row["test"]))
    seen = [kind in known for kind in kinds]
    return "yes" if all(seen) else "partly" if any(seen) else "no"


def trained_on(models: Mapping[tuple[str, int], DualEncoder]) -> dict[str, Sequence[str]]:
    """Name -> edits that the model's training used, for models that say so (our checkpoints do)."""
    found = {}
    for (name, _), model in models.items():
        facts = getattr(getattr(getattr(model, "model", None), "config", None), "training", None)
        if isinstance(facts, dict) and "perturbations" in facts:
            found[name] = facts["perturbations"]
    return found


def kinds_of_test(name: str) -> tuple[str, ...]:
    """The edits of a test by its name."""
    return {"5 options": ZERO_SHOT_KINDS, "10 options": FAMILIES["word_order"]}.get(name, (name,))


def gain_differences(outcomes: pd.DataFrame, baseline: str | None = None, resamples: int = 1000) -> pd.DataFrame:
    """What each model's image adds beyond the baseline's, per test, on the same studies.

    The quantity of a study is correct(with image) - correct(mean image), seeds averaged. p: a two-sided sign-flip test over
    studies; p_holm: corrected for all rows of the table. baseline: a model's name (default: the first).
    Columns: test, family, model, minus, value, ci_low, ci_high, n, p, p_holm.
    """
    names = list(dict.fromkeys(outcomes["model"]))
    baseline = baseline or names[0]
    added = outcomes.assign(added=outcomes["correct"] - outcomes["mean image"])
    rows = []
    for (test, family), part in added.groupby(["test", "family"], sort=False):
        wide = part.pivot_table(index="study_id", columns="model", values="added", sort=False)
        for name in (n for n in names if n != baseline and n in wide and baseline in wide):
            difference = (wide[name] - wide[baseline]).dropna().to_numpy()
            value, low, high = mean_interval(difference, None, resamples)
            rows.append({"test": test, "family": family, "model": name, "minus": baseline, "value": value, "ci_low": low,
                         "ci_high": high, "n": len(difference), "p": sign_flip_test(difference)})  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy())) if len(table) else table


def failures(
    outcomes: pd.DataFrame, benchmark: BenchmarkSet, test: EvaluationData, model: str, number: int = 4
) -> pd.DataFrame:
    """Studies in which ``model`` likes a false copy best: the largest wrong margin of each clinical edit in turn.

    Columns: row (of the test split), study_id, test, original, copy (words), margin (score of the original - score of the copy).
    """
    wrong = outcomes[(outcomes["model"] == model) & (outcomes["family"] == "clinical") & (outcomes["margin"] < 0)]
    worst = wrong.sort_values("margin").drop_duplicates("test").drop_duplicates("study_id").head(number)
    place = {study: i for i, study in enumerate(benchmark.study_ids)}
    rows = {study: i for i, study in enumerate(test.study_ids)}
    return pd.DataFrame(
        [
            {"row": rows[w.study_id], "study_id": w.study_id, "test": w.test, "original": benchmark.originals[place[w.study_id]],
             "copy": benchmark.copies[w.test][place[w.study_id]], "margin": w.margin}
            for w in worst.itertuples()
        ],
        columns=["row", "study_id", "test", "original", "copy", "margin"],
    )  # fmt: skip
