"""Figures of an ablation: every row beside the baseline, and what a row costs."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prdlib.names import in_order
from prdlib.plots import BLUE, GREY, METHOD_NAMES, RED, rows_axis


def forest(table: pd.DataFrame, seeds: pd.DataFrame | None = None) -> Figure:
    """One panel per metric, one line per row: the value with its 95 % interval; orange where the difference to the baseline
    is sure after Holm's correction.

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
            hollow = {"mfc": "white", "mew": 1.4} if row["seeds"] == 1 else {"mec": "white"}
            axis.plot(row["value"], place, "o", color=colour, ms=5, **hollow)
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
        "value with 95 % interval (hollow: one seed, over studies alone); dotted: chance; grey: the baseline; "
        "orange: differs from it (Holm, p < .05)",
        fontsize=8,
    )
    return figure


def cost_benefit(table: pd.DataFrame, metric: str) -> Figure:
    """A metric with its 95 % interval against the minutes of one training; marks are numbered, the key stands beside the axes.

    table: see ``with_cost``.
    """
    part = table[table["metric"] == metric].set_index("method")
    names = [name for name in in_order(part.index) if pd.notna(part.loc[name, "seconds"])]
    longest = max(len(METHOD_NAMES.get(name, name)) for name in names)
    figure = Figure(figsize=(5.4 + 0.075 * longest, max(3.6, 0.16 * len(names) + 0.6)), layout="constrained")
    axis, key = figure.subplots(1, 2, width_ratios=(5.4, 0.075 * longest + 0.3))
    for number, name in enumerate(names, start=1):
        row, place = part.loc[name], (number - 0.5) / len(names)
        colour = GREY if pd.isna(row["minus"]) else RED if row["p_holm"] < 0.05 else BLUE
        minutes = row["seconds"] / 60
        axis.plot([minutes, minutes], [row["ci_low"], row["ci_high"]], color=colour, lw=1, alpha=0.5)
        for panel, at in ((axis, (minutes, row["value"])), (key, (0.0, place))):
            panel.plot(*at, "o", color=colour, ms=10, mec="white", clip_on=False)
            panel.annotate(str(number), at, fontsize=6.5, color="white", ha="center", va="center_baseline")
        key.annotate(METHOD_NAMES.get(name, name), (0.0, place), xytext=(8, 0), textcoords="offset points", fontsize=7,
                     va="center")  # fmt: skip
    key.set(xlim=(-0.05, 1), ylim=(1, 0))
    key.axis("off")
    axis.axhline(part["chance"].iloc[0], color="black", ls=":", lw=1.2)
    axis.set_xlabel("minutes of one training", fontsize=9)
    axis.set_ylabel(metric, fontsize=9)
    figure.supxlabel(
        "lines: 95 % interval; dotted: chance; grey: the baseline; orange: differs from it (Holm, p < .05)", fontsize=8
    )
    axis.margins(x=0.08)
    axis.tick_params(labelsize=8)
    return figure
