"""The benchmark compares equal things, and its tables, figures and memory say what was measured."""

import numpy as np
import pandas as pd
import pytest
import torch

from prdlib import __main__ as cli
from prdlib.benchmark import cost, local, measure, segments, setup, texts
from prdlib.benchmark.plain import clean_loop, padded_passes, repeating_loop
from prdlib.benchmark.report import BenchmarkReport, load_report, run_benchmark
from prdlib.benchmark.step import small_step
from prdlib.data.batches import Collate
from prdlib.losses import Objective, local_attentive_contrastive
from prdlib.text import plain


@pytest.mark.parametrize("plain", [clean_loop, repeating_loop])
def test_the_plain_loops_are_the_local_loss_gradients_too(plain):
    inputs = local.local_inputs(5, 9, 16, (2, 6))
    for mine, theirs in zip(
        local.with_gradient(local_attentive_contrastive, inputs), local.with_gradient(plain, inputs), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_version_that_computes_another_loss_is_not_timed(monkeypatch):
    monkeypatch.setattr(local, "repeating_loop", lambda *inputs: 2 * clean_loop(*inputs))
    monkeypatch.setattr(local, "take_turns", lambda *_: pytest.fail("timed"))
    small = local.local_inputs(4, 4, 8, (2, 3))
    monkeypatch.setattr(local, "local_inputs", lambda *_: small)
    with pytest.raises(RuntimeError, match="repeating loop differs"):
        local.local_loss(1)


def test_padded_passes_give_the_embeddings_of_the_one_pass(tiny_config, tiny_data):
    model, pairs = setup.model_and_pairs(tiny_config, tiny_data)
    items = setup.items_of(pairs, 8, 1)[0]
    batch = Collate(model.word_tokenizer)(items)
    reports = [[plain(text) for text in (item["words"], *item["copies"])] for item in items]
    with torch.no_grad():
        torch.testing.assert_close(
            texts.report_embeds(model, batch),
            padded_passes(model, model.word_tokenizer, reports, 60),
            rtol=1e-4,
            atol=1e-5,
        )


def test_equal_segments_once_give_the_embeddings_of_every_segment(tiny_config, tiny_data):
    model, pairs = setup.model_and_pairs(tiny_config.for_method("grounded"), tiny_data)
    items = [{**item, "copies": [], "valid": [True]} for item in setup.items_of(pairs, 12, 1)[0]]
    batch = Collate(model.word_tokenizer, segments="clause")(items)
    every = segments.repeated(batch)
    assert len(every["input_ids"]) == int((batch["segment_index"] >= 0).sum()) > len(batch["input_ids"])
    assert every["layout"]["lengths"] == sorted(every["layout"]["lengths"])
    with torch.no_grad():
        expected = model.encode_reports([item["words"] for item in items])
        for given in (batch, every):
            torch.testing.assert_close(segments.structured_embeds(model, given)[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_parts_of_a_step_are_the_step(tiny_config, tiny_data):
    """The same loss, and after it the same weights, whether it is taken apart or not."""
    whole, apart = small_step(tiny_config, tiny_data), small_step(tiny_config, tiny_data)
    for step in (whole, apart):
        step.objective = Objective(0.5, 0.1)
    whole.whole()
    seconds = apart.parts()
    assert list(seconds) == [
        "forward: image encoder",
        "forward: texts, projections",
        "losses: forward",
        "losses: backward",
        "backward: encoders, projections",
        "clipping, optimiser",
    ]
    assert min(seconds.values()) > 0  # each is a time that passed, none a difference of two
    for (name, one), other in zip(whole.model.state_dict().items(), apart.model.state_dict().values(), strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-3, atol=3e-4, msg=name
        )  # bf16 products, AdamW's first step of 1e-4


def test_versions_are_timed_in_turn_and_compared_by_their_medians():
    calls = []
    seconds = measure.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    table = measure.rows("part", "case", {"a": [4.0, 1.0, 9.0], "b": [2.0, 2.0, 2.0]}, {"b": ("a", "1.5")})
    assert table[1]["ratio"] == 2.0
    assert (table[0]["min_s"], table[0]["median_s"], table[0]["max_s"]) == (1.0, 4.0, 9.0)
    assert np.isnan(table[0]["ratio"])


def test_peak_memory_sees_what_is_given_back():
    assert 0.25 < measure.peak_memory(_fill, 400) < 1.0  # 400 MB
    assert measure.peak_memory(_fill, 1) < 0.1


def _fill(megabytes: int) -> None:
    torch.ones(megabytes, 1 << 18).sum()


def test_the_report_is_saved_and_read_again(tiny_config, tiny_data, tmp_path):
    report = run_benchmark(tiny_config, tiny_data, ["text", "segments", "data"], repeats=1, tell=lambda _: None)
    assert set(report.times["part"]) == {"text pass", "segments", "data"}
    assert report.facts["text pass"]["tokens computed / useful"] < 1.3
    assert report.facts["text pass"]["largest difference of an embedding"] < 0.05  # bf16
    assert report.facts["segments"]["largest difference of an embedding"] < 0.05
    assert 0 < report.facts["segments"]["distinct segments / segments"] < 1
    assert all(0 < share < 1 for share in report.facts["idle share of an epoch"].values())
    report.save(tmp_path)
    again = load_report(tmp_path)
    numbers = ["min_s", "median_s", "max_s", "repeats", "ratio"]
    pd.testing.assert_frame_equal(again.times[numbers], report.times[numbers])
    assert (tmp_path / "benchmark_ratios.png").stat().st_size > 5000


def test_a_report_without_times_is_saved_without_their_figure(tmp_path):
    memory = pd.DataFrame([{"part": "memory", "case": "c", "version": "ours", "gigabytes": 1.0, "target": "4"}])
    BenchmarkReport(memory, pd.DataFrame(), pd.DataFrame(), {"machine": {}}).save(tmp_path)
    assert load_report(tmp_path).times["gigabytes"].tolist() == [1.0]
    assert not list(tmp_path.glob("*.png"))


def test_estimated_hours_grow_with_studies_and_say_what_they_assume(tiny_config, tiny_data):
    operations = cost.operations_per_pair(small_step(tiny_config, tiny_data))
    assert operations > 1e6
    table = cost.gpu_hours(operations, 10)
    hours = table["A100 at 30%, hours"]
    assert hours[2] / hours[0] == pytest.approx(table["studies"][2] / table["studies"][0])
    assert hours[0] == pytest.approx(2700 * 10 * operations / (312e12 * 0.3) / 3600)


def test_an_unknown_part_is_one_sentence(capsys):
    assert cli.main(["benchmark", "--profile", "quick", "--only", "txt"]) == 2
    assert "unknown part 'txt' (did you mean 'text'?)" in capsys.readouterr().err
