"""The scores of one pre-training (notebook 02), with the outcome of every query, so that 03 can compare methods in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.retrieval import retrieval_outcomes, retrieval_table
from prdlib.evaluation.statistics import mean_interval
from prdlib.evaluation.structure import structure_outcomes, structure_table
from prdlib.models import PRDModel
from prdlib.names import in_order
from prdlib.text import TaggedReport

KEYS = ["metric", "input"]


def overview(
    model: PRDModel,
    images: np.ndarray,
    tagged: Sequence[TaggedReport],
    ids: Sequence[str],
    groups: np.ndarray,
    blind_image: np.ndarray,
    resamples: int = 1000,
    exclude: np.ndarray | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Retrieval and the 5-option test of one model on one split.

    images: uint8 [N, S, S]; tagged, ids, groups: the reports, their study ids and report groups; blind_image: the mean
    image [S, S]; exclude: [N] bool, studies left out of retrieval (reports that also stand in training).
    Returns (table: metric, input, value, ci_low, ci_high, n, chance; outcomes: metric, input, query, outcome, chance).
    """
    ids, groups = np.asarray(ids), np.asarray(groups)
    keep = np.ones(len(ids), dtype=bool) if exclude is None else ~exclude
    image_embeds = embed_images(model, images)
    report_embeds = embed_reports(model, [t.marked for t in tagged])
    queries = retrieval_outcomes(image_embeds[keep], report_embeds[keep], groups[keep], ids[keep])
    tests = structure_outcomes(model, images, tagged, ids, blind_image)
    table = pd.concat([retrieval_table(queries, resamples), structure_table(tests, resamples)], ignore_index=True)
    return table, pd.concat([queries, tests], ignore_index=True)


def compare_methods(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Mean over seeds of every method and metric, with a 95 % interval over studies.

    outcomes: rows of :func:`overview` with columns method and seed added. Each query's outcome is averaged over the seeds
    first, then studies are resampled: the interval says how sure the mean of these seeds is on unseen studies; how much
    seeds differ is in the rows with a seed of their own (their interval columns are empty).
    Columns: metric, method, seed ('mean' or a number), value, ci_low, ci_high, n, seeds, chance.
    """
    rows = []
    for (metric, source, method), part in outcomes.groupby([*KEYS, "method"], sort=False):
        name = metric if source == "image" else f"{metric}, {source}"
        shared = {"metric": name, "method": method, "chance": part["chance"].mean()}
        by_query = part.groupby("query", sort=False)["outcome"].mean()
        value, low, high = mean_interval(by_query.to_numpy(), by_query.index.to_numpy(), resamples)
        seeds = part.groupby("seed")["outcome"].mean()
        rows.append({**shared, "seed": "mean", "value": value, "ci_low": low, "ci_high": high,
                     "n": len(by_query), "seeds": len(seeds)})  # fmt: skip
        rows += [{**shared, "seed": str(s), "value": v, "n": len(by_query), "seeds": 1} for s, v in seeds.items()]
    return pd.DataFrame(rows)


def paired_differences(outcomes: pd.DataFrame, baseline: str = "clip", resamples: int = 1000) -> pd.DataFrame:
    """method - ``baseline`` for every metric on the same queries, seeds averaged, 95 % interval over studies."""
    rows = []
    for (metric, source), part in outcomes.groupby(KEYS, sort=False):
        wide = part.groupby(["query", "method"], sort=False)["outcome"].mean().unstack("method").dropna()
        for method in [m for m in wide.columns if m != baseline and baseline in wide]:
            difference = (wide[method] - wide[baseline]).to_numpy()
            value, low, high = mean_interval(difference, wide.index.to_numpy(), resamples)
            name = metric if source == "image" else f"{metric}, {source}"
            rows.append({"metric": name, "method": method, "minus": baseline, "value": value, "ci_low": low,
                         "ci_high": high, "n": len(wide), "chance": 0.0})  # fmt: skip
    return pd.DataFrame(rows)


def missing_runs(outcomes: pd.DataFrame, methods: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Methods x seeds of the profile: 'finished', or 'missing' where no scores were found."""
    there = set(zip(outcomes["method"], outcomes["seed"].astype(int), strict=True))
    table = pd.DataFrame(
        [["finished" if (m, s) in there else "missing" for s in seeds] for m in methods],
        index=pd.Index(methods, name="method"),
        columns=[f"seed {s}" for s in seeds],
    )
    return table.reset_index()


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per metric, one column per method: 'mean [low, high]', with chance, n and the number of seeds."""
    mean = table[table["seed"] == "mean"]
    text = mean.apply(lambda r: f"{r.value:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}]", axis=1)
    wide = mean.assign(text=text).pivot(index="metric", columns="method", values="text")
    facts = mean.groupby("metric")[["chance", "n", "seeds"]].first()
    order = list(dict.fromkeys(mean["metric"]))
    methods = in_order(mean["method"])
    return facts.join(wide)[["chance", "n", "seeds", *methods]].loc[order].round(3).reset_index()
