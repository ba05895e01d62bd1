"""Reports over studies of a tiny model, their figures, the cost of methods, the explorer with and without widgets."""

import base64
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prdlib.attribution_cost import cost_table, peak_memory
from prdlib.attribution_methods import PAIR_METHODS, map_methods
from prdlib.attribution_plots import UNITS
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import grounding
from prdlib.evaluation.localisation import CONTROLS
from prdlib.evaluation.wording import agreement_gains, map_gains
from prdlib.explorer import NONE, WHOLE, Explorer, can_show_widgets
from prdlib.faithfulness_plots import (
    gains_over_controls,
    insertion_deletion_curves,
    map_correlations,
    methods_by_phrases,
    pointing_by_method,
)
from prdlib.faithfulness_report import AREA, RANDOM, SCORES, one_phrase_each, report_on_maps
from prdlib.models import build_model
from prdlib.plots import GREEN, GREY
from prdlib.text import PERTURBATIONS, find_breaks, tag
from prdlib.word_faithfulness import report_on_words
from prdlib.word_regions import METHOD as ATTENTION
from prdlib.word_regions import TARGET, word_maps

TAU = "attention_temperature"
WORD_CONTROLS = ["mean image", "other image", "untrained"]


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


def of_attention_of_names(table):
    """Rows of few phrases: attention of the name alone is constant for names of one word."""
    return (table["maps"] == "attention") & (table["input"] == "name alone")


def test_every_kind_of_maps_has_every_score_beside_every_control(maps):
    keys = maps.scores.groupby(["maps", "metric"], sort=False)["input"].agg(list)
    assert set(keys.index) == {(m, s) for m in map_methods() for s in (*SCORES, AREA)}
    assert all(set(inputs) == {"image", *CONTROLS, "gain over best control"} for inputs in keys)
    assert (maps.scores.loc[~of_attention_of_names(maps.scores), "n"] == 8).all()
    assert (maps.scores["ci_low"] <= maps.scores["value"] + 1e-9).all()
    assert (maps.scores["value"] <= maps.scores["ci_high"] + 1e-9).all()
    chance = maps.scores[maps.scores["input"] == "image"].groupby("metric")["chance"].first()
    assert chance["pointing"] == chance["energy"] > 0 == chance["CNR"] == chance[AREA]


def test_the_headline_is_the_gain_over_the_best_control(maps):
    head = maps.headline()
    assert len(head) == len(map_methods()) * (len(SCORES) + 1)
    few = (head["maps"] == "attention") & (head["best_control"] == "name alone")
    np.testing.assert_allclose(head["value"][~few], (head["own"] - head["control"])[~few], atol=1e-9)
    for row in head.itertuples():
        mine = maps.scores[(maps.scores["maps"] == row.maps) & (maps.scores["metric"] == row.metric)]
        controls = mine[mine["input"].isin(CONTROLS)].set_index("input")["value"]
        assert controls[row.best_control] == row.control
        if row.maps != "attention":
            assert controls.max() == row.control
        assert row.own_low == mine.set_index("input").loc["image", "ci_low"]


def test_attention_of_names_of_one_word_is_no_control(maps, split, phrases):
    """Their attention is constant: scored over the other names alone, everywhere, and the others have all."""
    items = one_phrase_each(phrases, 8)
    several = sum(len(item.name.split()) > 1 for item in items)
    assert 0 < several < len(items)
    for table in (maps.scores, maps.curves):
        alone = table[table["input"] == "name alone"].groupby("maps")["n"].max()
        assert alone["attention"] == several
        assert (alone.drop("attention") == len(items)).all()
    changed = maps.correlations[maps.correlations["second"] == "name alone"].set_index("first")["n"]
    assert changed["attention"] == several
    best = maps.headline().set_index(["maps", "metric"])
    assert (best["best_control"] != "").all()
    for (name, metric), row in best.iterrows():
        scores = maps.scores[(maps.scores["maps"] == name) & (maps.scores["metric"] == metric)].set_index("input")
        assert scores.loc[row["best_control"], "value"] == row["control"]
        if scores.loc[row["best_control"], "n"] == len(items):
            assert row["own"] - row["value"] == pytest.approx(row["control"])


