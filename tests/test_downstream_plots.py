"""Figures of notebook 05: every model is drawn where its numbers are, beside its control and chance, in its own colour."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_rgba

from prdlib.downstream_plots import CONTROLS, label_curves, label_efficiency_curves, retrieval_sheet, task_scores
from prdlib.evaluation.curves import curve_bands
from prdlib.evaluation.label_efficiency import CONSTANT, UNTRAINED
from prdlib.plots import GREEN, METHOD_COLOURS, METHOD_NAMES, RED

LINES = pd.DataFrame(
    [
        {"metric": metric, "model": model, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "chance": 0.3,
         "control": control}
        for metric in ("accuracy", "macro F1")
        for model, value, control in (("prd", 0.6, 0.35), ("clip", 0.5, np.nan))
    ]
)  # fmt: skip


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts] + [t.get_text() for t in figure.texts]


def test_a_task_has_a_panel_a_metric_and_a_row_a_model_with_value_interval_control_and_chance():
    figure = task_scores(LINES, "Sentence pairs")
    figure.draw_without_rendering()
    assert [axis.get_title() for axis in figure.axes] == ["accuracy", "macro F1"]
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [METHOD_NAMES["clip"], METHOD_NAMES["prd"]]
    dots = [points for points in axis.collections if len(points.get_offsets())]
    drawn = {tuple(np.round(points.get_offsets()[0], 6)) for points in dots if np.isfinite(points.get_offsets()).all()}
    assert drawn == {(0.5, 0), (0.6, 1), (0.35, 1)}  # of clip no control: there is none
    bars = [
        line
        for line in axis.lines
        if len(set(line.get_ydata())) == 1 and same_color(line.get_color(), METHOD_COLOURS["prd"])
    ]
    assert list(bars[0].get_xdata()) == pytest.approx([0.5, 0.7])
    assert any(list(line.get_xdata()) == [0.3, 0.3] and line.get_linestyle() == ":" for line in axis.lines)


def test_a_task_that_was_left_out_is_said_in_words():
    assert texts(task_scores(LINES.iloc[:0], "Phrase grounding")) == ["Phrase grounding: nothing was scored"]
    assert texts(label_efficiency_curves(pd.DataFrame())) == ["AUROC by the number of labels: nothing was scored"]


def efficiency(modes):
    return pd.DataFrame(
        [
            {"model": model, "mode": mode, "share": share, "label": label, "metric": "AUROC", "value": value + share / 10,
             "ci_low": value, "ci_high": value + 0.2, "chance": 0.5}
            for mode in modes for label in ("mean", "Edema")
            for model, value in (("prd", 0.7), (UNTRAINED, 0.6), (CONSTANT, 0.5)) for share in (0.01, 0.1, 1.0)
        ]
    )  # fmt: skip


def test_labels_are_worth_a_line_for_each_model_and_a_panel_for_each_mode():
    figure = label_efficiency_curves(efficiency(["linear probe", "fine-tuned"]))
    figure.draw_without_rendering()
    assert [axis.get_title() for axis in figure.axes] == ["linear probe", "fine-tuned"]
    lines = {c.get_label(): c.lines[0] for c in figure.axes[0].containers}
    assert list(lines) == [METHOD_NAMES["prd"], UNTRAINED, CONSTANT]
    np.testing.assert_allclose(np.asarray(lines[UNTRAINED].get_ydata(), float), [0.601, 0.61, 0.7])
    styles = {(to_rgba(line.get_color()), line.get_linestyle()) for line in lines.values()}
    assert len(styles) == 3  # nobody is taken for another
    assert same_color(lines[CONSTANT].get_color(), CONTROLS[CONSTANT]["color"])


def test_curves_of_a_label_end_where_they_must_and_name_the_prevalence():
    rng = np.random.default_rng(0)
    truth = np.repeat([0.0, 1.0], 30)
    table = curve_bands(truth, np.clip(0.3 * truth + 0.6 * rng.random(60), 0, 1), [str(i) for i in range(60)], 20)
    figure = label_curves({"prd": table}, 0.5, "Edema: prevalence 0.50")
    figure.draw_without_rendering()
    roc, precision, _ = figure.axes
    assert (roc.lines[0].get_xdata()[-1], roc.lines[0].get_ydata()[-1]) == (1, 1)
    assert list(precision.lines[-1].get_ydata()) == [0.5, 0.5]
    assert figure.get_suptitle() == "Edema: prevalence 0.50"
    lonely = table.assign(n=np.where(table["curve"] == "reliability", 1, table["n"]))
    assert not any(c.lines[0].get_xdata().size for c in label_curves({"prd": lonely}, 0.5).axes[2].containers)


def test_what_is_retrieved_is_green_where_it_is_right_and_its_absence_is_said():
    examples = pd.DataFrame(
        {
            "query": [0, 0, 1],
            "place": [1, 2, 1],
            "row": [0, 1, 0],
            "score": [0.9, 0.8, 0.7],
            "right": [True, False, False],
        }
    )
    figure = retrieval_sheet(np.zeros((2, 8, 8), np.uint8), ["no effusion", "small effusion"], examples)
    figure.draw_without_rendering()
    found = {text.get_text(): text.get_color() for axis in figure.axes for text in axis.texts}
    assert same_color(found["1. (0.90) no effusion"], GREEN)
    assert not same_color(found["2. (0.80) small effusion"], GREEN)
    missing = [axis for axis in figure.axes if axis.get_title() == "its own report is not among them"]
    assert len(missing) == 1
    assert same_color(missing[0].title.get_color(), RED)
