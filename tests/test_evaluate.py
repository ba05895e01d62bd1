"""evaluate(checkpoint, tasks): every task of a small phantom, collections that lack something, other models, the command line."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from prdlib import tasks
from prdlib.__main__ import main
from prdlib.config import ConfigError, load_profile
from prdlib.data import DataError
from prdlib.evaluate import all_tasks, evaluate, evaluate_models, evaluate_run, load_models, overview_of, task_names
from prdlib.evaluation.adapters import PRDAdapter
from prdlib.evaluation.downstream import probe_curves
from prdlib.models import WeightsError, build_model, random_twin
from prdlib.notebook import Run
from prdlib.tasks import LINES, TASKS, headlines, lacks, overview_lines, run_task

SETTINGS = {"data.n_studies": 120, "data.image_size": 32, "data.word_limit": 40, "model.image_width": 4, "model.text_width": 32,
            "model.text_layers": 1, "model.projection_dim": 16, "evaluation.bootstrap": 100, "evaluation.nli_squares": 40,
            "evaluation.fine_tuning_epochs": 1, "evaluation.label_shares": [0.3, 1.0],
            "evaluation.fine_tuning_shares": [1.0]}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(load_profile("quick", SETTINGS), tmp_path_factory.mktemp("project") / "papermill_runs" / "run")


@pytest.fixture(scope="module")
def model(run):
    words = [" ".join(row) for row in run.data["train"]["words"]]
    return build_model(run.config.for_method("grounded"), 0, words)[0].eval()


class Halves:
    """A foreign model: an image's vector is the brightness of its halves, a text's whether it says left and right."""

    def encode_images(self, images):
        left, right = np.split(images.astype(np.float32), 2, axis=2)
        return torch.from_numpy(np.stack([half.mean(axis=(1, 2)) for half in (left, right)], axis=1))

    def encode_reports(self, reports):
        return torch.tensor([[float(side in report.split()) for side in ("left", "right")] for report in reports])


@pytest.fixture(scope="module")
def evaluation(run, model):
    return evaluate_models({("grounded", 0): PRDAdapter(model)}, ("all",), run)


def test_all_is_every_task_and_its_overview_has_chance_and_control(evaluation, run):
    assert set(evaluation.tables) | set(evaluation.left_out) == set(TASKS)
    assert evaluation.left_out["fine_tuning"] == "evaluation.fine_tuning is off."
    assert set(evaluation.left_out) == {"fine_tuning", "auroc", "matching"}
    overview = evaluation.overview
    assert list(overview.columns) == ["task", *LINES]
    assert set(overview["task"]) == set(evaluation.tables)
    assert overview["chance"].notna().all()
    assert (overview["n"] > 0).all()
    scored = overview.dropna(subset=["value", "ci_low"])
    assert (scored["ci_low"] <= scored["value"] + 1e-9).mean() > 0.95  # a rare label's interval may miss its own value
    for task in ("structure", "generation", "classification", "localisation"):
        assert overview.loc[overview["task"] == task, "control"].notna().any()


def test_headlines_are_some_of_every_task(evaluation):
    short = headlines(evaluation.overview)
    assert set(short["task"]) == set(evaluation.tables)
    assert len(short) < len(evaluation.overview) / 2


def test_auroc_by_itself_is_that_of_zero_shot_and_classification_and_sides(evaluation, run, model):
    tables = {**evaluation.tables, "auroc": run_task("auroc", {("grounded", 0): PRDAdapter(model)}, run)}
    pd.testing.assert_frame_equal(tables["auroc"]["sides"], tables["sides"]["sides"])
    zero, probe = tables["zero_shot"]["zero_shot"], tables["classification"]["classification"]
    parts = {
        "zero_shot": zero[zero["similarity"] == "global"],
        "linear_probe": probe[(probe["model"] == "grounded") & (probe["share"] == 1)],
    }
    for name, part in parts.items():
        theirs = part[(part["metric"] == "AUROC") & (part["label"] != "mean")].set_index("label")["value"]
        mine = tables["auroc"][name].set_index("label")["value"].drop("mean")
        pd.testing.assert_series_equal(mine, theirs, check_names=False)


def seen_as(run, name, reports):
    """The run's phantom as a collection of another name, with or without reports."""
    config = replace(run.config, data=replace(run.config.data))
    object.__setattr__(config.data, "name", name)
    parts = {part: getattr(run, part) for part in ("split", "blind_image", "map_methods", "localised")}
    return SimpleNamespace(config=config, info={**run.info, "reports": reports}, **parts)