def test_only_what_is_above_chance_too_is_filled_and_said():
    """A gain over controls that are worse than chance is none."""
    row = {"maps": "a", "metric": "CNR", "value": 0.4, "ci_low": 0.2, "ci_high": 0.6, "n": 9, "own": 0.1, "own_low": 0.05,
           "own_chance": 0.0, "best_control": "untrained", "control": -0.3}  # fmt: skip
    head = pd.DataFrame([row, row | {"maps": "b", "own_low": -0.1}, row | {"maps": "c", "ci_low": -0.1}])
    assert map_gains(head).splitlines() == [
        "a: above chance and the best control in CNR (+0.400 [0.200, 0.600] over untrained), of 1.",
        *(f"{kind}: above chance and the best control in no score, of 1." for kind in "bc"),
        "95 % intervals, not corrected for their number.",
    ]
    (axis,) = gains_over_controls(head).axes
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False, True, True]


def test_pointing_rows_read_as_those_of_grounding(maps):
    table = maps.pointing()
    assert list(table.columns) == grounding.POINTING_COLUMNS
    assert {"Occlusion, image", "word maps, untrained"} <= set(table["input"])


def test_words_are_scored_by_orders_and_shapley_values_are_complete(words):
    assert set(words.scores["metric"]) == {AREA}
    own = words.scores[words.scores["input"] == "image"].set_index("maps")["value"]
    assert (own > 0).all()  # of the model's own words, without training too
    share = words.completeness.set_index(["maps", "input"])["value"]
    assert (share["Shapley values"] < 1e-4).all()
    assert (share["Integrated Gradients"] < 0.1).all()
    assert len(share) == 4
    own = words.correlations[words.correlations["input"] == "image"]
    agree = own.set_index(["first", "second"])["value"]
    assert agree["Shapley values", "Word ablation"] > 0.5


def test_curves_begin_and_end_alike_whatever_the_order(maps):
    curves = maps.curves[~of_attention_of_names(maps.curves)]  # of the same phrases
    ends, starts = (curves[curves["fraction"] == fraction].groupby("curve")["value"] for fraction in (1, 0))
    for groups in (ends, starts):
        np.testing.assert_allclose(groups.max(), groups.min(), atol=1e-5)
    assert ends.mean()["insertion"] == pytest.approx(starts.mean()["deletion"], abs=1e-5)


def test_a_random_order_is_drawn_beside_every_kind_of_maps(maps, words):
    for report in (maps, words):
        drawn = report.curves[report.curves["input"] == RANDOM]
        assert set(drawn["maps"]) == set(report.scores["maps"])
        assert drawn.groupby(["curve", "fraction"])["value"].nunique().eq(1).all()  # one order for all of them


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
        assert [axis.get_title().replace("\n", " ") for axis in figure.axes[: len(kinds)]] == kinds
        head = report.headline()
        figure = gains_over_controls(head)
        assert [axis.get_title() for axis in figure.axes] == list(dict.fromkeys(head["metric"]))
        figure = map_correlations(report.correlations)
        assert len(figure.axes[0].texts) == (report.correlations["input"] == "image").sum()
    shown = {"a": np.random.default_rng(0).random((2, 32, 32)), "b": np.zeros((2, 32, 32))}
    figure = methods_by_phrases(split.images[0], shown, ["one", "two"], [[(0, 0, 1, 1)], []])
    *panels, bar = figure.axes
    assert len(panels) == 4
    assert bar.get_xlabel() == "of its row; orange: true box, cross: maximum"
    *_, bar = methods_by_phrases(split.images[0], shown, ["one", "two"], [[], []]).axes
    assert bar.get_xlabel() == "of its row; cross: maximum"
    assert not plt.get_fignums()


def test_pointing_is_grouped_by_method_with_the_own_image_in_green(maps):
    table = maps.scores[(maps.scores["metric"] == "pointing") & ~maps.scores["input"].str.startswith("gain")]
    axis = pointing_by_method(table, "title").axes[0]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert rows[: 1 + len(CONTROLS)] == ["own image", *CONTROLS]
    assert [text.get_text().replace("\n", " ") for text in axis.texts] == list(map_methods())
    assert any(row.startswith("name alone, n = ") for row in rows)
    colours = {bars.get_label(): bars[0].get_color() for bars in axis.containers}
    assert colours == {"own image": GREEN, "control": GREY}
    own = next(bars for bars in axis.containers if bars.get_label() == "own image")[0]
    np.testing.assert_allclose(own.get_xdata().astype(float), table.loc[table["input"] == "image", "value"])
    np.testing.assert_allclose(np.diff(own.get_ydata().astype(float)), len(CONTROLS) + 1.8)
    assert "nothing to score" in pointing_by_method(table.iloc[:0]).texts[0].get_text()


