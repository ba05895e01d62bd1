"""Tables of the matching probe: how it learnt, and what it tells of pairs and of twins beside the inner product."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from prdlib.config import ConfigError
from prdlib.data.batches import EvaluationData
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.evaluation.embeddings import mean_image
from prdlib.evaluation.matching import fit_matching, matching_accuracy, matching_twins
from prdlib.evaluation.twins import binding_table, direction_table, make_twins, share, twin_outcomes
from prdlib.models import PRDModel

SCORES = ("inner product", "fusion head")
BINDING = ["method", "scores", "segments", "place", "exchanged", "value", "ci_low", "ci_high", "n", "seeds", "chance"]


def matching_tables(
    models: Mapping[tuple[str, int], PRDModel],
    train: EvaluationData,
    test: EvaluationData,
    resamples: int,
    word_limit: int | None = None,
) -> dict[str, pd.DataFrame]:
    """A fusion head on the frozen encoders of every training, beside the inner product of the same encoders.

    models: (name, training seed) -> model; the head's seed is the training's. train, test: of the phantom, whose test studies
    have twins. word_limit: as the studies were prepared. Returns

        matching_history      how the head learnt
        matching_pairs        share of test studies whose own report scores above another's
        matching_twins        exchange accuracy across and inside segments (of a model that reads whole reports: sentences)
        matching_directions   each way apart, and the blind lean of all twins

    Raises ConfigError when no test study has two findings to exchange.
    """
    twins, blind = make_twins(test.study_ids, test.images.shape[-1], word_limit), mean_image(train.images)
    if not twins.study_ids:
        raise ConfigError("No test study has two findings to exchange: raise data.n_studies.")
    history, pairs, outcomes = [], [], []
    for (name, seed), model in models.items():
        probe = fit_matching(model, train, seed)
        history.append(probe.history.assign(method=name, seed=seed))
        pairs.append(matching_accuracy(probe, test).assign(method=name, seed=seed))
        for scores, found in zip(
            SCORES, (twin_outcomes(PRDAdapter(model), twins, blind), matching_twins(probe, twins, blind)), strict=True
        ):
            outcomes.append(found.assign(method=name, seed=seed, scores=scores))
    binding, directions = [], []
    for (name, scores), part in pd.concat(outcomes, ignore_index=True).groupby(["method", "scores"], sort=False):
        kind = next(model for (n, _), model in models.items() if n == name).config.segments
        kind = kind if kind in ("clause", "item", "phrase") else "sentence"
        binding.append(binding_table(part, kind, resamples).assign(method=name, scores=scores, segments=kind))
        directions.append(direction_table(part, resamples).assign(method=name, scores=scores))
    return {
        "matching_history": pd.concat(history, ignore_index=True),
        "matching_pairs": _told(pd.concat(pairs, ignore_index=True), resamples),
        "matching_twins": pd.concat(binding, ignore_index=True)[BINDING],
        "matching_directions": pd.concat(directions, ignore_index=True),
    }


def _told(pairs: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """Share of studies whose own report scores above another's, by method and scores."""
    rows = []
    for name, part in pairs.groupby("method", sort=False):
        for scores in SCORES:
            outcomes = part.pivot(index="study_id", columns="seed", values=scores)
            rows.append({"method": name, "scores": scores, **share(outcomes, resamples)})
    return pd.DataFrame(rows)
