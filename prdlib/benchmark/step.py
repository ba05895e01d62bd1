"""One step of PRD beside its two encoders alone; its parts; compiled."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from torch import Tensor, nn
from transformers import BertConfig

from prdlib.benchmark.measure import rows, take_turns
from prdlib.benchmark.setup import BF16, autocast, device, fast_attention, items_of, model_and_pairs, moved
from prdlib.config import RunConfig
from prdlib.data.batches import Collate
from prdlib.losses import Objective
from prdlib.losses.local_pairs import Workspace
from prdlib.models import PRDModel
from prdlib.models.text_encoder import buckets, build_text_encoder
from prdlib.text import first_words


class Step:
    """One step of PRD on fixed tensors: ``whole``, its ``floor`` (the two encoders alone), and its parts."""

    def __init__(self, model: PRDModel, batch: Mapping[str, Any], products: torch.dtype | None = BF16) -> None:
        self.model, self.batch = model.train(), batch
        self.objective = Objective(0.5, 0.1, products=products, workspace=Workspace())
        self.optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def whole(self) -> None:
        """Forward, losses, backward, clipping, optimiser."""
        self._losses(self._embeds())["loss"].backward()
        self._update()

    def gradient(self) -> None:
        """Forward, losses, backward."""
        self._losses(self._embeds())["loss"].backward()
        self.model.zero_grad()

    def encoders(self) -> None:
        """Forward and backward of the two encoders on the same tensors, nothing else."""
        with autocast():
            pooled, regions = self.model.image_features(self.batch["pixel_values"])
        torch.autograd.backward([pooled, regions], [torch.ones_like(pooled), torch.ones_like(regions)])
        lengths = self.batch["layout"]["lengths"]
        for part in buckets(lengths):
            tokens = {n: self.batch[n][part, : lengths[part.stop - 1]] for n in ("input_ids", "attention_mask")}
            with autocast():
                states = self.model.text_encoder(**tokens).last_hidden_state
            states.backward(torch.ones_like(states))
        self.model.zero_grad()

    def parts(self) -> dict[str, float]:
        """Seconds of the parts of one step, whose sum is a step."""
        images, rest = "forward: image encoder", "forward: texts, projections"
        seconds: dict[str, float] = defaultdict(float, {images: 0.0})  # first in the table, though it ends second
        clock, encoder = _Clock(seconds), self.model.image_encoder
        hooks = (
            encoder.register_forward_pre_hook(lambda *_: clock.lap(rest)),
            encoder.register_forward_hook(lambda *_: clock.lap(images)),
        )
        output = self._embeds()
        clock.lap(rest)
        for hook in hooks:
            hook.remove()
        names = ("image_embeds", "report_embeds", "logit_scale", "discrimination_scale", "region_embeds", "word_embeds")
        leaves = {name: output[name].detach().requires_grad_() for name in names}
        clock.restart()
        losses = self._losses({**leaves, "word_mask": output.word_mask})
        clock.lap("losses: forward")
        losses["loss"].backward()
        clock.lap("losses: backward")
        torch.autograd.backward([output[name] for name in names], [leaves[name].grad for name in names])
        clock.lap("backward: encoders, projections")
        self._update()
        clock.lap("clipping, optimiser")
        return dict(seconds)

    def _inputs(self) -> dict[str, Any]:
        names = ("pixel_values", "input_ids", "attention_mask", "word_ids", "report_index", "layout")
        return {name: self.batch[name] for name in names} | {"local": True}

    def _embeds(self) -> Mapping[str, Tensor]:
        with autocast():
            return self.model(**self._inputs())

    def _losses(self, embeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.objective(
            embeds["image_embeds"], embeds["report_embeds"], embeds["logit_scale"], embeds["discrimination_scale"],
            valid=self.batch["valid"], region_embeds=embeds["region_embeds"], word_embeds=embeds["word_embeds"],
            word_mask=embeds["word_mask"],
        )  # fmt: skip

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.restart()

    def restart(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.start = time.perf_counter()

    def lap(self, name: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - self.start
        self.start = time.perf_counter()


def small_step(config: RunConfig, data: DatasetDict, words: int | None = None) -> Step:
    """A step of ``config`` on the first batch of ``data``; words: reports and copies are cut there."""
    model, pairs = model_and_pairs(config, data)
    items = items_of(pairs, config.training.batch_size, 1)[0]
    if words:
        items = [
            i | {"words": first_words(i["words"], words), "copies": [first_words(copy, words) for copy in i["copies"]]}
            for i in items
        ]
    return Step(model, moved(Collate(model.word_tokenizer, augment=True)(items)))


def large_step(config: RunConfig, data: DatasetDict, pairs: int = 16) -> Step:
    """ResNet-50 and a BERT of base size with random weights, 224 px (14 x 14 regions), on the same reports."""
    large = replace(
        config,
        data=replace(config.data, image_size=224),
        model=replace(config.model, image_encoder="resnet50", local_dim=768),
    )
    model, dataset = model_and_pairs(large, data)
    text = BertConfig(vocab_size=30522, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.text_encoder = build_text_encoder(text).to(device())
    model.text_projection = nn.Linear(768, large.model.projection_dim, bias=False).to(device())
    model.word_projection = nn.Linear(768, 768, bias=False).to(device())
    fast_attention(model)
    batch = moved(Collate(model.word_tokenizer)(items_of(dataset, pairs, 1)[0]))
    batch["pixel_values"] = torch.rand(pairs, 1, 224, 224, generator=torch.Generator().manual_seed(0)).to(device())
    return Step(model, batch)


def step_times(case: str, step: Step, repeats: int) -> pd.DataFrame:
    """A whole step beside the forward and backward of its two encoders."""
    versions = {"encoders alone": step.encoders, "forward, losses, backward": step.gradient, "whole step": step.whole}
    seconds = take_turns(versions, repeats)
    compared = {
        "forward, losses, backward": ("encoders alone", "0.87 = 1 / 1.15"),
        "whole step": ("encoders alone", ""),
    }
    return pd.DataFrame(rows("step", case, seconds, compared))


def compiled_step(config: RunConfig, data: DatasetDict, repeats: int) -> pd.DataFrame:
    """The step with both encoders compiled, beside the step as it is; the warm-up compiles."""
    plain, compiled = small_step(config, data), small_step(config, data)
    compiled.model.image_encoder.compile()
    compiled.model.text_encoder.compile(dynamic=True)
    seconds = take_turns({"whole step": plain.whole, "whole step, compiled": compiled.whole}, repeats)
    case = f"profile {config.profile}, torch.compile"
    return pd.DataFrame(rows("step", case, seconds, {"whole step, compiled": ("whole step", "")}))
