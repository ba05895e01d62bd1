"""The benchmark on the command line: a frozen set, a checkpoint, and the same model as embeddings computed elsewhere."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from prdlib.__main__ import main
from prdlib.config import load_profile
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.models import build_model

SETTINGS = ["data.n_studies=120", "data.image_size=32", "data.word_limit=40", "model.image_width=4", "model.text_width=32",
            "model.text_layers=1", "model.projection_dim=16", "evaluation.bootstrap=100"]  # fmt: skip
OPTIONS = [part for pair in SETTINGS for part in ("--set", pair)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)


def test_a_frozen_set_is_written_with_all_that_a_model_is_asked(place, capsys):
    assert main(["benchmark-set", "set.jsonl", "--export", "asked", *OPTIONS]) == 0
    out = capsys.readouterr().out
    header = json.loads((place / "set.jsonl").read_text().splitlines()[0])
    assert header["hash"] in out
    assert (place / "asked" / "reports.jsonl").is_file()


def test_a_checkpoint_and_its_embeddings_get_the_same_table(place, capsys):
    config = load_profile("quick", {p.split("=")[0]: int(p.split("=")[1]) for p in SETTINGS})
    texts = [json.loads(line) for line in (place / "asked" / "reports.jsonl").read_text().splitlines()]
    model = build_model(config, 0, [t["report"] for t in texts])[0].eval()
    model.save_pretrained(place / "model")
    pictures = sorted((place / "asked" / "images").glob("*.png"))
    adapter = PRDAdapter(model)
    np.savez(
        place / "model.npz",
        image_keys=np.array([p.stem for p in pictures]),
        image_embeds=adapter.encode_images(np.stack([np.asarray(Image.open(p)) for p in pictures])).numpy(),
        report_keys=np.array([t["key"] for t in texts]),
        report_embeds=torch.cat([adapter.encode_reports([t["report"]]) for t in texts]).numpy(),
    )
    whole = dict(np.load(place / "model.npz"))
    (place / "parts").mkdir()
    for kind in ("image", "report"):  # the same in two files of one folder
        np.savez(place / "parts" / f"{kind}.npz", **{k: v for k, v in whole.items() if k.startswith(kind)})
    for name in ("model", "model.npz", "embeddings:parts"):
        assert (
            main(["evaluate", name, "--benchmark", "set.jsonl", "--output", f"tables/{name.split(':')[-1]}", *OPTIONS])
            == 0
        )
    assert "image gain" in capsys.readouterr().out
    ours, stored, parts = (
        pd.read_csv(place / "tables" / n / "image_gain.csv").drop(columns="model")
        for n in ("model", "model.npz", "parts")
    )
    pd.testing.assert_frame_equal(stored, parts)
    assert len(ours) >= 15
    asked = pd.read_csv(place / "tables" / "model" / "outcomes.csv.xz").groupby("test")["correct"]
    table = ours[ours["n"] > 0].set_index("test")
    pd.testing.assert_series_equal(asked.mean()[table.index], table["accuracy"], check_names=False)
    assert asked.size().to_dict() == table["n"].to_dict()
    facts = json.loads((place / "tables" / "model" / "heat_map.json").read_text())
    assert facts["benchmark"] == json.loads((place / "set.jsonl").read_text().splitlines()[0])["hash"]
    for name in ("heat_map", "dumbbells"):
        assert Image.open(place / "tables" / "model" / f"{name}.png").size[0] > 300
    pd.testing.assert_frame_equal(ours.drop(columns="trained_on"), stored.drop(columns="trained_on"), atol=0.11, rtol=0)


def test_a_set_of_validation_is_scored_on_validation(place, capsys):
    assert main(["benchmark-set", "validation.jsonl", "--split", "validation", *OPTIONS]) == 0
    written = capsys.readouterr().out
    assert main(["evaluate", "model", "--benchmark", "validation.jsonl", *OPTIONS]) == 0
    header = json.loads((place / "validation.jsonl").read_text().splitlines()[0])
    assert f"hash {header['hash']}" in written
    assert f"benchmark set {header['hash']}, {header['studies']} studies" in capsys.readouterr().out


def test_auroc_of_a_checkpoint(place, capsys):
    assert main(["evaluate", "model", "--task", "auroc", "--output", "tables/auroc", *OPTIONS]) == 0
    assert "auroc, linear probe" in capsys.readouterr().out
    for name in ("zero_shot", "linear_probe"):
        table = pd.read_csv(place / "tables" / "auroc" / f"{name}.csv").set_index("label")
        assert (table["model"] == "model").all()
        assert (table["seeds"] == 1).all()
        assert 0 <= table.loc["mean", "ci_low"] <= table.loc["mean", "value"] <= table.loc["mean", "ci_high"] <= 1
    assert list(pd.read_csv(place / "tables" / "auroc" / "sides.csv")["task"]) == ["zero-shot", "linear probe"]


def test_localisation_and_matching_of_a_checkpoint(place, capsys):
    for task in ("localisation", "matching"):
        assert main(["evaluate", "model", "--task", task, "--output", "tables/own", *OPTIONS]) == 0
    assert "matching, matching twins" in capsys.readouterr().out
    located = pd.read_csv(place / "tables" / "own" / "localisation.csv")
    assert set(located["metric"]) == {"pointing", "CNR", "mean IoU"}
    assert {"image", "name alone", "untrained", "gain over best control"} <= set(located["input"])
    assert (located["seeds"] == 1).all()
    twins = pd.read_csv(place / "tables" / "own" / "matching_twins.csv")
    assert set(twins["scores"]) == {"inner product", "fusion head"}
    assert set(twins["place"]) == {"across segments", "inside a segment"}
    assert (pd.read_csv(place / "tables" / "own" / "matching_pairs.csv")["chance"] == 0.5).all()


def test_a_part_of_a_set_and_texts_that_were_cut_are_told(place, capsys, monkeypatch):
    header = json.loads((place / "set.jsonl").read_text().splitlines()[0])
    monkeypatch.setattr(PRDAdapter, "cut", lambda self, texts: 3, raising=False)
    assert main(["evaluate", "model", "--benchmark", "set.jsonl", *OPTIONS, "--set", "data.n_studies=80"]) == 0
    out = capsys.readouterr().out
    number, whole = re.search(r"benchmark set \w+, (\d+) of (\d+) studies of the set, file hash (\w+)", out).groups()[
        :2
    ]
    assert 0 < int(number) < int(whole) == header["studies"]
    assert f"file hash {header['hash']}" in out
    assert re.search(r"model: 3 of \d+ texts are longer than the model's context and were cut", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "model", "model"], "names a model twice"),
        (["evaluate", "nothing"], "No model at 'nothing'"),
        (["evaluate", "model.npz", "--benchmark", "missing.jsonl"], "No benchmark set at 'missing.jsonl'"),
        (["evaluate"], "No finished training of clip with seed 0"),
        (["evaluate", "--grid", "grounde"], "did you mean 'grounded'"),
        (["evaluate", "--grid", "grounded"], "No cell of grid grounded is finished"),
        (["evaluate", "open_clip:ViT-B-32"], "open_clip:ViT-B-32 has no weights"),
        (["evaluate", "embeddings:tables"], "No embeddings at 'tables'"),
        (["evaluate", "model.npz", "--task", "auroc"], "model.npz is none"),
        (["evaluate", "model", "--task", "auroc", "--benchmark", "set.jsonl"], "belongs to the task structure"),
    ],
)
def test_what_is_missing_is_one_sentence(arguments, message, capsys):
    assert main([*arguments, *OPTIONS]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_damaged_checkpoint_is_one_sentence(place, capsys):
    broken = place / "broken"
    shutil.copytree(place / "model", broken)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    assert main(["evaluate", "broken", *OPTIONS]) == 2
    assert "'broken' is a damaged model: write it again" in capsys.readouterr().err
