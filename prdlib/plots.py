"""Figures from arrays and tables; nothing is computed here, nothing is read. Every function returns a Figure.

Colours are Okabe and Ito's (safe for colour-blind readers); maps use one shared scale per figure.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from prdlib.names import in_order
from prdlib.repro import write_json

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
DARK, PALE = "#222222", "#BBBBBB"
METHOD_COLOURS = {
    "clip": GREY,
    "gloria": BLUE,
    "prd_no_local": ORANGE,
    "prd": RED,
    "structured": "#56B4E9",
    "structured_prd": "#B8860B",
    "grounded": GREEN,
    "grounded_prd": PURPLE,
}
METHOD_NAMES = {
    "clip": "CLIP",
    "gloria": "GLoRIA",
    "prd_no_local": "PRD without local",
    "prd": "PRD",
    "structured": "structured reports",
    "structured_prd": "structured reports, PRD",
    "grounded": "grounded",
    "grounded_prd": "grounded PRD",
}
DPI = 100


def save_figure(figure: Figure, path: str | Path, **facts: Any) -> Path:
    """Write ``figure`` as PNG and PDF, and ``facts`` (run, data, parameters) as a .json sidecar; returns the PNG's path."""
    path = Path(path).with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    with Image.open(path) as drawn:
        smallest(drawn.convert("RGB")).save(path, optimize=True)
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    write_json(path.with_suffix(".json"), facts)
    return path


