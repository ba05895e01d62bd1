"""Model, pairs and batches of a profile, where they are measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from datasets import DatasetDict
from torch import Tensor

from prdlib.config import RunConfig
from prdlib.data.batches import PairDataset
from prdlib.models import PRDModel, build_model
from prdlib.repro import fast_precision

BF16 = torch.bfloat16


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def threads(number: int) -> Iterator[None]:
    """torch computes on ``number`` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def model_and_pairs(config: RunConfig, data: DatasetDict) -> tuple[PRDModel, PairDataset]:
    config = replace(config, model=replace(config.model, dropout=0.0, image_weights=""))
    model, _ = build_model(config, 0, sorted({" ".join(words) for words in data["train"]["words"]}))
    model = model.to(device())
    fast_attention(model)
    return model, PairDataset(data["train"], config.objective.kinds, config.objective.copies, 0)


def fast_attention(model: PRDModel) -> None:
    if device().type == "cpu":
        model.text_encoder.set_attn_implementation("eager")  # as in training


def items_of(pairs: PairDataset, number: int, batches: int) -> list[list[dict[str, Any]]]:
    number = min(number, len(pairs))
    return [[pairs[(b, (b * number + i) % len(pairs))] for i in range(number)] for b in range(batches)]


def moved(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device()) if isinstance(value, Tensor) else value for name, value in batch.items()}


def autocast() -> torch.autocast:
    """As in a training of this machine: bf16 where it computes in it."""
    return torch.autocast(device().type, BF16, enabled=fast_precision() == "bf16")
