"""The pipeline: every notebook is a step, every step a papermill run in a process of its own, all of it in run.json.

01_data -> 02_pretraining once per method and seed -> 03_ablations, 04_attention, 05_downstream. A second run continues: a
step whose inputs have not changed and whose outputs are there is skipped; training resumes inside 02.

With ``only`` a call runs one step: something else (cluster/Snakefile) decides which one is next, and where.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from filelock import FileLock

from prdlib import repro
from prdlib.config import ConfigError, RunConfig, load_profile, profile_path
from prdlib.manifest import (
    identity,
    load_manifest,
    now,
    read_manifest,
    runner_lock,
    write_manifest,
)
from prdlib.plan import (
    Step,
    check_parameters,
    find_step,
    forget_tables,
    input_hash,
    library_hash,
    outputs_of,
    plan,
    steps_again,
)

POLL = 0.2  # seconds
HEARTBEAT = 5.0


@dataclass(frozen=True)
class RunReport:
    """run_dir; statuses: step of this call -> status; ok: every step succeeded (now or before); seconds of this call."""

    run_dir: Path
    statuses: dict[str, str]
    seconds: float

    @property
    def ok(self) -> bool:
        return all(status == "succeeded" for status in self.statuses.values())


def default_run_dir(config: RunConfig) -> Path:
    """papermill_runs/<run_id> of the project."""
    return repro.project_root() / "papermill_runs" / config.run_id


def configure(
    profile: str, settings: Mapping[str, Any] | None = None, data: str = ""
) -> tuple[RunConfig, dict[str, Any]]:
    """The settings of a run, and its call: profile, settings and data as every notebook is given them. ConfigError."""
    settings = dict(settings or {})
    config = load_profile(profile, settings).with_data(data)
    profile = str(profile_path(profile)) if str(profile).endswith((".yaml", ".yml")) else profile
    return config, {"profile": profile, "settings": settings, "data": config.data.directory}


def run_pipeline(
    profile: str = "quick",
    settings: Mapping[str, Any] | None = None,
    data: str = "",
    start_from: str | None = None,
    jobs: int | None = None,
    notebooks: str | Path | None = None,
    output: str | Path | None = None,
    report: Callable[[str], None] = print,
    only: str | None = None,
) -> RunReport:
    """Run, or continue, all notebooks of a profile.

    data: folder of the collection. start_from: a step (or '02_pretraining') that runs again with all that need it.
    jobs: steps at the same time. notebooks, output: other folders than notebooks/ and papermill_runs/<run_id>.
    only: this step alone, which is blocked unless those before it succeeded; other calls may run other steps meanwhile.
    Raises ConfigError or RunError before anything runs; a step that fails is told in the report, not raised.
    """
    started = time.monotonic()
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs is {jobs}: it must be at least 1.")
    if only is not None and start_from is not None:
        raise ConfigError("--only runs one step and --from all that follow: give one of them.")
    config, call = configure(profile, settings, data)
    folder = Path(notebooks) if notebooks else repro.project_root() / "notebooks"
    run_dir = Path(output).resolve() if output else default_run_dir(config)
    config.check_logger()
    from prdlib.training_inputs import check_weights

    check_weights(config)
    steps = plan(config, folder.resolve(), run_dir, call)
    check_parameters(steps)
    again = steps_again(steps, start_from)
    chosen = steps if only is None else [find_step(steps, only)]
    jobs = (jobs or config.jobs) if only is None else 1  # on a cluster, the queue says how many threads a step has
    (run_dir / "log").mkdir(parents=True, exist_ok=True)
    with runner_lock(run_dir, [step.key for step in steps], only):
        elsewhere = {k: str(Path(v).resolve()) for k, v in (("notebooks", notebooks), ("output", output)) if v}
        runner = Runner(config, steps, chosen, run_dir, again, jobs, report, {**call, **elsewhere}, only is not None)
        runner.open()
        if not output and only is None:  # from the start, so that `status` finds a run that was killed half-way
            point_latest(run_dir)
        statuses = runner.run()
    return RunReport(run_dir, statuses, time.monotonic() - started)


class Runner:
    """Starts steps as they become ready, watches their processes, keeps the manifest."""

    def __init__(self, config, steps, chosen, run_dir, again, jobs, report, call, alone=False) -> None:
        """steps: all of the run; chosen: those to run now; alone: other processes run other steps meanwhile."""
        self.config, self.steps, self.run_dir, self.again = config, steps, run_dir, again
        self.jobs, self.report = jobs, report
        self.sources = library_hash()
        old = load_manifest(run_dir)["steps"] if (run_dir / "run.json").is_file() else {}
        self.records: dict[str, dict[str, Any]] = {
            s.key: {"status": "queued", **{k: v for k, v in old.get(s.key, {}).items() if k != "process"}}
            for s in steps
        }
        self.running: dict[str, tuple[subprocess.Popen, float]] = {}
        self.chosen = [step.key for step in chosen]
        self.alone = alone  # other processes write records of other steps
        self.waiting = list(chosen)
        self.done = 0
        self.facts = {
            "run_id": run_dir.name,
            "profile": config.profile,
            "call": call,
            "settings": asdict(config),
            "device": _device(),
            "runner": None if self.alone else identity(os.getpid()),
            "provenance": repro.provenance(),
            "started": now(),
        }

    def save(self) -> None:
        with FileLock(self.run_dir / "log" / "run.json.lock") if self.alone else nullcontext():
            if self.alone and (self.run_dir / "run.json").is_file():
                there = load_manifest(self.run_dir)
                self.facts["started"] = there["started"]
                others = {key: there["steps"].get(key, self.records[key]) for key in self.records}
                self.records = others | {key: self.records[key] for key in self.chosen}
            write_manifest(self.run_dir, {**self.facts, "steps": self.records})
        self.beat = time.monotonic()

    def open(self) -> None:
        """The first manifest: what an earlier, killed runner left 'running' is not."""
        for key in self.chosen:
            if self.records[key]["status"] == "running":
                self.records[key]["status"] = "interrupted"
        self.save()

    def run(self) -> dict[str, str]:
        try:
            while self.waiting or self.running:
                self._start_ready()
                self._watch()
                if not self.alone and time.monotonic() - self.beat > HEARTBEAT:
                    self.save()
                    self._show_running()
                time.sleep(POLL if self.running else 0)
            self.facts["runner"] = None
            self.save()
        except BaseException:
            self.facts["runner"] = None
            for key, (process, _) in self.running.items():
                _stop(process)
                self.records[key]["status"] = "interrupted"
            self.save()
            raise
        return {key: self.records[key]["status"] for key in self.chosen}

    def _start_ready(self) -> None:
        for step in list(self.waiting):
            record = self.records[step.key]
            ended = [self.records[n]["status"] for n in step.needs if n not in self.running and not self._is_waiting(n)]
            if len(ended) < len(step.needs):
                continue
            if any(status != "succeeded" for status in ended):
                bad = next(n for n in step.needs if self.records[n]["status"] != "succeeded")
                record.update(status="blocked", message=f"{bad}: {self.records[bad]['status']}")
                forget_tables(step)
                self._finish(step, f"blocked   {record['message']}")
                continue
            if len(self.running) == self.jobs:
                continue  # what it reads is not hashed again and again while nothing can start
            key = input_hash(step, self.config, self.sources, self.records)
            if self._is_done(step, key):
                self._finish(step, "unchanged")
            else:
                self._start(step, key)

    def _is_waiting(self, key: str) -> bool:
        return any(s.key == key for s in self.waiting)

    def _is_done(self, step: Step, key: str) -> bool:
        record = self.records[step.key]
        same = record["status"] == "succeeded" and record.get("input_hash") == key and step.key not in self.again
        return same and (self.run_dir / f"{step.key}.ipynb").is_file() and record.get("outputs") == outputs_of(step)

    def _start(self, step: Step, key: str) -> None:
        self.waiting.remove(step)
        log = self.run_dir / "log" / f"{step.key}.txt"
        outcome = self.run_dir / "log" / f"{step.key}.outcome.json"
        outcome.unlink(missing_ok=True)
        forget_tables(step)
        if step.key in self.again and "method" in step.parameters and step.notebook.stem == "02_pretraining":
            from prdlib.training_inputs import checkpoint_folder

            folder = checkpoint_folder(step.folder, step.parameters["method"], step.parameters["seed"])
            shutil.rmtree(folder, ignore_errors=True)  # --from 02: trained again, not loaded
        task = repro.write_json(
            self.run_dir / "log" / f"{step.key}.task.json",
            {"runner": os.getpid(), "notebook": str(step.notebook), "executed": str(self.run_dir / f"{step.key}.ipynb"),
             "outcome": str(outcome), "parameters": dict(step.parameters), "cwd": str(step.notebook.parent)},
        )  # fmt: skip
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.jobs))} if self.jobs > 1 else {}
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "prdlib.execute", str(task)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **threads, "PYTHONPATH": _with_library(os.environ.get("PYTHONPATH", ""))},
            )
        self.running[step.key] = (process, time.monotonic())
        self.records[step.key] = {
            "status": "running",
            "process": identity(process.pid),
            "host": platform.node(),
            "device": self.facts["device"],
            "started": now(),
            "commit": self.facts["provenance"]["commit"],  # another call may run other steps, of another commit
            "parameters": dict(step.parameters),
            "input_hash": key,
        }
        self.save()

    def _watch(self) -> None:
        for key, (process, begun) in list(self.running.items()):
            step, record = next(s for s in self.steps if s.key == key), self.records[key]
            seconds = time.monotonic() - begun
            if process.poll() is None:
                if seconds < self.config.step_timeout:
                    continue
                _stop(process)
                status, message = "timed_out", f"stopped after {self.config.step_timeout} s (setting step_timeout)"
            else:
                status, message = self._outcome(key, process.returncode)
            del self.running[key]
            _stop(process)  # a kernel that outlived its step
            record.update(status=status, seconds=round(seconds, 1), finished=now(), message=message)
            record["outputs"] = outputs_of(step)
            del record["process"]
            took = f"{_clock(seconds)} (expected {_clock(self._expected(key))})"
            self._finish(step, f"{status:<9} {took}" + (f"   {message[:150]}" if message else ""))

    def _outcome(self, key: str, code: int) -> tuple[str, str]:
        path = self.run_dir / "log" / f"{key}.outcome.json"
        if path.is_file():
            outcome = json.loads(path.read_text())
            return outcome["status"], outcome["message"]
        return "failed", f"the step's process ended with code {code} and left no outcome; see log/{key}.txt"

    def _finish(self, step: Step, text: str) -> None:
        if step in self.waiting:
            self.waiting.remove(step)
        self.done += 1
        self.save()
        clear = (
            "\x1b[K" if self.report is print and sys.stdout.isatty() else ""
        )  # of the line that showed what was running
        self.report(f"[{self.done:>2}/{len(self.chosen)}] {step.title:<34} {text}{clear}")

    def _show_running(self) -> None:
        if self.report is print and sys.stdout.isatty():
            lines = [
                f"{k} {_clock(time.monotonic() - t)} of about {_clock(self._expected(k))}"
                for k, (_, t) in self.running.items()
            ]
            line = "   running: " + "; ".join(lines)
            width = shutil.get_terminal_size().columns - 1
            print(f"{line[:width]}\x1b[K", end="\r", flush=True)

    def _expected(self, key: str) -> float:
        return self.config.expected_seconds.get(key.split("-")[0], 60.0)


def _with_library(paths: str) -> str:
    here = str(Path(__file__).parent.parent)
    return here if not paths else f"{here}{os.pathsep}{paths}"


def _stop(process: subprocess.Popen) -> None:
    """End a step with its kernel, which has a session of its own: the whole tree, first asking, then killing."""
    try:
        top = psutil.Process(process.pid)
        tree = [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        tree = []
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(tree, timeout=3.0)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=3.0)
    process.poll()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"


def point_latest(run_dir: Path) -> None:
    temporary = run_dir.parent / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run_dir.name)
    temporary.replace(run_dir.parent / "latest")


def status_table(run_dir: str | Path) -> pd.DataFrame:
    """One row per step: status (true even after a crash), seconds, message."""
    steps = read_manifest(run_dir)["steps"]
    rows = [
        {"step": k, "status": s["status"], "seconds": s.get("seconds"), "message": s.get("message", "")}
        for k, s in steps.items()
    ]
    return pd.DataFrame(rows)


def results_table(run_dir: Path) -> pd.DataFrame | None:
    """metrics/summary.csv of a run, or None."""
    path = run_dir / "metrics" / "summary.csv"
    return pd.read_csv(path) if path.is_file() else None
