"""Time and memory against one size at a time."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict

from prdlib.benchmark.local import local_inputs, with_gradient
from prdlib.benchmark.measure import peak_memory, take_turns
from prdlib.benchmark.setup import device
from prdlib.benchmark.step import Step, small_step
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
    """Seconds and peak memory of a step against pairs B, copies K, regions R (of larger images) and words W (cut there)."""
    table = []
    for name, sizes in {
        "B": (8, 16, 32, 64, 128),
        "K": (1, 2, 3, 6, 9),
        "R": (64, 96, 128, 192),
        "W": (10, 20, 40),
    }.items():
        for size in sizes:
            step = _step(config, data, name, size)
            seconds = take_turns({"step": step.whole}, repeats)["step"]
            shown = (size // 16) ** 2 if name == "R" else size
            table.append({"of": "whole step", "varied": name, "size": shown, "median_s": statistics.median(seconds),
                          "min_s": min(seconds), "max_s": max(seconds),
                          "gigabytes": peak_memory(_step_once, config, data, name, size)})  # fmt: skip
    return pd.DataFrame(table)


def _step(config: RunConfig, data: DatasetDict, name: str, size: int) -> Step:
    if name == "B":
        config = replace(config, training=replace(config.training, batch_size=size))
    elif name == "K":
        config = replace(config, objective=replace(config.objective, copies=size))
    elif name == "R":
        config = replace(config, data=replace(config.data, image_size=size))
    step = small_step(config, data, words=size if name == "W" else None)
    if name == "R":  # the prepared images have one size; what they show costs nothing
        step.batch["pixel_values"] = torch.rand(len(step.batch["valid"]), 1, size, size).to(device())
    return step


def _step_once(config: RunConfig, data: DatasetDict, name: str, size: int) -> None:
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    _step(config, data, name, size).whole()
