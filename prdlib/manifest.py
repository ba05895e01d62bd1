"""run.json: what every step of a run did, written by the runner alone, atomically, so that it is true after any crash.

Where a cluster's queue starts the steps (``run --only``), each has a runner of its own, perhaps on a node of its own, and
writes its own record; locks on files say which of them live, since the process ids of another node say nothing here.

Papermill's own metadata is not a status: after a killed kernel every cell reads 'completed'. A step that was running when its
runner disappeared is *interrupted*; :func:`read_manifest` says so whatever the file says.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from filelock import FileLock, Timeout

from prdlib.repro import write_json

STATUSES = ("queued", "running", "succeeded", "failed", "kernel_died", "timed_out", "interrupted", "blocked")


class RunError(RuntimeError):
    """A run that cannot start or go on; one sentence."""


def now() -> str:
    """UTC time, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def identity(pid: int) -> dict[str, float | int] | None:
    """Process id with its start time, so that a recycled id is not taken for the same process; None when it is gone."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return {"pid": pid, "started": process.create_time()}
    except psutil.NoSuchProcess:
        return None


def alive(process: dict[str, Any] | None) -> bool:
    """Whether the very process of :func:`identity` still runs."""
    current = identity(int(process["pid"])) if process else None
    return current is not None and abs(current["started"] - process["started"]) < 1.0


def write_manifest(run_dir: Path, manifest: dict[str, Any]) -> None:
    """Write run.json with a fresh heartbeat."""
    write_json(run_dir / "run.json", {**manifest, "heartbeat": time.time()})


def load_manifest(run_dir: str | Path) -> dict[str, Any]:
    """run.json as it was written; RunError when it is not a manifest (a full disk, an edit by hand)."""
    path = Path(run_dir) / "run.json"
    try:
        manifest = json.loads(path.read_text())
        steps = manifest["steps"].values()
        whole = {"run_id", "started"} <= set(manifest) and all(step["status"] in STATUSES for step in steps)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise RunError(f"{path} is broken: remove it and run again (finished trainings are kept).")
    return manifest


def continue_command(manifest: Mapping[str, Any]) -> str:
    """The shell command that continues a run, from the call that started it."""
    call = manifest.get("call")
    if call is None:
        return "the command that started it"
    if {"notebooks", "output"} & set(call):  # not a command's run
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.items())
        return shlex.join(["python", "-c", f"from prdlib.runs import run_pipeline; run_pipeline({arguments})"])
    return shlex.join(["python", "-m", "prdlib", "run", *run_options(call)])


def run_options(call: Mapping[str, Any]) -> list[str]:
    """The options of ``prdlib run`` that make a call."""
    words = ["--grid", call["grid"]] if call.get("grid") else ["--profile", call["profile"]]
    for key, value in call["settings"].items():
        text = yaml.safe_dump([value], default_flow_style=True, width=math.inf).strip()[1:-1]
        words += ["--set", f"{key}={text}"]
    words += ["--data", call["data"]] if call["data"] else []
    return words + (["--kept", call["kept"]] if call.get("kept") else [])


def read_manifest(run_dir: str | Path) -> dict[str, Any]:
    """run.json with the truth about steps that claim to run; RunError when there is none."""
    path = Path(run_dir) / "run.json"
    if not path.is_file():
        raise RunError(
            f"No run in {str(run_dir)!r}: start one with 'python -m prdlib run --profile quick' (or 'make run')."
        )
    manifest = load_manifest(run_dir)
    runner_alive = alive(manifest.get("runner"))
    alone = set(steps_at_work(run_dir, manifest["steps"]))
    for key, step in manifest["steps"].items():
        # A live runner tells itself what became of a step whose process has just ended.
        if step["status"] == "running" and not runner_alive and key not in alone:
            step["status"] = "interrupted"
        if step["status"] == "queued" and not runner_alive:
            step["status"] = "interrupted" if step.get("started") else "queued"
    manifest["active"] = runner_alive or bool(alone)
    return manifest


@contextmanager
def runner_lock(run_dir: Path, keys: Iterable[str], only: str | None = None) -> Iterator[None]:
    """The lock of a runner of all steps (``keys``), or of the runner of ``only`` one, beside which others run other steps.
    RunError when a runner of all is at work, or of a step that this one would run."""
    with lock(run_dir) if only is None else step_lock(run_dir, only):
        busy = steps_at_work(run_dir, keys) if only is None else []
        if busy:
            raise RunError(f"Step {busy[0]} of {run_dir.name} is already at work: wait for it, or stop it first.")
        yield


@contextmanager
def lock(run_dir: Path) -> Iterator[None]:
    """One runner a run directory; a lock whose owner is gone is taken over. RunError names the owner."""
    path = run_dir / "lock.json"
    refuse_owner(path)
    write_json(path, identity(psutil.Process().pid))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def refuse_owner(path: Path) -> None:
    """RunError when a live process owns the lock.json at ``path``."""
    if path.is_file():
        try:
            owner = json.loads(path.read_text())
        except json.JSONDecodeError:
            owner = None
        if alive(owner):
            raise RunError(
                f"Process {owner['pid']} is already running {path.parent.name}: wait for it, or stop it first."
            )


@contextmanager
def step_lock(run_dir: Path, key: str) -> Iterator[None]:
    """One process a step, on whatever node of a shared file system: the lock of a process that is gone is free. RunError
    when another has it, or when a runner of all steps is at work in ``run_dir``."""
    held = FileLock(_lock_file(run_dir, key))
    try:
        held.acquire(timeout=1.0)  # longer than steps_at_work looks
    except Timeout:
        raise RunError(f"Step {key} of {run_dir.name} is already at work: wait for it, or stop it first.") from None
    try:
        refuse_owner(run_dir / "lock.json")  # after the lock: a runner that starts now sees this step at work
        yield
    finally:
        held.release()


def steps_at_work(run_dir: str | Path, keys: Iterable[str]) -> list[str]:
    """The steps that a process of their own is running now, here or on another node."""
    busy = []
    for key in keys:
        path = _lock_file(run_dir, key)
        if path.is_file():
            try:
                FileLock(path).acquire(blocking=False).lock.release()
            except Timeout:
                busy.append(key)
    return busy


def _lock_file(run_dir: str | Path, key: str) -> Path:
    return Path(run_dir) / "log" / f"{key}.lock"
