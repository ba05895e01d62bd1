"""Reports over studies of a tiny model, their figures, the cost of methods, the explorer with and without widgets."""

import base64
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prdlib.attribution_cost import cost_table, peak_memory
from prdlib.attribution_methods import PAIR_METHODS, map_methods
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import grounding
from prdlib.evaluation.localisation import CONTROLS
from prdlib.explorer import NONE, WHOLE, Explorer, can_show_widgets
from prdlib.faithfulness_plots import (
    gains_over_controls,
    insertion_deletion_curves,
    map_correlations,
    methods_by_phrases,
)
from prdlib.faithfulness_report import AREA, SCORES, one_phrase_each, report_on_maps
from prdlib.models import build_model
from prdlib.word_faithfulness import report_on_words


@pytest.fixture(scope="module")
def split(tiny_data):
    return EvaluationData.first_views(tiny_data["train"])


@pytest.fixture(scope="module")
def phrases(split):
    return grounding.phrases(split.findings, [t.offsets for t in split.tagged])


@pytest.fixture(scope="module")
def model(tiny_config, split):
    return build_model(tiny_config.for_method("prd"), 0, [" ".join(words) for words in split.words])[0].eval()


@pytest.fixture(scope="module")
def maps(model, split, phrases):
    return report_on_maps(model, split, phrases, split.images[0], 8, 100)


@pytest.fixture(scope="module")
def words(model, split):
    return report_on_words(model, split, split.images[0], 18, 100)


def test_one_phrase_of_each_study_that_has_one(phrases):
    chosen = one_phrase_each(phrases, 8)
    rows = [phrase.row for phrase in chosen]
    assert rows == sorted(set(rows))
    assert rows == sorted({p.row for p in phrases})[:8]
    assert all(next(p for p in phrases if p.row == c.row) == c for c in chosen)


def test_every_kind_of_maps_has_every_score_beside_every_control(maps):
    keys = maps.scores.groupby(["maps", "metric"], sort=False)["input"].agg(list)
    assert set(keys.index) == {(m, s) for m in map_methods() for s in (*SCORES, AREA)}
    assert all(set(inputs) == {"image", *CONTROLS, "gain over best control"} for inputs in keys)
    assert (maps.scores["n"] == 8).all()
    assert (maps.scores["ci_low"] <= maps.scores["value"] + 1e-9).all()
    assert (maps.scores["value"] <= maps.scores["ci_high"] + 1e-9).all()
    chance = maps.scores[maps.scores["input"] == "image"].groupby("metric")["chance"].first()
    assert chance["pointing"] == chance["energy"] > 0 == chance["CNR"] == chance[AREA]


def test_the_headline_is_the_gain_over_the_best_control(maps):
    head = maps.headline()
    assert len(head) == len(map_methods()) * (len(SCORES) + 1)
    np.testing.assert_allclose(head["value"], head["own"] - head["control"])
    for row in head.itertuples():
        mine = maps.scores[(maps.scores["maps"] == row.maps) & (maps.scores["metric"] == row.metric)]
        controls = mine[mine["input"].isin(CONTROLS)].set_index("input")["value"]
        assert controls.max() == controls[row.best_control] == row.control


def test_pointing_rows_read_as_those_of_grounding(maps):
    table = maps.pointing()
    assert list(table.columns) == grounding.POINTING_COLUMNS
    assert {"Occlusion, image", "word maps, untrained"} <= set(table["input"])


def test_words_are_scored_by_orders_and_shapley_values_are_complete(words):
    assert set(words.scores["metric"]) == {AREA}
    own = words.scores[words.scores["input"] == "image"].set_index("maps")["value"]
    assert (own > 0).all()  # of the model's own words, without training too
    share = words.completeness.set_index("maps")["value"]
    assert share["Shapley values"] < 1e-4
    assert share["Integrated Gradients"] < 0.1
    agree = words.correlations.set_index(["first", "second"])["value"]
    assert agree["Shapley values", "Word ablation"] > 0.5


def test_curves_begin_and_end_alike_whatever_the_order(maps):
    ends = maps.curves[maps.curves["fraction"] == 1].groupby("curve")["value"]
    starts = maps.curves[maps.curves["fraction"] == 0].groupby("curve")["value"]
    for groups in (ends, starts):
        np.testing.assert_allclose(groups.max(), groups.min(), atol=1e-5)
    assert ends.mean()["insertion"] == pytest.approx(starts.mean()["deletion"], abs=1e-5)