def test_phrases_of_ms_cxr_are_texts_of_their_own_and_boxes_without_reports_are_asked_for_by_name(run, model):
    models, test = {("grounded", 0): PRDAdapter(model)}, run.split("test")
    boxes = sum(f.get("box") is not None for findings in test.findings for f in findings)
    tables = {
        name: tasks.localisation(models, seen_as(run, name, name != "nih")) for name in ("phantom", "ms_cxr", "nih")
    }
    for found in tables.values():
        lost = found["lost"].iloc[0]
        assert (lost["boxes"], lost["scored"] + lost["lost"]) == (boxes, boxes)
    inputs = {name: set(found["localisation"]["input"]) for name, found in tables.items()}
    assert "name alone" in inputs["ms_cxr"]
    assert inputs["nih"] == inputs["phantom"] - {"name alone"}  # the text is the name
    assert tables["nih"]["lost"].iloc[0]["lost"] == 0
    by_name = tables["nih"]["localisation"].query("input == 'image'").set_index(["metric", "maps"])["value"]
    in_report, alone = (
        tables[name]["localisation"].query("input == 'image'").set_index(["metric", "maps"])["value"]
        for name in ("phantom", "ms_cxr")
    )
    assert not np.allclose(in_report, alone)
    assert not np.allclose(alone, by_name)


def test_a_task_that_cannot_be_is_refused_before_the_others_begin(run, model, monkeypatch):
    begun = []
    monkeypatch.setattr(tasks, "zero_shot", lambda *_: begun.append("zero_shot") or {})
    asked = Run(load_profile("quick", {**SETTINGS, "evaluation.nli": "mednli"}), run.folder)
    with pytest.raises(ConfigError, match=r"set evaluation\.nli_directory"):
        evaluate_models({("grounded", 0): PRDAdapter(model)}, ("zero_shot", "nli"), asked)
    (run.folder.parent / "mine.yaml").write_text("default: {positive: [a], negative: [b]}")
    mine = {**SETTINGS, "evaluation.prompts": str(run.folder.parent / "mine.yaml")}
    with pytest.raises(ConfigError, match="have no 'sides'"):
        evaluate_models(
            {("grounded", 0): PRDAdapter(model)}, ("zero_shot", "sides"), Run(load_profile("quick", mine), run.folder)
        )
    nowhere = {**SETTINGS, "evaluation.nli": "mednli", "evaluation.nli_directory": "nowhere"}
    with pytest.raises(DataError, match="nowhere"):
        evaluate_models(
            {("grounded", 0): PRDAdapter(model)}, ("zero_shot", "nli"), Run(load_profile("quick", nowhere), run.folder)
        )
    with pytest.raises(ConfigError, match="for checkpoints of this library, halves is none"):
        evaluate_models({("halves", 0): Halves()}, ("retrieval", "classification"), run)
    assert begun == []


def test_each_task_is_kept_when_it_ends_and_all_takes_what_is_named_beside_it(run, model, monkeypatch):
    kept, table = [], pd.DataFrame({"value": [1.0]})
    monkeypatch.setattr("prdlib.evaluate.run_task", lambda task, *_: {task: table})
    monkeypatch.setattr("prdlib.evaluate.overview_lines", lambda *_: pd.DataFrame())
    asked = task_names("all, matching,")
    assert asked == ("all", "matching")
    found = evaluate_models({("g", 0): PRDAdapter(model)}, asked, run, keep=lambda task, _: kept.append(task))
    assert kept == list(found.tables)
    assert kept[-1] == "matching"
    assert set(found.left_out) == {"fine_tuning", "auroc"}
    with pytest.raises(ConfigError, match="No task is named"):
        task_names(" ,")


def test_everything_is_saved_in_full(evaluation, run, tmp_path):
    evaluation.save(tmp_path)
    stored = pd.read_csv(tmp_path / "overview.csv")
    assert len(stored) == len(evaluation.overview) == len(json.loads((tmp_path / "overview.json").read_text()))
    assert json.loads((tmp_path / "left_out.json").read_text()) == evaluation.left_out
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["seeds"] == {"grounded": [0]}
    assert facts["test studies"] == len(run.split("test").study_ids)
    assert set(facts["seconds"]) == set(evaluation.tables)
    for task, tables in evaluation.tables.items():
        for name, table in tables.items():
            path = tmp_path / task / f"{name}.csv"
            assert (len(pd.read_csv(path)) if path.is_file() else 0) == len(table)


