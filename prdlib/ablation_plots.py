"""Figures of an ablation: every row beside the baseline, and what a row costs."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prdlib.names import in_order
from prdlib.plots import BLUE, GREY, METHOD_NAMES, RED, rows_axis


def forest(table: pd.DataFrame, seeds: pd.DataFrame | None = None) -> Figure:
    """One panel per metric, one line per row: the value with its 95 % interval; red where the difference to the baseline is sure
    after Holm's correction.

    table: see ``ablation_table``. seeds: columns metric, method, value, one line per training seed: the small dots.
    """
    metrics, rows = list(dict.fromkeys(table["metric"])), in_order(table["method"])
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    longest = max(len(METHOD_NAMES.get(name, name)) for name in rows)
    size = (2.5 * columns + 0.075 * longest, (0.22 * len(rows) + 0.75) * lines + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        part = table[table["metric"] == metric].set_index("method")
        for place, name in enumerate(rows):
            if name not in part.index:
                axis.text(0.02, place, "missing", fontsize=7, va="center", transform=axis.get_yaxis_transform())
                continue
            row = part.loc[name]
            colour = GREY if pd.isna(row["minus"]) else RED if row["p_holm"] < 0.05 else BLUE
            axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=2)
            axis.plot(row["value"], place, "o", color=colour, ms=5, mec="white")
            if seeds is not None:
                own = seeds[(seeds["metric"] == metric) & (seeds["method"] == name)]["value"]
                axis.scatter(own, np.full(len(own), place + 0.3), s=5, color=colour, alpha=0.7)
        base = part[part["minus"].isna()]["value"]
        if len(base):
            axis.axvline(base.iloc[0], color=GREY, lw=0.8)
        axis.axvline(part["chance"].iloc[0], color="black", ls=":", lw=1.2)
        rows_axis(axis, rows, fill(metric, 30))
    for axis in axes.flat[len(metrics) :]:
        axis.axis("off")
    figure.supxlabel(
        "value with 95 % interval; dotted: chance; grey: the baseline; red: differs from it (Holm, p < .05)", fontsize=8
    )
    return figure


def _shifts(across: pd.Series, up: pd.Series, height: float = 250.0, line: float = 8.0) -> np.ndarray:
    """Points by which the names beside marks are moved up, lowest mark first, so that no two of neighbours overlap.

    across, up: where the marks are; height: of the axes, and line: of a name, both in points.
    """
    x = ((across - across.min()) / max(np.ptp(across), 1e-9)).to_numpy()
    y = ((up - min(up.min(), 0)) / max(up.max() - min(up.min(), 0), 1e-9)).to_numpy() * height
    placed: list[int] = []
    shifts = np.zeros(len(y))
    for i in np.argsort(y, kind="stable"):
        near = sorted(y[j] + shifts[j] for j in placed if abs(x[i] - x[j]) < 0.35)
        for taken in near:
            if abs(y[i] + shifts[i] - taken) < line:
                shifts[i] = taken + line - y[i]
        placed.append(i)
    return shifts


def cost_benefit(table: pd.DataFrame, metric: str) -> Figure:
    """A metric with its 95 % interval against the minutes of one training. table: see ``with_cost``."""
    part = table[table["metric"] == metric]
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axis = figure.subplots()
    middle = (part["seconds"].min() + part["seconds"].max()) / 120
    for row, shift in zip(part.itertuples(), _shifts(part["seconds"], part["value"]), strict=True):
        colour = GREY if pd.isna(row.minus) else RED if row.p_holm < 0.05 else BLUE
        minutes = row.seconds / 60
        axis.plot([minutes, minutes], [row.ci_low, row.ci_high], color=colour, lw=1, alpha=0.5)
        axis.plot(minutes, row.value, "o", color=colour, ms=5)
        left = minutes > middle  # of its point, so that the name stays inside the axes
        axis.annotate(METHOD_NAMES.get(row.method, row.method), (minutes, row.value), xytext=(-5 if left else 5, shift - 3),
                      fontsize=7, ha="right" if left else "left", textcoords="offset points")  # fmt: skip
    axis.axhline(part["chance"].iloc[0], color="black", ls=":", lw=1.2)
    axis.set_xlabel("minutes of one training", fontsize=9)
    axis.set_ylabel(metric, fontsize=9)
    axis.margins(x=0.15)
    axis.tick_params(labelsize=8)
    return figure
