"""The three scales of a segment-structured report beside its image: words, segments, report."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B6914", "#5E4FA2")
PLAIN = "#555555"  # of segments without a box
LINE = 86  # characters


def three_scales(
    image: np.ndarray, segments: Sequence[Sequence[str]], boxes: Sequence[Sequence[float] | None]
) -> Figure:
    """What is read together at each scale, and what of the image it is compared with.

    image: [S, S]; segments: the words of each segment, in order; boxes: for each segment the true box (fractions) of the finding
    that it names, or None. A segment with a box has its colour in the text and in the image.
    """
    named = [i for i, box in enumerate(boxes) if box is not None]
    colours = [COLOURS[named.index(i) % len(COLOURS)] if i in named else PLAIN for i in range(len(segments))]
    lines = [wrap(" ".join(words), LINE) for words in segments]
    flow = _flow(segments)
    height = 0.19 * (len(flow) + sum(map(len, lines))) + 1.75
    figure = Figure(figsize=(9.6, max(3.2, height)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.3))
    left.imshow(image, cmap="gray", vmin=0, vmax=255)
    size = len(image)
    for i in named:
        x0, y0, x1, y1 = (value * size for value in boxes[i])
        left.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colours[i], lw=2))
    left.set_title("image; true boxes in the colour of their segment", fontsize=8)
    left.axis("off")
    _text(right, flow, lines, colours)
    return figure


def _flow(segments: Sequence[Sequence[str]]) -> list[list[tuple[int, str, int]]]:
    """Lines of (column, word, segment)."""
    rows, place = [[]], 0
    for i, words in enumerate(segments):
        for word in words:
            if place + len(word) > LINE:
                rows.append([])
                place = 0
            rows[-1].append((place, word, i))
            place += len(word) + 1
    return rows


def _text(axis: Axes, flow: list[list[tuple[int, str, int]]], lines: list[list[str]], colours: Sequence[str]) -> None:
    rows = len(flow) + sum(map(len, lines)) + 6.2
    axis.set(xlim=(0, LINE + 1), ylim=(rows, -0.6))
    axis.axis("off")
    style = {"fontsize": 8, "va": "center"}
    y = 0.0
    axis.text(0, y, "words: each sees the words of its own segment", weight="bold", **style)
    for row in flow:
        y += 1
        for place, word, i in row:
            axis.text(place, y, word, family="monospace", color=colours[i], **style)
    y += 1.6
    axis.text(0, y, "segments: each is looked for in the places of the image", weight="bold", **style)
    for part, colour in zip(lines, colours, strict=True):
        axis.add_patch(Rectangle((0, y + 0.62), 0.6, len(part) - 0.24, color=colour, lw=0))
        for line in part:
            y += 1
            axis.text(1.4, y, line, family="monospace", color=colour, **style)
    y += 1.6
    axis.text(0, y, "report: one vector of all segments, compared with the whole image", weight="bold", **style)
    step = LINE / len(colours)
    for i, colour in enumerate(colours):
        axis.add_patch(Rectangle((i * step, y + 0.9), step - 0.5, 0.5, color=colour, lw=0))
        axis.plot([i * step + step / 2, LINE / 2], [y + 1.4, y + 2.4], color=colour, lw=1)
    axis.plot(LINE / 2, y + 2.4, "s", color="black", ms=7)
