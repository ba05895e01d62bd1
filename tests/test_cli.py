"""The command line: exit codes and one sentence on stderr."""

import pytest

from prdlib.__main__ import main, settings_of
from prdlib.config import ConfigError


def test_settings_are_read_as_yaml():
    assert settings_of(["training.epochs=3", "seeds=[0, 1]", "data.name=openi"]) == {
        "training.epochs": 3,
        "seeds": [0, 1],
        "data.name": "openi",
    }
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        settings_of(["training.epochs"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "quik"], "did you mean 'quick'"),
        (["run", "--set", "training.epoch=3"], "did you mean 'training.epochs'"),
        (["run", "--set", "training.epochs=0"], "at least 1"),
        (["pretrain", "--method", "prdd"], "did you mean 'prd'"),
        (["status", "nowhere"], "No run in 'nowhere'"),
        (["prepare", "--profile", "openi", "--data", "nowhere"], "not found at 'nowhere'"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_settings_lists_every_setting(capsys):
    assert main(["settings"]) == 0
    assert "objective.discrimination_weight" in capsys.readouterr().out


@pytest.mark.parametrize("data", [[], ["--data", "nowhere"]])
def test_missing_data_are_told_before_anything_runs(data, capsys):
    assert main(["run", "--profile", "openi", *data]) == 2
    assert "--data" in capsys.readouterr().err
