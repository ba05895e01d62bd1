"""Every plot returns a Figure that draws, with its labels; figures are saved with what they show."""

import io
import json

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from prdlib import attention_plots, plots
from prdlib.ablation_plots import cost_benefit, forest
from prdlib.attribution_methods import Explanation
from prdlib.attribution_plots import pair_explanation
from prdlib.plots import GREY, RED
from prdlib.scales_plot import COLOURS, PLAIN, three_scales

VALUES = [0.5, 0.6, 0.7, np.nan]
SCORES = pd.DataFrame(
    {"label": ["a", "b"] * 2, "series": ["clip", "clip", "prd", "prd"], "value": VALUES, "chance": 0.5}
)
SCORES = SCORES.assign(ci_low=SCORES["value"] - 0.1, ci_high=SCORES["value"] + 0.1)
SEEDS = pd.DataFrame({"metric": "m", "method": "clip", "seed": ["mean", "0"], "value": 0.5, "chance": 0.2})
SEEDS = SEEDS.assign(ci_low=0.4, ci_high=0.6)
MAPS = np.random.default_rng(0).random((2, 8, 8))
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "contrastive": [3.0, 2.0], "validation_structure": [0.2, 0.4], "method": "clip", "seed": 0}
)
LOCATED = pd.DataFrame(
    [
        {"metric": metric, "input": name, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 9, "studies": 5,
         "chance": 0.0 if name.startswith("gain") else 0.2}
        for metric in ("pointing", "CNR")
        for name, value in (("image", 0.6), ("mean image", 0.4), ("gain over best control", 0.2))
    ]
)  # fmt: skip


def explained(place, words=(), values=None):
    return Explanation(place, tuple(words), None if values is None else np.asarray(values), "m", "t", None)


FIGURES = {
    "contact": lambda: plots.contact_sheet(np.zeros((7, 8, 8), np.uint8), [f"t{i}" for i in range(7)]),
    "perturbation": lambda: plots.perturbation_sheet(["a", "b"], {"swap": ["b", "a"], "antonym": ["a", "c"]}),
    "distributions": lambda: plots.report_and_label_distributions(
        {"train": [3, 4], "test": [5]}, pd.DataFrame({"present": [10.0], "uncertain": [1.0], "absent": [50.0]}, index=["x"]), 60
    ),
    "curves": lambda: plots.learning_curves(HISTORY),
    "scores": lambda: plots.scores(SCORES, "title"),
    "methods": lambda: plots.method_scores(SEEDS),
    "localisation": lambda: attention_plots.localisation_scores(LOCATED),
    "words": lambda: attention_plots.word_maps(np.zeros((8, 8), np.uint8), MAPS, ["left", "effusion"], [[0, 0, 0.5, 0.5]] * 2),
    "controls": lambda: attention_plots.maps_with_controls(
        {"image": np.zeros((8, 8), np.uint8)}, {"image": MAPS}, ["left", "effusion"], [[0, 0, 0.5, 0.5]] * 2
    ),
    "maps": lambda: pair_explanation(np.zeros((8, 6), np.uint8), {"zero": explained(np.zeros((8, 6)))}),
    "word attribution": lambda: pair_explanation(np.zeros((8, 8), np.uint8), {"a": explained(None, ["a", "b"], [0.1, -0.2])}),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_plot_draws(name, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    path = plots.save_figure(figure, tmp_path / "x", run="r", n=3)
    assert path.stat().st_size > 1000
    assert path.with_suffix(".pdf").is_file()
    assert json.loads(path.with_suffix(".json").read_text()) == {"run": "r", "n": 3}


def test_chance_is_drawn_and_named():
    labels = plots.scores(SCORES).axes[0].get_legend_handles_labels()[1]
    assert "chance" in labels
    assert {"CLIP", "PRD"} <= set(labels)


def test_localisation_shows_every_input_and_the_gain_apart():
    figure = attention_plots.localisation_scores(LOCATED)
    assert [axis.get_title() for axis in figure.axes] == ["pointing", "CNR"]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["image", "mean image", "gain over best control"]
    assert {"chance", "own image", "control", "gain"} <= set(figure.axes[0].get_legend_handles_labels()[1])
    empty = attention_plots.localisation_scores(LOCATED.iloc[:0])
    assert "nothing to score" in empty.texts[0].get_text()


def test_nothing_to_score_is_said_in_words():
    figure = plots.scores(SCORES.iloc[:0], "Pointing game")
    assert "nothing to score" in figure.texts[0].get_text()


def test_curves_name_methods_in_the_order_of_the_ablation_at_whole_epochs():
    table = pd.concat([HISTORY.assign(method=method) for method in ("prd", "clip")])
    axis = plots.learning_curves(table).axes[-1]
    assert axis.get_legend_handles_labels()[1][:2] == ["CLIP", "PRD"]
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_curves_are_the_mean_of_the_seeds_in_a_band_from_least_to_most():
    low, high = (HISTORY.assign(method="clip", seed=s, contrastive=HISTORY["contrastive"] + s) for s in (0, 2))
    axis = plots.learning_curves(pd.concat([low, high])).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), HISTORY["contrastive"] + 1)
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(low["contrastive"].min())
    assert band.max() == pytest.approx(high["contrastive"].max())


