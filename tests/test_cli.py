"""The command line: exit codes and one sentence on stderr."""

import pytest

import prdlib.config
from prdlib.__main__ import COMMANDS, main, settings_of
from prdlib.config import ConfigError
from prdlib.text.tagging import TaggerMissing
from prdlib.trainer import NonFiniteLoss


def test_settings_are_read_as_yaml():
    assert settings_of(["training.epochs=3", "seeds=[0, 1]", "data.name=openi"]) == {
        "training.epochs": 3,
        "seeds": [0, 1],
        "data.name": "openi",
    }
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        settings_of(["training.epochs"])
    with pytest.raises(ConfigError, match=r"--set 'training.epochs=\[1'.*not valid YAML"):
        settings_of(["training.epochs=[1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "quik"], "did you mean 'quick'"),
        (["run", "--set", "training.epoch=3"], "did you mean 'training.epochs'"),
        (["run", "--set", "training.epochs=0"], "at least 1"),
        (["run", "--set", "training.epochs=[1"], "not valid YAML"),
        (["run", "--set", "profile=../../escape"], "cannot name a run's folder"),
        (["run", "--set", "objective.local_weight=.inf"], "finite"),
        (["run", "--jobs", "0"], "--jobs is 0: it must be at least 1"),
        (["run", "--jobs", "-1"], "--jobs is -1: it must be at least 1"),
        (["pretrain", "--method", "prdd"], "did you mean 'prd'"),
        (["status", "nowhere"], "No run in 'nowhere'"),
        (["prepare", "--profile", "openi", "--data", "nowhere"], "not found at 'nowhere'"),
        (["prepare", "--profile", "openi"], "--data /path/to/openi (make: DATA=/path/to/openi"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_settings_lists_every_setting(capsys):
    assert main(["settings"]) == 0
    assert "objective.discrimination_weight" in capsys.readouterr().out


@pytest.mark.parametrize("data", [[], ["--data", "nowhere"]])
def test_missing_data_are_told_before_anything_runs(data, capsys):
    assert main(["run", "--profile", "openi", *data]) == 2
    assert "--data" in capsys.readouterr().err


def test_data_that_cannot_be_read_leave_no_run_behind(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "collection").mkdir()
    (tmp_path / "collection" / "indiana_reports.csv").write_text("uid\n1\n")
    assert main(["prepare", "--profile", "openi", "--data", "collection"]) == 2
    assert "has no column" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["collection"]


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"run_id": "a", "started": "b", "steps": {"01_data": {}}}'])
def test_a_broken_manifest_is_named(text, capsys, tmp_path):
    (tmp_path / "run.json").write_text(text)
    assert main(["status", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'run.json'} is broken: remove it" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NonFiniteLoss("The loss is not finite."), "The loss is not finite."),
        (TaggerMissing("No tagger:\ninstall it."), "No tagger: install it."),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "x.csv: No such file or directory."),
        (FileNotFoundError("No metrics/02_*.csv: run notebook 02."), "No metrics/02_*.csv: run notebook 02."),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(error, message, capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "settings", lambda options: throw(error))
    assert main(["settings"]) == 2
    assert capsys.readouterr().err == f"prdlib: {message}\n"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), RuntimeError("mine")])
def test_our_own_mistakes_keep_their_traceback(error, monkeypatch):
    monkeypatch.setitem(COMMANDS, "settings", lambda options: throw(error))
    with pytest.raises(type(error)):
        main(["settings"])


def throw(error):
    raise error


def test_a_missing_logger_is_told_before_anything_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(prdlib.config, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    for command in ("run", "pretrain"):
        assert main([command, "--set", "training.report_to=wandb"]) == 2
        assert "pip install wandb" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_kept_tables_are_of_a_grid(capsys):
    assert main(["run", "--profile", "quick", "--kept", "somewhere"]) == 2
    assert "--kept joins the tables of an ablation: give its --grid too." in capsys.readouterr().err
