"""Command line: ``python -m prdlib run | status | prepare | pretrain | evaluate | benchmark-set | benchmark | settings``."""

from __future__ import annotations

import argparse
import lzma
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import yaml

from prdlib.config import ConfigError, RunConfig, load_profile
from prdlib.manifest import continue_command, read_manifest
from prdlib.names import check_method
from prdlib.repro import project_root, write_atomic
from prdlib.settings import nearest, reference

if TYPE_CHECKING:
    from prdlib.evaluate import Evaluation


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(prog="prdlib", description="Perturbed report discrimination, notebooks first.")
    commands = root.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run, or continue, all notebooks of a profile")
    status = commands.add_parser("status", help="what each step of a run is doing or did")
    prepare = commands.add_parser("prepare", help="prepare the data of a profile")
    pretrain = commands.add_parser("pretrain", help="train one method with one seed, without a notebook")
    evaluate = commands.add_parser(
        "evaluate",
        help="score one model or more, ours or not: the structure benchmark, zero-shot, or any other task, or all",
    )
    frozen = commands.add_parser("benchmark-set", help="write the edited reports of a split once, for any model")
    benchmark = commands.add_parser("benchmark", help="speed and memory: ratios to plain versions, measured in one run")
    commands.add_parser("settings", help="every setting with its default, range and meaning")
    for command in (run, prepare, pretrain, evaluate, frozen, benchmark):
        default = "cpu" if command is benchmark else "quick"
        command.add_argument("--profile", default=default, help="quick, cpu, openi, paper, or a .yaml file")
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.epochs=3")
        command.add_argument("--data", default="", help="folder of the collection as downloaded")
    run.add_argument("--from", dest="start_from", help="run this step again, and all that need it")
    run.add_argument(
        "--grid", default="", help="an ablation: a name (grounded, ...) or a .yaml file, see prdlib/ablation.py"
    )
    run.add_argument(
        "--kept", default="", help="with --grid: tables kept of another machine's trainings, joined in notebook 03"
    )
    run.add_argument("-j", "--jobs", type=int, help="steps at the same time")
    run.add_argument(
        "--only", metavar="STEP", help="this step (of --grid: cell) alone: for a cluster's queue, see cluster/"
    )
    status.add_argument("run_dir", nargs="?", default="", help="default: the newest run")
    pretrain.add_argument("--method", default="prd")
    pretrain.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("models", nargs="*", metavar="MODEL", help="a checkpoint's folder, clip:FOLDER, "
                          "open_clip:NAME:WEIGHTS, X.npz, embeddings:FOLDER (none: all trainings of the run)")  # fmt: skip
    evaluate.add_argument(
        "--task", default="structure", help="by comma, or all: see prdlib/tasks.py, or a wrong name for the list"
    )
    evaluate.add_argument("--grid", default="", help="the finished cells of an ablation, each row by its name")
    evaluate.add_argument("--benchmark", default="", help="a file of benchmark-set (default: drawn anew, seed 0)")
    evaluate.add_argument("--output", default="", help="folder for the tables as CSV, and their figures")
    frozen.add_argument("file", help="the file to write (JSON lines)")
    frozen.add_argument("--split", default="test", choices=("train", "validation", "test"))
    frozen.add_argument("--seed", type=int, default=0)
    frozen.add_argument("--export", default="", help="also write every image and text with its key into this folder")
    benchmark.add_argument(
        "--only", default="", help="parts, by comma: local, text, segments, step, data, memory, scaling, compile"
    )
    benchmark.add_argument("--repeats", type=int, default=5, help="turns of each version")
    benchmark.add_argument("--output", default="", help="folder for tables (CSV, JSON) and figures")
    return root


def settings_of(pairs: Sequence[str]) -> dict[str, object]:
    """['training.epochs=3'] -> {'training.epochs': 3}; values are read as YAML."""
    settings = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise ConfigError(f"--set needs KEY=VALUE, not {pair!r}, e.g. --set training.epochs=3.")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair!r}: the value is not valid YAML ({str(error).splitlines()[0]}).") from error
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 a step failed, 2 wrong input (one sentence on stderr), 130 stopped by Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_told(error):
            raise
        print(f"prdlib: {sentence(error)}", file=sys.stderr)
        return 2


def is_told(error: Exception) -> bool:
    """Whether a user can mend it: our own exceptions, and files that are missing or closed. The rest are our mistakes."""
    return type(error).__module__.split(".")[0] == "prdlib" or isinstance(error, OSError)