def test_other_models_have_the_tasks_that_need_two_encoders_alone(run):
    models = {("halves", 0): Halves()}
    names, left_out = all_tasks(models, run)
    assert set(names) == {name for name, task in TASKS.items() if not task.ours}
    assert left_out["nli"] == "halves is no checkpoint of this library"
    found = evaluate_models(models, ("retrieval", "zero_shot"), run)
    assert set(found.tables["zero_shot"]["zero_shot"]["similarity"]) == {"global"}
    assert (found.overview["model"] == "halves").all()
    with pytest.raises(ConfigError, match="The task nli is for checkpoints of this library, halves is none"):
        run_task("nli", models, run)


def test_a_run_keeps_every_table_and_says_what_is_left_out(run, model, capsys, monkeypatch):
    monkeypatch.setattr(Run, "trained", lambda *_: SimpleNamespace(model=model))
    monkeypatch.setattr("prdlib.evaluate.load_model", lambda name: Halves())
    for task in set(TASKS) - {"retrieval", "nli", "sides"}:
        monkeypatch.setitem(TASKS, task, replace(TASKS[task], usual=False))
    here = Run(replace(run.config, methods=("grounded",)), run.folder.parent / "other")
    found = evaluate_run(here, 0, ("npz:halves",))
    assert set(found.tables) == {"retrieval", "nli", "sides"}
    by_task = found.overview.groupby("task")["model"].agg(set)  # ours alone where a task needs more than two encoders
    assert by_task.to_dict() == {"retrieval": {"grounded", "npz:halves"}, "nli": {"grounded"}, "sides": {"grounded"}}
    kept = here.folder / "metrics"
    assert len(pd.read_csv(kept / "05_overview.csv")) == len(found.overview)
    assert len(pd.read_csv(kept / "05_retrieval.csv")) == len(found.tables["retrieval"]["retrieval"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("seconds   retrieval ")
    assert "left out  fine_tuning: evaluation.fine_tuning is off." in said
    assert set(overview_of({"retrieval": found.tables["retrieval"], "nli": {}})["task"]) == {"retrieval"}


def test_fine_tuning_is_of_the_papers_five_tasks(run, model, monkeypatch):
    asked = {}

    def label_efficiency(models, splits, shares, draws, modes, head, classes, settings, **_):
        asked.update(labels=splits["test"].label_names, modes=modes, head=head, classes=classes, epochs=settings.epochs)
        return pd.DataFrame({"model": ["grounded"]})

    monkeypatch.setattr("prdlib.evaluation.label_efficiency.label_efficiency", label_efficiency)
    table = run_task("fine_tuning", {("grounded", 0): PRDAdapter(model)}, run)["fine_tuning"]
    five = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
    assert sorted(asked.pop("labels")) == five
    assert asked == {"modes": ("fine-tuned",), "head": "multi-task", "classes": 3, "epochs": 1}
    assert set(table["head"]) == {"multi-class"}

    split = Run.split  # a collection that is sure of every label has no third class to learn

    def sure(run, name):
        part = split(run, name)
        return replace(part, labels=abs(part.labels))

    monkeypatch.setattr(Run, "split", sure)
    table = run_task("fine_tuning", {("grounded", 0): PRDAdapter(model)}, run)["fine_tuning"]
    assert asked["classes"] == 2
    assert set(table["head"]) == {"multi-task"}


def test_fine_tuning_for_one_of_several_classes(run, model):
    asked = Run(load_profile("quick", {**SETTINGS, "evaluation.fine_tuning_head": "single-label"}), run.folder)
    tables = run_task("fine_tuning", {("grounded", 0): PRDAdapter(model)}, asked)
    assert set(tables["fine_tuning"]["head"]) == {"single-label"}
    assert set(tables["fine_tuning"]["model"]) == {"grounded", "untrained", "majority / constant"}
    lines = overview_lines("fine_tuning", tables)
    assert "balanced accuracy, fine-tuned, 100 % of labels" in set(lines["metric"])
    assert (lines["chance"] == lines["metric"].str.startswith("macro").map({True: 0.5, False: 0.2})).all()


def test_curves_are_of_the_probe_that_the_table_scores(run, model, evaluation):
    splits = {name: run.split(name) for name in ("train", "validation", "test")}
    table = evaluation.tables["classification"]["classification"]
    for label in run.info["labels"][:4]:
        curves, _ = probe_curves({("grounded", 0): model}, splits, label, 20)
        chosen = (table["label"] == label) & (table["metric"] == "AUROC") & (table["model"] == "grounded")
        scored = table[chosen & (table["share"] == 1)]["value"].iloc[0]
        roc = curves["grounded"].query("curve == 'ROC'")
        assert np.isnan(scored) == roc.empty
        if not roc.empty:
            assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(scored, abs=0.03)  # on a grid of 101 points


def test_imagenet_weights_are_a_row_where_they_are_asked_for_and_missed_where_there_are_none(run, model, monkeypatch):
    asked = Run(load_profile("quick", {**SETTINGS, "evaluation.imagenet": True}), run.folder)
    with pytest.raises(WeightsError, match="narrow_resnet"):
        run_task("classification", {("grounded", 0): PRDAdapter(model)}, asked)
    monkeypatch.setattr("prdlib.models.imagenet_twin", random_twin)
    table = run_task("classification", {("grounded", 0): PRDAdapter(model)}, asked)["classification"]
    assert set(table["model"]) == {"grounded", "ImageNet", "untrained", "majority / constant"}


def written_pairs(folder, stems, key):
    """Files of sentence pairs in their published layout, three pairs each."""
    for stem in stems:
        pairs = [
            {key: f"{stem}-{i}", "sentence1": f"Small {stem.replace('_', ' ')} effusion.", "gold_label": label,
             "sentence2": f"{stem.split('_')[1].capitalize()} {word}."}
            for i, (label, word) in enumerate((("entailment", "effusion"), ("neutral", "edema"), ("contradiction", "clear")))
        ]  # fmt: skip
        (folder / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")


def test_sentence_pairs_are_those_of_the_settings_and_without_training_nothing_is_fine_tuned(run, model, tmp_path):
    written_pairs(tmp_path, ("mli_train_v1", "mli_dev_v1", "mli_test_v1"), "pairID")
    written_pairs(tmp_path, ("radnli_dev_v1", "radnli_test_v1"), "pair_id")
    for name, label, fine_tuned in (("mednli", "MedNLI", True), ("radnli", "RadNLI", False)):
        asked = {"evaluation.nli": name, "evaluation.nli_directory": str(tmp_path)}
        other = Run(load_profile("quick", {**SETTINGS, **asked}), run.folder)
        table = run_task("nli", {("grounded", 0): PRDAdapter(model)}, other)["nli"]
        assert set(table["pairs"]) == {label}
        assert ("fine-tuned" in set(table["task"])) == fine_tuned
        assert "zero-shot" in set(table["task"])


@pytest.mark.parametrize(
    ("facts", "task", "sentence"),
    [
        ({"labels": []}, "zero_shot", "The task zero_shot needs labels; phantom has none."),
        ({"labels": ["Edema"], "reports": False}, "retrieval", "The task retrieval needs reports; phantom has none."),
    ],
)
def test_what_a_collection_lacks_is_one_sentence(run, model, monkeypatch, facts, task, sentence):
    monkeypatch.setattr(Run, "info", facts)
    assert lacks(task, run) == sentence
    with pytest.raises(ConfigError, match=sentence):
        run_task(task, {("grounded", 0): PRDAdapter(model)}, run)


def test_tasks_are_named_by_comma_and_an_unknown_one_names_the_nearest():
    assert task_names("auroc,nli") == task_names(["auroc", "nli", "auroc"]) == ("auroc", "nli")
    with pytest.raises(ConfigError, match=r"Unknown task 'zeroshot' .did you mean 'zero_shot'"):
        task_names("zeroshot")


def test_one_call_and_one_command_give_the_same_numbers(run, model, monkeypatch, tmp_path, capsys):
    model.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("prdlib.notebook.default_run_dir", lambda config: run.folder)
    called = evaluate("model", ["retrieval", "zero_shot"], "quick", SETTINGS)
    options = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    assert main(["evaluate", "model", "--task", "retrieval,zero_shot", "--output", "out", *options]) == 0
    printed = capsys.readouterr().out
    assert "R@1, image to report" in printed
    assert printed.index("[1/2] retrieval") < printed.index("[2/2] zero_shot")
    stored = pd.read_csv(tmp_path / "out" / "overview.csv")
    pd.testing.assert_frame_equal(stored, called.overview, check_dtype=False)
    assert main(["evaluate", "model", "--task", "retrieval", "--benchmark", "x.jsonl", *options]) == 2
    assert "--benchmark belongs to the task structure" in capsys.readouterr().err


def test_a_checkpoint_is_named_by_the_end_of_its_path_where_that_is_enough(model, tmp_path):
    for place in ("a/one", "b/one", "b/two"):
        model.save_pretrained(tmp_path / place)
    a, b, two = (str(tmp_path / place) for place in ("a/one", "b/one", "b/two"))
    asked = SimpleNamespace(grid=None)
    assert set(load_models([a, two], asked)) == {("one", 0), ("two", 0)}
    assert set(load_models([a, b], asked)) == {(a, 0), (b, 0)}


def test_the_list_of_tasks_that_a_reader_sees_is_the_list_that_there_is():
    listed = [line.split()[0] for line in tasks.__doc__.splitlines() if "  " in line]
    assert set(listed) == set(TASKS)
