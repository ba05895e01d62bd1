"""Do the nearest reports (images) show what the query shows? Precision at k by label, as the field reports retrieval.

Of the k nearest of *other* studies, the share that is positive for a label, averaged over the queries that are. What says the
same as the query (its report group) is no candidate: to find that is what R@k asks, and it would be right by construction.
Equal reports are one candidate, with the label that most of their studies have.

A model that shows every query the same few neighbours may be far from chance, above it for what they happen to show. So beside
each value stands the *blind* one: of a query that says nothing of its own, the mean of all queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.retrieval import (
    DIRECTIONS,
    RETRIEVAL_COLUMNS,
    asking,
    median_rank_table,
    merged_similarity,
    recall_table,
    retrieved_examples,
)
from prdlib.evaluation.statistics import bootstrap_weights, redraw_seeds
from prdlib.models import PRDModel


def merged_labels(labels: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Labels [M, L] of groups: 1 where more of a group's studies are positive than negative, else 0; NaN where none is judged.

    labels: [N, L], 1 or 0, other values not judged; member: [N], each study's group as a position among the M.
    """
    votes, judged = np.zeros((2, int(member.max()) + 1, labels.shape[1]))
    np.add.at(votes, member, (labels == 1).astype(float) - (labels == 0))
    np.add.at(judged, member, np.isin(labels, (0, 1)).astype(float))
    return np.where(judged > 0, (votes > 0).astype(float), np.nan)


def precision_at_k(scores: np.ndarray, positive: np.ndarray, candidate: np.ndarray, k: int) -> np.ndarray:
    """Share of positives among the k highest scores of each query: [Q], NaN for a query with fewer than k candidates.

    scores: [Q, P]; positive: [P] bool; candidate: [Q, P] bool, who may be retrieved. Of equal scores the negatives come first:
    a model that scores all alike finds no positive that it could have missed.
    """
    enough = candidate.sum(axis=1) >= k
    precision = np.full(len(scores), np.nan)
    if enough.any():
        shown = np.where(candidate, scores, -np.inf)[enough]
        last = -np.partition(-shown, k - 1, axis=1)[:, k - 1 : k]
        above, level = shown > last, shown == last
        left = k - above.sum(axis=1) - (level & ~positive).sum(axis=1)
        precision[enough] = ((above & positive).sum(axis=1) + left.clip(min=0)) / k
    return precision


