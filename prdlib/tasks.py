"""Tasks of ``evaluate``: models and a run -> tables by name, and what of them an overview shows.

structure        the structure benchmark with its blind controls                                         any model
zero_shot        prompts, by global and local similarity; of exclusive classes the nearest                any model
classification   linear probes at 1, 10 and 100 % of the labels, beside untrained encoders and a constant   ours
fine_tuning      the image encoder fine-tuned, with the paper's multi-task head where its labels are there  ours
retrieval        recall, median rank and precision at k by label, in both directions                      any model
generation       the nearest training report in the place of a written one, beside constants              any model
nli              entailment, neutral, contradiction: zero-shot, fine-tuned, and blind controls            ours
sides            left from right, where prompts say both: zero-shot and by a linear probe                 ours
auroc            AUROC of zero_shot (global), of classification (all labels) and of sides; by name alone  ours
localisation     maps of phrases beside their controls, for a collection with boxes                       ours
matching         a fusion head on the frozen encoders, for a phantom; by name alone                       ours

Models are (name, training seed) -> model; trainings of one name are its seeds, a second level of every interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prdlib.config import ConfigError
from prdlib.evaluation.adapters import DualEncoder, PRDAdapter

if TYPE_CHECKING:
    from prdlib.config import EvaluationConfig
    from prdlib.data.batches import EvaluationData
    from prdlib.data.nli import SentencePairs
    from prdlib.models import PRDModel
    from prdlib.notebook import Run

Models = Mapping[tuple[str, int], DualEncoder]
Tables = dict[str, pd.DataFrame]
SHOWN_TESTS = (
    "5 options",
    "swap_laterality",
    "swap_zone",
    "exchange_attributes",
)  # of the structure benchmark in an overview
SHOWN_METRICS = (
    "AUROC",
    "AUPRC",
    "balanced accuracy",
    "accuracy",
    "macro AUROC",
)  # of classification; Brier, ECE: in the tables
LINES = ["metric", "model", "value", "ci_low", "ci_high", "n", "seeds", "chance", "control"]


@dataclass(frozen=True)
class Task:
    """What a task does and needs.

    tables: (models, run) -> tables by name. lines: of these tables what an overview shows, columns LINES; control is what the
    same score reaches without what it is about (the best blind control, an untrained encoder, a constant), NaN where there is
    none. needs: of 'reports', 'labels', 'boxes', 'twins', 'train', 'validation', what the collection must have. ours: for our
    own models alone, since others have other features, regions and words. usual: whether 'all' holds it. headlines: beginnings of
    the metrics that stand for the task in a short overview.
    """

    tables: Callable[[Models, Run], Tables]
    lines: Callable[[Tables], pd.DataFrame]
    needs: tuple[str, ...]
    ours: bool = True
    usual: bool = True
    headlines: tuple[str, ...] = ()


def lacks(task: str, run: Run) -> str:
    """What ``task`` needs and the collection has not, in one sentence; '' for nothing."""
    info, test = run.info, run.split("test")
    there = {
        "reports": info.get("reports", True),
        "labels": bool(info["labels"]),
        "boxes": any(finding.get("box") is not None for findings in test.findings for finding in findings),
        "twins": run.config.data.name == "phantom",
        "train": "train" in run.data,
        "validation": "validation" in run.data,
    }
    missing = [part for part in TASKS[task].needs if not there[part]]
    names = {
        "train": "training studies",
        "validation": "validation studies",
        "twins": "twins, which only a phantom has",
    }
    if not missing:
        return _lacks_sides(run) if task == "sides" else ""
    return f"The task {task} needs {names.get(missing[0], missing[0])}; {run.config.data.name} has none."


def _lacks_sides(run: Run) -> str:
    from prdlib.evaluation.zero_shot import load_prompts

    prompts = load_prompts(run.config.evaluation.prompts)
    return "" if "sides" in prompts.table else f"Prompts {prompts.source} have no 'sides'."


def models_for(task: str, models: Models) -> Models:
    """Of ``models`` those that a task can score: all, or our own checkpoints."""
    return {key: m for key, m in models.items() if isinstance(m, PRDAdapter)} if TASKS[task].ours else models


def check_task(task: str, models: Models, run: Run) -> None:
    """ConfigError when the collection or every model has not what a task needs; AdapterError for a model of other sizes."""
    from prdlib.evaluation.structure_report import check_sizes

    missing = lacks(task, run)
    if missing:
        raise ConfigError(missing)
    if not models_for(task, models):
        raise ConfigError(f"The task {task} is for checkpoints of this library, {next(iter(models))[0]} is none.")
    if task == "nli":
        check_nli(run)
    if task in ("zero_shot", "sides", "auroc"):
        from prdlib.evaluation.zero_shot import check_labels, load_prompts

        prompts = load_prompts(run.config.evaluation.prompts)
        check_labels(prompts, run.info["labels"])
        if task == "auroc":
            prompts.sides("left")
    if task == "generation":
        from prdlib.evaluation.report_overlap import require_generation

        require_generation()
    check_sizes(models, run.split("test").images.shape[-1], run.config.data.word_limit)


def run_task(task: str, models: Models, run: Run) -> Tables:
    """The tables of one task, of the models that it can score. Raises what :func:`check_task` does."""
    check_task(task, models, run)
    return TASKS[task].tables(models_for(task, models), run)


def _inner(models: Models) -> dict[tuple[str, int], PRDModel]:
    return {key: model.model for key, model in models.items()}


def structure(models: Models, run: Run) -> Tables:
    """See :class:`prdlib.evaluation.structure_report.StructureReport`."""
    return run.structure(models).tables()


def _structure_lines(tables: Tables) -> pd.DataFrame:
    gains = tables["image_gain"]
    gains = gains[(gains["n"] > 0) & gains["test"].isin(SHOWN_TESTS)]
    accuracy = gains.assign(metric=gains["test"] + ", accuracy", value=gains["accuracy"], control=gains["blind"])
    gain = gains.assign(metric=gains["test"] + ", image gain", value=gains["image_gain"], ci_low=gains["gain_low"],
                        ci_high=gains["gain_high"], chance=0.0, control=np.nan)  # fmt: skip
    return pd.concat([accuracy, gain], ignore_index=True)


def zero_shot(models: Models, run: Run) -> Tables:
    """See :mod:`prdlib.evaluation.zero_shot_tables`."""
    from prdlib.evaluation.zero_shot import load_prompts
    from prdlib.evaluation.zero_shot_tables import zero_shot_tables

    validation = run.split("validation") if "validation" in run.data else None
    settings = run.config.evaluation
    return zero_shot_tables(models, run.split("test"), validation, settings.bootstrap, load_prompts(settings.prompts))


def _zero_shot_lines(tables: Tables) -> pd.DataFrame:
    from prdlib.evaluation.zero_shot_tables import zero_shot_lines

    return zero_shot_lines({name: table[table["metric"].isin(SHOWN_METRICS)] for name, table in tables.items()})


def classification(models: Models, run: Run) -> Tables:
    """classification: see :func:`prdlib.evaluation.label_efficiency.label_efficiency`, of linear probes; subsets: what each part
    of the labels holds."""
    from prdlib.evaluation.label_efficiency import MODES, label_efficiency, subset_table

    shares, draws = run.config.evaluation.label_shares, range(run.config.evaluation.label_subsets)
    table = label_efficiency(
        _with_imagenet(models, run), _splits(run), shares, draws, MODES[:1], resamples=run.config.evaluation.bootstrap
    )
    return {"classification": table, "subsets": subset_table(run.split("train"), shares, draws)}


def fine_tuning(models: Models, run: Run) -> Tables:
    """fine_tuning: the same of fine-tuned encoders, as evaluation.fine_tuning_head says: by itself for the five CheXpert tasks
    with a head each (the paper's), uncertain being a third class where it is one, else for all labels with one head.

    Every other head is for the five tasks alone where they are there. single-label learns from the whole training split only.
    """
    from prdlib.evaluation.fine_tuning import IMAGE_FINE_TUNING, choose_head
    from prdlib.evaluation.label_efficiency import MODES, label_efficiency, single_label_table

    settings = run.config.evaluation
    head, splits = choose_head(settings.fine_tuning_head, _splits(run))
    tuning = replace(IMAGE_FINE_TUNING, epochs=settings.fine_tuning_epochs)
    models = _with_imagenet(models, run)
    if head == "single-label":
        table = single_label_table(models, splits, tuning, settings.bootstrap)
    else:
        draws, classes = range(settings.label_subsets), 3 if head == "multi-class" else 2
        kind = "multi-task" if head == "multi-class" else head
        table = label_efficiency(models, splits, settings.fine_tuning_shares, draws, MODES[1:], kind, classes, tuning,
                                 resamples=settings.bootstrap)  # fmt: skip
    return {"fine_tuning": table.assign(head=head)}


def _with_imagenet(models: Models, run: Run) -> dict[tuple[str, int], PRDModel]:
    """Our models, and with evaluation.imagenet the first one's image encoder with ImageNet weights as a row of its own."""
    from prdlib.models import imagenet_twin

    inner = _inner(models)
    twin = {("ImageNet", 0): imagenet_twin(next(iter(inner.values())))} if run.config.evaluation.imagenet else {}
    return inner | twin


def _splits(run: Run) -> dict[str, EvaluationData]:
    return {name: run.split(name) for name in ("train", "validation", "test")}


def _efficiency_lines(name: str, tables: Tables) -> pd.DataFrame:
    from prdlib.evaluation.exclusive_scores import ALL

    table = tables[name]
    whole = table["label"].isin(["mean", ALL])
    shown = table[whole & table["control"].notna() & table["metric"].isin(SHOWN_METRICS)]
    share = (100 * shown["share"]).map("{:g} %".format)
    mean = np.where(shown["label"] == "mean", "mean ", "")
    return shown.assign(metric=mean + shown["metric"] + ", " + shown["mode"] + ", " + share + " of labels")


def retrieval(models: Models, run: Run) -> Tables:
    """See :func:`prdlib.evaluation.label_retrieval.retrieval_tables`."""
    from prdlib.evaluation.label_retrieval import retrieval_tables

    return {"retrieval": retrieval_tables(models, run.split("test"), resamples=run.config.evaluation.bootstrap)}


def _retrieval_lines(tables: Tables) -> pd.DataFrame:
    table = tables["retrieval"]
    shown = table[table["label"].isin(["", "mean"])]
    about = np.where(shown["label"] == "mean", " of labels, ", ", ")
    return shown.assign(metric=shown["metric"] + about + shown["direction"], control=shown["blind"])


def generation(models: Models, run: Run) -> Tables:
    """See :mod:`prdlib.evaluation.report_retrieval`."""
    from prdlib.evaluation.report_retrieval import report_retrieval_table

    train, test = run.split("train"), run.split("test")
    return {"generation": report_retrieval_table(models, train, test, run.blind_image, run.config.evaluation.bootstrap)}


def _generation_lines(tables: Tables) -> pd.DataFrame:
    from prdlib.evaluation.report_retrieval import CONTROLS

    table = tables["generation"]
    best = table[table["input"].isin(CONTROLS)].groupby(["model", "metric"])["value"].max()
    own = table[table["input"] == "image"]
    return own.assign(control=best.reindex(pd.MultiIndex.from_frame(own[["model", "metric"]])).to_numpy())


def check_nli(run: Run) -> None:
    """ConfigError for MedNLI or RadNLI without their folder; DataError for files that are not theirs."""
    settings = run.config.evaluation
    if settings.nli != "phantom":
        if not settings.nli_directory:
            raise ConfigError(f"evaluation.nli is {settings.nli}: set evaluation.nli_directory to its folder.")
        nli_pairs(settings)


def nli_pairs(settings: EvaluationConfig) -> SentencePairs:
    """The sentence pairs that the settings name."""
    from prdlib.data.nli import load_mednli, load_phantom_pairs, load_radnli

    return {
        "phantom": lambda: load_phantom_pairs(settings.nli_squares),
        "mednli": lambda: load_mednli(settings.nli_directory),
        "radnli": lambda: load_radnli(settings.nli_directory, settings.nli_training or None),
    }[settings.nli]()


def nli(models: Models, run: Run) -> Tables:
    """nli: sentence pairs (column pairs says whose), zero-shot and, with a training split, fine-tuned, each with its controls;
    see prdlib.evaluation.nli."""
    from prdlib.evaluation.nli import FINE_TUNING, fine_tuned_nli, zero_shot_nli

    settings, inner = run.config.evaluation, _inner(models)
    pairs = nli_pairs(settings)
    parts = [zero_shot_nli(inner, pairs, settings.bootstrap)]
    if len(pairs.split("train")):
        tuning = replace(FINE_TUNING, epochs=settings.fine_tuning_epochs)
        parts.append(fine_tuned_nli(inner, pairs, tuning, settings.bootstrap))
    return {"nli": pd.concat(parts, ignore_index=True).assign(pairs=pairs.name)}


def _nli_lines(tables: Tables) -> pd.DataFrame:
    table = tables["nli"]
    shown = table[table["task"].isin(["zero-shot", "fine-tuned"])]
    return shown.assign(metric=shown["pairs"] + ", " + shown["task"] + ", " + shown["label"], model=shown["series"])


def sides(models: Models, run: Run) -> Tables:
    """See :mod:`prdlib.evaluation.sides`."""
    from prdlib.evaluation.sides import sides_table
    from prdlib.evaluation.zero_shot import load_prompts

    settings = run.config.evaluation
    return {"sides": sides_table(_inner(models), _splits(run), settings.bootstrap, load_prompts(settings.prompts))}


def _sides_lines(tables: Tables) -> pd.DataFrame:
    table = tables["sides"]
    return table.assign(metric=table["task"] + ", left from right, AUROC")


def auroc(models: Models, run: Run) -> Tables:
    """zero_shot and linear_probe, see :func:`prdlib.evaluation.downstream.auroc_tables`, and sides."""
    from prdlib.evaluation.downstream import auroc_tables
    from prdlib.evaluation.zero_shot import load_prompts

    settings = run.config.evaluation
    asked = settings.bootstrap, load_prompts(settings.prompts)
    return {**auroc_tables(_inner(models), _splits(run), run.info["labels"], *asked), **sides(models, run)}


def _auroc_lines(tables: Tables) -> pd.DataFrame:
    parts = [
        tables[name][tables[name]["label"] == "mean"].assign(metric=f"{title}, mean AUROC")
        for name, title in (("zero_shot", "zero-shot"), ("linear_probe", "linear probe"))
    ]
    return pd.concat([*parts, _sides_lines(tables)], ignore_index=True)


def localisation(models: Models, run: Run) -> Tables:
    """localisation: every score of the maps of each method, of every control, and the gain over the best of them; maps being of
    the local similarity, and of Grad-CAM on the global one. lost: phrases that were not scored, by what they are. moved, of the
    phantom: whether maps follow a finding that is moved (:mod:`prdlib.evaluation.moved_findings`), beside an untrained model.

    Of MS-CXR each phrase is a text of its own, as its protocol has it; of a collection without reports the name of a finding is.
    Elsewhere a phrase stands in its report.
    """
    from prdlib.evaluation.grounding import asked_phrases, lost_boxes
    from prdlib.evaluation.moved_findings import moved_findings, moved_tables

    test, inner = run.split("test"), _inner(models)
    asked = asked_phrases(test, run.info.get("reports", True), alone=run.config.data.name == "ms_cxr")
    if not asked.items:
        raise ConfigError(
            f"The task localisation needs boxes of what reports say; those of {run.config.data.name} belong to no words."
        )
    tables = [
        run.localised([model for (n, _), model in inner.items() if n == name], asked, maps).assign(
            method=name, maps=maps
        )
        for name in dict.fromkeys(name for name, _ in models)
        for maps in run.map_methods()
    ]
    moved = {}
    if run.config.data.name == "phantom":
        pairs = moved_findings(test.study_ids, test.images.shape[-1], run.config.data.word_limit)
        moved["moved"] = moved_tables(inner, pairs, run.map_methods(), run.config.evaluation.bootstrap)
    return {
        "localisation": pd.concat(tables, ignore_index=True),
        "lost": lost_boxes(test.findings, asked.items),
        **moved,
    }


def _localisation_lines(tables: Tables) -> pd.DataFrame:
    table = tables["localisation"].rename(columns={"method": "model"})
    keys = ["model", "maps", "metric"]
    best = table[~table["input"].isin(["image", "gain over best control"])].groupby(keys)["value"].max()
    own = table[table["input"] == "image"]
    control = best.reindex(pd.MultiIndex.from_frame(own[keys])).to_numpy()
    lines = own.assign(control=control, metric=own["metric"] + ", " + own["maps"])
    return pd.concat([lines, _moved_lines(tables["moved"])], ignore_index=True) if "moved" in tables else lines


def _moved_lines(table: pd.DataFrame) -> pd.DataFrame:
    table = table[(table["input"] == "image") & (table["moved"] == "all")].rename(columns={"method": "model"})
    keys = ["model", "maps"]
    control = table[table["metric"] == "follows, other words"].set_index(keys)["value"]
    own = table[table["metric"] == "follows, own words"]
    return own.assign(
        control=control.reindex(pd.MultiIndex.from_frame(own[keys])).to_numpy(),
        metric="a moved finding is followed, " + own["maps"],
    )


def matching(models: Models, run: Run) -> Tables:
    """A fusion head on the frozen encoders of every training, see :func:`prdlib.evaluation.matching_tables.matching_tables`."""
    from prdlib.evaluation.matching_tables import matching_tables

    resamples, limit = run.config.evaluation.bootstrap, run.config.data.word_limit
    return matching_tables(_inner(models), run.split("train"), run.split("test"), resamples, limit)


def _matching_lines(tables: Tables) -> pd.DataFrame:
    told, twins = tables["matching_pairs"], tables["matching_twins"]
    told = told.assign(metric="own report above another's, " + told["scores"])
    twins = twins[twins["exchanged"] == "all"]
    twins = twins.assign(metric="twins " + twins["place"] + ", " + twins["scores"])
    return pd.concat([told, twins], ignore_index=True).rename(columns={"method": "model"})


NLI_HEADLINES = tuple(
    f"{pairs}, {what}"
    for pairs in ("phantom", "MedNLI", "RadNLI")
    for what in ("zero-shot, AUROC", "fine-tuned, accuracy")
)
TASKS: dict[str, Task] = {
    "zero_shot": Task(
        zero_shot, _zero_shot_lines, ("labels",), ours=False, headlines=("mean AUROC", "balanced accuracy of")
    ),
    "classification": Task(
        classification,
        partial(_efficiency_lines, "classification"),
        ("labels", "train", "validation"),
        headlines=("mean AUROC",),
    ),
    "fine_tuning": Task(
        fine_tuning,
        partial(_efficiency_lines, "fine_tuning"),
        ("labels", "train", "validation"),
        headlines=("mean AUROC", "macro AUROC"),
    ),
    "retrieval": Task(
        retrieval,
        _retrieval_lines,
        ("reports",),
        ours=False,
        headlines=("R@1, image", "R@10, image", "median rank, image", "P@10 of labels, image"),
    ),
    "generation": Task(
        generation,
        _generation_lines,
        ("reports", "train"),
        ours=False,
        headlines=("BLEU-4", "ROUGE-L", "label F1, macro"),
    ),
    "sides": Task(sides, _sides_lines, ("reports", "train", "validation"), headlines=("zero-shot", "linear probe")),
    "nli": Task(nli, _nli_lines, (), headlines=NLI_HEADLINES),
    "localisation": Task(localisation, _localisation_lines, ("boxes",), headlines=("pointing", "CNR, similarity")),
    "structure": Task(
        structure,
        _structure_lines,
        ("reports", "train"),
        ours=False,
        headlines=("5 options", "swap_laterality, image gain"),
    ),
    "auroc": Task(auroc, _auroc_lines, ("reports", "labels", "train", "validation"), usual=False),
    "matching": Task(matching, _matching_lines, ("reports", "twins", "train"), usual=False),
}


def overview_lines(task: str, tables: Tables) -> pd.DataFrame:
    """The overview's lines of a task: columns task and LINES."""
    lines = TASKS[task].lines(tables)
    return lines.reindex(columns=LINES).assign(task=task)[["task", *LINES]]


def headlines(overview: pd.DataFrame) -> pd.DataFrame:
    """The rows of an overview (columns task and LINES) that stand for each task, see :class:`Task`."""
    shown = [
        metric.startswith(TASKS[task].headlines or ("",))
        for task, metric in zip(overview["task"], overview["metric"], strict=True)
    ]
    return overview[shown]
