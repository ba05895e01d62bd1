"""GPU hours of a pre-training, estimated from counted operations: a statement of size, not a measurement."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from torch.utils.flop_counter import FlopCounterMode

from prdlib.benchmark.step import Step

COLLECTIONS = {
    "Open-I": 2_700,
    "CheXpert Plus": 187_000,
    "MIMIC-CXR": 222_000,
}  # training studies with a report, rounded


@dataclass(frozen=True)
class Accelerator:
    """peak: dense bf16 operations a second by its data sheet; utilisation: the share of it that a step reaches, assumed."""

    name: str
    peak: float
    utilisation: float


ACCELERATORS = (Accelerator("A100", 312e12, 0.3), Accelerator("H100", 989e12, 0.25))


def operations_per_pair(step: Step) -> float:
    """Floating-point operations for one pair of ``step``, forward and backward: products and convolutions, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        step.gradient()
    return counter.get_total_flops() / len(step.batch["valid"])


def gpu_hours(operations: float, epochs: int) -> pd.DataFrame:
    """Hours on one GPU, per collection: studies x epochs x operations / (peak x utilisation)."""
    rows = []
    for collection, studies in COLLECTIONS.items():
        row: dict[str, object] = {"collection": collection, "studies": studies, "epochs": epochs}
        for gpu in ACCELERATORS:
            hours = studies * epochs * operations / (gpu.peak * gpu.utilisation) / 3600
            row[f"{gpu.name} at {gpu.utilisation:.0%}, hours"] = hours
        rows.append(row)
    return pd.DataFrame(rows)


def describe(operations: float) -> str:
    """One line with the number behind the table."""
    return f"{operations / 1e9:.0f} GFLOP a pair, forward and backward (products and convolutions, counted by torch)"