def marks(original, copy):
    axis = plots.perturbation_sheet(original.split(), {"copy": copy.split()}).axes[0]
    names = {"#333333": "kept", plots.RED: "moved", plots.PURPLE: "new", plots.GREY: "lost"}
    texts = [(t.get_text(), names.get(t.get_color())) for t in axis.texts]
    return texts[texts.index(("copy", None)) + 1 :], len(axis.lines)


def test_moved_words_are_coloured_and_others_are_not():
    texts, struck = marks("fluid left of a nodule", "nodule left of a fluid")
    assert texts == [("nodule", "moved"), ("left", "kept"), ("of", "kept"), ("a", "kept"), ("fluid", "moved")]
    assert not struck
    shifted, _ = marks("a small nodule with fluid in it", "a small fluid in it with nodule")
    assert [kind for _, kind in shifted] == ["kept"] * 5 + ["moved"] * 2


def test_words_that_a_copy_leaves_out_are_struck_through_where_they_stood():
    texts, struck = marks("no nodule there is fluid", "there is fluid")
    assert texts[:2] == [("no", "lost"), ("nodule", "lost")]
    assert {kind for _, kind in texts[2:]} == {"kept"}
    assert struck == 2
    texts, struck = marks("minor fluid and a large nodule", "large fluid and a large nodule")
    assert texts[:2] == [("minor", "lost"), ("large", "new")]  # the other "large" has not moved
    assert struck == 1


def test_every_word_of_a_copy_is_drawn_once_and_in_order():
    rng = np.random.default_rng(0)
    for _ in range(50):
        original, copy = (list(rng.choice(list("abcdef"), size=rng.integers(0, 30))) for _ in range(2))
        changes = plots._changes(original, copy)
        assert [w for w, kind in changes if kind != "lost"] == copy
        kept_or_moved = [w for w, kind in changes if kind != "new"]
        assert sorted(kept_or_moved) == sorted(original)


def test_one_strong_word_does_not_leave_the_others_blank():
    words = [f"w{i}" for i in range(40)]
    values = np.where(np.arange(40) == 0, 9.0, 0.1 * (-1.0) ** np.arange(40))
    figure = pair_explanation(np.zeros((8, 8), np.uint8), {"original": explained(None, words, values)})
    (axis,) = figure.subfigs[1].axes
    drawn = {t.get_text(): t for t in axis.texts}
    assert [w for w in words if drawn[w].get_weight() == "bold"] == ["w0"]
    assert drawn["w1"].get_bbox_patch().get_facecolor() == colormaps["RdBu_r"](0.0)
    assert "from 0.100" in axis.get_title()
    assert "largest 9.000" in axis.get_title()


def test_three_scales_draw_each_segment_in_the_colour_of_its_box():
    image = np.full((32, 32), 90, np.uint8)
    figure = three_scales(
        image, [("small", "left", "effusion"), ("lungs", "are", "clear")], [(0.1, 0.2, 0.5, 0.6), None]
    )
    left, right = figure.axes
    box = left.patches[0]
    assert box.get_xy() == pytest.approx((3.2, 6.4))
    words = {text.get_text(): text.get_color() for text in right.texts}
    assert words["effusion"] == words["small left effusion"] == COLOURS[0]
    assert words["clear"] == words["lungs are clear"] == PLAIN
    assert to_rgba(box.get_edgecolor()) == to_rgba(COLOURS[0])


