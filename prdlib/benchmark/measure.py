"""Times of competing versions, taken in turn, and the peak memory of one."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

COLUMNS = ("part", "case", "version", "min_s", "median_s", "max_s", "repeats", "ratio", "of", "target")


def take_turns(versions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each version, ``repeats`` times in turn after one warm-up, so that all meet the same state of the machine."""
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    for turn in range(repeats + 1):
        for name, call in versions.items():
            _finish()
            start = time.perf_counter()
            call()
            _finish()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def rows(
    part: str,
    case: str,
    seconds: Mapping[str, list[float]],
    compared: Mapping[str, tuple[str, str]],
) -> list[dict[str, Any]]:
    """One row per version. compared: version -> (version beside it, target); the ratio is median over median, of the one
    beside it to this one."""
    table = []
    for name, values in seconds.items():
        other, target = compared.get(name, ("", ""))
        ratio = statistics.median(seconds[other]) / statistics.median(values) if other else float("nan")
        table.append(
            {"part": part, "case": case, "version": name, "min_s": min(values), "median_s": statistics.median(values),
             "max_s": max(values), "repeats": len(values), "ratio": ratio, "of": f"{other} / this" if other else "",
             "target": target}
        )  # fmt: skip
    return table


def peak_memory(function: Callable[..., None], *arguments: Any) -> float:
    """GB that an importable ``function`` needs at its peak, beyond what a process holds that has loaded it.

    On a CPU in a new process, from the kernel's own count of its pages; on a GPU what torch's allocator gave out at most.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(*arguments)
        return (torch.cuda.max_memory_allocated() - before) / 1e9
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (function, arguments))


def _measured(function: Callable[..., None], arguments: tuple[Any, ...]) -> float:
    torch.ones(64, 64) @ torch.ones(64, 64)  # libraries that load at their first use
    before = psutil.Process().memory_info().rss
    function(*arguments)
    return max(0, _highest_rss() - before) / 1e9


def _highest_rss() -> int:
    """Bytes. Linux keeps it per program; getrusage's number would be the parent's where that was larger."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
