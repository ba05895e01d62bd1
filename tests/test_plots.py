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
from matplotlib.text import Text

from prdlib import attention_plots, plots
from prdlib.ablation_plots import cost_benefit, difference_forest, forest, spread, sure_rows
from prdlib.attribution_methods import Explanation
from prdlib.attribution_plots import pair_explanation
from prdlib.plots import BLUE, DARK, GREY, METHOD_COLOURS, PALE, PURPLE, RED
from prdlib.scales_plot import COLOURS, PLAIN, three_scales

VALUES = [0.5, 0.6, 0.7, np.nan]
SCORES = pd.DataFrame(
    {"label": ["a", "b"] * 2, "series": ["clip", "clip", "prd", "prd"], "value": VALUES, "chance": 0.5}
)
SCORES = SCORES.assign(ci_low=SCORES["value"] - 0.1, ci_high=SCORES["value"] + 0.1)
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


def test_no_row_but_the_baseline_is_grey():
    names = [f"row {i}" for i in range(len(METHOD_COLOURS) - 1)]
    colours = [line.get_color() for line in lines_of(plots.learning_curves(histories(names)).axes[0]).values()]
    assert GREY not in colours
    named = lines_of(plots.learning_curves(histories(names), baseline="row 1").axes[0])
    assert [name for name, line in named.items() if line.get_color() == GREY] == ["row 1"]


def test_curves_are_the_mean_of_the_seeds_in_a_band_from_least_to_most():
    low, high = (HISTORY.assign(method="clip", seed=s, contrastive=HISTORY["contrastive"] + s) for s in (0, 2))
    axis = plots.learning_curves(pd.concat([low, high])).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), HISTORY["contrastive"] + 1)
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(low["contrastive"].min())
    assert band.max() == pytest.approx(high["contrastive"].max())


