"""The rows of an ablation compared: each with its interval, and its paired difference to the baseline, over studies and seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from prdlib.evaluation.image_gain import FEWEST
from prdlib.evaluation.statistics import holm, redraw_seeds, resampled_studies, two_sided_p
from prdlib.evaluation.twins import direction_table, twin_table

COLUMNS = ["metric", "method", "value", "ci_low", "ci_high", "n", "seeds", "chance", "minus", "difference", "difference_low",
           "difference_high", "p", "p_holm"]  # fmt: skip


def ablation_table(outcomes: pd.DataFrame, baseline: str, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row per metric and row of the grid.

    outcomes: columns method (the row's name), seed, metric, query (a study), outcome, chance. Intervals are a bootstrap over
    studies and, with two seeds or more, over training seeds. The difference to ``baseline`` is that of the means over all seeds
    of each, on the studies that both have (seeds of equal number share nothing but their number: the pairing that narrows the
    interval is that of the studies). p: two-sided, from the share of resamples beyond 0, NaN for a row of one seed, of which
    nothing says how its seeds differ; p_holm: corrected for all rows of the table. Fewer than FEWEST studies get no interval and
    no p (NaN).
    """
    pairs = max(1, outcomes.groupby("metric")["method"].nunique().sum() - outcomes["metric"].nunique())
    draws = max(resamples, 200 * pairs)  # the smallest p, 2 / draws, times the comparisons is .01
    rows = []
    for metric, part in outcomes.groupby("metric", sort=False):
        wide = {name: _wide(own) for name, own in part.groupby("method", sort=False)}
        for name, values in wide.items():
            n, seeds = values.shape
            row = {"metric": metric, "method": name, "value": values.to_numpy().mean(), "n": n, "seeds": seeds,
                   "chance": part["chance"].mean()}  # fmt: skip
            row["ci_low"], row["ci_high"] = _ends(_draws(values.to_numpy(), resamples, seed))
            if name != baseline and baseline in wide:
                row |= _difference(values, wide[baseline], draws, seed) | {"minus": baseline}
            rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _wide(part: pd.DataFrame) -> pd.DataFrame:
    """[studies, seeds] of one metric and row."""
    return part.pivot_table(index="query", columns="seed", values="outcome").dropna()


def _difference(mine: pd.DataFrame, base: pd.DataFrame, draws: int, seed: int) -> dict[str, float]:
    studies = mine.index.intersection(base.index)
    if not len(studies):
        return {}
    mine, base = mine.loc[studies], base.loc[studies]
    if list(mine.columns) == list(base.columns):
        drawn = _draws((mine - base).to_numpy(), draws, seed)
    else:  # the studies drawn are the same, the seeds each side's own
        drawn = _draws(mine.to_numpy(), draws, seed) - _draws(base.to_numpy(), draws, seed, seed + 1)
    low, high = _ends(drawn)
    difference = mine.to_numpy().mean() - base.to_numpy().mean()
    found = {"difference": difference, "difference_low": low, "difference_high": high}
    if mine.shape[1] > 1 and not np.isnan(low):
        found["p"] = two_sided_p(drawn)
    return found


def _draws(values: np.ndarray, draws: int, seed: int, seed_of_seeds: int | None = None) -> np.ndarray:
    """Means of [studies, seeds] over studies and seeds drawn anew: [draws], NaN for fewer than FEWEST studies."""
    if len(values) < FEWEST:
        return np.full(draws, np.nan)
    return redraw_seeds(resampled_studies(values[None], draws, seed), seed if seed_of_seeds is None else seed_of_seeds)[
        0
    ]


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def with_cost(table: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """The table with ``seconds``: of a training, mean over its seeds."""
    seconds = outcomes.dropna(subset="seconds").drop_duplicates(["method", "seed"]).groupby("method")["seconds"].mean()
    return table.assign(seconds=table["method"].map(seconds))


def seen_outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Of the outcomes of notebook 02 what an ablation asks: those with the image, and as a metric of its own what the image adds
    to the mean image (chance 0), study by study."""
    gain = outcomes[outcomes["input"] == "image - mean image"]
    gain = gain.assign(metric=gain["metric"] + ", image - mean image", chance=0.0)
    return pd.concat([outcomes[outcomes["input"] == "image"], gain], ignore_index=True)


def twin_rows(twins: pd.DataFrame) -> pd.DataFrame:
    """Exchange accuracy of twins as outcomes of an ablation: across and inside sentences, by attribute where it is across.

    twins: rows of ``twin_outcomes`` with method and seed (empty for collections without twins).
    """
    if twins.empty:
        return pd.DataFrame(columns=["metric", "method", "seed", "query", "outcome", "chance"])
    twins = twins.assign(query=twins["study_id"], outcome=twins["exchange accuracy"], chance=0.5)
    across = twins["apart"] == "sentence"
    parts = [
        twins[across].assign(metric="exchange across sentences: " + twins["exchanged"]),
        twins[~across].assign(metric="exchange inside a sentence"),
    ]
    return pd.concat(parts, ignore_index=True)[["metric", "method", "seed", "query", "outcome", "chance"]]


def twin_places(twins: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Exchange accuracy of every row across sentences and inside a sentence, by attribute, and of all attributes by direction:
    the study's film, the twin's, and the blind lean towards the study's report (.5: none).

    twins: as for :func:`twin_rows`. Columns: method, place, score, exchanged, value, ci_low, ci_high, n, seeds, chance.
    """
    columns = ["method", "place", "score", "exchanged", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
    tables = []
    for name, own in twins.groupby("method", sort=False) if len(twins) else ():
        for place, rows in (
            ("across sentences", own["apart"] == "sentence"),
            ("inside a sentence", own["apart"] != "sentence"),
        ):
            if rows.any():
                by_attribute = twin_table(own[rows], resamples)
                by_attribute = by_attribute[by_attribute["metric"] == "exchange accuracy"]
                parts = (
                    by_attribute.rename(columns={"metric": "score"}),
                    direction_table(own[rows], resamples)
                    .rename(columns={"direction": "score"})
                    .assign(exchanged="all"),
                )
                tables.append(pd.concat(parts, ignore_index=True).assign(method=name, place=place))
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
