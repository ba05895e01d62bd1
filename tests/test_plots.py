"""Every plot returns a Figure that draws, with its labels; figures are saved with what they show."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from prdlib import plots

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
FIGURES = {
    "contact": lambda: plots.contact_sheet(np.zeros((7, 8, 8), np.uint8), [f"t{i}" for i in range(7)]),
    "perturbation": lambda: plots.perturbation_sheet(["a", "b"], {"swap": ["b", "a"], "antonym": ["a", "c"]}),
    "distributions": lambda: plots.report_and_label_distributions(
        {"train": [3, 4], "test": [5]}, pd.DataFrame({"present": [10.0], "uncertain": [1.0], "absent": [50.0]}, index=["x"]), 60
    ),
    "curves": lambda: plots.learning_curves(HISTORY),
    "scores": lambda: plots.scores(SCORES, "title"),
    "methods": lambda: plots.method_scores(SEEDS),
    "words": lambda: plots.word_maps(np.zeros((8, 8), np.uint8), MAPS, ["left", "effusion"], [[0, 0, 0.5, 0.5]] * 2),
    "maps": lambda: plots.attribution_maps(np.zeros((8, 8), np.uint8), {"zero": np.zeros((8, 8))}),
    "word attribution": lambda: plots.word_attributions({"original": (["a", "b"], np.array([0.1, -0.2]))}),
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


def test_nothing_to_score_is_said_in_words():
    figure = plots.scores(SCORES.iloc[:0], "Pointing game")
    assert "nothing to score" in figure.texts[0].get_text()


def test_curves_name_methods_in_the_order_of_the_ablation_at_whole_epochs():
    table = pd.concat([HISTORY.assign(method=method) for method in ("prd", "clip")])
    axis = plots.learning_curves(table).axes[-1]
    assert axis.get_legend_handles_labels()[1][:2] == ["CLIP", "PRD"]
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_moved_words_are_coloured_and_others_are_not():
    texts = plots.perturbation_sheet(["a", "b", "c"], {"swap": ["a", "c", "b"]}).axes[0].texts
    colours = [(t.get_text(), t.get_color()) for t in texts if t.get_text() in "abc"]
    assert [c for _, c in colours] == ["#333333"] * 4 + [plots.RED] * 2
