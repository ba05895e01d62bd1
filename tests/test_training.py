"""Training learns, stops on NaN, and a killed run ends with the weights of one that was not."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertModel

from prdlib import training
from prdlib.config import ConfigError
from prdlib.data import DataError
from prdlib.epoch_log import CHECKPOINT_MARK, EpochLog
from prdlib.models import PRDModel, build_model
from prdlib.models.text_encoder import small_bert_config
from prdlib.names import METHODS
from prdlib.text import train_wordpiece
from prdlib.trainer import NonFiniteLoss, PRDTrainer
from prdlib.training import fit


@pytest.fixture(scope="module")
def whole(tiny_config, tiny_data, tmp_path_factory):
    return fit(tiny_config, "prd", 0, tiny_data, tmp_path_factory.mktemp("whole"), "d", report=None)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_history_has_losses_scales_speed_and_validation_scores(whole):
    columns = {"epoch", "loss", "contrastive", "discrimination", "local", "logit_scale", "discrimination_scale", "seconds",
               "pairs_per_second", "validation_R@1", "validation_structure"}  # fmt: skip
    assert columns <= set(whole.history.columns)
    assert whole.history["epoch"].tolist() == [1, 2, 3]
    assert whole.history["loss"].iloc[-1] < whole.history["loss"].iloc[0]


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_computes_only_its_losses(tiny_config, tiny_data, tmp_path, method):
    config = replace(tiny_config, training=replace(tiny_config.training, epochs=1))
    history = fit(config, method, 0, tiny_data, tmp_path, report=None).history
    has = METHODS[method]
    computed = tuple(name in history for name in ("discrimination", "local", "segment"))
    assert computed == (has.discrimination, has.local, has.segment_region)


def test_a_killed_run_ends_as_an_uninterrupted_one_bit_for_bit(tiny_config, tiny_data, tmp_path, monkeypatch, whole):
    real = EpochLog.on_epoch_begin

    def killed(self, args, state, control, **rest):
        if round(state.epoch) == 2:
            raise KeyboardInterrupt
        return real(self, args, state, control, **rest)

    monkeypatch.setattr(EpochLog, "on_epoch_begin", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config, "prd", 0, tiny_data, tmp_path, "d", report=None)
    monkeypatch.setattr(EpochLog, "on_epoch_begin", real)
    torch.manual_seed(12345)  # whatever the process did before must not matter
    again = fit(tiny_config, "prd", 0, tiny_data, tmp_path, "d", report=None)
    assert again.resumed_from == 2
    one, two = weights(whole.model), weights(again.model)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert list(again.history) == list(whole.history)
    same = [c for c in whole.history if c not in ("seconds", "pairs_per_second")]
    pd.testing.assert_frame_equal(whole.history[same], again.history[same], check_exact=True)


def test_a_checkpoint_cut_off_while_writing_is_not_used(tiny_config, tiny_data, tmp_path, monkeypatch, whole):
    real = EpochLog.on_save
    saves = []

    def cut(self, args, state, control, **rest):
        saves.append(state.global_step)
        if len(saves) == 2:
            raise KeyboardInterrupt  # the files of the second checkpoint are there, its mark is not
        return real(self, args, state, control, **rest)

    monkeypatch.setattr(EpochLog, "on_save", cut)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config, "prd", 0, tiny_data, tmp_path, "d", report=None)
    monkeypatch.setattr(EpochLog, "on_save", real)
    assert len(list(tmp_path.glob(f"trainer/*/{CHECKPOINT_MARK}"))) == 1
    again = fit(tiny_config, "prd", 0, tiny_data, tmp_path, "d", report=None)
    assert again.resumed_from == 1
    assert torch.equal(weights(again.model)["image_projection.weight"], weights(whole.model)["image_projection.weight"])


def test_a_finished_training_is_loaded_not_repeated(tiny_config, tiny_data, whole, monkeypatch):
    monkeypatch.setattr(PRDTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    again = fit(tiny_config, "prd", 0, tiny_data, whole.directory, "d", report=None)
    assert torch.equal(weights(again.model)["logit_scale"], weights(whole.model)["logit_scale"])
    assert len(again.history) == 3


def test_other_data_in_the_same_folder_are_trained_anew_though_nobody_named_their_hash(
    tiny_config, tiny_data, tmp_path
):
    config = replace(tiny_config, training=replace(tiny_config.training, epochs=1))
    first = fit(config, "clip", 0, tiny_data, tmp_path, report=None)
    assert fit(config, "clip", 0, tiny_data, tmp_path, report=None).resumed_from == 1
    fewer = deepcopy(tiny_data)
    fewer["train"] = fewer["train"].select(range(20))
    again = fit(config, "clip", 0, fewer, tmp_path, report=None)
    assert again.resumed_from == 0
    assert not torch.equal(first.model.image_projection.weight, again.model.image_projection.weight)
    assert "own data, " in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("key", ["123456789012", "12e456789012", "000000000001"])
def test_a_key_of_digits_is_no_number(tmp_path, key):
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "started.json").write_text(json.dumps({"key": key}))
    (folder / "half").write_text("kept")
    training._forget_other_settings(folder, key)
    assert (folder / "half").is_file()


def test_other_settings_start_afresh(tiny_config, tiny_data, tmp_path):
    short = replace(tiny_config, training=replace(tiny_config.training, epochs=1))
    first = fit(short, "clip", 0, tiny_data, tmp_path, "d", report=None)
    other = replace(short, training=replace(short.training, learning_rate=1e-4))
    second = fit(other, "clip", 0, tiny_data, tmp_path, "d", report=None)
    assert second.resumed_from == 0
    assert not torch.equal(
        weights(first.model)["image_projection.weight"], weights(second.model)["image_projection.weight"]
    )


def test_saved_folder_is_a_whole_model(whole):
    model = PRDModel.from_pretrained(whole.directory).eval()
    with torch.no_grad():
        assert model.encode_reports(["Small left effusion."]).shape == (1, 16)
    assert "prd, seed 0" in (whole.directory / "README.md").read_text()
    assert not (whole.directory / "trainer").exists()


def test_a_loss_that_is_not_finite_names_the_studies(tiny_config, tiny_data, tmp_path):
    config = replace(
        tiny_config, training=replace(tiny_config.training, learning_rate=10.0, max_grad_norm=1e9, optimizer="sgd")
    )
    from prdlib.losses import Objective

    original = Objective.__call__

    def broken(self, *args, **kwargs):
        parts = original(self, *args, **kwargs)
        return {**parts, "loss": parts["loss"] * float("nan")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "__call__", broken)
        with pytest.raises(NonFiniteLoss, match=r"not finite at step 1 .*phantom-3-0000"):
            fit(config, "clip", 0, tiny_data, tmp_path, report=None)


def test_one_study_cannot_be_trained_on(tiny_config, tiny_data, tmp_path):
    from datasets import DatasetDict

    data = DatasetDict(train=tiny_data["train"].select([0]))
    with pytest.raises(DataError, match="has 1 studies"):
        fit(tiny_config, "clip", 0, data, tmp_path, report=None)


def test_scales_stay_below_100(whole):
    model = deepcopy(whole.model)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
        assert np.isclose(model.scales()[0].item(), 100.0)


def test_a_folder_with_other_files_is_refused_and_kept(tiny_config, tiny_data, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="no training"):
        fit(tiny_config, "clip", 0, tiny_data, tmp_path, report=None)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_tensorboard_gets_every_epoch_and_changes_no_weight(tiny_config, tiny_data, tmp_path, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(tiny_config, training=replace(tiny_config.training, report_to="tensorboard"))
    logged = fit(config, "prd", 0, tiny_data, tmp_path, "d", report=None)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    names = [tag for tag in events.Tags()["scalars"] if tag.endswith("contrastive")]
    assert len(names) == 1
    values = [event.value for event in events.Scalars(names[0])]
    np.testing.assert_allclose(values, logged.history["contrastive"], rtol=1e-5)
    one, two = weights(whole.model), weights(logged.model)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 64}, r"prepared at 32 x 32 pixels, data\.image_size is 64: prepare them again"),
        ({"word_limit": 20}, r"reports of \d+ words, data\.word_limit is 20: prepare them again"),
        ({"word_limit": 60}, r"reports of 40 words, data\.word_limit is 60: prepare them again"),
    ],
)
def test_data_that_were_prepared_otherwise_are_refused(tiny_config, tiny_data, tmp_path, settings, message):
    with pytest.raises(DataError, match=message):
        fit(replace(tiny_config, data=replace(tiny_config.data, **settings)), "clip", 0, tiny_data, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_negative_seed_is_refused(tiny_config, tiny_data, tmp_path):
    with pytest.raises(ConfigError, match="seed of a training is -1"):
        fit(tiny_config, "clip", -1, tiny_data, tmp_path / "f")


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
def test_published_text_weights_learn_at_their_own_rate(tiny_config, tiny_data, tmp_path, factor):
    reports = sorted({" ".join(words) for words in tiny_data["train"]["words"]})
    tokenizer = train_wordpiece(reports, 200)
    published = BertModel(small_bert_config(1, 32, len(tokenizer), 200, 0.0), add_pooling_layer=False)
    for part in (published, tokenizer):
        part.save_pretrained(tmp_path / "published")
    config = replace(
        tiny_config,
        model=replace(tiny_config.model, text_encoder=str(tmp_path / "published"), text_pooling="mean"),
        training=replace(
            tiny_config.training,
            epochs=1,
            max_grad_norm=1e9,
            encoder_learning_rate_factor=factor or 1.0,
            freeze=() if factor else ("text",),
        ),
    )
    before = published.state_dict()
    model = fit(config, "grounded", 0, tiny_data, tmp_path / "run", "d", report=None).model
    layer = "encoder.layer.0.output.dense.weight"
    moved = (model.text_encoder.state_dict()[layer] - before[layer]).abs().max()
    rate, steps = factor * tiny_config.training.learning_rate, 48 // 8
    assert rate / 2 <= moved <= 2 * rate * steps or moved == rate == 0
    frozen = {name.split(".")[0] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == ({"text_encoder"} if factor == 0 else set())


def test_a_frozen_encoder_keeps_weights_and_statistics_and_has_no_dropout(tiny_config, tiny_data, tmp_path):
    config = replace(tiny_config, model=replace(tiny_config.model, dropout=0.5))
    model = build_model(config, 0, ["small left effusion"])[0]
    model.freeze("image", "text")
    before = weights(model.image_encoder)
    pixels, tokens = torch.rand(4, 1, 32, 32), model.tokenise(["small left effusion"])
    model.train()
    torch.testing.assert_close(model.encode_reports(tokens), model.encode_reports(tokens))
    model.encode_images(pixels).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in weights(model.image_encoder).items())
    assert model.image_projection.weight.grad is not None
    assert model.training
    for part in ("image", "text"):
        frozen = replace(config.training, freeze=(part,))
        with pytest.raises(ConfigError, match=f"training.freeze has '{part}'.*no published weights"):
            fit(replace(config, training=frozen), "clip", 0, tiny_data, tmp_path, "d", report=None)
