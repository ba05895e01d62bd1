"""Tasks of ``python -m prdlib evaluate`` for our own checkpoints: models and a run -> tables by name.

auroc          zero-shot and linear-probe AUROC, of every label and of left against right
localisation   maps beside their controls, for a collection with boxes
matching       a fusion head on the frozen encoders, and what it tells of twins that the inner product cannot, for a phantom

They read features, regions or words, which other models have in other forms; the structure benchmark is for any model. Trainings
of one method are its seeds, a second level of every interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from prdlib.config import ConfigError
from prdlib.evaluation.adapters import DualEncoder, PRDAdapter

if TYPE_CHECKING:
    from prdlib.models import PRDModel
    from prdlib.notebook import Run

Tables = dict[str, pd.DataFrame]
BINDING = ["method", "scores", "segments", "place", "exchanged", "value", "ci_low", "ci_high", "n", "seeds", "chance"]


def own_models(models: Mapping[tuple[str, int], DualEncoder], run: Run, task: str) -> dict[tuple[str, int], PRDModel]:
    """(name, seed) -> our model; ConfigError for another's, or when its sizes are not those of the data."""
    from prdlib.evaluation.structure_report import check_sizes

    other = [name for (name, _), model in models.items() if not isinstance(model, PRDAdapter)]
    if other:
        raise ConfigError(f"The task {task} is for checkpoints of this library, {other[0]} is none.")
    check_sizes(models, run.split("test").images.shape[-1], run.config.data.word_limit)
    return {key: model.model for key, model in models.items()}


def auroc(models: Mapping[tuple[str, int], PRDModel], run: Run) -> Tables:
    """zero_shot and linear_probe, see :func:`prdlib.evaluation.downstream.auroc_tables`, and :mod:`prdlib.evaluation.sides`."""
    from prdlib.evaluation.downstream import auroc_tables
    from prdlib.evaluation.sides import sides_table

    splits = {name: run.split(name) for name in ("train", "validation", "test")}
    resamples = run.config.evaluation.bootstrap
    tables = auroc_tables(dict(models), splits, run.info["labels"], resamples)
    return {**tables, "sides": sides_table(models, splits, resamples)}


def localisation(models: Mapping[tuple[str, int], PRDModel], run: Run) -> Tables:
    """One table: every score of the maps of each method, of every control, and the gain over the best of them.

    ConfigError for a collection without boxes.
    """
    from prdlib.evaluation.grounding import phrases

    test = run.split("test")
    found = phrases(test.findings, [report.offsets for report in test.tagged])
    if not found:
        raise ConfigError(f"The task localisation needs findings with boxes; {run.config.data.name} has none.")
    tables = [
        run.localisation([model for (n, _), model in models.items() if n == name], test, found).assign(method=name)
        for name in dict.fromkeys(name for name, _ in models)
    ]
    return {"localisation": pd.concat(tables, ignore_index=True)}


def matching(models: Mapping[tuple[str, int], PRDModel], run: Run) -> Tables:
    """A fusion head on the frozen encoders of every training, beside the inner product of the same encoders.

    matching_history: how it learnt; matching_pairs: share of test studies whose own report scores above another's, by either;
    matching_twins: exchange accuracy across and inside segments (of a model that reads whole reports: sentences);
    matching_directions: each way apart, and the blind lean of all twins. The head's seed is the training's.

    ConfigError for a collection without twins.
    """
    from prdlib.evaluation.embeddings import mean_image
    from prdlib.evaluation.matching import fit_matching, matching_accuracy, matching_twins
    from prdlib.evaluation.twins import binding_table, direction_table, make_twins, share, twin_outcomes

    if run.config.data.name != "phantom":
        raise ConfigError(f"The task matching needs twins, which {run.config.data.name} has not: use a phantom.")
    train, test = run.split("train"), run.split("test")
    resamples, limit = run.config.evaluation.bootstrap, run.config.data.word_limit
    twins, blind = make_twins(test.study_ids, test.images.shape[-1], limit), mean_image(train.images)
    if not twins.study_ids:
        raise ConfigError("No test study has two findings to exchange: raise data.n_studies.")
    history, pairs, outcomes = [], [], []
    for (name, seed), model in models.items():
        probe = fit_matching(model, train, seed)
        history.append(probe.history.assign(method=name, seed=seed))
        pairs.append(matching_accuracy(probe, test).assign(method=name, seed=seed))
        for scores, found in (("inner product", twin_outcomes(PRDAdapter(model), twins, blind)),
                              ("fusion head", matching_twins(probe, twins, blind))):  # fmt: skip
            outcomes.append(found.assign(method=name, seed=seed, scores=scores))
    pairs, outcomes = pd.concat(pairs, ignore_index=True), pd.concat(outcomes, ignore_index=True)
    told = [
        {
            "method": name,
            "scores": scores,
            **share(part.pivot(index="study_id", columns="seed", values=scores), resamples),
        }
        for name, part in pairs.groupby("method", sort=False)
        for scores in ("inner product", "fusion head")
    ]
    binding, directions = [], []
    for (name, scores), part in outcomes.groupby(["method", "scores"], sort=False):
        kind = next(model for (n, _), model in models.items() if n == name).config.segments
        kind = kind if kind in ("clause", "item", "phrase") else "sentence"
        binding.append(binding_table(part, kind, resamples).assign(method=name, scores=scores, segments=kind))
        directions.append(direction_table(part, resamples).assign(method=name, scores=scores))
    return {
        "matching_history": pd.concat(history, ignore_index=True),
        "matching_pairs": pd.DataFrame(told),
        "matching_twins": pd.concat(binding, ignore_index=True)[BINDING],
        "matching_directions": pd.concat(directions, ignore_index=True),
    }


OWN_TASKS: dict[str, Callable[[Mapping[tuple[str, int], PRDModel], Run], Tables]] = {
    "auroc": auroc,
    "localisation": localisation,
    "matching": matching,
}
