"""One pair explained: its map over the image, its words on colours, and what a perturbed report changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prdlib.attribution_methods import Explanation
from prdlib.plots import draw_image
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import SEGMENTS, UNTRAINED

COLOURS = colormaps["RdBu_r"]  # blue lowers, red raises
DIFFERENCE = "difference"  # title of a map that has a scale of its own
UNITS = {  # of a map's values
    "Integrated Gradients": "similarity, per pixel",
    "Occlusion": "similarity lost, per covered square",
    "Grad-CAM": "arbitrary unit",
    ATTENTION: "attention - uniform",
    UNTRAINED: "attention - uniform",
    SEGMENTS: "cosine",
}
MEANINGS = {
    ATTENTION: "red more, blue less than everywhere alike",
    UNTRAINED: "red more, blue less than everywhere alike",
    SEGMENTS: "red like, blue unlike the words",
}
LINE = 108  # characters


def pair_explanation(
    image: np.ndarray, found: Mapping[str, Explanation], boxes: Sequence[Sequence[float]] = (), title: str = ""
) -> Figure:
    """Maps above, words below; maps on one scale from minus to plus their largest magnitude, the DIFFERENCE on its own.

    The scale of words ends at the 95th percentile of their magnitudes, or one strong word would leave all others blank; words
    beyond its end are bold.

    image: uint8 [H, W]; found: title -> explanation of this image; boxes: true ones, in fractions of the image; title: study and
    text.
    """
    maps = {name: e.map for name, e in found.items() if e.map is not None}
    texts = {name: (e.words, e.values) for name, e in found.items() if e.values is not None}
    lines = [line for name, row in texts.items() for line in _lines(name, *row)]
    sizes = (2.1 if maps else 1.7, 0.19 * len(lines) + 0.1 if lines else 0.0)
    heading = [fill(title, LINE)] if title else []
    figure = Figure(
        figsize=(7.2, sum(sizes) + 0.5 + 0.15 * sum(t.count("\n") + 1 for t in heading)), layout="constrained"
    )
    first = next(iter(found.values()))
    upper, lower = figure.subfigures(2, 1, height_ratios=sizes) if lines else (figure, None)
    axes = np.atleast_1d(upper.subplots(1, max(3, len(maps) + 1) if maps else 1))
    for axis in axes:
        axis.axis("off")
    draw_image(axes[0], image, boxes)
    axes[0].set_aspect(image.shape[0] / image.shape[1])
    axes[0].set_title("image, true boxes" if len(boxes) else "image", fontsize=8)
    scales = [[name for name in maps if (name == DIFFERENCE) == alone] for alone in (False, True)]
    for names in scales:
        top = max((float(np.abs(maps[name]).max()) for name in names), default=1.0) or 1.0
        for name in names:
            axis = axes[1 + list(maps).index(name)]
            draw_image(axis, image, boxes)
            shown = axis.imshow(maps[name], cmap=COLOURS, vmin=-top, vmax=top, alpha=0.6, extent=(0, 1, 1, 0))
            axis.set_aspect(image.shape[0] / image.shape[1])
            axis.set_title(name, fontsize=8)
        if names:
            bar = upper.colorbar(shown, ax=axes[1 + list(maps).index(names[-1])], shrink=0.75)
            bar.ax.tick_params(labelsize=6)
            bar.ax.yaxis.get_offset_text().set_fontsize(6)
            bar.set_label(UNITS.get(first.method, "similarity"), fontsize=7)
    meaning = MEANINGS.get(first.method, "red raises, blue lowers the similarity")
    figure.suptitle("\n".join([*heading, f"{first.method}: {meaning}"]), fontsize=8)
    if lower is not None:
        _write(lower.subplots(), lines, np.abs(np.concatenate([values for _, values in texts.values()])))
    return figure


def _lines(name: str, words: Sequence[str], values: np.ndarray) -> list[list[tuple[int, str, float | None]]]:
    """(column, word, contribution; None: a heading)."""
    lines: list[list[tuple[int, str, float | None]]] = [[(0, name, None)], []]
    place = 0
    for word, value in zip(words, values, strict=True):
        if place + len(word) > LINE:
            lines.append([])
            place = 0
        lines[-1].append((place, word, float(value)))
        place += len(word) + 1
    return lines


def _write(axis: Axes, lines: Sequence[Sequence[tuple[int, str, float | None]]], sizes: np.ndarray) -> None:
    top = float(np.percentile(sizes, 95)) or float(sizes.max()) or 1.0
    axis.set(xlim=(0, LINE + 1), ylim=(len(lines) - 0.4, -0.6))
    axis.axis("off")
    for row, line in enumerate(lines):
        for place, word, value in line:
            if value is None:
                axis.text(place, row, word, fontsize=7, weight="bold", va="center")
                continue
            colour = COLOURS(0.5 + 0.5 * value / top)
            light = np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.5
            axis.text(place, row, word, family="monospace", fontsize=7, va="center", color="black" if light else "white",
                      weight="bold" if abs(value) > top else None,
                      bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0})  # fmt: skip
    axis.set_title(
        f"words: full colour from {top:.3f} (95th percentile), bold beyond it, the largest {sizes.max():.3f}",
        fontsize=7,
    )
