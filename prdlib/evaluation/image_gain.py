"""The structure benchmark: does a model prefer the true report because of the image, or because of the text alone?

A test shows a model a study's image and several texts, of which the first is right. A score counts only by what the image adds:

    image gain = accuracy - max(chance, every blind control, and inverted: the mean image and the constant)

A blind control is the same model with another image vector: of the mean image, of another study's image, or a learned
constant, the vector that answers best on training reports. *Inverted*: the share of studies in which the right text scores
strictly lowest. A blind score far below chance is a prior of the text turned round, not sight, so it counts as much as one far
above; but not for another study's image, which a model that sees is right to hold against the report. A tie is wrong
(:mod:`prdlib.evaluation.scores`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.benchmark_set import BenchmarkError, BenchmarkSet
from prdlib.evaluation.scores import pair_scores
from prdlib.evaluation.statistics import holm, redraw_seeds, resampled_means, resampled_studies, two_sided_p
from prdlib.repro import generator
from prdlib.text import FAMILIES, ZERO_SHOT_KINDS

CONTROLS = ("mean image", "mean image inverted", "other image", "constant", "constant inverted")
SEVERAL_KINDS = {"5 options": ZERO_SHOT_KINDS, "10 options": FAMILIES["word_order"]}  # tests of more than one edit
FEWEST = 20  # studies below which no interval is given
Words = tuple[str, ...]


@dataclass(frozen=True)
class OptionTest:
    """One test. name; family; kinds: edits whose copies stand against the original; rows: studies of the set to which all of
    them apply; options: per row 1 + K texts (word tuples), index 0 the right one."""

    name: str
    family: str
    kinds: tuple[str, ...]
    rows: tuple[int, ...]
    options: tuple[tuple[Words, ...], ...]

    @property
    def chance(self) -> float:
        """1 / number of options."""
        return 1 / (1 + len(self.kinds))


def plans_of(benchmark: BenchmarkSet) -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, family, kinds) of the tests that the edits of a set allow: the paper's 5 options, all 9 word orders (10 options),
    then each edit against the original. Paraphrases are no tests, since their copies are true."""
    kinds = set(benchmark.kinds)
    plans = [(name, "word_order", of) for name, of in SEVERAL_KINDS.items() if set(of) <= kinds]
    return plans + [(k, family, (k,)) for family in ("word_order", "clinical") for k in FAMILIES[family] if k in kinds]


def option_tests(benchmark: BenchmarkSet) -> list[OptionTest]:
    """The tests of :func:`plans_of` that are open to at least one study of the set."""
    tests = []
    for name, family, chosen in plans_of(benchmark):
        rows = benchmark.applicable(*chosen)
        options = [(benchmark.originals[i], *(benchmark.copies[k][i] for k in chosen)) for i in rows]
        if rows:
            tests.append(OptionTest(name, family, tuple(chosen), tuple(rows), tuple(options)))
    return tests


@dataclass(frozen=True)
class BlindVectors:
    """Image vectors that know nothing of a study: ``mean`` [D]; ``other`` [N, D], each row another study's; ``constant``: test
    name -> [D], learnt on training reports (absent where there were none to learn from)."""

    mean: Tensor
    other: Tensor
    constant: Mapping[str, Tensor]