def label_precision_table(
    embeds: Sequence[tuple[Tensor, Tensor]],
    groups: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Precision at k of every label, and their mean, in both directions.

    embeds: (image_embeds, report_embeds), [N, D] each, of each training seed of a method, a second level of the interval (95 %,
    else over ``patients``, [N], None: each study has its own); groups: [N]; labels: [N, L], 1 or 0, other values not judged:
    no query, and no candidate of that label; names: of the L labels. chance: the label's share among a query's candidates, what
    a random order has. blind: the value with the mean of all queries' embeddings in the place of each, mean over seeds.
    Columns: RETRIEVAL_COLUMNS; n: positive queries (of 'mean': queries positive for one of its labels); pool: the fewest
    candidates of a query. A label that cannot be scored has value NaN and says why in ``note``; of one query there is no
    interval. Raises ValueError when labels and names do not fit, and for k below 1.
    """
    if min(ks) < 1:
        raise ValueError(f"Precision at {min(ks)} is not defined: ask for one neighbour or more.")
    if labels.shape != (len(groups), len(names)):
        raise ValueError(
            f"Labels must be [studies, labels], here [{len(groups)}, {len(names)}]: they are {list(labels.shape)}."
        )
    found = [merged_similarity(images, reports, groups) for images, reports in embeds]
    _, first, member = found[0]
    sides = [(labels, member), (merged_labels(labels, member), np.arange(len(first)))]
    rows_of = (np.arange(len(groups)), first)
    rows = []
    for direction, row_of, (wanted, own_group), (held, held_group) in zip(
        DIRECTIONS, rows_of, sides, sides[::-1], strict=True
    ):
        scores = [(s if direction == DIRECTIONS[0] else s.T).numpy() for s, _, _ in found]
        other = own_group[:, None] != held_group
        weights = bootstrap_weights(asking(row_of, patients), resamples, seed)
        for k in ks:
            part, samples, any_query = [], [], np.zeros(len(wanted), dtype=bool)
            for column, name in enumerate(names):
                query, positive = wanted[:, column] == 1, held[:, column] == 1
                candidate = other[query] & np.isin(held[:, column], (0, 1))
                row = _facts(candidate, positive, k)
                if not row["note"]:
                    values = np.stack([precision_at_k(s[query], positive, candidate, k) for s in scores])
                    drawn = _resampled(values, weights[:, query], seed)
                    samples.append(drawn)
                    any_query |= query
                    mean_query = [np.broadcast_to(s.mean(axis=0), candidate.shape) for s in scores]
                    blind = np.mean([precision_at_k(s, positive, candidate, k) for s in mean_query])
                    row |= {"value": float(values.mean()), "blind": float(blind), **_interval(drawn, row["n"])}
                part.append({"label": name, **row})
            if samples:
                scored = pd.DataFrame([row for row in part if np.isfinite(row["value"])])
                mean = pd.DataFrame(samples).mean().to_numpy()  # of the labels that a resample has
                part.append({"label": "mean", "value": scored["value"].mean(), **_interval(mean, int(any_query.sum())),
                             "n": int(any_query.sum()), "chance": scored["chance"].mean(), "blind": scored["blind"].mean(),
                             "pool": scored["pool"].min(), "note": f"of {len(samples)} labels"})  # fmt: skip
            rows += [{"metric": f"P@{k}", "direction": direction, "seeds": len(embeds), **row} for row in part]
    return pd.DataFrame(rows, columns=RETRIEVAL_COLUMNS)


def _facts(candidate: np.ndarray, positive: np.ndarray, k: int) -> dict[str, object]:
    """What a row says before anything is scored. candidate: [queries, P] bool; positive: [P] bool."""
    sizes, right = candidate.sum(axis=1), (candidate & positive).sum(axis=1)
    row = {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "n": len(candidate), "chance": np.nan, "blind": np.nan,
           "pool": 0, "note": ""}  # fmt: skip
    if not len(candidate):
        return row | {"note": "no query is positive: not defined"}
    row["pool"] = int(sizes.min())
    if row["pool"] < k:
        return row | {"note": f"fewer than {k} candidates: not defined"}
    row["chance"] = float((right / sizes).mean())
    return row if right.any() else row | {"note": "no candidate is positive: not defined"}


def _resampled(values: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    """Means of [S, n] over resampled queries, weights [draws, n], and seeds: [draws], NaN where none of the n was drawn."""
    total = weights.sum(axis=1, keepdims=True)
    by_seed = np.divide(weights @ values.T, total, out=np.full((len(weights), len(values)), np.nan), where=total > 0)
    return redraw_seeds(by_seed, seed).clip(0, 1)


def _interval(drawn: np.ndarray, queries: int) -> dict[str, object]:
    if queries < 2:
        return {"ci_low": np.nan, "ci_high": np.nan, "note": "one query: no interval"}
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"ci_low": low, "ci_high": high}


def retrieval_tables(
    models: Mapping[tuple[str, int], PRDModel | DualEncoder],
    data: EvaluationData,
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """R@k, median rank, and precision at k by label, of every model: (name, training seed) -> model, seeds as a second level.

    Columns: model, then RETRIEVAL_COLUMNS. See :func:`recall_table`, :func:`median_rank_table` and
    :func:`label_precision_table`; without labels the last is left out.
    """
    embeds: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for (name, _), model in models.items():
        embeds.setdefault(name, []).append((embed_images(model, data.images), embed_reports(model, data.marked)))
    parts = []
    for name, found in embeds.items():
        tables = [
            recall_table(found, data.groups, ks, resamples, seed, data.patient_ids),
            median_rank_table(found, data.groups, resamples, seed, data.patient_ids),
        ]
        if data.label_names:
            labelled = (data.groups, data.labels, data.label_names)
            tables.append(label_precision_table(found, *labelled, ks, resamples, seed, data.patient_ids))
        parts += [table.assign(model=name) for table in tables]
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["model", *RETRIEVAL_COLUMNS])
    return joined[["model", *RETRIEVAL_COLUMNS]]


def examples_of(
    model: PRDModel | DualEncoder, data: EvaluationData, queries: Sequence[int], k: int = 4
) -> pd.DataFrame:
    """The ``k`` reports nearest to the images ``queries`` (rows of ``data``), see
    :func:`prdlib.evaluation.retrieval.retrieved_examples`; rows that are not there are left out."""
    rows = [row for row in queries if row < len(data.study_ids)]
    found = retrieved_examples(
        embed_images(model, data.images), embed_reports(model, data.marked), data.groups, rows, k
    )
    return found[found["direction"] == DIRECTIONS[0]]
