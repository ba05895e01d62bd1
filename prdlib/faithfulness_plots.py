"""Figures of how far maps can be believed: methods beside each other, gains over controls, curves with bands, correlations.

Colours differ in lightness as well as in hue, and lines in their dashes, for grey print and for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prdlib.attention_plots import relative_scale
from prdlib.plots import BLUE, GREEN, GREY, ORANGE, RED, draw_image, draw_maximum, image_grid, scores

CONTROL_BAND = "#E6E6E6"
BAND = "#D5EFE6"  # a light GREEN: drawn opaque, so that a figure has few colours and a small file
STYLES = {  # input -> colour, dashes
    "image": (GREEN, "-"),
    "mean image": (GREY, "--"),
    "other image": (BLUE, ":"),
    "name alone": (ORANGE, "-."),
    "untrained": (RED, (0, (5, 1, 1, 1, 1, 1))),
    "random order": ("black", (0, (1, 3))),
}
UNITS = {
    "pointing": "share of phrases",
    "CNR": "standard deviations",
    "mean IoU": "share of the union",
    "energy": "share of the map",
    "insertion - deletion": "similarity",
}

CHARACTERS = 15  # of a line of small print to an inch


def methods_by_phrases(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    words: Sequence[str],
    boxes: Sequence[Sequence[Sequence[float]]] = (),
) -> Figure:
    """A row for each method, a column for each phrase: its map over the image, its true boxes in orange, its maximum as a cross.

    image: [S, S]; maps: method -> [P, S, S], each row on one scale from its lowest to its highest value, since methods have
    different units; boxes: of each phrase, in fractions of the image.
    """
    figure, axes = image_grid(len(maps), len(words), 1.6, 1.6)
    for row, (name, shown) in zip(axes, maps.items(), strict=True):
        low, high = float(shown.min()), float(shown.max())
        for i, (axis, values) in enumerate(zip(row, shown, strict=True)):
            draw_image(axis, image, boxes[i] if boxes else ())
            axis.imshow(values, cmap="viridis", alpha=0.5, extent=(0, 1, 1, 0), vmin=low, vmax=high)
            draw_maximum(axis, values)
        row[0].text(
            -0.06, 0.5, fill(name, 14), fontsize=8, rotation=90, ha="right", va="center", transform=row[0].transAxes
        )
    for axis, word in zip(axes[0], words, strict=True):
        axis.set_title(fill(word, 20), fontsize=8)
    relative_scale(figure, axes, "row", any(len(found) for found in boxes))
    return figure


def insertion_deletion_curves(table: pd.DataFrame, title: str = "", unit: str = "pixels") -> Figure:
    """Insertion above, deletion below, a column for each method: the score as the most important parts are put in or taken out.

    table: curves of :class:`prdlib.faithfulness_report.FaithfulnessReport`; bands are the 95 % intervals of the own image and of
    the control that is best by that curve's mean. unit: of the parts. An empty table is drawn as the sentence that nothing could
    be scored.
    """
    if table.empty:
        return scores(table, title)
    names, kinds = list(dict.fromkeys(table["maps"])), list(dict.fromkeys(table["curve"]))
    figure = Figure(figsize=(1.2 * len(names) + 1.5, 3.4), layout="constrained")
    axes = figure.subplots(len(kinds), len(names), sharex=True, sharey=True, squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        for axis, name in zip(row, names, strict=True):
            drawn = table[(table["maps"] == name) & (table["curve"] == kind)]
            means = drawn.groupby("input")["value"].mean().drop(["image", "random order"], errors="ignore")
            strongest = means.idxmax() if kind == "insertion" else means.idxmin()
            for source, part in drawn.groupby("input", sort=False):
                colour, dashes = STYLES[source]
                label = "own image" if source == "image" else source
                axis.plot(100 * part["fraction"], part["value"], color=colour, ls=dashes, lw=1.5, label=label)
                if source in ("image", strongest):
                    band, of = (BAND, "image") if source == "image" else (CONTROL_BAND, "the strongest control")
                    ends = 100 * part["fraction"], part["ci_low"], part["ci_high"]
                    order = 1 if source == "image" else 0.9
                    axis.fill_between(*ends, color=band, lw=0, zorder=order, gid=f"band of {of}")
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"similarity, {kind}", fontsize=8)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(fill(name, 14), fontsize=8)
    told = f"{unit}, most important first (%); bands: 95 % over {int(table['n'].max())} studies, own image and strongest control"
    figure.supxlabel(fill(told, int(CHARACTERS * figure.get_figwidth())), fontsize=8)
    axes[0, -1].legend(
        title="order taken from", title_fontsize=7, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
    )
    figure.suptitle(title, fontsize=9)
    return figure


def gains_over_controls(headline: pd.DataFrame, title: str = "") -> Figure:
    """The headline: a panel for each score, a row for each method, its gain over its best control with the 95 % interval.

    headline: see :meth:`prdlib.faithfulness_report.FaithfulnessReport.headline`. A filled dot: the
    interval is above 0, and that of the score itself above chance.
    """
    if headline.empty:
        return scores(headline, title or "Gain over the best control")
    metrics, names = list(dict.fromkeys(headline["metric"])), list(dict.fromkeys(headline["maps"]))
    figure = Figure(figsize=(1.2 * len(metrics) + 1.6, 0.27 * len(names) + 1.15), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    for axis, metric in zip(axes, metrics, strict=True):
        for row in headline[headline["metric"] == metric].itertuples():
            place, sure = names.index(row.maps), row.ci_low > 0 and row.own_low > row.own_chance
            colour = GREEN if sure else GREY
            axis.plot([row.ci_low, row.ci_high], [place, place], color=colour, lw=1.6)
            axis.plot(row.value, place, "o", ms=5, color=colour, mfc=colour if sure else "white")
        axis.axvline(0, color="black", ls=":", lw=1.2)
        axis.set_title(metric, fontsize=9)
        axis.set_xlabel(UNITS.get(metric, ""), fontsize=8)
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(axis="x", color="#DDDDDD", lw=0.6)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    number = int(headline["n"].iloc[0])
    told = f"gain over the best control, 95 % interval over {number} studies; filled: above 0, the score itself above chance"
    figure.supxlabel(fill(told, int(CHARACTERS * figure.get_figwidth())), fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def pointing_by_method(table: pd.DataFrame, title: str = "") -> Figure:
    """Pointing of every kind of maps: a group of rows for each, its own image in green above its controls in grey.

    table: columns maps, input ('image', the controls), value, ci_low, ci_high, n, chance. An empty one is drawn as a sentence.
    """
    if table.empty:
        return scores(table, title or "Pointing game")
    table = table.reset_index(drop=True)
    groups = table.groupby("maps", sort=False).ngroup()
    places = table.index + 0.8 * groups  # a gap between methods
    figure = Figure(figsize=(6.2, 0.2 * (places.max() + 1) + 0.9), layout="constrained")
    axis = figure.subplots()
    for own, label, colour in ((True, "own image", GREEN), (False, "control", GREY)):
        rows = table[(table["input"] == "image") == own]
        errors = np.abs(rows[["ci_low", "ci_high"]].to_numpy(float).T - rows["value"].to_numpy(float))
        axis.errorbar(rows["value"], places[rows.index], xerr=errors, fmt="o", ms=4, lw=1.4, color=colour, label=label)
    axis.axvline(table["chance"].iloc[0], color="black", ls=":", lw=1.2, label="chance")
    names = (
        table["input"]
        .replace("image", "own image")
        .where(table["n"] == table["n"].max(), table["input"] + ", n = " + table["n"].astype(str))
    )
    axis.set_yticks(places, names, fontsize=7)
    for name, rows in places.groupby(table["maps"], sort=False):
        axis.text(1.01, rows.mean(), fill(name, 14), fontsize=8, va="center", transform=axis.get_yaxis_transform())
    axis.set_ylim(places.max() + 0.7, -0.7)
    axis.set_xlabel(f"share of phrases, 95 % interval, n = {int(table['n'].max())}", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="#DDDDDD", lw=0.6)
    axis.set_title(title, fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figure


def map_correlations(table: pd.DataFrame, title: str = "") -> Figure:
    """Rank correlations as numbers on colours: methods below each other, against methods, an untrained model, another image.

    table: first, second, input, value, ci_low, ci_high, n; rows of input 'image' are drawn. Each pair of methods stands once.
    """
    if table.empty:
        return scores(table, title or "Correlations")
    table = table[table["input"] == "image"]
    names = list(dict.fromkeys(table["first"]))
    columns = [*names[1:], *(name for name in dict.fromkeys(table["second"]) if name not in names)]
    columns = list(dict.fromkeys(name for name in columns if name in set(table["second"])))
    figure = Figure(figsize=(0.82 * len(columns) + 1.9, 0.42 * len(names) + 1.1), layout="constrained")
    axis = figure.subplots()
    grid = table.pivot(index="first", columns="second", values="value").reindex(index=names, columns=columns)
    shown = axis.imshow(grid.to_numpy(float), cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for row in table.itertuples():
        dark = abs(row.value) > 0.6
        axis.text(columns.index(row.second), names.index(row.first), f"{row.value:.2f}\n[{row.ci_low:.2f}, {row.ci_high:.2f}]",
                  ha="center", va="center", fontsize=6.5, color="white" if dark else "black")  # fmt: skip
    axis.set_xticks(range(len(columns)), [fill(name, 9, break_long_words=False) for name in columns], fontsize=8)
    controls = sum(name not in names for name in columns)
    axis.axvline(len(columns) - controls - 0.5, color="black", lw=1.2)  # agreement | randomisation
    axis.set_yticks(range(len(names)), names, fontsize=8)
    bar = figure.colorbar(shown, ax=axis)
    bar.set_label("rank correlation", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    told = f"with other methods | with its own of controls; {int(table['n'].iloc[0])} studies, 95 % intervals, chance 0"
    axis.set_title(title or told, fontsize=8)
    return figure
