"""Time and memory against one size at a time."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from datasets import DatasetDict

from prdlib.benchmark.local import local_inputs, with_gradient
from prdlib.benchmark.measure import peak_memory, take_turns
from prdlib.benchmark.step import small_step
from prdlib.config import RunConfig
from prdlib.losses import local_attentive_contrastive


def scaling_of_local_loss(repeats: int) -> pd.DataFrame:
    """Seconds and peak memory of the local loss, one size at a time from B 32, R 49, W 30, D 128."""
    base = {"B": 32, "R": 49, "W": 30}
    table = []
    for name, sizes in {
        "B": (8, 16, 32, 64, 128, 256),
        "R": (9, 25, 49, 100, 196, 361),
        "W": (10, 20, 30, 60, 120),
    }.items():
        for size in sizes:
            values = base | {name: size}
            shape = (values["B"], values["R"], 128, (values["W"], values["W"]))
            inputs = local_inputs(*shape)
            call = partial(with_gradient, local_attentive_contrastive, inputs)
            seconds = take_turns({"ours": call}, repeats)["ours"]
            table.append({"of": "local loss", "varied": name, "size": size, "median_s": statistics.median(seconds),
                          "min_s": min(seconds), "max_s": max(seconds), "gigabytes": peak_memory(_scaled, *shape)})  # fmt: skip
    return pd.DataFrame(table)


def _scaled(*shape: Any) -> None:
    with_gradient(local_attentive_contrastive, local_inputs(*shape))


def scaling_of_step(config: RunConfig, data: DatasetDict, repeats: int) -> pd.DataFrame:
    """Seconds of a step against pairs B and copies K."""
    table = []
    for name, sizes in {"B": (8, 16, 32, 64, 128), "K": (1, 2, 3, 6, 9)}.items():
        for size in sizes:
            changed = (
                replace(config, training=replace(config.training, batch_size=size))
                if name == "B"
                else replace(config, objective=replace(config.objective, copies=size))
            )
            step = small_step(changed, data)
            seconds = take_turns({"step": step.whole}, repeats)["step"]
            table.append({"of": "whole step", "varied": name, "size": size, "median_s": statistics.median(seconds),
                          "min_s": min(seconds), "max_s": max(seconds)})  # fmt: skip
    return pd.DataFrame(table)