def lines_of(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def caption(figure):
    return figure.get_supxlabel().replace("\n", " ")


def histories(names, seeds=2, **values):
    """Of each name and seed the same two epochs."""
    tables = [HISTORY.assign(method=name, seed=seed, **values) for name in names for seed in range(seeds)]
    return pd.concat(tables, ignore_index=True)


def test_without_a_history_a_sentence_stands_in_the_figures_place():
    figure = plots.learning_curves(pd.DataFrame(columns=["method", "seed"]), {"discrimination": 1.0})
    assert not figure.axes
    assert "no curves to draw" in figure.texts[0].get_text()


def test_a_few_curves_have_a_colour_each_and_a_caption_for_bands():
    names = ["clip", "prd", "one copy", "batch 32", "T 1", "T 0.1", "phrases", "tau 3"]
    figure = plots.learning_curves(histories(names), {"validation_structure": 0.2}, "clip", ["prd"])
    lines = lines_of(figure.axes[0])
    colours = {name: to_rgba(line.get_color()) for name, line in lines.items()}
    assert colours["CLIP"] == to_rgba(METHOD_COLOURS["clip"])
    assert len({colours[name] for name in ("CLIP", "PRD", *names[2:])}) == len(names)
    assert "minimum to maximum of the seeds" in caption(figure)
    assert caption(plots.learning_curves(histories(names, seeds=1))) == ""


def test_of_many_curves_the_baseline_and_the_sure_rows_stand_out():
    names = [f"row {i}" for i in range(20)]
    axis = plots.learning_curves(histories(names), None, "row 3", ["row 5", "row 7"]).axes[0]
    lines = lines_of(axis)
    assert list(lines)[:3] == ["row 3 (baseline)", "row 5", "row 7"]
    assert set(lines) == {"row 3 (baseline)", "row 5", "row 7", "other rows (17): no sure difference"}
    assert lines["row 3 (baseline)"].get_color() == DARK
    assert lines["row 3 (baseline)"].get_linewidth() > lines["row 5"].get_linewidth()
    assert len({lines[name].get_color() for name in ("row 5", "row 7")} | {DARK, PALE}) == 4
    grey = [line for line in axis.lines if line.get_color() == PALE]
    assert len(grey) == 17
    assert {line.get_linewidth() for line in grey} == {0.8}
    assert len(axis.collections) == 3  # bands of those that have a name
    assert set(lines_of(plots.learning_curves(histories(names)).axes[0])) == {"other rows (20)"}


def test_more_sure_rows_than_colours_differ_in_their_dashes():
    names = [f"row {i}" for i in range(20)]
    lines = lines_of(plots.learning_curves(histories(names), None, "row 0", names[1:]).axes[0])
    assert len({(line.get_color(), line.get_linestyle()) for line in lines.values()}) == 20


def discrimination_panel(levels):
    table = pd.concat([histories(["a"], discrimination=[0.6, 0.3]), histories(["b"], discrimination=[1.2, 0.6])])
    axis = plots.learning_curves(table, {"discrimination": levels}).axes[1]
    level = [float(line.get_ydata()[0]) for line in axis.lines if line.get_linestyle() == ":"]
    return axis.get_title(), [line.get_ydata().tolist() for line in axis.lines if line.get_linestyle() != ":"], level


def test_rows_with_other_numbers_of_copies_are_shares_of_their_own_blind_guess():
    assert discrimination_panel({"a": 0.6, "b": 1.2}) == ("discrimination loss / blind guess", [[1.0, 0.5]] * 2, [1.0])
    nats = "discrimination loss (nats)", [[0.6, 0.3], [1.2, 0.6]]
    assert discrimination_panel({"a": 1.4, "b": 1.4, "c": 9.0}) == (*nats, [1.4])  # c has no such loss
    assert discrimination_panel(1.4) == (*nats, [1.4])
    assert discrimination_panel({"a": 1.4}) == (*nats, [])  # nothing is known of b


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


ROWS = pd.DataFrame(
    [
        ["m", "a", 0.5, 0.4, 0.6, 2, 0.1, None, None, None],
        ["m", "b", 0.8, 0.7, 0.9, 1, 0.1, "a", 0.3, 0.01],
        ["m", "c", 0.6, 0.5, 0.7, 2, 0.1, "a", 0.1, 0.5],
        ["k", "a", 0.5, 0.4, 0.6, 2, 0.1, None, None, None],
        ["n", "b", 0.3, 0.2, 0.4, 2, 0.1, None, None, None],
    ],
    columns=["metric", "method", "value", "ci_low", "ci_high", "seeds", "chance", "minus", "difference", "p_holm"],
).assign(seconds=[60.0, 61.0, 240.0, 60.0, 61.0])  # fmt: skip


def colours_of_marks(axis):
    return [to_rgba(line.get_markeredgecolor() if line.get_markerfacecolor() == "white" else line.get_markerfacecolor())
            for line in axis.lines if line.get_marker() == "o"]  # fmt: skip


def test_a_forest_marks_sure_differences_and_what_is_missing():
    figure = forest(ROWS, ROWS)
    first, second = figure.axes[:2]
    assert colours_of_marks(first) == [to_rgba(colour) for colour in (GREY, RED, BLUE)]
    assert [line.get_markerfacecolor() for line in first.lines if line.get_marker() == "o"][1] == "white"  # one seed
    assert [text.get_text() for text in second.texts] == ["missing"] * 2


def levels_of(axis):
    """Values at which a line crosses the whole panel."""
    whole = [line for line in axis.lines if list(line.get_ydata()) == [0, 1]]
    return {float(line.get_xdata()[0]): line.get_color() for line in whole}


@pytest.mark.parametrize("baseline", [None, "a"])
def test_a_forest_invents_no_baseline_where_it_is_missing(baseline):
    figure = forest(ROWS, baseline=baseline)
    assert levels_of(figure.axes[0]) == {0.5: GREY, 0.1: "black"}
    assert levels_of(figure.axes[2]) == {0.1: "black"}
    assert colours_of_marks(figure.axes[2]) == [to_rgba(PURPLE)]
    assert "purple: no baseline to compare with" in caption(figure)
    compared = forest(ROWS[ROWS["metric"] != "n"], baseline=baseline)
    assert "grey: the baseline" in caption(compared)
    assert "purple" not in caption(compared)


def test_a_forest_tells_a_chance_that_lies_far_below_instead_of_drawing_it():
    near, far = forest(ROWS.assign(chance=0.0)).axes[:2]  # intervals of "m" reach 0.5 from 0.4, of "k" 0.2
    assert 0.0 in levels_of(near)
    assert near.get_title() == "m"
    assert 0.0 not in levels_of(far)
    assert far.get_title() == "k (chance 0)"
    assert far.get_xlim()[0] > 0.3


def test_a_row_without_a_finished_training_is_missing_and_not_forgotten():
    figure = forest(ROWS, rows=["a", "b", "c", "never run"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["missing"]
    assert figure.axes[0].texts[0].get_position()[1] == 3
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "never run"
    compared = ROWS.assign(difference_low=-0.1, difference_high=0.5, paired_seeds=[2, 1, 2, 2, 2], p=None)
    differences = difference_forest(compared, rows=["a", "b", "c", "never run"])
    assert [text.get_text() for text in differences.axes[0].texts] == ["missing"]


def test_differences_stand_around_0_in_the_colours_of_the_forest():
    compared = ROWS.assign(difference_low=-0.1, difference_high=0.5, paired_seeds=[2, 1, 2, 2, 2], p=None)
    figure = difference_forest(compared)
    (axis,) = figure.axes  # the scores that were compared
    assert axis.get_title() == "m"
    assert colours_of_marks(axis) == [to_rgba(RED), to_rgba(BLUE)]
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in marks] == [0.3, 0.1]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False]
    assert levels_of(axis) == {0.0: GREY}
    assert "difference to a, the baseline (grey line)" in caption(figure)
    assert "grey: the baseline" not in caption(figure)
    assert "no differences to draw" in difference_forest(ROWS[ROWS["method"] == "a"]).texts[0].get_text()


def test_a_difference_of_seeds_that_were_not_tested_is_hollow():
    compared = ROWS.assign(
        difference_low=-0.1, difference_high=0.5, paired_seeds=[2, 0, 0, 2, 2], p=[None, None, 0.4, None, None]
    )
    marks = [line for line in difference_forest(compared).axes[0].lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [
        True,
        False,
    ]  # one seed each, and several, none shared


def test_one_row_alone_is_the_baseline_only_when_it_is_named():
    alone = ROWS[ROWS["metric"] == "n"]
    assert colours_of_marks(forest(alone).axes[0]) == [to_rgba(PURPLE)]
    assert colours_of_marks(forest(alone, baseline="b").axes[0]) == [to_rgba(GREY)]


def overlapping(figure, texts):
    """Whether the letters of any two texts meet, their leaders left aside."""
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in texts]
    return any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_costs_have_a_panel_for_each_metric_and_numbers_that_do_not_hide_each_other():
    figure = cost_benefit(ROWS, ("m", "n", "absent"))
    first, second, key = figure.axes
    assert [axis.get_ylabel() for axis in (first, second)] == ["m", "n"]
    assert "median of seeds" in first.get_xlabel()
    assert [text.get_text() for text in first.texts] == ["1", "2", "3"]
    assert [text.get_text() for text in second.texts] == ["2"]  # b has one number in all panels
    assert [text.get_text() for text in key.texts] == ["1", "a", "2", "b", "3", "c"]
    assert colours_of_marks(first) == [to_rgba(colour) for colour in (GREY, RED, BLUE)]
    assert colours_of_marks(second) == [to_rgba(PURPLE)]
    assert [line.get_markerfacecolor() == "white" for line in first.lines if line.get_marker() == "o"] == [
        False,
        True,
        False,
    ]
    assert not overlapping(figure, first.texts)
    assert [text.xy for text in first.texts] == [
        (1.0, 0.6),
        (pytest.approx(61 / 60), 0.9),
        (4.0, 0.7),
    ]  # where each leads


def test_the_numbers_of_two_dozen_trainings_of_equal_time_stand_apart():
    many = pd.concat([ROWS.iloc[[1]].assign(method=f"row {i}") for i in range(25)], ignore_index=True)
    figure = cost_benefit(many, ["m"])
    assert len(figure.axes[0].texts) == 25
    assert not overlapping(figure, figure.axes[0].texts)


def test_places_are_spread_no_further_than_they_must_be():
    np.testing.assert_allclose(spread([0.9, 0.1, 0.5], 0.2), [0.9, 0.1, 0.5])
    np.testing.assert_allclose(spread([0.5, 0.5, 0.1], 0.2), [0.4, 0.6, 0.1])
    np.testing.assert_allclose(spread([0.0, 0.0, 1.0, 1.0], 0.25), [0.0, 0.25, 0.75, 1.0])
    np.testing.assert_allclose(spread([0.99] * 5, 0.25), [0.0, 0.25, 0.5, 0.75, 1.0])


def test_curves_name_rows_that_differ_in_five_options_or_in_retrieval():
    metrics = ["R@5 report to image", "5-option accuracy", "5-option accuracy", "exchange inside a sentence"]
    table = pd.DataFrame({"metric": metrics, "method": ["b", "b", "c", "d"], "p_holm": [0.01, 0.02, 0.05, 0.001]})
    assert sure_rows(table) == ["b"]


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