def sentence(error: Exception) -> str:
    """One line: the error's own words; of an operating system's error the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split())


def _run(options: argparse.Namespace) -> int:
    from prdlib.ablation_run import run_ablation
    from prdlib.runs import results_table, run_pipeline

    settings = settings_of(options.set)
    if options.kept and not options.grid:
        raise ConfigError("--kept joins the tables of an ablation: give its --grid too.")
    if options.grid:
        if options.start_from:
            raise ConfigError("--grid runs what is not finished: leave --from out.")
        report = run_ablation(options.grid, settings, options.data, options.jobs, kept=options.kept, only=options.only)
    else:
        report = run_pipeline(
            options.profile, settings, options.data, options.start_from, options.jobs, only=options.only
        )
    table = results_table(report.run_dir) if options.only is None else None
    if report.ok and table is not None:
        print(
            f"\nResults (mean over seeds [95 % interval over studies]; chance beside it)\n{table.to_string(index=False)}"
        )
    print(f"\n{report.seconds / 60:.1f} min, run directory: {_relative(report.run_dir)}")
    if not report.ok:
        bad = [k for k, s in report.statuses.items() if s != "succeeded"]
        print(f"not finished: {', '.join(bad)}; see {_relative(report.run_dir)}/log", file=sys.stderr)
    return 0 if report.ok else 1


def _status(options: argparse.Namespace) -> int:
    from prdlib.runs import status_table

    run_dir = options.run_dir or project_root() / "papermill_runs" / "latest"
    manifest = read_manifest(run_dir)
    print(f"run {manifest['run_id']}, started {manifest['started']}")
    print(status_table(run_dir).to_string(index=False, na_rep=""))
    statuses = {step["status"] for step in manifest["steps"].values()}
    if manifest["active"]:
        print("a runner is at work")
    elif statuses == {"succeeded"}:
        print("finished")
    else:
        print(f"no runner is at work; to continue: {continue_command(manifest)}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from prdlib.notebook import open_run

    run = open_run(options.profile, settings_of(options.set), data=options.data)
    print(pd.DataFrame(run.info["counts"]).T.to_string())
    print(f"{run.info['dropped']} items left out; see {_relative(run.prepared_folder)}/dropped.csv")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    from prdlib.distributed import is_first
    from prdlib.notebook import open_run

    check_method(options.method)
    run = open_run(options.profile, settings_of(options.set), data=options.data)
    result = run.fit(options.method, options.seed)
    if is_first():
        print(f"{result.seconds / 60:.1f} min, model: {_relative(result.directory)}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from prdlib.evaluate import evaluate_models, load_models, save_tables, task_names
    from prdlib.evaluation.adapters import reports_of
    from prdlib.evaluation.benchmark_set import benchmark_header, benchmark_split, load_benchmark_set, rules_hash
    from prdlib.notebook import open_run
    from prdlib.plots import save_figure
    from prdlib.structure_plots import gain_dumbbells, gain_heat_map

    tasks = task_names(options.task)
    if options.benchmark and tasks != ("structure",):
        raise ConfigError("--benchmark belongs to the task structure: leave it out.")
    run = open_run(options.profile, settings_of(options.set), data=options.data, grid=options.grid)
    models = load_models(options.models, run)
    if options.grid:
        missing = len(run.rows) * len(run.seeds) - sum(name in run.rows for name, _ in models)
        print(
            f"grid     {run.grid.name}: {missing} of {len(run.rows) * len(run.seeds)} cells are not finished and left out"
        )
    if tasks != ("structure",):
        several = options.output and (len(tasks) > 1 or "all" in tasks)  # of one task they go into the folder itself
        keep = partial(save_tables, options.output) if several else None
        evaluation = evaluate_models(models, tasks, run, partial(print, flush=True), keep)
        return _print_evaluation(evaluation, tasks, options.output)
    split = benchmark_split(options.benchmark) if options.benchmark else "test"
    if split == "train":
        raise ConfigError(
            "The set is of the training split, from which the blind controls learn: use validation or test."
        )
    part = run.split(split)
    frozen = load_benchmark_set(options.benchmark, part.tagged, part.study_ids) if options.benchmark else None
    report = run.structure(models, benchmark=frozen, split=split)
    frozen = report.benchmark
    for name, cut in report.cut.items():
        print(f"{name}: {cut} of {len(reports_of([frozen]))} texts are longer than the model's context and were cut")
    for name, table in report.tables().items():
        if len(table) and name != "cut":  # which is said above
            print(f"\n{name.replace('_', ' ')}\n{table.round(3).to_string(index=False)}")
            if options.output:
                write_atomic(Path(options.output) / f"{name}.csv", table.to_csv(index=False))
    if options.output:
        facts = {"run": run.config.run_id, "benchmark": frozen.hash, "studies": len(frozen.study_ids),
                 "seeds": {str(m): sorted(s for name, s in models if name == m) for m, _ in models}}  # fmt: skip
        answers = report.answers().to_csv(index=False).encode()
        write_atomic(Path(options.output) / "outcomes.csv.xz", lzma.compress(answers))  # hundreds of thousands of rows
        save_figure(gain_heat_map(report.gains), Path(options.output) / "heat_map", **facts)
        save_figure(gain_dumbbells(report.gains), Path(options.output) / "dumbbells", **facts)
    number = len(frozen.study_ids)
    if number < frozen.of:
        whole = benchmark_header(options.benchmark)["hash"]
        print(f"\nbenchmark set {frozen.hash}, {number} of {frozen.of} studies of the set, file hash {whole}")
        if frozen.rules != rules_hash():
            print(
                "its copies were drawn by other rules than today's, by which the constant and the text-only models learn"
            )
    else:
        print(f"\nbenchmark set {frozen.hash}, {number} studies")
    return 0


def _benchmark(options: argparse.Namespace) -> int:
    from prdlib.benchmark.cost import describe, gpu_hours
    from prdlib.benchmark.report import PARTS, run_benchmark
    from prdlib.notebook import open_run

    parts = [part.strip() for part in options.only.split(",") if part.strip()] or list(PARTS)
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"--only: unknown part {part!r}{nearest(part, PARTS)}: choose of {', '.join(PARTS)}.")
    if options.repeats < 1:
        raise ConfigError(f"--repeats is {options.repeats}: it must be 1 or more.")
    run = open_run(options.profile, settings_of(options.set), data=options.data)
    report = run_benchmark(run.config, run.data, parts, options.repeats)
    for table in (report.times, report.scaling):
        if len(table):
            print(f"\n{table.to_string(index=False, na_rep='', float_format='{:.3g}'.format)}")
    if len(report.breakdown):
        print(
            f"\nseconds of the parts of a step\n{report.breakdown.drop(columns='turn').median().round(4).to_string()}"
        )
    for name in ("text pass", "segments", "idle share of an epoch"):
        if name in report.facts:
            print(f"\n{name}\n{pd.Series(report.facts[name]).round(4).to_string()}")
    operations = report.facts.get("operations of a pair, ResNet-50, BERT-base, 224 px")
    if operations:
        print(f"\nGPU hours, an ESTIMATE from {describe(operations)}, at an assumed utilisation")
        print(gpu_hours(operations, epochs=150).to_string(index=False, float_format="{:.3g}".format))
    if options.output:
        report.save(options.output)
    return 0


def _print_evaluation(evaluation: Evaluation, tasks: Sequence[str], output: str) -> int:
    """Of one task its tables, into ``output`` itself; of several the overview, their tables into folders below it."""
    if len(tasks) > 1 or tasks == ("all",):
        print(f"\n{evaluation.overview.round(3).to_string(index=False, na_rep='')}")
        for task, why in evaluation.left_out.items():
            print(f"left out: {task}. {why}")
        if output:
            evaluation.save(output)
        return 0
    print(f"\noverview\n{evaluation.overview.round(3).to_string(index=False, na_rep='')}")
    for task, tables in evaluation.tables.items():
        for name, table in tables.items():
            print(f"\n{task}, {name.replace('_', ' ')}\n{table.round(3).to_string(index=False)}")
            if output:
                write_atomic(Path(output) / f"{name}.csv", table.to_csv(index=False))
    return 0


def _benchmark_set(options: argparse.Namespace) -> int:
    from prdlib.evaluation.adapters import export_inputs
    from prdlib.evaluation.benchmark_set import make_benchmark_set
    from prdlib.evaluation.embeddings import mean_image
    from prdlib.evaluation.structure_report import training_set
    from prdlib.evaluation.twins import make_twins
    from prdlib.evaluation.zero_shot import class_texts, load_prompts, pair_texts
    from prdlib.notebook import open_run

    run = open_run(options.profile, settings_of(options.set), data=options.data)
    part, train = run.split(options.split), run.split("train")
    made = make_benchmark_set(part.tagged, part.study_ids, (), options.seed, run.config.data.name, options.split)
    path = made.save(options.file)
    print(f"{_relative(path)}: {len(made.study_ids)} studies, {len(made.kinds)} kinds, hash {made.hash}")
    print(
        pd.DataFrame(
            {
                "applies to": {k: len(made.applicable(k)) for k in made.kinds},
                "no-ops": {k: len(made.noops(k)) for k in made.kinds},
            }
        ).to_string()
    )
    if options.export:
        size, limit = part.images.shape[-1], run.config.data.word_limit
        twins = make_twins(made.study_ids if made.source == "phantom" else (), size, limit)
        images = [*part.images, mean_image(train.images), *twins.images.reshape(-1, size, size)]
        prompts = load_prompts(run.config.evaluation.prompts)  # of zero-shot classification
        asked = [*pair_texts(part.label_names, prompts), *class_texts(prompts.classes, prompts)]
        texts = [*asked, *(text for pair in twins.reports for text in pair)]
        number = export_inputs(
            options.export,
            np.stack(images),
            [made, training_set(train, made, run.config.evaluation.control_reports)],
            texts,
        )
        print(
            f"{number} images and texts with their keys: {options.export} (mind the collection's terms: do not pass them on)"
        )
    return 0


def _settings(options: argparse.Namespace) -> int:
    load_profile("quick")
    print(pd.DataFrame(reference(RunConfig)).to_string(index=False))
    return 0


def _relative(path: object) -> str:
    root = f"{project_root()}/"
    return str(path).removeprefix(root)


COMMANDS = {
    "run": _run,
    "status": _status,
    "prepare": _prepare,
    "pretrain": _pretrain,
    "evaluate": _evaluate,
    "benchmark-set": _benchmark_set,
    "benchmark": _benchmark,
    "settings": _settings,
}

if __name__ == "__main__":
    sys.exit(main())
