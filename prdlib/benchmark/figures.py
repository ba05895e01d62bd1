"""Figures of the benchmark, from its tables; nothing is computed here but medians of turns."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from prdlib.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED


def ratios(times: pd.DataFrame) -> Figure:
    """Seconds of every version, median with minimum and maximum, a panel for each part; ours in colour, plain versions grey."""
    parts = list(dict.fromkeys(times["part"]))
    heights = [times[times["part"] == p].drop_duplicates(["case", "version"]).shape[0] for p in parts]
    figure = Figure(figsize=(8.5, 0.32 * sum(heights) + 0.7 * len(parts) + 0.4), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=[h + 1 for h in heights])[:, 0]
    for axis, part in zip(axes, parts, strict=True):
        rows = times[times["part"] == part].drop_duplicates(["case", "version"]).reset_index(drop=True)
        plain = rows["version"].str.contains("loop|passes|alone")
        colours = [GREY if p else BLUE for p in plain]
        axis.barh(rows.index, rows["median_s"], color=colours, height=0.65)
        error = [rows["median_s"] - rows["min_s"], rows["max_s"] - rows["median_s"]]
        axis.errorbar(rows["median_s"], rows.index, xerr=error, fmt="none", ecolor="black", lw=0.9, capsize=2)
        axis.set_yticks(
            rows.index, [f"{v}\n{c}" for v, c in zip(rows["version"], rows["case"], strict=True)], fontsize=6.5
        )
        for i, value in enumerate(rows["max_s"]):
            axis.text(value, i, f"  {rows['median_s'][i]:.3g} s", va="center", fontsize=7)
        axis.invert_yaxis()
        axis.set_title(part, fontsize=9, loc="left")
        axis.set_xlim(0, 1.15 * rows["max_s"].max())
        axis.tick_params(axis="x", labelsize=7)
    figure.supxlabel(
        "seconds: median (bar), minimum and maximum (line); grey = plain version or floor",
        fontsize=8,
    )
    return figure


def step_breakdown(breakdown: pd.DataFrame) -> Figure:
    """The parts of a step (median over turns) as one bar, below it the three groups that they belong to."""
    seconds = breakdown.drop(columns="turn").median()
    groups = seconds.groupby([name.split(":")[0].split(",")[0] for name in seconds.index], sort=False).sum()
    shades = {"forward": (BLUE, "#56B4E9"), "losses": (ORANGE, "#F0C75E"), "backward": (GREEN,), "clipping": (PURPLE,)}
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    axis = figure.subplots()
    total, start, used = seconds.sum(), 0.0, dict.fromkeys(shades, 0)
    for name, value in seconds.items():
        group = name.split(":")[0].split(",")[0]
        axis.barh(0, value, left=start, color=shades[group][used[group] % len(shades[group])], edgecolor="white")
        used[group] += 1
        if value > 0.05 * total:
            text = name.split(": ")[-1].replace(", ", ",\n")
            text = text.replace(" ", "\n") if value < 0.15 * total else text
            axis.text(start + value / 2, 0, f"{text}\n{1e3 * value:.0f} ms", ha="center", va="center", fontsize=7)
        start += value
    start = 0.0
    for group, value in groups.items():
        axis.barh(1, value, left=start, color=shades[group][0], edgecolor="white")
        if value > 0.05 * total:
            axis.text(
                start + value / 2,
                1,
                f"{group}\n{value / total:.0%}",
                ha="center",
                va="center",
                fontsize=8,
                color="white",
            )
        start += value
    axis.set_yticks([0, 1], ["parts", "together"], fontsize=8)
    axis.set_xlabel(f"seconds of one step (median of {len(breakdown)})", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    return figure


def scaling_curves(scaling: pd.DataFrame) -> Figure:
    """Seconds (blue, left) and peak memory where it was measured (red, right) against each size, log-log."""
    panels = list(dict.fromkeys(zip(scaling["of"], scaling["varied"], strict=True)))
    names = {"B": "B, pairs", "R": "R, regions", "W": "W, words a report", "K": "K, copies"}
    figure = Figure(figsize=(3.1 * min(3, len(panels)), 2.7 * -(-len(panels) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 3), min(3, len(panels)), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (what, name) in zip(axes.flat, panels, strict=False):
        rows = scaling[(scaling["of"] == what) & (scaling["varied"] == name)]
        axis.loglog(rows["size"], rows["median_s"], color=BLUE, marker="o", ms=4, lw=1.2)
        axis.fill_between(rows["size"], rows["min_s"], rows["max_s"], color=BLUE, alpha=0.2)
        axis.set_title(what, fontsize=9)
        axis.set_xlabel(names[name], fontsize=8)
        axis.set_ylabel("seconds", fontsize=8, color=BLUE)
        _readable(axis)
        if rows["gigabytes"].notna().any():
            other = axis.twinx()
            other.loglog(rows["size"], rows["gigabytes"], color=RED, marker="s", ms=3.5, lw=1, ls="--")
            other.set_ylabel("peak memory, GB", fontsize=8, color=RED)
            _readable(other)
        axis.set_xticks(rows["size"], [str(s) for s in rows["size"]])  # the second axis sets its own
        axis.xaxis.set_minor_locator(NullLocator())
    return figure


def _readable(axis: Axes) -> None:
    """A logarithmic axis with a plain number at 1, 2 and 5 of each decade, also where it spans less than one."""
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=7)
