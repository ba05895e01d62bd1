"""Figures of an ablation: every row, its difference to the baseline, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from prdlib.evaluation.statistics import SURE
from prdlib.names import in_order
from prdlib.plots import BLUE, GREY, METHOD_NAMES, PURPLE, RED, rows_axis, sentence

BENEFITS = ("5-option accuracy", "R@1 image to report")


def sure_rows(table: pd.DataFrame) -> list[str]:
    """Rows that differ from the baseline (Holm, p < .05) in 5-option accuracy or in retrieval: those that curves name."""
    asked = (table["metric"] == "5-option accuracy") | table["metric"].str.startswith("R@")
    return in_order(table.loc[asked & (table["p_holm"] < SURE), "method"])


def forest(
    table: pd.DataFrame,
    seeds: pd.DataFrame | None = None,
    baseline: str | None = None,
    rows: Sequence[str] | None = None,
) -> Figure:
    """One panel per metric, one line per row: the value with its 95 % interval; orange where the difference to the baseline
    is sure after Holm's correction. A chance that lies far below all of a panel is told in its title: drawn, it would press
    the rows that are to be compared into a strip.

    table: see ``ablation_table``. seeds: columns metric, method, value, one line per training seed: the small dots.
    baseline: None: the row that the table names as such. rows: all that were asked, those without a finished training too (None:
    those of the table).
    """
    baseline = baseline or _named_baseline(table)
    figure, panels, rows = _panels(table, rows)
    for axis, metric, part in panels:
        for place, row, colour in _drawn_rows(axis, part, rows, baseline):
            axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=2)
            axis.plot(row["value"], place, "o", color=colour, ms=5, **_mark(row["seeds"] == 1))
            if seeds is not None:
                own = seeds[(seeds["metric"] == metric) & (seeds["method"] == row.name)]["value"]
                axis.scatter(own, np.full(len(own), place + 0.3), s=5, color=colour, alpha=0.7)
        if baseline in part.index:
            axis.axvline(part.loc[baseline, "value"], color=GREY, lw=0.8)
        chance, low, high = part["chance"].iloc[0], part["ci_low"].min(), part["ci_high"].max()
        if _far_below(chance, low, high):
            metric += f" (chance {chance:.2g})"
        else:
            axis.axvline(chance, color="black", ls=":", lw=1.2)
        rows_axis(axis, rows, fill(metric, 34))
    dots = "" if seeds is None else "; small dots: training seeds"
    text = f"value with 95 % interval (hollow: one seed){dots}; dotted, or in the title: chance"
    _caption(figure, text, table, baseline)
    return figure


def difference_forest(table: pd.DataFrame, baseline: str | None = None, rows: Sequence[str] | None = None) -> Figure:
    """The paired difference of every row to the baseline with its 95 % interval, one panel per metric around 0: what Holm's
    correction judges. Two intervals of :func:`forest` may meet though the difference of their rows is sure.

    table, baseline, rows: see :func:`forest`.
    """
    baseline = baseline or _named_baseline(table)
    compared = table[table["difference"].notna()]
    if compared.empty:
        return sentence("One row alone, or no baseline: there are no differences to draw.")
    rows = [name for name in (in_order(table["method"]) if rows is None else rows) if name != baseline]
    figure, panels, rows = _panels(compared, rows)
    for axis, metric, part in panels:
        for place, row, colour in _drawn_rows(axis, part, rows, baseline):
            untested = row["paired_seeds"] < 2 and pd.isna(row["p"])
            axis.plot([row["difference_low"], row["difference_high"]], [place, place], color=colour, lw=2)
            axis.plot(row["difference"], place, "o", color=colour, ms=5, **_mark(untested))
        axis.axvline(0, color=GREY, lw=0.8)
        rows_axis(axis, rows, fill(metric, 34))
    name = METHOD_NAMES.get(baseline, baseline)
    text = f"difference to {name}, the baseline (grey line), on the same studies and seeds, with 95 % interval (hollow: one seed)"
    _caption(figure, text, compared, None)
    return figure


def _panels(
    table: pd.DataFrame, rows: Sequence[str] | None
) -> tuple[Figure, list[tuple[Axes, str, pd.DataFrame]], list[str]]:
    """(figure, (axis, metric, its part of the table by row) of each metric, names of the rows)."""
    metrics = list(dict.fromkeys(table["metric"]))
    rows = in_order(table["method"] if rows is None else rows)
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    longest = max(len(METHOD_NAMES.get(name, name)) for name in rows)
    size = (2.5 * columns + 0.075 * longest, (0.22 * len(rows) + 0.75) * lines + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(metrics) :]:
        axis.axis("off")
    parts = [table[table["metric"] == metric].set_index("method") for metric in metrics]
    return figure, list(zip(axes.flat, metrics, parts, strict=False)), rows


def _drawn_rows(
    axis: Axes, part: pd.DataFrame, rows: Sequence[str], baseline: str | None
) -> Iterator[tuple[int, pd.Series, str]]:
    """(place, row, colour) of each row that has the score of a panel; the others are written there as missing."""
    for place, name in enumerate(rows):
        if name in part.index:
            yield place, part.loc[name], _colour(part.loc[name], baseline)
        else:
            axis.text(0.02, place, "missing", fontsize=7, va="center", transform=axis.get_yaxis_transform(),
                      bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip


def cost_benefit(table: pd.DataFrame, metrics: Sequence[str] = BENEFITS, baseline: str | None = None) -> Figure:
    """Metrics with their 95 % intervals against the minutes of one training, a panel for each that the table has. A mark's number
    stands above the axes, led to its interval by a line; the key of numbers stands beside them.

    table: see ``with_cost``. baseline: None: the row that the table names as such.
    """
    baseline = baseline or _named_baseline(table)
    table = table[table["metric"].isin(metrics) & table["seconds"].notna()]
    metrics = [metric for metric in metrics if metric in set(table["metric"])]
    numbers = {name: str(number) for number, name in enumerate(in_order(table["method"]), start=1)}
    beside = 0.075 * max(len(METHOD_NAMES.get(name, name)) for name in numbers) + 0.4
    figure = Figure(figsize=(4.4 * len(metrics) + beside, max(3.6, 0.16 * len(numbers) + 0.8)), layout="constrained")
    *axes, key = figure.subplots(1, len(metrics) + 1, width_ratios=(*[4.4] * len(metrics), beside))
    for axis, metric in zip(axes, metrics, strict=True):
        part = table[table["metric"] == metric].set_index("method")
        minutes = part["seconds"] / 60
        left, width = minutes.min(), np.ptp(minutes) or 1.0
        axis.set_xlim(left - 0.08 * width, left + 1.08 * width)
        above = spread(((minutes - left) / width + 0.08) / 1.16, min(0.036, 1 / len(part)))
        for (name, row), minute, place in zip(part.iterrows(), minutes, above, strict=True):
            colour, end = _colour(row, baseline), np.fmax(row["value"], row["ci_high"])
            axis.plot(
                [minute, minute],
                [row["ci_low"], row["ci_high"]],
                color=colour,
                lw=2.4,
                alpha=0.8,
                solid_capstyle="butt",
            )
            axis.plot(minute, row["value"], "o", color=colour, ms=5, **_mark(row["seeds"] == 1))
            leader = {"arrowstyle": "-", "color": "0.75", "lw": 0.6, "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
            axis.annotate(numbers[name], (minute, end), (place, 1.02), textcoords="axes fraction", color=colour, fontsize=7,
                          ha="center", va="bottom", arrowprops=leader)  # fmt: skip
        axis.axhline(part["chance"].iloc[0], color="black", ls=":", lw=1.2)
        axis.set_xlabel("minutes of a training, median of seeds (load of the machine differs)", fontsize=8)
        axis.set_ylabel(metric, fontsize=9)
        axis.tick_params(labelsize=8)
    for place, (name, number) in enumerate(numbers.items()):
        style = {"fontsize": 7, "va": "center", "color": GREY if name == baseline else "black"}
        key.text(0.1, place, number, ha="right", **style)
        key.text(0.15, place, METHOD_NAMES.get(name, name), **style)
    key.set_ylim(len(numbers) - 0.5, -0.5)
    key.axis("off")
    _caption(
        figure,
        "thick: 95 % interval (hollow: one seed); thin, dashed: to the number of the row; dotted: chance",
        table,
        baseline,
    )
    return figure


def spread(places: Sequence[float], apart: float) -> np.ndarray:
    """``places`` between 0 and 1, moved as little as they must be (least squares) to be in the same order and ``apart``."""
    places = np.asarray(places, dtype=float)
    order, steps = np.argsort(places, kind="stable"), apart * np.arange(len(places))
    moved = np.empty_like(places)
    moved[order] = isotonic_regression(places[order] - steps).x.clip(0, 1 - steps[-1]) + steps
    return moved


def _named_baseline(table: pd.DataFrame) -> str | None:
    """The row that others are compared to, as the table names it; None where nothing is compared."""
    return next(iter(table["minus"].dropna()), None)


def _mark(hollow: bool) -> dict[str, object]:
    """The style of a row's value: hollow where one seed says nothing of the spread of trainings."""
    return {"mfc": "white", "mew": 1.4} if hollow else {"mec": "white"}


def _far_below(chance: float, low: float, high: float) -> bool:
    """Whether chance is farther below all intervals of a panel than these reach."""
    return chance < low - (high - low)


def _colour(row: pd.Series, baseline: str | None) -> str:
    """The colour of a row, whose name is its method's."""
    if row.name == baseline:
        return GREY
    return PURPLE if pd.isna(row["difference"]) else RED if row["p_holm"] < SURE else BLUE


def _caption(figure: Figure, text: str, table: pd.DataFrame, baseline: str | None) -> None:
    text += "; grey: the baseline" if baseline in set(table["method"]) else ""
    text += "; orange: differs from the baseline (Holm, p < .05); blue: no sure difference"
    if (table["difference"].isna() & (table["method"] != baseline)).any():
        text += "; purple: no baseline to compare with"
    figure.supxlabel(fill(text, int(17 * figure.get_figwidth())), fontsize=8)
