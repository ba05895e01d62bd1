"""Figures of the structure benchmark, from its tables; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from prdlib.plots import METHOD_NAMES, ORANGE, PURPLE, RED, method_colour

EDGE = 0.6  # image gain at which the heat map's colours end


def gain_heat_map(gains: pd.DataFrame) -> Figure:
    """Image gain by test (row) and model (column): number, bold where the 95 % interval lies above 0; framed where all edits of
    the test were in training; grey: nothing to score, or too few studies.

    Columns: model, test, family, trained_on, image_gain, gain_low, n.
    """
    models, tests = list(dict.fromkeys(gains["model"])), list(dict.fromkeys(gains["test"]))
    wide = {
        c: gains.pivot(index="test", columns="model", values=c).loc[tests, models].to_numpy(float)
        for c in ("image_gain", "gain_low")
    }
    few = np.isnan(wide["gain_low"]) & np.isfinite(wide["image_gain"])  # too few studies for an interval
    wide["image_gain"] = np.where(few, np.nan, wide["image_gain"])
    numbers = gains.groupby("test")["n"].max()
    figure = Figure(figsize=(1.0 * len(models) + 4.2, 0.27 * len(tests) + 1.5), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(wide["image_gain"], cmap="PuOr_r", vmin=-EDGE, vmax=EDGE, aspect="auto")
    axis.set_facecolor("#CCCCCC")
    for (i, j), value in np.ndenumerate(wide["image_gain"]):
        if few[i, j]:
            axis.text(j, i, "few", ha="center", va="center", fontsize=7, color="#555555")
        if np.isfinite(value):
            sure = wide["gain_low"][i, j] > 0
            axis.text(j, i, f"{value:+.2f}", ha="center", va="center", fontsize=7.5, weight="bold" if sure else None,
                      color="white" if abs(value) > 0.75 * EDGE else "black")  # fmt: skip
    for row in gains[gains["trained_on"] == "yes"].itertuples():
        place = (models.index(row.model) - 0.46, tests.index(row.test) - 0.42)
        axis.add_patch(Rectangle(place, 0.92, 0.84, fill=False, edgecolor="black", lw=0.8))
    axis.set_xticks(range(len(models)), [METHOD_NAMES.get(m, m) for m in models], fontsize=8, rotation=20, ha="right")
    axis.set_yticks(range(len(tests)), [f"{t.replace('_', ' ')}  (n = {numbers[t]})" for t in tests], fontsize=8)
    families = [gains.loc[gains["test"] == t, "family"].iloc[0] for t in tests]
    for i in range(1, len(tests)):
        if families[i] != families[i - 1]:
            axis.axhline(i - 0.5, color="black", lw=1)
    figure.suptitle(
        "Image gain: accuracy above chance and every blind control\nbold: 95 % interval above 0; framed: in training",
        fontsize=9,
    )
    bar = figure.colorbar(shown, ax=axis, shrink=0.7)
    bar.set_label("image gain (share of studies)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def gain_dumbbells(gains: pd.DataFrame) -> Figure:
    """One panel per model: for each test that has an interval the accuracy with the image (filled, 95 % interval), the best blind
    control (open), a line between them, and chance (dotted)."""
    part = gains[gains["gain_low"].notna()]
    models, tests = list(dict.fromkeys(part["model"])), list(dict.fromkeys(part["test"]))
    figure = Figure(figsize=(max(5.0, 1.9 * len(models) + 2.0), 0.27 * len(tests) + 1.3), layout="constrained")
    if part.empty:
        figure.text(0.5, 0.5, "no test has 20 studies or more", ha="center", fontsize=9)
        return figure
    axes = np.atleast_1d(figure.subplots(1, len(models), sharey=True))
    for axis, model in zip(axes, models, strict=True):
        rows = part[part["model"] == model].set_index("test").reindex(tests)
        colour = method_colour(model)
        for i, row in enumerate(rows.itertuples()):
            axis.plot([row.blind, row.accuracy], [i, i], color="#BBBBBB", lw=2, zorder=1)
            axis.plot([row.ci_low, row.ci_high], [i, i], color=colour, lw=1, zorder=2)
            axis.vlines(row.chance, i - 0.4, i + 0.4, color="black", ls=":", lw=1.2)
        axis.scatter(rows["accuracy"], range(len(tests)), s=26, color=colour, zorder=3)
        axis.scatter(rows["blind"], range(len(tests)), s=26, facecolor="white", edgecolor="black", zorder=3)
        axis.set_title(METHOD_NAMES.get(model, model), fontsize=9)
        axis.set_xlim(0, 1.02)
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", color="#E5E5E5", lw=0.6)
    axes[0].set_yticks(range(len(tests)), [t.replace("_", " ") for t in tests], fontsize=8)
    axes[0].invert_yaxis()
    figure.supxlabel(
        "accuracy: filled = with the image (95 % interval),\nopen = best blind control, dotted = chance", fontsize=8
    )
    return figure


def failure_sheet(images: np.ndarray, failures: pd.DataFrame, width: int = 126) -> Figure:
    """Images [N, S, S] of failures, each beside original and copy: words that the copy lost in orange, new ones in purple.

    failures: N rows with test, original, copy (words), score (of the original) and margin.
    """
    figure = Figure(figsize=(10, 1.75 * max(1, len(failures)) + 0.3), layout="constrained")
    if failures.empty:
        figure.text(0.5, 0.5, "no false copy scored above its original", ha="center", fontsize=9)
        return figure
    axes = figure.subplots(len(failures), 2, squeeze=False, width_ratios=(1, 4.6))
    for (picture, text), image, row in zip(axes, images, failures.itertuples(), strict=True):
        picture.imshow(image, cmap="gray", vmin=0, vmax=255)
        picture.axis("off")
        text.axis("off")
        text.set(xlim=(0, width), ylim=(9.5, -1))
        text.text(
            0,
            -0.3,
            f"{row.test.replace('_', ' ')}: true report {row.score:.3f}, false copy {row.score - row.margin:.3f}",
            fontsize=8,
            weight="bold",
        )
        lost, new = _changed(row.original, row.copy)
        line = _words(text, 0.9, "true", row.original, lost, ORANGE, width)
        _words(text, line + 0.6, "false", row.copy, new, PURPLE, width)
    figure.suptitle("orange: words that the false copy changes; purple: what it says instead", fontsize=8)
    return figure


def _changed(original: Sequence[str], copy: Sequence[str]) -> tuple[set[int], set[int]]:
    """Positions that differ, in the original and in the copy."""
    lost: set[int] = set()
    new: set[int] = set()
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, original, copy, autojunk=False).get_opcodes():
        if tag != "equal":
            lost |= set(range(a0, a1))
            new |= set(range(b0, b1))
    return lost, new


def _words(axis, line: float, label: str, words: Sequence[str], marked: set[int], colour: str, width: int) -> float:
    axis.text(0, line, label, fontsize=8, color=RED if label == "false" else "black", style="italic")
    place = 7
    for i, word in enumerate(words):
        if place + len(word) > width:
            place, line = 7, line + 1
        axis.text(place, line, word, fontsize=7.5, family="monospace", color=colour if i in marked else "#333333",
                  weight="bold" if i in marked else None)  # fmt: skip
        place += len(word) + 1
    return line + 1
