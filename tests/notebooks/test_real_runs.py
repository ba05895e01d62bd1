"""The real notebooks on a few phantoms: by hand with papermill, and under a runner that is killed again and again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import torch
import yaml
from safetensors.torch import load_file

from prdlib.config import load_profile
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.notebook import Run
from prdlib.repro import generator, project_root
from prdlib.runs import status_table
from prdlib.tasks import run_task

SMALL = {
    "methods": ["prd"],
    "data": {"n_studies": 120, "image_size": 32, "word_limit": 40},
    "model": {"image_width": 4, "text_width": 32, "text_layers": 1, "projection_dim": 16, "local_dim": 16},
    "training": {"epochs": 2, "batch_size": 16},
    "evaluation": {
        "bootstrap": 100,
        "grounding_studies": 8,
        "label_shares": [1.0],
        "nli_squares": 40,
        "fine_tuning_epochs": 1,
    },
}
KILLS = 2


def test_papermill_by_hand(tmp_path: Path) -> None:
    """From the root; the runner starts them in their own folder."""
    folder = project_root()
    notebook = os.path.relpath(project_root() / "notebooks" / "02_pretraining.ipynb", folder)
    settings = yaml.safe_dump({"settings": SMALL, "run_dir": str(tmp_path / "run")})
    command = [sys.executable, "-m", "papermill", notebook, str(tmp_path / "out.ipynb")]
    options = ["-p", "method", "prd", "-p", "seed", "1", "-y", settings, "--no-progress-bar"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "checkpoints" / "prd-seed1" / "model.safetensors").is_file()
    last = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1]
    assert "5-option" in last.outputs[-1]["data"]["text/plain"]


def start(output: Path) -> subprocess.Popen:
    code = f"from prdlib.runs import run_pipeline; run_pipeline('quick', {SMALL!r}, output={str(output)!r})"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_a_killed_runner_ends_with_what_an_uninterrupted_training_gives(tmp_path: Path) -> None:
    """The same settings trained and scored in this process, without a runner and without notebooks, have the same weights and the
    same tables."""
    begun = time.monotonic()
    run = Run(load_profile("quick", SMALL), tmp_path / "whole" / "run")
    whole = run.fit("prd", 0).model
    seconds = 4 * (time.monotonic() - begun)  # of a run, roughly: what the kills fall into
    killed = tmp_path / "killed" / "run"
    for wait in generator(0, "kills").uniform(0.2, 0.8, KILLS) * seconds:
        runner = start(killed)
        try:
            runner.wait(wait)
        except subprocess.TimeoutExpired:
            below = descendants(runner)
            os.kill(runner.pid, signal.SIGKILL)
            runner.communicate()
            psutil.wait_procs(below, timeout=30)
            assert not [p for p in below if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], (
                "a step outlived its runner"
            )
            if (killed / "run.json").is_file():
                assert "running" not in set(status_table(killed)["status"])
    last = start(killed)
    output, _ = last.communicate()
    assert last.returncode == 0, output
    assert set(status_table(killed)["status"]) == {"succeeded"}
    weights = load_file(killed / "checkpoints" / "prd-seed0" / "model.safetensors")
    for name, value in whole.state_dict().items():
        assert torch.equal(weights[name], value), name
    for task, table in (("zero_shot", "zero_shot"), ("classification", "classification"), ("retrieval", "retrieval")):
        scored = run_task(task, {("prd", 0): PRDAdapter(whole)}, run)[table]
        kept = pd.read_csv(killed / "metrics" / f"05_{table}.csv")
        numbers = ["value", "ci_low", "ci_high"]
        pd.testing.assert_frame_equal(kept[numbers], scored[numbers].reset_index(drop=True))
    for table in ("summary", "04_pointing", "05_overview"):
        assert len(pd.read_csv(killed / "metrics" / f"{table}.csv"))
