"""Figures of notebook 05 from its tables: what labels are worth, curves of one, what is retrieved. Nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from prdlib.evaluation.label_efficiency import CONSTANT
from prdlib.names import in_order
from prdlib.plots import GREEN, GREY, METHOD_NAMES, RED, draw_image, image_grid, method_colour, rows_axis

TITLES = {"ROC": "ROC", "PR": "precision and recall", "reliability": "reliability"}
FEWEST = 5  # studies of a bin of the reliability diagram: of one study it says 0 or 1
CONTROLS = {  # beside methods; untrained encoders are black and dashed
    CONSTANT: {"color": GREY, "ls": ":"},
    "ImageNet": {"color": "#B8860B", "ls": "-."},
}
AXES = {
    "ROC": ("share of false positives", "sensitivity"),
    "PR": ("recall", "precision"),
    "reliability": ("mean probability in a bin", "share with the label"),
}


def label_efficiency_curves(table: pd.DataFrame, metric: str = "AUROC") -> Figure:
    """Mean over labels of ``metric`` at each share of the training patients, a panel for each mode.

    table: see prdlib.evaluation.label_efficiency; without rows it is the sentence that there is nothing.
    Bars: 95 % intervals over patients, subsets and trainings.
    """
    means = table[(table["label"] == "mean") & (table["metric"] == metric)] if len(table) else table
    if means.empty:
        return nothing_to_show(f"{metric} by the number of labels")
    modes, shares = list(dict.fromkeys(means["mode"])), sorted(means["share"].unique())
    figure = Figure(figsize=(1.5 + 4.2 * len(modes), 3.6), layout="constrained")
    for axis, mode in zip(np.atleast_1d(figure.subplots(1, len(modes), sharey=True)), modes, strict=True):
        part = means[means["mode"] == mode]
        names = in_order(part["model"])
        for place, name in enumerate(names):
            rows = part[part["model"] == name].sort_values("share")
            x = rows["share"] * 1.06 ** (place - (len(names) - 1) / 2)  # side by side, or bars hide each other
            bars = np.abs(np.stack([rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]]))
            style = CONTROLS.get(
                name, {"color": method_colour(name, "black"), "ls": "-" if name in METHOD_NAMES else "--"}
            )
            axis.errorbar(x, rows["value"], yerr=bars, label=METHOD_NAMES.get(name, name), capsize=2, lw=1.4, marker="o", ms=4,
                          **style)  # fmt: skip
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(shares))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set(title=mode, xlabel="training patients with labels")
        axis.axhline(part["chance"].iloc[0], color=GREY, lw=0.8, ls=":", label="chance")
        axis.grid(axis="y", lw=0.3)
    figure.axes[0].set_ylabel(f"mean {metric} of the labels (test)")
    figure.axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def nothing_to_show(title: str) -> Figure:
    """The sentence that stands where a figure would."""
    figure = Figure(figsize=(7.2, 0.5), layout="constrained")
    figure.text(0.5, 0.4, f"{title}: nothing was scored", ha="center", fontsize=9)
    return figure


def task_scores(lines: pd.DataFrame, title: str = "") -> Figure:
    """A panel for each metric of a task, a row for each model: dot and 95 % interval, its control as a hollow diamond.

    lines: of an overview (columns prdlib.tasks.LINES). Dotted: chance. No lines: the sentence that nothing was scored.
    """
    metrics, models = list(dict.fromkeys(lines["metric"])), in_order(lines["model"])
    if not metrics:
        return nothing_to_show(title)
    columns = 2 if len(metrics) == 4 else min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(3.1 * columns + 1, (0.3 * len(models) + 0.9) * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, (axis, metric) in enumerate(zip(axes.flat, metrics, strict=False)):
        part = lines[lines["metric"] == metric].set_index("model")
        for i, model in enumerate(models):
            if model not in part.index:
                continue
            row, colour = part.loc[model], method_colour(model)
            axis.plot([row["ci_low"], row["ci_high"]], [i, i], color=colour, lw=2)
            axis.scatter(row["value"], i, s=36, color=colour, edgecolor="white", zorder=4)
            axis.scatter(row["control"], i, s=34, marker="D", facecolor="none", edgecolor="black", lw=1, zorder=3)
        axis.axvline(part["chance"].mean(), color="black", ls=":", lw=1.1)
        rows_axis(axis, models, fill(metric, 36))
        axis.tick_params(labelleft=place % columns == 0)
    for axis in axes.flat[len(metrics) :]:
        axis.axis("off")
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("dot and bar: value and 95 % interval; diamond: control; dotted: chance", fontsize=8)
    return figure


def label_curves(curves: Mapping[str, pd.DataFrame], prevalence: float, title: str = "") -> Figure:
    """ROC, precision over recall and reliability of one label, a line with its 95 % band for each model.

    Bins of fewer than FEWEST studies are not drawn.
    curves: model -> table of prdlib.evaluation.curves; prevalence: of the label in test, the precision of a blind guess.
    """
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axis, (curve, name) in zip(figure.subplots(1, 3), TITLES.items(), strict=True):
        for model, table in curves.items():
            points = table[(table["curve"] == curve) & ~(table["n"] < FEWEST)]
            colour = method_colour(model)
            if curve == "reliability":
                bars = np.abs(np.stack([points["y"] - points["low"], points["high"] - points["y"]]))
                axis.errorbar(points["x"], points["y"], yerr=bars, color=colour, marker="o", ms=3, lw=1.2, capsize=2,
                              label=METHOD_NAMES.get(model, model))  # fmt: skip
                if len(curves) == 1:
                    for row in points.itertuples():
                        axis.annotate(str(row.n), (row.x, row.high), fontsize=7, ha="center", va="bottom")
                continue
            axis.plot(points["x"], points["y"], color=colour, lw=1.4, drawstyle="steps-pre" if curve == "PR" else "default",
                      label=METHOD_NAMES.get(model, model))  # fmt: skip
            axis.fill_between(points["x"], points["low"], points["high"], color=colour, alpha=0.12, lw=0)
        blind = {"ROC": ([0, 1], [0, 1]), "PR": ([0, 1], [prevalence] * 2), "reliability": ([0, 1], [0, 1])}[curve]
        axis.plot(*blind, color=GREY, lw=0.9, ls=":", label="calibrated" if curve == "reliability" else "chance")
        axis.set(title=name, xlabel=AXES[curve][0], ylabel=AXES[curve][1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
    figure.axes[0].legend(fontsize=8, loc="lower right")
    figure.axes[2].legend(fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=10)
    return figure


def retrieval_sheet(images: np.ndarray, reports: Sequence[str], examples: pd.DataFrame, width: int = 62) -> Figure:
    """Each query's film beside the reports nearest to it, and its own below them; what is right in green.

    images: uint8 [N, S, S]; reports: N texts; examples: rows 'image to report' of prdlib.evaluation.retrieval.retrieved_examples.
    """
    queries = list(dict.fromkeys(examples["query"]))
    figure, axes = image_grid(len(queries), 2, 4.6, 2.9)
    for (picture, text), query in zip(np.atleast_2d(axes), queries, strict=True):
        draw_image(picture, images[query], [])
        picture.set_title("query", fontsize=8)
        text.axis("off")
        line = 0.0
        for row in examples[examples["query"] == query].sort_values("place").itertuples():
            shown = fill(f"{row.place}. ({row.score:.2f}) {reports[row.row]}", width)
            shown = shown if shown.count("\n") < 4 else "\n".join(shown.split("\n")[:4]) + " ..."
            text.text(-0.35, 1 - line, shown, transform=text.transAxes, fontsize=7, va="top",
                      color=GREEN if row.right else "#333333", weight="bold" if row.right else "normal")  # fmt: skip
            line += 0.075 * (shown.count("\n") + 1) + 0.03
        own = fill(f"its own: {reports[query]}", width)
        own = own if own.count("\n") < 4 else "\n".join(own.split("\n")[:4]) + " ..."
        text.text(-0.35, 1 - line, own, transform=text.transAxes, fontsize=7, va="top", color=GREEN, style="italic")
        if not examples[(examples["query"] == query) & examples["right"]].size:
            text.set_title("its own report is not among them", fontsize=8, color=RED)
    return figure