def test_curves_have_bands_of_the_own_image_and_the_strongest_control(maps):
    figure = insertion_deletion_curves(maps.curves)
    for axis in figure.axes:
        assert {band.get_gid() for band in axis.collections} == {"band of image", "band of the strongest control"}


def test_correlations_and_completeness_stand_beside_controls(maps, words):
    for report, controls, kinds in ((maps, list(CONTROLS), len(map_methods())), (words, WORD_CONTROLS, 3)):
        table, pairs = report.correlations, kinds * (kinds - 1) // 2
        agreed = table[table["second"].isin(table["first"])]
        counts = agreed["input"].value_counts()
        assert counts.to_dict() == dict.fromkeys(["image", *controls, "gain over best control"], pairs)
        changed = table[~table["second"].isin(table["first"])]
        assert changed.groupby("first")["second"].agg(set).eq(set(controls)).all()
        assert (changed.groupby("second").size() == kinds).all()
        assert (report.completeness.groupby("maps")["input"].agg(list)).map(lambda x: x == ["image", "untrained"]).all()
        assert (report.completeness["chance"] == 1).all()
        assert "of " + str(pairs) in agreement_gains(table)


def test_sentence_of_agreement_names_what_is_sure():
    row = {"first": "a", "second": "b", "input": "gain over best control", "value": 0.2, "ci_low": 0.1, "ci_high": 0.3}
    table = pd.DataFrame([row, row | {"second": "c", "ci_low": -0.1}, row | {"second": "d", "input": "image"}])
    expected = "Agree more than under the best control: a and b (+0.20 [+0.10, +0.30]), of 2 pairs."
    assert agreement_gains(table) == expected
    assert agreement_gains(table[1:2]) == "Agree more than under the best control: no two methods, of 1 pairs."
    assert agreement_gains(table[:0]) == "No maps to compare."


def test_cost_of_every_method(model, split):
    table = cost_table(model, split.images[:2], split.marked[:2], {"Shapley values": {"samples": 1}})
    assert table["method"].tolist() == list(PAIR_METHODS)
    assert (table[["seconds_per_pair", "peak_memory_mb"]] > 0).all(axis=None)