def test_without_boxes_tables_are_empty_and_figures_say_so(model, split):
    report = report_on_maps(model, split, [], split.images[0])
    for table, draw in (
        (report.curves, insertion_deletion_curves),
        (report.correlations, map_correlations),
        (report.headline(), gains_over_controls),
    ):
        assert table.empty
        assert "nothing to score" in draw(table).texts[0].get_text()
    assert report.pointing().empty


def test_figures_show_what_the_tables_hold(maps, words, split):
    for report in (maps, words):
        kinds = list(dict.fromkeys(report.scores["maps"]))
        figure = insertion_deletion_curves(report.curves)
        assert [axis.get_title() for axis in figure.axes[: len(kinds)]] == kinds
        head = report.headline()
        figure = gains_over_controls(head)
        assert [axis.get_title() for axis in figure.axes] == list(dict.fromkeys(head["metric"]))
        figure = map_correlations(report.correlations)
        assert len(figure.axes[0].texts) == len(report.correlations)
    shown = {"a": np.random.default_rng(0).random((2, 32, 32)), "b": np.zeros((2, 32, 32))}
    figure = methods_by_phrases(split.images[0], shown, ["one", "two"], [[(0, 0, 1, 1)], []])
    assert len(figure.axes) == 4
    assert not plt.get_fignums()


def test_cost_of_every_method(model, split):
    table = cost_table(model, split.images[:2], split.marked[:2], {"Shapley values": {"samples": 1}})
    assert table["method"].tolist() == list(PAIR_METHODS)
    assert (table[["seconds_per_pair", "peak_memory_mb"]] > 0).all(axis=None)


def test_peak_memory_is_what_is_held_at_once():
    import torch

    def twice():
        for _ in range(2):
            kept = torch.ones(250_000)  # 1 MB
            del kept
        return torch.ones(250_000), torch.ones(250_000)

    assert peak_memory(twice) == pytest.approx(2e6, rel=0.01)


class TestExplorer:
    def test_texts_are_the_report_its_findings_and_its_words(self, model, split):
        row = next(i for i, f in enumerate(split.findings) if f)
        texts = Explorer(model, split).texts(row)
        words = split.words[row]
        assert texts[WHOLE] == tuple(range(len(words)))
        assert texts[f"{words[2]} (3)"] == (2,)
        assert len(texts) > 1 + len(words)

    @pytest.mark.parametrize("method", ["Occlusion", "Word ablation", "Integrated Gradients"])
    @pytest.mark.parametrize("kind", [NONE, "shuffle_all_words"])
    def test_a_figure_for_every_choice(self, model, split, method, kind):
        figure = Explorer(model, split).figure(1, method=method, perturbation=kind)
        titles = {axis.get_title() for sub in [figure, *figure.subfigs] for axis in sub.axes}
        texts = {t.get_text().split(" (")[0] for sub in [figure, *figure.subfigs] for a in sub.axes for t in a.texts}
        expected = {"contribution"} if kind == NONE else {"original", "perturbed", "difference"}
        assert expected <= (texts if method == "Word ablation" else titles)

    def test_without_widgets_it_is_a_picture(self, model, split, monkeypatch):
        for name in ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD"):
            monkeypatch.delenv(name, raising=False)
        assert not can_show_widgets()
        shown = Explorer(model, split).show(0)
        assert shown.data.startswith(b"\x89PNG")
        monkeypatch.setenv("JPY_SESSION_NAME", "04_attention.ipynb")
        assert can_show_widgets()

    def test_widgets_renew_the_picture_and_have_one_for_pages_without(self, model, split, monkeypatch):
        pytest.importorskip("ipywidgets")
        bundles = []
        monkeypatch.setattr("prdlib.explorer.display", lambda bundle, raw: bundles.append(bundle))
        explorer = Explorer(model, split)
        assert explorer.show(0, widgets=True) is None
        assert {"application/vnd.jupyter.widget-view+json", "image/png"} <= set(bundles[0])
        assert base64.b64decode(json.loads(json.dumps(bundles[0]["image/png"]))).startswith(b"\x89PNG")
        box = explorer.widgets(0, b"")
        study, text, method, kind, shown = box.children
        seen = [bytes(shown.value)]
        for widget, value in (
            (study, 2),
            (text, f"{split.words[2][0]} (1)"),
            (method, "Grad-CAM"),
            (kind, "reverse_sentence"),
        ):
            widget.value = value
            seen.append(bytes(shown.value))
            assert seen[-1].startswith(b"\x89PNG")
            assert seen[-1] != seen[-2]
        assert text.disabled


def test_tables_are_of_plain_columns(maps, tmp_path):
    for table in (maps.scores, maps.curves, maps.correlations, maps.completeness):
        table.to_csv(tmp_path / "t.csv", index=False)
        assert len(pd.read_csv(tmp_path / "t.csv")) == len(table)
