"""Seconds and peak memory of each method of attribution, on the same pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from prdlib.attribution_methods import PAIR_METHODS
from prdlib.models import PRDModel
from prdlib.word_regions import METHOD as ATTENTION


def cost_table(
    model: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    options: Mapping[str, Mapping[str, float]] | None = None,
    attention_temperature: float = 4.0,
) -> pd.DataFrame:
    """Cost of every method of PAIR_METHODS for N pairs in one batch, after a warm-up with one of them.

    images: uint8 [N, S, S]; reports: N (marked) word lists; options: of a method; attention_temperature: tau1 of the
    local loss. Columns: method, pairs, seconds_per_pair (wall
    clock, once), peak_memory_mb (MB that torch held at most beyond what it held before).
    """
    options = {ATTENTION: {"attention_temperature": attention_temperature}, **(options or {})}
    rows = []
    for name, method in PAIR_METHODS.items():
        given = dict(options.get(name, {}))
        method(model, images[:1], reports[:1], **given)
        start = time.perf_counter()
        method(model, images, reports, **given)
        _finish()
        seconds = (time.perf_counter() - start) / len(images)
        peak = peak_memory(method, model, images, reports, **given) / 1e6
        rows.append({"method": name, "pairs": len(images), "seconds_per_pair": seconds, "peak_memory_mb": peak})
    return pd.DataFrame(rows)


def peak_memory(call: Callable[..., object], *arguments: object, **options: object) -> int:
    """Bytes that torch's allocator gave out at most while ``call`` ran, beyond what it held before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(*arguments, **options)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call(*arguments, **options)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(max(0, held.max(initial=0)))


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
