"""Figures of the structure benchmark: what is drawn, and that missing scores are seen to be missing."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prdlib import structure_plots as plots

GAINS = pd.DataFrame(
    {"model": ["clip", "clip", "prd"], "test": ["5 options", "swap_zone", "swap_zone"],
     "family": ["word_order", "clinical", "clinical"], "trained_on": ["no", "no", "yes"],
     "image_gain": [-0.1, 0.3, 0.5], "gain_low": [-0.2, 0.1, -0.1], "n": [50, 40, 40], "accuracy": [0.2, 0.8, 0.9], "ci_low": 0.1,
     "ci_high": 0.95, "blind": [0.3, 0.5, 0.4], "chance": [0.2, 0.5, 0.5]}
)  # fmt: skip


def texts(axis):
    return {t.get_text(): t for t in axis.texts}


def test_heat_map_marks_what_is_sure_and_leaves_gaps():
    axis = plots.gain_heat_map(GAINS).axes[0]
    shown = texts(axis)
    assert set(shown) == {"-0.10", "+0.30", "+0.50"}  # PRD has no 5-option score: no number there
    assert [shown[t].get_weight() for t in ("-0.10", "+0.30", "+0.50")] == ["normal", "bold", "normal"]
    assert [p.get_xy()[0] > 0 for p in axis.patches] == [True]  # PRD's one score whose edits were in training
    assert [t.get_text() for t in axis.get_yticklabels()] == ["5 options  (n = 50)", "swap zone  (n = 40)"]


def test_dumbbells_have_a_panel_a_model_with_chance():
    figure = plots.gain_dumbbells(GAINS)
    assert [a.get_title() for a in figure.axes] == ["CLIP", "PRD"]
    assert "best blind control" in figure.get_supxlabel()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["5 options", "swap zone"]
    few = plots.gain_dumbbells(GAINS.assign(gain_low=np.nan))
    assert "no test has 20 studies" in few.texts[0].get_text()


def test_failures_are_drawn_with_the_words_that_changed():
    rows = pd.DataFrame({"test": ["swap_zone"], "original": [("left", "upper", "nodule")], "copy": [("left", "lower", "nodule")],
                         "score": [0.3], "margin": [-0.2]})  # fmt: skip
    figure = plots.failure_sheet(np.zeros((1, 8, 8), np.uint8), rows)
    shown = texts(figure.axes[1])
    assert shown["upper"].get_color() == plots.ORANGE
    assert shown["lower"].get_color() == plots.PURPLE
    assert "swap zone: true report 0.300, false copy 0.500" in shown


def test_no_failure_is_said_in_words():
    figure = plots.failure_sheet(
        np.zeros((0, 8, 8), np.uint8), pd.DataFrame(columns=["test", "original", "copy", "margin"])
    )
    assert isinstance(figure, Figure)
    assert "no false copy" in figure.texts[0].get_text()
