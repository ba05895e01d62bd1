"""Command line: ``python -m prdlib run | status | prepare | pretrain | settings``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
import yaml

from prdlib.config import ConfigError, check_method, load_profile, reference
from prdlib.manifest import RunError
from prdlib.repro import project_root


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(prog="prdlib", description="Perturbed report discrimination, notebooks first.")
    commands = root.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run, or continue, all notebooks of a profile")
    status = commands.add_parser("status", help="what each step of a run is doing or did")
    prepare = commands.add_parser("prepare", help="prepare the data of a profile")
    pretrain = commands.add_parser("pretrain", help="train one method with one seed, without a notebook")
    commands.add_parser("settings", help="every setting with its default, range and meaning")
    for command in (run, prepare, pretrain):
        command.add_argument("--profile", default="quick", help="quick, cpu, openi, paper, or a .yaml file")
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.epochs=3")
        command.add_argument("--data", default="", help="folder of the collection as downloaded")
    run.add_argument("--from", dest="start_from", help="run this step again, and all that need it")
    run.add_argument("--jobs", type=int, help="steps at the same time")
    status.add_argument("run_dir", nargs="?", default="", help="default: the newest run")
    pretrain.add_argument("--method", default="prd")
    pretrain.add_argument("--seed", type=int, default=0)
    return root


def settings_of(pairs: Sequence[str]) -> dict[str, object]:
    """['training.epochs=3'] -> {'training.epochs': 3}; values are read as YAML."""
    settings = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise ConfigError(f"--set needs KEY=VALUE, not {pair!r}, e.g. --set training.epochs=3.")
        settings[key] = yaml.safe_load(value)
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 a step failed, 2 wrong input (one sentence on stderr), 130 stopped by Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues", file=sys.stderr)
        return 130
    except (ConfigError, RunError, ValueError) as error:
        print(f"prdlib: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    from prdlib.runs import results_table, run_pipeline

    report = run_pipeline(options.profile, settings_of(options.set), options.data, options.start_from, options.jobs)
    table = results_table(report.run_dir)
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
    from prdlib.runs import read_manifest, status_table

    run_dir = options.run_dir or project_root() / "papermill_runs" / "latest"
    manifest = read_manifest(run_dir)
    print(f"run {manifest['run_id']}, started {manifest['started']}")
    print(status_table(run_dir).to_string(index=False, na_rep=""))
    print("a runner is at work" if manifest["active"] else "no runner is at work; 'python -m prdlib run' continues")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from prdlib.notebook import open_run

    run = open_run(options.profile, settings_of(options.set), data=options.data)
    print(pd.DataFrame(run.info["counts"]).T.to_string())
    print(f"{run.info['dropped']} items left out; see {_relative(run.prepared_folder)}/dropped.csv")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    from prdlib.notebook import open_run

    check_method(options.method)
    run = open_run(options.profile, settings_of(options.set), data=options.data)
    result = run.fit(options.method, options.seed)
    print(f"{result.seconds / 60:.1f} min, model: {_relative(result.directory)}")
    return 0


def _settings(options: argparse.Namespace) -> int:
    load_profile("quick")
    print(pd.DataFrame(reference()).to_string(index=False))
    return 0


def _relative(path: object) -> str:
    root = f"{project_root()}/"
    return str(path).removeprefix(root)


COMMANDS = {"run": _run, "status": _status, "prepare": _prepare, "pretrain": _pretrain, "settings": _settings}

if __name__ == "__main__":
    sys.exit(main())
