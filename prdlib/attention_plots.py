"""Figures of attention and attribution: maps over an image, words of a report, localisation beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from prdlib.plots import GREEN, GREY, RED, draw_image, draw_maximum, image_grid, scores


def localisation_scores(table: pd.DataFrame, title: str = "") -> Figure:
    """Localisation beside its controls: a panel for each score, a row for each input, the gain over the best below a line.

    table: see ``evaluation.localisation.localisation_table``. An empty one is drawn as the sentence that there are no boxes.
    """
    if table.empty:
        return scores(table, title or "Localisation")
    metrics, inputs = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["input"]))
    figure = Figure(figsize=(2.3 * len(metrics) + 1.7, 0.3 * len(inputs) + 0.9), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    for axis, metric in zip(axes, metrics, strict=True):
        rows = table[table["metric"] == metric].set_index("input").loc[inputs]
        gain = np.array([name.startswith("gain") for name in inputs])
        place, value = np.arange(len(inputs)), rows["value"].to_numpy(float)
        errors = np.stack([value - rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float) - value])
        for name, chosen, colour in (("own image", ~gain & (place == inputs.index("image")), GREEN),
                                     ("control", ~gain & (place != inputs.index("image")), GREY),
                                     ("gain", gain, RED)):  # fmt: skip
            axis.errorbar(value[chosen], place[chosen], xerr=np.abs(errors[:, chosen]), fmt="o", ms=4, lw=1.4, color=colour,
                          label=name)  # fmt: skip
        for i, chance in enumerate(rows["chance"]):
            axis.vlines(chance, i - 0.45, i + 0.45, color="black", ls=":", lw=1.2, label="chance" if i == 0 else None)
        axis.axhline(len(inputs) - gain.sum() - 0.5, color="#BBBBBB", lw=0.8)
        axis.set_title(metric, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", color="#DDDDDD", lw=0.6)
    axes[0].set_yticks(place, inputs, fontsize=8)
    axes[0].set_ylim(len(inputs) - 0.5, -0.5)
    figure.supxlabel(f"value, 95 % interval over {int(table['studies'].iloc[0])} studies", fontsize=8)
    figure.suptitle(title, fontsize=9)
    axes[-1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def word_maps(
    image: np.ndarray,
    maps: np.ndarray,
    words: Sequence[str],
    boxes: Sequence[Sequence[float]] = (),
    unit: str = "attention (sums to 1 over the grid)",
    title: str = "",
) -> Figure:
    """One image [S, S] and a map [S, S] per word over it, on one shared scale, with that word's true box in orange.

    boxes: one per word, in fractions of the image; empty when the collection has none. The first panel shows all of them.
    unit: of the maps.
    """
    figure, axes = image_grid(1, len(words) + 1, 1.9, 2.5)
    low, top = float(maps.min()), float(maps.max())
    draw_image(axes[0, 0], image, boxes)
    axes[0, 0].set_title(title or ("image, true box" if len(boxes) else "image"), fontsize=8)
    for i, (axis, values, word) in enumerate(zip(axes[0, 1:], maps, words, strict=True)):
        draw_image(axis, image, boxes[i : i + 1])
        shown = axis.imshow(values, cmap="viridis", vmin=low, vmax=top, alpha=0.5, extent=(0, 1, 1, 0))
        axis.set_title(fill(word, 20), fontsize=8)
    bar = figure.colorbar(shown, ax=axes[0, -1], shrink=0.75)
    bar.set_label(unit, fontsize=7)
    bar.ax.tick_params(labelsize=6)
    return figure


def maps_with_controls(
    images: Mapping[str, np.ndarray],
    maps: Mapping[str, np.ndarray],
    words: Sequence[str],
    boxes: Sequence[Sequence[float]] = (),
) -> Figure:
    """A row for each input, a column for each phrase: its map [S, S] over the image that was shown, its true box in the study's
    own image in orange, the map's maximum as a cross. What a control points at as well was not found by looking.

    images, maps: input -> [S, S], [P, S, S]; each map on a scale of its own, from its lowest to its highest value.
    """
    figure, axes = image_grid(len(maps), len(words), 1.75, 1.8)
    for row, (name, shown) in zip(axes, maps.items(), strict=True):
        for i, (axis, values) in enumerate(zip(row, shown, strict=True)):
            draw_image(axis, images[name], boxes[i : i + 1])
            axis.imshow(values, cmap="viridis", alpha=0.5, extent=(0, 1, 1, 0))
            draw_maximum(axis, values)
        row[0].text(-0.06, 0.5, name, fontsize=8, rotation=90, ha="right", va="center", transform=row[0].transAxes)
    for axis, word in zip(axes[0], words, strict=True):
        axis.set_title(fill(word, 22), fontsize=8)
    relative_scale(figure, axes, "map", bool(len(boxes)))
    return figure


def relative_scale(figure: Figure, axes: np.ndarray, of: str, boxes: bool) -> None:
    """A colour bar without a unit for maps [rows, columns] that have none in common, and what cross and box, if any, mean."""
    bar = figure.colorbar(ScalarMappable(cmap="viridis"), ax=axes, location="bottom", fraction=0.02, pad=0.01, shrink=0.5,
                          aspect=30, ticks=[0, 1], alpha=0.5)  # fmt: skip
    bar.ax.set_xticklabels(["lowest", "highest"], fontsize=7)
    bar.set_label(f"of its {of}; {'orange: true box, ' if boxes else ''}cross: maximum", fontsize=8)