def test_cost_is_of_the_attention_of_the_loss(model, split, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "prdlib.attribution_cost.PAIR_METHODS", {ATTENTION: lambda *_, **options: asked.append(options)}
    )
    cost_table(model, split.images[:1], split.marked[:1], attention_temperature=2.0)
    assert asked == [{TAU: 2.0}] * 3


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

    @pytest.mark.parametrize("method", ["Occlusion", "Word ablation", "Integrated Gradients", ATTENTION])
    @pytest.mark.parametrize("kind", [NONE, "shuffle_all_words"])
    def test_a_figure_for_every_choice(self, model, split, method, kind):
        figure = Explorer(model, split).figure(1, method=method, perturbation=kind)
        titles = {axis.get_title() for sub in [figure, *figure.subfigs] for axis in sub.axes}
        texts = {t.get_text().split(" (")[0] for sub in [figure, *figure.subfigs] for a in sub.axes for t in a.texts}
        alone = "above uniform" if method == ATTENTION else "contribution"
        expected = {alone} if kind == NONE else {"original", "perturbed", "difference"}
        assert expected <= (texts if method == "Word ablation" else titles)

    def test_a_word_is_looked_for_inside_its_report(self, model, split):
        explorer = Explorer(model, split)
        texts = list(explorer.texts(1))
        drawn = []
        for text in texts[-2:]:
            figure = explorer.figure(1, text, ATTENTION)
            axes = [axis for part in [figure, *figure.subfigs] for axis in part.axes]
            (axis,) = [axis for axis in axes if axis.get_title() == "above uniform"]
            drawn.append(axis.images[-1].get_array())
        assert all(np.ptp(values) > 0 for values in drawn)
        assert not np.allclose(*drawn)

    def test_a_finding_is_asked_by_its_first_mention(self, model, split):
        """As in tables: not by its statement and the words of a later sentence that names it again."""
        (tagged,) = find_breaks(tag(["Small left effusion. Heart is normal. The effusion is new."]))
        spans = [[0, 19], [38, 50]]
        assert [tagged.text[a:b] for a, b in spans] == ["Small left effusion", "The effusion"]
        finding = {"name": "effusion", "box": [0.1, 0.2, 0.5, 0.6], "spans": spans}
        data = replace(split, tagged=[tagged, *split.tagged[1:]], findings=[[finding], *split.findings[1:]])
        assert Explorer(model, data).texts(0)["small left effusion"] == (0, 1, 2)
        assert [p.first_mention for p in grounding.phrases(data.findings[:1], [tagged.offsets])] == [(0, 1, 2)]

    def test_a_perturbation_that_does_not_apply_is_said(self, model, split):
        explorer = Explorer(model, split)
        row, kind = next((row, kind) for row in range(9) for kind in PERTURBATIONS if explorer.copy(row, kind).is_noop)
        figure, facts = explorer.drawn(row, method="Occlusion", perturbation=kind)
        assert "does not apply to this report" in figure.get_suptitle()
        titles = [axis.get_title() for axis in figure.axes]
        assert "original" in titles
        assert "difference" not in titles
        assert (facts["study"], facts["perturbation"]) == (split.study_ids[row], kind)
        assert kind not in explorer.perturbations(row)
        assert {NONE, "shuffle_all_words"} <= set(explorer.perturbations(row))
        widgets = pytest.importorskip("ipywidgets")
        (choices,) = [
            w for w in explorer.widgets(row, b"", perturbation=kind).children
            if isinstance(w, widgets.Dropdown) and w.description == "perturbed"
        ]  # fmt: skip
        assert (list(choices.options), choices.value) == (explorer.perturbations(row), NONE)

    @pytest.mark.parametrize("method", ["Integrated Gradients", "Occlusion", "Grad-CAM", "Shapley values", ATTENTION])
    def test_a_figure_says_what_it_shows(self, model, split, method):
        figure, facts = Explorer(model, split, 2.0).drawn(1, method=method, perturbation="shuffle_all_words")
        assert str(split.study_ids[1]) in figure.get_suptitle()
        assert "shuffle_all_words" in figure.get_suptitle()
        explained = json.loads(json.dumps(facts))["explained"]
        assert explained["method"] == method
        assert explained["target"].split(",")[0] in ("lead over the perturbed report", TARGET)
        assert (explained["delta"] is not None) == (method in ("Integrated Gradients", "Shapley values"))
        settings = {"Integrated Gradients": ("steps", 32), "Shapley values": ("samples", 10), ATTENTION: (TAU, 2.0)}
        if method in settings:
            assert explained[settings[method][0]] == settings[method][1]
        units = {axis.get_ylabel() for part in [figure, *figure.subfigs] for axis in part.axes} - {""}
        assert units == ({UNITS[method]} if method in UNITS else set())

    def test_the_difference_has_its_own_scale(self, model, split):
        figure = Explorer(model, split).figure(1, method="Occlusion", perturbation="shuffle_all_words")
        shown = {axis.get_title(): axis.images[-1] for axis in figure.axes if axis.get_title()}
        own, other, difference = (shown[name] for name in ("original", "perturbed", "difference"))
        assert own.get_clim() == other.get_clim() != difference.get_clim()
        assert difference.get_clim()[1] == pytest.approx(np.abs(difference.get_array()).max())
        assert sum(axis.get_ylabel() == UNITS["Occlusion"] for axis in figure.axes) == 2

    def test_attention_has_the_temperature_of_the_loss(self, model, split):
        (low,), (high,) = (Explorer(model, split, tau)._alone(1, WHOLE, ATTENTION).values() for tau in (1.0, 9.0))
        (direct,) = word_maps(model, split.images[1:2], [split.marked[1]], 9.0)
        np.testing.assert_allclose(high.map, direct.maps.mean(axis=0), atol=1e-6)
        assert not np.allclose(low.map, high.map)
        own, other = (Explorer(model, split, tau)._explain(1, split.marked[1], ATTENTION).map for tau in (1.0, 9.0))
        assert not np.allclose(own, other)

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
