"""The whole benchmark as one table, its scaling curves and the breakdown of a step."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from datasets import DatasetDict

from prdlib.benchmark import cost
from prdlib.benchmark.data import data_rates, idle_share
from prdlib.benchmark.figures import ratios, scaling_curves, step_breakdown
from prdlib.benchmark.local import local_loss, local_memory
from prdlib.benchmark.scaling import scaling_of_local_loss, scaling_of_step
from prdlib.benchmark.segments import segment_pass
from prdlib.benchmark.setup import threads
from prdlib.benchmark.step import compiled_step, large_step, small_step, step_times
from prdlib.benchmark.texts import text_pass
from prdlib.config import RunConfig
from prdlib.plots import save_figure
from prdlib.repro import git_state, versions, write_atomic, write_json

PARTS = ("local", "text", "segments", "step", "data", "memory", "scaling", "compile")


@dataclass(frozen=True)
class BenchmarkReport:
    """times: one row per version, COLUMNS of ``measure``; scaling: one per size; breakdown: seconds of the parts of a step, one
    row per turn; facts: machine, versions, sizes."""

    times: pd.DataFrame
    scaling: pd.DataFrame
    breakdown: pd.DataFrame
    facts: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """benchmark.csv, scaling.csv, breakdown.csv, benchmark.json and their figures."""
        folder = Path(folder)
        for name, table in (("benchmark", self.times), ("scaling", self.scaling), ("breakdown", self.breakdown)):
            if len(table):
                write_atomic(folder / f"{name}.csv", table.to_csv(index=False))
        write_json(folder / "benchmark.json", self.facts)
        timed = self.times[self.times["median_s"].notna()] if "median_s" in self.times else self.times.iloc[:0]
        for draw, table in ((ratios, timed), (scaling_curves, self.scaling), (step_breakdown, self.breakdown)):
            if len(table):
                save_figure(draw(table), folder / f"benchmark_{draw.__name__}", **self.facts["machine"])


def run_benchmark(
    config: RunConfig,
    data: DatasetDict,
    parts: Sequence[str] = PARTS,
    repeats: int = 5,
    tell: Callable[[str], None] = print,
) -> BenchmarkReport:
    """Measure ``parts`` (of PARTS) with ``repeats`` turns each, on the GPU if there is one, with ``data`` of ``config``.

    The step, the texts and the data of ``config`` run on as many threads as it says, the rest on all. All ratios are of medians
    measured in turn in this process. Load by other programs shows in min and max.
    """
    start = time.perf_counter()
    facts: dict[str, Any] = {"machine": machine(), "versions": versions(), **git_state(), "repeats": repeats,
                             "data": f"{config.data.name}, {len(data['train'])} training images"}  # fmt: skip
    tables, scaling, breakdown = [], pd.DataFrame(), pd.DataFrame()
    for part, measured in _measured(config, data, parts, repeats, facts):
        tell(f"{part}, {time.perf_counter() - start:.0f} s")
        if part == "scaling":
            scaling = measured
        elif part == "breakdown":
            breakdown = measured
        else:
            tables.append(measured)
    facts["seconds"] = round(time.perf_counter() - start)
    return BenchmarkReport(
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), scaling, breakdown, facts
    )


def _measured(
    config: RunConfig, data: DatasetDict, parts: Sequence[str], repeats: int, facts: dict[str, Any]
) -> Iterator[tuple[str, pd.DataFrame]]:
    number = config.training.threads or torch.get_num_threads()
    if "local" in parts:
        yield "local loss", local_loss(repeats)
    if "memory" in parts:
        yield "memory", local_memory()
    if "step" in parts:
        large = large_step(config, data)
        yield "step, large encoders", step_times("ResNet-50, BERT-base, 224 px, B 16", large, 3)
        facts["operations of a pair, ResNet-50, BERT-base, 224 px"] = cost.operations_per_pair(large)
    if "scaling" in parts:
        local = scaling_of_local_loss(max(2, repeats // 2))
        with threads(number):
            step = scaling_of_step(config, data, max(2, repeats // 2))
        yield "scaling", pd.concat([local, step], ignore_index=True)
    with threads(number):
        if "text" in parts:
            table, facts["text pass"] = text_pass(config, data, repeats)
            yield "text pass", table
        if "segments" in parts:
            table, facts["segments"] = segment_pass(config, data, repeats)
            yield "segments", table
        if "step" in parts:
            step = small_step(config, data)
            yield "step", step_times(f"profile {config.profile}, B {len(step.batch['valid'])}", step, 2 * repeats)
            yield "breakdown", pd.DataFrame([{"turn": turn, **step.parts()} for turn in range(repeats + 1)][1:])
        if "compile" in parts:
            yield "torch.compile", compiled_step(config, data, repeats)
        if "data" in parts:
            yield "data", data_rates(config, data, repeats)
            facts["idle share of an epoch"] = {f"{n} workers": idle_share(config, data, n) for n in (0, 1)}


def machine() -> dict[str, Any]:
    """Device, cores, threads and memory."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {"device": name, "cores": psutil.cpu_count(), "threads": torch.get_num_threads(),
            "gigabytes": round(psutil.virtual_memory().total / 1e9), "load": round(psutil.getloadavg()[0], 1)}  # fmt: skip


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in file.read_text().splitlines() if line.startswith("model name")] if (
        file.is_file()) else []  # fmt: skip
    return names[0] if names else platform.processor() or platform.machine()


def load_report(folder: str | Path) -> BenchmarkReport:
    """What :meth:`BenchmarkReport.save` wrote."""
    tables = [
        pd.read_csv(file) if (file := Path(folder) / f"{name}.csv").is_file() else pd.DataFrame()
        for name in ("benchmark", "scaling", "breakdown")
    ]
    return BenchmarkReport(*tables, json.loads((Path(folder) / "benchmark.json").read_text()))