def small_png(png: bytes) -> bytes:
    """``png`` for a page or a notebook, which is to stay small, with :func:`smallest` colours; the file in figures/ has more."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as full:
        smallest(full.convert("RGB"), most=16).save(small, format="PNG", optimize=True)
    return small.getvalue()


def smallest(full: Image.Image, most: int = 12) -> Image.Image:
    """``full``, RGB, with a palette of 256 colours where no pixel changes by more than ``most`` of 255, else as it is.

    Each colour of the palette is the commonest of those that it stands for, where that is near enough to all of them: an even
    area, such as a pale band, keeps its own.
    """
    small = full.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    pixels, places = np.asarray(full).reshape(-1, 3), np.asarray(small).ravel()
    pairs, number = np.unique(np.column_stack([places, pixels]), axis=0, return_counts=True)
    pairs = pairs[np.argsort(number, kind="stable")].astype(np.int16)  # the commonest last
    place, colour = pairs[:, 0], pairs[:, 1:]
    palette = np.zeros((256, 3), dtype=np.int16)
    palette.ravel()[: len(small.getpalette())] = small.getpalette()
    commonest = palette.copy()
    commonest[place] = colour
    far = place[np.abs(colour - commonest[place]).max(axis=1) > most]
    commonest[far] = palette[far]
    small.putpalette(commonest.astype(np.uint8).tobytes())
    return small if np.abs(colour - commonest[place]).max() <= most else full


def contact_sheet(images: np.ndarray, titles: Sequence[str], columns: int = 6) -> Figure:
    """Grey images [N, S, S] in a grid, each under its title."""
    rows = -(-len(images) // columns)
    figure, axes = image_grid(rows, columns, 1.75, 2.0)
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=7)
    return figure


def perturbation_sheet(original: Sequence[str], copies: Mapping[str, Sequence[str]], width: int = 104) -> Figure:
    """An original and its perturbed copies as text, with the words that a copy moves, adds and leaves out."""
    colours = {"kept": "#333333", "moved": RED, "new": PURPLE, "lost": GREY}
    lines: list[list[tuple[int, str, str]]] = []
    for name, words in {"original": original, **copies}.items():
        lines.append([(0, name.replace("_", " "), "name")])
        line, place = [], 2
        for word, change in _changes(original, words):
            if place + len(word) > width:
                lines.append(line)
                line, place = [], 2
            line.append((place, word, change))
            place += len(word) + 1
        lines += [line, []]
    figure = Figure(figsize=(0.0685 * width, 0.165 * len(lines) + 0.3), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(0, width), ylim=(len(lines) + 0.5, -0.5))
    axis.axis("off")
    for row, line in enumerate(lines):
        for place, word, change in line:
            if change == "name":
                axis.text(place, row, word, family="monospace", fontsize=8, weight="bold")
                continue
            axis.text(place, row, word, color=colours[change], family="monospace", fontsize=8)
            if change == "lost":
                axis.plot([place, place + len(word)], [row - 0.2] * 2, color=GREY, lw=0.8)
    axis.set_title(
        "against the original: orange: a word that moved; purple: a new word; grey, struck through: a word left out",
        fontsize=8,
    )
    return figure


def _changes(original: Sequence[str], words: Sequence[str]) -> list[tuple[str, str]]:
    """What turns ``original`` into ``words``, in reading order: (word, 'kept' | 'moved' | 'new' | 'lost').

    A word lost at one place and new at another has moved, and is given where it stands now.
    """
    original, words = list(original), list(words)
    steps = SequenceMatcher(None, original, words, autojunk=False).get_opcodes()
    lost = Counter(w for kind, a0, a1, _, _ in steps if kind != "equal" for w in original[a0:a1])
    new = Counter(w for kind, _, _, b0, b1 in steps if kind != "equal" for w in words[b0:b1])
    moved = lost & new
    gone, added = lost - moved, moved.copy()
    changes = []
    for kind, a0, a1, b0, b1 in steps:
        if kind == "equal":
            changes += [(w, "kept") for w in words[b0:b1]]
            continue
        for w in original[a0:a1]:
            if gone[w]:
                gone[w] -= 1
                changes.append((w, "lost"))
        for w in words[b0:b1]:
            changes.append((w, "moved" if added[w] else "new"))
            added[w] -= added[w] > 0
    return changes


def report_and_label_distributions(lengths: Mapping[str, Sequence[int]], labels: pd.DataFrame, limit: int) -> Figure:
    """Words per report by split (histogram), and studies with each label present, absent, uncertain (bars).

    lengths: split -> words of each report; labels: index label, columns present, absent, uncertain (shares in per cent).
    """
    figure = Figure(figsize=(10, 0.28 * max(len(labels), 10) + 0.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    longest = max(max(v) for v in lengths.values())
    width = max(1, round(longest / 25))  # whole words, or the bars would alternate between one word and two
    bins = np.arange(0, longest + 1 + width, width) - 0.5
    for (split, values), colour in zip(lengths.items(), (BLUE, ORANGE, GREEN), strict=False):
        weights = np.full(len(values), 100 / len(values))
        left.hist(
            values, bins, weights=weights, histtype="step", color=colour, label=f"{split} (n={len(values)})", lw=1.6
        )
    left.axvline(limit, color=GREY, ls="--", lw=1)
    left.annotate(f"limit: {limit} words", (limit, 1), xycoords=("data", "axes fraction"), rotation=90, va="top",
                  ha="right", fontsize=8, color=GREY)  # fmt: skip
    left.set(xlabel="words of a report", ylabel="studies of the split (%)", title="Report length")
    left.legend(fontsize=8, frameon=False)
    start = np.zeros(len(labels))
    for column, colour in (("present", RED), ("uncertain", ORANGE), ("absent", BLUE)):
        values = labels[column].to_numpy(float)
        right.barh(range(len(labels)), values, left=start, color=colour, label=column)
        start += values
    right.set_yticks(range(len(labels)), labels.index, fontsize=8)
    right.set(xlabel="studies (%)", xlim=(0, 100))
    right.set_title("Labels" if np.all(start > 99.5) else "Labels (white: not mentioned)", pad=22)
    right.invert_yaxis()
    right.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 0.99), ncol=3)
    return figure


def learning_curves(
    histories: Mapping[str, Sequence[pd.DataFrame]] | pd.DataFrame,
    chance: Mapping[str, float | Mapping[str, float]] | None = None,
    baseline: str | None = None,
    sure: Collection[str] | None = None,
) -> Figure:
    """Losses and validation scores by epoch: a line per method, the mean of its seeds, and a band from the least to the most.

    histories: method -> one table per seed, or one table with columns method and seed. chance: column -> the level of a blind
    guess, drawn dotted, or those of each method: where they differ, each method's values are shares of its own. baseline, sure:
    where there are more methods than colours, the one that is drawn dark and those that keep a colour and a name because they
    differ from it surely; the others are thin and grey.
    """
    if isinstance(histories, pd.DataFrame):
        methods = dict(tuple(histories.groupby("method", sort=False)))
        order = in_order(histories["method"])
        histories = {m: [t for _, t in methods[m].dropna(axis=1, how="all").groupby("seed")] for m in order}
    panels = {
        "contrastive": "global loss (nats)",
        "discrimination": "discrimination loss (nats)",
        "local": "local loss (nats)",
        "segment": "segment-region loss (nats)",
        "validation_R@1": "validation R@1",
        "validation_structure": "validation 5-option accuracy",
    }
    shown = [k for k in panels if any(k in table for tables in histories.values() for table in tables)]
    if not shown:
        return sentence("No training's history was kept: there are no curves to draw.")
    styles = _curve_styles(list(histories), baseline, sure)
    high = max(2.5, 0.16 * len({style["label"] for style in styles.values()}) + 0.5)
    figure = Figure(figsize=(2.6 * len(shown) + 1.5, high), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    bands = False
    for axis, key in zip(axes, shown, strict=True):
        drawn = {m: [t.set_index("epoch")[key] for t in tables if key in t] for m, tables in histories.items()}
        drawn = {m: pd.concat(seeds, axis=1) for m, seeds in drawn.items() if seeds}
        level, title = (chance or {}).get(key), panels[key]
        if isinstance(level, Mapping):
            levels = {m: level.get(m) for m in drawn}
            level = next(iter(levels.values())) if len(set(levels.values())) == 1 else None
            if level is None and None not in levels.values():
                drawn = {m: told / levels[m] for m, told in drawn.items()}
                level, title = 1.0, title.replace("(nats)", "/ blind guess")
        for method, style in styles.items():
            if method not in drawn:
                continue
            told = drawn[method]
            axis.plot(told.index, told.mean(axis=1), **style)
            if style["color"] != PALE and told.shape[1] > 1:
                bands = True
                axis.fill_between(
                    told.index, told.min(axis=1), told.max(axis=1), color=style["color"], alpha=0.18, lw=0
                )
        if level is not None:
            axis.axhline(level, color="black", ls=":", lw=1)
        axis.set_xlabel("epoch", fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.set_ylim(bottom=0)
    if chance:
        axes[0].plot([], [], color="black", ls=":", lw=1, label="blind guess")
    entries = [axis.get_legend_handles_labels() for axis in axes]
    named = {label: line for lines, labels in entries for line, label in zip(lines, labels, strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=7, frameon=False)
    if bands:
        figure.supxlabel("line: mean of the seeds; band: minimum to maximum of the seeds", fontsize=8)
    return figure


def _curve_styles(
    names: Sequence[str], baseline: str | None, sure: Collection[str] | None
) -> dict[str, dict[str, Any]]:
    """Name -> how its line is drawn, see :func:`learning_curves`, in the order of the legend."""
    line = {"lw": 1.5, "marker": ".", "ms": 4}
    labels = {name: METHOD_NAMES.get(name, name) for name in names}
    if len(names) <= len(METHOD_COLOURS):
        own = {name: METHOD_COLOURS[name] for name in names if name in METHOD_COLOURS}
        if baseline in names and GREY not in own.values():
            own[baseline] = GREY
        left = [colour for colour in METHOD_COLOURS.values() if colour not in own.values()]
        free = iter(sorted(left, key=lambda colour: colour == GREY))  # the baseline's in every other figure: last
        return {name: line | {"color": own.get(name) or next(free), "label": labels[name]} for name in names}
    styles = {}
    if baseline in names:
        styles[baseline] = {"color": DARK, "lw": 2.2, "zorder": 3, "label": f"{labels[baseline]} (baseline)"}
    colours = [colour for colour in METHOD_COLOURS.values() if colour != GREY]
    for i, name in enumerate(name for name in names if name in (sure or ()) and name != baseline):
        dashes = ("-", "--", ":")[i // len(colours) % 3]
        styles[name] = line | {"color": colours[i % len(colours)], "ls": dashes, "label": labels[name]}
    others = [name for name in names if name not in styles]
    label = f"other rows ({len(others)})" + (": no sure difference" if sure is not None else "")
    return styles | {name: {"color": PALE, "lw": 0.8, "zorder": 1, "label": label} for name in others}


def sentence(text: str) -> Figure:
    """What stands in a figure's place where there is nothing to draw."""
    figure = Figure(figsize=(7.2, 0.9), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", fontsize=9)
    return figure


def scores(table: pd.DataFrame, title: str = "") -> Figure:
    """Any tidy table as a dot plot: columns label, value, ci_low, ci_high, chance, and optionally series (colour).

    An empty table is drawn as the sentence that nothing could be scored.
    """
    if table.empty:
        return sentence(f"{title}: nothing to score in these data (no true boxes or no labels)")
    labels = list(dict.fromkeys(table["label"]))
    series = list(dict.fromkeys(table["series"])) if "series" in table else [None]
    figure = Figure(figsize=(7.2, 0.105 * len(labels) * (len(series) + 1) + 1.2), layout="constrained")
    axis = figure.subplots()
    step = 0.7 / max(1, len(series))
    for j, name in enumerate(series):
        rows = table if name is None else table[table["series"] == name]
        colour = method_colour(name, (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)[j % 6])
        height = np.array([labels.index(label) for label in rows["label"]]) + (j - (len(series) - 1) / 2) * step
        value = rows["value"].to_numpy(float)
        errors = np.abs(np.stack([value - rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float) - value]))
        axis.errorbar(value, height, xerr=np.nan_to_num(errors), fmt="o", ms=4, color=colour, lw=1.4,
                      label=METHOD_NAMES.get(name, name))  # fmt: skip
    for i, label in enumerate(labels):
        chance = table.loc[table["label"] == label, "chance"].dropna().unique()
        axis.vlines(chance, i - 0.45, i + 0.45, color="black", ls=":", lw=1.2, label="chance" if i == 0 else None)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    metrics = table["metric"].unique() if "metric" in table else ()
    axis.set(xlabel=f"{metrics[0] if len(metrics) == 1 else 'share'}, 95 % interval", title=title)
    axis.grid(axis="x", color="#DDDDDD", lw=0.6)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def rows_axis(axis: Axes, names: Sequence[str], title: str) -> None:
    """A panel with one row for each method (or row of an ablation), the first on top."""
    axis.set_yticks(range(len(names)), [METHOD_NAMES.get(name, name) for name in names], fontsize=8)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title(title, fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="#DDDDDD", lw=0.6)


def image_grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes


def draw_image(axis: Any, image: np.ndarray, boxes: Sequence[Sequence[float]]) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
    for x0, y0, x1, y1 in boxes:
        axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=ORANGE, lw=1.5))


def draw_maximum(axis: Any, values: np.ndarray) -> None:
    """The maximum of a map [H, W] as a black cross with a white edge: told apart from boxes and from every colour of a map."""
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    place = (x + 0.5) / values.shape[1], (y + 0.5) / values.shape[0]
    axis.plot(*place, "X", color="black", mec="white", mew=0.9, ms=8, clip_on=False)


def method_colour(name: str | None, default: str = BLUE) -> str:
    """The colour of a method in every figure, or ``default``."""
    return METHOD_COLOURS.get(name, default) if name else default