def test_a_forest_marks_sure_differences_and_what_is_missing():
    rows = [
        ["m", "a", 0.5, 0.4, 0.6, 2, 0.1, None, None],
        ["m", "b", 0.8, 0.7, 0.9, 1, 0.1, "a", 0.01],
        ["k", "a", 0.5, 0.4, 0.6, 2, 0.1, None, None],
    ]
    names = ["metric", "method", "value", "ci_low", "ci_high", "seeds", "chance", "minus", "p_holm"]
    table = pd.DataFrame(rows, columns=names)
    figure = forest(table.assign(seconds=60.0), table)
    first, second = figure.axes[:2]
    assert {to_rgba(line.get_color()) for line in first.lines} >= {to_rgba(RED), to_rgba(GREY)}
    marks = [line for line in first.lines if line.get_marker() == "o"]
    assert [to_rgba(mark.get_markerfacecolor()) for mark in marks] == [to_rgba(GREY), to_rgba("white")]  # b: one seed
    assert [text.get_text() for text in second.texts] == ["missing"]
    axis = cost_benefit(table.assign(seconds=60.0), "m").axes[0]
    key = axis.figure.axes[1]
    assert [text.get_text() for text in axis.texts] == ["1", "2"]
    assert [text.get_text() for text in key.texts] == ["1", "a", "2", "b"]


def drawn(array):
    png = io.BytesIO()
    PIL.Image.fromarray(array).save(png, "PNG")
    return png.getvalue()


def shown(png):
    with PIL.Image.open(io.BytesIO(png)) as image:
        return image.mode, np.asarray(image.convert("RGB"), dtype=int)


def test_a_picture_for_a_page_has_few_colours_where_the_eye_cannot_tell():
    grey = np.random.default_rng(0).integers(0, 255, (60, 80, 1), dtype=np.uint8).repeat(3, axis=2)
    mode, small = shown(plots.small_png(drawn(grey)))
    assert mode == "P"
    assert np.abs(small - grey).max() <= 16
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    mode, full = shown(plots.small_png(drawn(noise)))
    assert mode == "RGB"
    np.testing.assert_array_equal(full, noise)


def test_an_even_area_keeps_its_colour_on_a_page():
    """A pale green band among more colours than a palette has."""
    field = np.random.default_rng(0).integers(100, 116, (200, 200, 3), dtype=np.uint8)
    field[50:80], field[100:101, :40] = (217, 240, 231), (217, 236, 240)
    mode, small = shown(plots.small_png(drawn(field)))
    assert mode == "P"
    assert (small[50:80] == (217, 240, 231)).all()


@pytest.mark.parametrize("colours", ["viridis", "RdBu_r"])
def test_a_colour_bar_keeps_its_ends_on_a_page(colours, tmp_path):
    """Beside a radiograph, its boxes and maps, which take most of the palette."""
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    maps = np.random.default_rng(0).random((3, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    figure = attention_plots.maps_with_controls(
        {"image": ramp}, {"image": maps}, ["a", "b", "c"], [[0, 0, 0.5, 0.5]] * 3
    )
    bar = figure.add_axes([0.1, 0.02, 0.5, 0.05])
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto")
    bar.axis("off")
    png = plots.save_figure(figure, tmp_path / "x").read_bytes()
    before, after = shown(png)[1], shown(plots.small_png(png))[1]
    assert np.abs(after - before).max() <= 16
    for end in (0.0, 1.0):
        colour = 255 * np.array(colormaps[colours](end)[:3])
        assert np.abs(after - colour).max(axis=2).min() <= 16


def test_the_maximum_is_told_apart_from_the_box():
    figure = FIGURES["controls"]()
    (cross,) = figure.axes[0].lines
    (box,) = figure.axes[0].patches
    assert (cross.get_color(), cross.get_markeredgecolor()) == ("black", "white")
    assert to_rgba(box.get_edgecolor()) == to_rgba(plots.ORANGE)
    y, x = np.unravel_index(MAPS[0].argmax(), MAPS[0].shape)
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx(((x + 0.5) / 8, (y + 0.5) / 8))
