"""A step never waits for its device, and can be compiled."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from prdlib.data.batches import Collate, PairDataset
from prdlib.losses import Objective
from prdlib.models import build_model
from prdlib.training import fit


@pytest.fixture(scope="module")
def model_and_batch(tiny_config, tiny_data):
    model, _ = build_model(tiny_config, 0, sorted({" ".join(words) for words in tiny_data["train"]["words"]}))
    pairs = PairDataset(tiny_data["train"], tiny_config.objective.kinds, 3, 0)
    return model, Collate(model.word_tokenizer)([pairs[(0, i)] for i in range(8)])


def gradient(model, batch, layout):
    """Forward, losses and backward with every tensor on the device ``meta``, which holds no value that one could wait for."""
    tensors = {name: value.to("meta") for name, value in batch.items() if isinstance(value, Tensor)}
    names = ("pixel_values", "input_ids", "attention_mask", "word_ids", "report_index")
    output = model(**{name: tensors[name] for name in names}, local=True, layout=layout)
    groups = tensors["report_group"]
    losses = Objective(0.5, 0.1, products=torch.bfloat16)(
        output.image_embeds, output.report_embeds, output.logit_scale, output.discrimination_scale, valid=tensors["valid"],
        region_embeds=output.region_embeds, word_embeds=output.word_embeds, word_mask=output.word_mask,
        positives=groups[:, None] == groups[None],
    )  # fmt: skip
    losses["loss"].backward()
    return losses


def test_nothing_between_batch_and_gradient_asks_the_device_for_a_value(model_and_batch, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for this device
    model, batch = model_and_batch
    model = model.to("meta")
    assert set(gradient(model, batch, batch["layout"])) == {"loss", "contrastive", "discrimination", "local"}
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        gradient(model, batch, None)  # without the layout it must ask: this test can fail


def test_a_compiled_training_is_the_training(tiny_config, tiny_data, tmp_path, monkeypatch):
    """Captured, differentiated and run by torch.compile; without the generated code of its last stage, which takes minutes."""
    captured = []

    def compile_quickly(module, **options):
        captured.append(type(module).__name__)
        real(module, backend="aot_eager", **options)

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    plain = replace(tiny_config, training=replace(tiny_config.training, epochs=1, precision="float32", optimizer="sgd",
                                                          learning_rate=0.02))  # fmt: skip
    compiled = replace(plain, training=replace(plain.training, compile=True))
    one = fit(plain, "prd", 0, tiny_data, tmp_path / "plain", "d", report=None)
    other = fit(compiled, "prd", 0, tiny_data, tmp_path / "compiled", "d", report=None)
    assert other.history["loss"].iloc[0] == pytest.approx(one.history["loss"].iloc[0], rel=1e-3)
    assert captured == ["NarrowResNet", "BertModel"]
    assert one.model.state_dict().keys() == other.model.state_dict().keys()
    for (name, mine), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