def other_rows(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """For each of N studies another one whose report says something else (its group differs), where there is one: [N] rows."""
    rng, number = generator(seed, "other image"), len(groups)
    rows = rng.permutation(number)
    chosen = np.empty(number, dtype=np.int64)
    for k, row in enumerate(rows):
        steps = (rows[(k + 1 + j) % number] for j in range(number - 1))
        chosen[row] = next((r for r in steps if groups[r] != groups[row]), rows[(k + 1) % number])
    return chosen


@threadpool_limits.wrap(limits=1, user_api="blas")  # see prdlib.evaluation.classification
def learnt_constant(
    report_embeds: Tensor, tests: Sequence[OptionTest], embedded: Mapping[Words, int]
) -> dict[str, Tensor]:
    """For each test the vector c [D] that best answers it on training reports: a logistic regression, without intercept, on the
    differences between the embeddings of the right text and of each copy.

    report_embeds: [T, D]; embedded: text -> row. Fewer than 8 studies teach nothing: no entry.
    """
    constants = {}
    for test in tests:
        if len(test.rows) < 8:
            continue
        index = torch.tensor([[embedded[text] for text in row] for row in test.options])
        vectors = report_embeds[index].double()
        differences = (vectors[:, :1] - vectors[:, 1:]).reshape(-1, vectors.shape[-1]).numpy()
        signs = np.where(np.arange(len(differences)) % 2, 1.0, -1.0)  # two balanced classes
        scale = max(float(np.abs(differences).max()), 1e-12)
        model = LogisticRegression(C=10.0, fit_intercept=False, max_iter=500)
        model.fit(differences / scale * signs[:, None], signs)
        constants[test.name] = torch.from_numpy(model.coef_[0])
    return constants


def embed_texts(
    model: DualEncoder, texts: Sequence[Words], marked: Mapping[Words, Words] | None = None, batch_size: int = 32
) -> tuple[Tensor, dict[Words, int]]:
    """(embeddings [T, D] of the distinct texts, text -> row). Equal texts get one embedding, so that ties stay ties.

    marked: texts -> the same words with marks where segments begin, shown to a model that says ``reads_segments``.
    """
    unique = sorted(set(texts), key=lambda words: (len(words), words))
    marked = marked or {}
    shown = [marked.get(w, w) for w in unique] if getattr(model, "reads_segments", False) else unique
    parts = [
        model.encode_reports([" ".join(w) for w in shown[i : i + batch_size]]) for i in range(0, len(shown), batch_size)
    ]
    return torch.cat([torch.as_tensor(part) for part in parts]).double(), {words: i for i, words in enumerate(unique)}


def structure_benchmark(
    model: DualEncoder,
    images: np.ndarray,
    benchmark: BenchmarkSet,
    groups: np.ndarray,
    blind_image: np.ndarray,
    training: BenchmarkSet | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Outcomes of every test for one model: one row per test and study.

    images: uint8 [N, S, S] of the set's studies; groups: [N] report groups; blind_image: uint8 [S, S], the mean of the training
    images; training: a set of training reports, from which the constants are learnt (None: without that control).
    Columns: test, family, study_id, chance, options, correct, tie, score (of the right text), margin (over the best other text),
    CONTROLS.
    Raises BenchmarkError when no edit applies to any study.
    """
    tests = option_tests(benchmark)
    if not tests:
        raise BenchmarkError("No edit of the benchmark applies to any of these studies: there is nothing to ask.")
    learning = {t.name: t for t in option_tests(training)} if training else {}
    texts = {text for test in (*tests, *learning.values()) for row in test.options for text in row}
    marked = {**(training.marked if training else {}), **benchmark.marked}
    report_embeds, place = embed_texts(model, sorted(texts), marked)
    image_embeds = image_vectors(model, images)
    blind = BlindVectors(
        image_vectors(model, blind_image[None])[0],
        image_embeds[torch.from_numpy(other_rows(np.asarray(groups), seed))],
        learnt_constant(report_embeds, [learning[t.name] for t in tests if t.name in learning], place),
    )
    return pd.concat(
        [_outcomes(t, image_embeds, report_embeds, place, blind, benchmark) for t in tests], ignore_index=True
    )


def image_vectors(model: DualEncoder, images: np.ndarray, batch_size: int = 128) -> Tensor:
    """Embeddings of uint8 images [N, S, S]: float64 [N, D]."""
    parts = [model.encode_images(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    return torch.cat([torch.as_tensor(part) for part in parts]).double()


def _outcomes(
    test: OptionTest,
    images: Tensor,
    reports: Tensor,
    place: Mapping[Words, int],
    blind: BlindVectors,
    benchmark: BenchmarkSet,
) -> pd.DataFrame:
    rows = torch.tensor(test.rows)
    options = reports[torch.tensor([[place[text] for text in row] for row in test.options])]  # [n, 1 + K, D]
    table: dict[str, object] = {
        "test": test.name, "family": test.family, "study_id": [benchmark.study_ids[i] for i in test.rows],
        "chance": test.chance, "options": 1 + len(test.kinds),
    }  # fmt: skip
    scores = pair_scores(images[rows], options)
    table["correct"], table["tie"] = highest(scores), _tied(scores)
    table["score"] = scores[:, 0].numpy()
    table["margin"] = (scores[:, 0] - scores[:, 1:].max(dim=1).values).numpy()
    vectors = {"mean image": blind.mean.expand(len(rows), -1), "other image": blind.other[rows]}
    if test.name in blind.constant:
        vectors["constant"] = blind.constant[test.name].expand(len(rows), -1)
    for name, vector in vectors.items():
        unseen = pair_scores(vector, options)
        table[name] = highest(unseen)
        if f"{name} inverted" in CONTROLS:
            table[f"{name} inverted"] = _lowest(unseen)
    return pd.DataFrame(table)


def highest(scores: Tensor) -> np.ndarray:
    """1 where the first of [n, 1 + K] is strictly the highest: float [n]."""
    return (scores[:, 0] > scores[:, 1:].max(dim=1).values).numpy().astype(float)


def _lowest(scores: Tensor) -> np.ndarray:
    return (scores[:, 0] < scores[:, 1:].min(dim=1).values).numpy().astype(float)


def _tied(scores: Tensor) -> np.ndarray:
    return (scores[:, 0] == scores[:, 1:].max(dim=1).values).numpy().astype(float)


def gain_table(outcomes: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Accuracy, controls and image gain of every test, with 95 % intervals.

    outcomes: rows of :func:`structure_benchmark` of one model; a column ``seed`` makes training seeds a second level: studies
    (whole, with all seeds) and seeds are both drawn anew in each resample. Each seed is a model of its own and stands beside its
    own best control, since the priors of two seeds may be opposite; that maximum is taken anew in each resample.
    Tests of fewer than FEWEST studies get no interval (NaN): a handful of studies says nothing sure.
    Columns: test, family, accuracy, ci_low, ci_high, chance, n, seeds, ties (studies, mean over seeds), each control,
    mean_image_bias (|mean image - chance|, mean over seeds), best_blind (the control that is highest on average), blind (the best
    control or chance of each seed, mean over seeds), image_gain, gain_low, gain_high.
    """
    rows = []
    for (test, family), part in outcomes.groupby(["test", "family"], sort=False):
        rows.append({"test": test, "family": family, **_gain(part, resamples, seed)})
    return pd.DataFrame(rows)


def gain_differences(
    outcomes: pd.DataFrame, baseline: str | None = None, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Image gain of each model minus the baseline's, per test, on the same studies and in the same resamples.

    A gain below 0 says no more than a gain of 0, that none was shown (how far a blind control is ahead is a matter of the
    control), and counts as 0: of two models that do not see, neither gains more than the other.

    outcomes: with a column ``model``. baseline: a model's name (default: the first); each model and the baseline are compared on
    the studies that both were asked. p: two-sided, from the share of resamples beyond 0 (so many that the correction can be
    passed); p_holm: corrected for all rows of the table.
    Columns: test, family, model, minus, value, ci_low, ci_high, n, p, p_holm.
    """
    names = list(dict.fromkeys(outcomes["model"]))
    baseline = baseline or names[0]
    comparisons = max(1, outcomes.groupby("test")["model"].nunique().sum() - outcomes["test"].nunique())
    draws = max(resamples, 200 * comparisons)  # the smallest p, 2 / draws, times the comparisons is .01
    rows = []
    for (test, family), part in outcomes.groupby(["test", "family"], sort=False):
        by_model = dict(iter(part.groupby("model", sort=False)))
        chance = float(part["chance"].iloc[0])
        for name in (n for n in names if n != baseline and n in by_model and baseline in by_model):
            shared = set(by_model[name]["study_id"]) & set(by_model[baseline]["study_id"])
            n, value, low, high, p = len(shared), np.nan, np.nan, np.nan, np.nan
            if n:
                mine, base = (_stacked(q[q["study_id"].isin(shared)])[0] for q in (by_model[name], by_model[baseline]))
                value = max(0.0, _point_gain(mine, chance)) - max(0.0, _point_gain(base, chance))
            if n >= FEWEST:
                drawn = np.subtract(*(_drawn_gain(v, chance, draws, seed).clip(min=0.0) for v in (mine, base)))
                low, high = np.percentile(drawn, [2.5, 97.5])
                p = two_sided_p(drawn)
            rows.append({"test": test, "family": family, "model": name, "minus": baseline, "value": value, "ci_low": low,
                         "ci_high": high, "n": n, "p": p})  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy())) if len(table) else table


def _stacked(part: pd.DataFrame) -> tuple[np.ndarray, list[str], int]:
    """([1 + controls, n, seeds] with 'correct' first, names of the controls, number of seeds) of one model and test."""
    controls = [name for name in CONTROLS if name in part and part[name].notna().all()]
    columns = ["correct", *controls]
    if "seed" not in part:
        part = part.assign(seed=0)
    seeds = sorted(part["seed"].unique())
    wide = part.pivot_table(index="study_id", columns="seed", values=columns).dropna()
    return np.stack([wide[c].reindex(columns=seeds).to_numpy() for c in columns]), controls, len(seeds)


def _gains(means: np.ndarray, chance: float) -> np.ndarray:
    """Image gain of [1 + controls, ...] means, each model (training seed) beside its own best blind control: [...]."""
    return means[0] - np.maximum(chance, means[1:].max(axis=0, initial=0.0))


def _point_gain(values: np.ndarray, chance: float) -> float:
    return float(_gains(values.mean(axis=1), chance).mean())


def _drawn_gain(values: np.ndarray, chance: float, resamples: int, seed: int) -> np.ndarray:
    return redraw_seeds(_gains(resampled_studies(values, resamples, seed), chance), seed)


def _gain(part: pd.DataFrame, resamples: int, seed: int) -> dict[str, object]:
    values, controls, seeds = _stacked(part)
    chance, number = float(part["chance"].iloc[0]), values.shape[1]
    by_seed = values.mean(axis=1)  # [1 + controls, seeds]
    means, gain = by_seed.mean(axis=1), _gains(by_seed, chance).mean()
    best = int(means[1:].argmax()) if controls else -1
    name = controls[best] if controls and means[1 + best] > chance else "chance"
    low = high = gain_low = gain_high = np.nan
    if number >= FEWEST:
        low, high = np.percentile(resampled_means(values, resamples, seed)[0], [2.5, 97.5])
        gain_low, gain_high = np.percentile(_drawn_gain(values, chance, resamples, seed), [2.5, 97.5])
    bias = np.abs(by_seed[1 + controls.index("mean image")] - chance).mean() if "mean image" in controls else np.nan
    return {
        "accuracy": means[0], "ci_low": low, "ci_high": high, "chance": chance, "n": number, "seeds": seeds,
        "ties": part["tie"].sum() / seeds, **dict(zip(controls, means[1:], strict=True)),
        "mean_image_bias": bias, "best_blind": name, "blind": means[0] - gain, "image_gain": gain, "gain_low": gain_low,
        "gain_high": gain_high,
    }  # fmt: skip
