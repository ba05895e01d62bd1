"""The rows of an ablation compared: each with its interval, and its paired difference to the baseline, over studies and seeds.

A bootstrap of two levels: every resample draws the test studies anew, from those there are, and the mean over training seeds.
The latter is drawn from Student's t around what was seen (:mod:`prdlib.evaluation.seed_spread`), with the variance of the row's
own seeds or, where that is larger, the mean of those of all rows of the metric (of as many studies as most have), which also
stands for rows of one seed; with the degrees of freedom of all these rows together, for a difference 4 (S - 1) at most of a
baseline of S seeds. Where seeds differ no more than studies make them differ, nothing is added. There are 200 draws for each
comparison: a p_holm between .03 and .07 may be on the other side of .05 with other draws.

What that holds, by simulation of 24 rows and three seeds: where all rows' seeds spread alike, intervals the truth in 95 % and a
table without any difference a sure row in less than 5 %. Of one row whose seeds spread twice (four times) as much as the others'
the interval holds in 89 (82) %; where that row is the baseline, such a table has a sure row in about a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prdlib.evaluation.image_gain import FEWEST
from prdlib.evaluation.seed_spread import SeedSpread, draw_seeds
from prdlib.evaluation.statistics import holm, resampled_studies, two_sided_p
from prdlib.evaluation.twins import direction_table, twin_table
from prdlib.names import in_order

COLUMNS = ["metric", "method", "value", "ci_low", "ci_high", "n", "seeds", "chance", "minus", "paired_seeds",
           "paired_studies", "difference",
           "difference_low", "difference_high", "p", "p_holm"]  # fmt: skip
GAIN = ", image - mean image"


def ablation_table(outcomes: pd.DataFrame, baseline: str, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row per metric and row of the grid.

    outcomes: columns method (the row's name), seed, metric, query (a study), outcome, chance. Intervals are over studies and
    training seeds (see above): beside other rows the same training has another, as far as its spread is of all rows (wider
    where those spread more, so that one may hold 0 and the other not). The difference to ``baseline`` is paired: on the
    ``paired_studies`` and the ``paired_seeds`` training seeds that both have, since equal seeds draw the same batches and copies
    and, of equal encoders, start from the same weights. Where they have no seed in common, the means over all seeds of each are
    compared. So a difference need not be that of the two values. p: two-sided, from the share of resamples beyond 0, NaN for one
    seed, of which nothing says how seeds differ; p_holm: corrected for all rows of the
    table. Fewer than FEWEST studies get no interval and no p (NaN).
    """
    outcomes = outcomes.astype(
        {"outcome": float, "chance": float}
    )  # a table without rows below another makes them objects
    pairs = max(1, outcomes.groupby("metric")["method"].nunique().sum() - outcomes["metric"].nunique())
    draws = max(resamples, 200 * pairs)  # the smallest p, 2 / draws, times the comparisons is .01
    rows = []
    for metric, part in outcomes.groupby("metric", sort=False):
        values = {name: _wide(own) for name, own in part.groupby("method", sort=False)}
        spread, drawn = SeedSpread.of(values), _resampled(values, resamples, seed)
        share = (0.0, 1.0) if part["outcome"].between(0, 1).all() else (-np.inf, np.inf)
        compared = _differences(values, baseline, spread, draws, seed) if baseline in values else {}
        for name, own in values.items():
            seeds = draw_seeds(spread.error(own), spread.freedom, resamples, seed)
            low, high = _ends(drawn[name] + seeds, share)
            rows.append({"metric": metric, "method": name, "value": own.to_numpy().mean(), "ci_low": low, "ci_high": high,
                         "n": len(own), "seeds": own.shape[1], "chance": part["chance"].mean(),
                         **compared.get(name, {})})  # fmt: skip
    table = pd.DataFrame(rows).reindex(columns=COLUMNS).astype({"paired_seeds": "Int64", "paired_studies": "Int64"})
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _differences(
    values: dict[str, pd.DataFrame], baseline: str, spread: SeedSpread, draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Row -> its columns from ``minus`` to ``p``, of rows that have studies in common with the baseline."""
    base = values[baseline]
    paired = {name: _paired(own, base) for name, own in values.items() if name != baseline}
    paired = {name: own for name, own in paired.items() if len(own)}
    between = SeedSpread.of_differences(paired, base.shape[1])
    means = {name: own if own.shape[1] else _unpaired(values[name], base) for name, own in paired.items()}
    drawn, found = _resampled(means, draws, seed), {}
    for name, own in paired.items():
        if own.shape[1]:
            error, freedom, seeds = between.error(own), between.freedom, own.shape[1]
        else:
            sides = [side.loc[means[name].index] for side in (values[name], base)]
            error, freedom = float(np.hypot(*map(spread.error, sides))), spread.freedom
            seeds = min(side.shape[1] for side in sides)
        total = drawn[name] + draw_seeds(error, freedom, draws, seed)
        low, high = _ends(total)
        found[name] = {"minus": baseline, "paired_seeds": own.shape[1],
                       "paired_studies": len(own), "difference": means[name].to_numpy().mean(),
                       "difference_low": low, "difference_high": high,
                       "p": two_sided_p(total) if seeds > 1 and not np.isnan(low) else np.nan}  # fmt: skip
    return found


def _wide(part: pd.DataFrame) -> pd.DataFrame:
    """[studies, seeds] of one metric and row, in the order of the studies' ids as text, however they were read."""
    return (
        part.assign(query=part["query"].astype(str))
        .pivot_table(index="query", columns="seed", values="outcome")
        .dropna()
    )


def _paired(mine: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """mine - base of the studies and the seeds that both have."""
    studies, seeds = mine.index.intersection(base.index), mine.columns.intersection(base.columns)
    return mine.loc[studies, seeds] - base.loc[studies, seeds]


def _unpaired(mine: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Differences of the means over all seeds of each: [studies, 1]."""
    studies = mine.index.intersection(base.index)
    return (mine.loc[studies].mean(axis=1) - base.loc[studies].mean(axis=1)).to_frame()


def _resampled(rows: Mapping[str, pd.DataFrame], draws: int, seed: int) -> dict[str, np.ndarray]:
    """Means of [studies, seeds] over studies drawn anew: [draws] for each row, NaN for fewer than FEWEST studies. Rows of equally
    many studies share the draws."""
    found = {name: np.full(draws, np.nan) for name in rows}
    for number in sorted({len(row) for row in rows.values() if len(row) >= FEWEST}):
        names = [name for name, row in rows.items() if len(row) == number]
        by_study = np.stack([rows[name].to_numpy().mean(axis=1) for name in names])
        found |= dict(zip(names, resampled_studies(by_study[..., None], draws, seed)[..., 0], strict=True))
    return found


def _ends(drawn: np.ndarray, within: Sequence[float] = (-np.inf, np.inf)) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5]).clip(*within)
    return float(low), float(high)


def with_control(table: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """The table with ``mean image``: the same score with the mean image of training in the image's place (NaN where it was not
    asked), that is the score less what the image adds to it, in the trainings that were asked for both."""
    by_training = outcomes.groupby(["metric", "method", "seed"])["outcome"].mean()
    metric = by_training.index.get_level_values("metric")
    added = by_training[metric.str.endswith(GAIN)].rename(lambda name: name.removesuffix(GAIN), level="metric")
    control = (by_training - added).dropna().groupby(["metric", "method"]).mean()
    return table.assign(
        **{"mean image": control.reindex(pd.MultiIndex.from_frame(table[["metric", "method"]])).to_numpy()}
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line per metric, one column per row of the grid: 'value [low, high]', with chance, n and the number of seeds.

    table: see :func:`ablation_table`. n and seeds: the fewest of the rows."""
    text = [
        f"{r.value:.3f}" + ("" if pd.isna(r.ci_low) else f" [{r.ci_low:.3f}, {r.ci_high:.3f}]")
        for r in table.itertuples()
    ]
    wide = table.assign(text=text).pivot(index="metric", columns="method", values="text").fillna("missing")
    facts = table.groupby("metric").agg({"chance": "mean", "n": "min", "seeds": "min"})
    lines = facts.join(wide)[["chance", "n", "seeds", *in_order(table["method"])]]
    return lines.loc[list(dict.fromkeys(table["metric"]))].round(3).reset_index()


def with_cost(table: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """The table with ``seconds``: of a training, the median of its seeds (one of them may have shared its machine)."""
    seconds = (
        outcomes.dropna(subset="seconds").drop_duplicates(["method", "seed"]).groupby("method")["seconds"].median()
    )
    return table.assign(seconds=table["method"].map(seconds))


def seen_outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Of the outcomes of notebook 02 what an ablation asks: those with the image, and as a metric of its own what the image adds
    to the mean image (chance 0), study by study."""
    gain = outcomes[outcomes["input"] == "image - mean image"]
    gain = gain.assign(metric=gain["metric"] + GAIN, chance=0.0)
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
