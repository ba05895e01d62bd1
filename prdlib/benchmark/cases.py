"""What is measured: the local loss, the text pass, a whole step, the data; each against its plain version or its floor."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader
from transformers import BertConfig

from prdlib.benchmark.measure import peak_memory, rows, take_turns
from prdlib.benchmark.plain import clean_loop, padded_passes, repeating_loop
from prdlib.config import RunConfig
from prdlib.data.batches import Collate, EpochSampler, PairDataset
from prdlib.images import decode_png
from prdlib.losses import Objective, local_attentive_contrastive
from prdlib.models import PRDModel, build_model
from prdlib.models.text_encoder import buckets, build_text_encoder

BF16 = torch.bfloat16


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# -- the local loss ------------------------------------------------------------------------------------------------------


def local_inputs(pairs: int, regions: int, width: int, words: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Random regions [B, R, D], words [B, W, D] of unit length and their mask; between ``words`` words a report."""
    random = torch.Generator().manual_seed(0)
    counts = torch.randint(words[0], words[1] + 1, (pairs,), generator=random)
    mask = torch.arange(int(counts.max())) < counts[:, None]
    image = torch.randn(pairs, regions, width, generator=random)
    text = normalize(torch.randn(pairs, mask.shape[1], width, generator=random), dim=-1)
    return image.to(device()).requires_grad_(), text.to(device()).requires_grad_(), mask


def _with_gradient(loss: Callable[..., Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    image, text, mask = inputs
    value = loss(image, text, mask)
    return value.detach(), *torch.autograd.grad(value, [image, text])


def local_loss(repeats: int) -> pd.DataFrame:
    """Forward and backward in float32: 19 x 19 regions, D = 768, 20 to 30 words; and at the size of profile cpu."""
    table = []
    targets = {
        48: {"repeating loop": "3", "clean loop": "1.8"},
        12: {"repeating loop": "1.5", "clean loop": ""},
        64: {},
    }
    for pairs, regions, width, words in ((48, 361, 768, (20, 30)), (12, 361, 768, (20, 30)), (64, 36, 128, (35, 50))):
        inputs = local_inputs(pairs, regions, width, words)
        versions = {"repeating loop": repeating_loop, "clean loop": clean_loop, "ours": local_attentive_contrastive,
                    "ours, bf16 products": partial(local_attentive_contrastive, products=BF16)}  # fmt: skip
        exact = _with_gradient(clean_loop, inputs)
        case = f"B {pairs}, R {regions}, D {width}, {words[0]} to {words[1]} words"
        for name, version in versions.items():  # what is compared is the same loss
            errors = [
                ((a - b).norm() / b.norm()).item() for a, b in zip(_with_gradient(version, inputs), exact, strict=True)
            ]
            limit = 2e-2 if "bf16" in name else 1e-4
            if max(errors) > limit:
                raise RuntimeError(f"{name} differs from the clean loop by {max(errors):.1e} at {case}")
        seconds = take_turns({n: partial(_with_gradient, v, inputs) for n, v in versions.items()}, repeats)
        for name in versions:
            if name.startswith("ours"):
                for other, target in {"repeating loop": "", "clean loop": "", **targets[pairs]}.items():
                    one = rows(
                        "local loss", case, {other: seconds[other], name: seconds[name]}, {name: (other, target)}
                    )
                    table.append(one[1] | {"target": target if name == "ours" else ""})
            else:
                table += rows("local loss", case, {name: seconds[name]}, {})
    return pd.DataFrame(table)


def local_memory() -> pd.DataFrame:
    """Peak memory of the local loss, forward and backward, D = 768, 19 x 19 regions."""
    table = []
    for pairs in (48, 128, 256):
        gigabytes = peak_memory(_local_once, pairs)
        table.append({"part": "memory", "case": f"local loss, B {pairs}, R 361, D 768, inputs included", "version": "ours",
                      "gigabytes": gigabytes, "target": "4" if pairs == 256 else ""})  # fmt: skip
    return pd.DataFrame(table)


def _local_once(pairs: int) -> None:
    _with_gradient(local_attentive_contrastive, local_inputs(pairs, 361, 768, (20, 30)))


# -- the text pass -------------------------------------------------------------------------------------------------------


def text_pass(config: RunConfig, data: DatasetDict, repeats: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Original and copies in one pass over buckets of distinct texts, against 1 + K passes padded to the word limit.

    Also returns tokens computed / useful tokens, and the share of distinct texts.
    """
    model, pairs = _model(config, data)
    items = _items(pairs, config.training.batch_size, 3)
    collate = Collate(model.word_tokenizer)
    batches = [_moved(collate(part)) for part in items]
    texts = [[[item["words"], *item["copies"]] for item in part] for part in items]
    limit = config.data.word_limit + 2

    def ours() -> None:
        for batch in batches:
            with _autocast():
                values = _report_embeds(model, batch)
            values.sum().backward()

    def plain() -> None:
        for part in texts:
            with _autocast():
                values = padded_passes(model, model.word_tokenizer, part, limit)
            values.sum().backward()

    with torch.no_grad(), _autocast():
        difference = (
            _report_embeds(model, batches[0]) - padded_passes(model, model.word_tokenizer, texts[0], limit)
        ).abs()
    seconds = take_turns({"1 + K padded passes": plain, "ours": ours}, repeats)
    useful = sum(sum(batch["layout"]["lengths"]) for batch in batches)
    computed = sum(
        (rows_.stop - rows_.start) * batch["layout"]["lengths"][rows_.stop - 1]
        for batch in batches
        for rows_ in buckets(batch["layout"]["lengths"])
    )
    facts = {
        "tokens computed / useful": computed / useful,
        "distinct texts / texts": sum(len(b["input_ids"]) for b in batches)
        / sum(b["report_index"].numel() for b in batches),
        "words a report": statistics.mean(len(i["words"]) for part in items for i in part),
        "largest difference of an embedding": difference.max().item(),
    }
    case = f"{config.data.name}, B {len(items[0])}, K {config.objective.copies}, limit {config.data.word_limit} words"
    return pd.DataFrame(rows("text pass", case, seconds, {"ours": ("1 + K padded passes", "1.4")})), facts


def _report_embeds(model: PRDModel, batch: Mapping[str, Any]) -> Tensor:
    pooled = []
    lengths = batch["layout"]["lengths"]
    for part in buckets(lengths):
        length = lengths[part.stop - 1]
        tokens = {name: batch[name][part, :length] for name in ("input_ids", "attention_mask")}
        pooled.append(model.text_features(tokens)[0])
    return normalize(model.text_projection(torch.cat(pooled)).float(), dim=-1)[batch["report_index"]]


# -- the step ------------------------------------------------------------------------------------------------------------


class Step:
    """One step of PRD on fixed tensors: ``whole``, its ``floor`` (the two encoders alone), and its parts."""

    def __init__(self, model: PRDModel, batch: Mapping[str, Any], products: torch.dtype | None = BF16) -> None:
        self.model, self.batch = model.train(), batch
        self.objective = Objective(0.5, 0.1, products=products)
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
        with _autocast():
            pooled, regions = self.model.image_features(self.batch["pixel_values"])
        torch.autograd.backward([pooled, regions], [torch.ones_like(pooled), torch.ones_like(regions)])
        lengths = self.batch["layout"]["lengths"]
        for part in buckets(lengths):
            tokens = {n: self.batch[n][part, : lengths[part.stop - 1]] for n in ("input_ids", "attention_mask")}
            with _autocast():
                states = self.model.text_encoder(**tokens).last_hidden_state
            states.backward(torch.ones_like(states))
        self.model.zero_grad()

    def parts(self) -> dict[str, float]:
        """Seconds of the parts of one step, whose sum is a step."""
        seconds: dict[str, float] = defaultdict(float)
        clock = _Clock(seconds)
        with _autocast():
            self.model.image_features(self.batch["pixel_values"])
            clock.lap("forward: image encoder")
            output = self.model(**self._inputs())
            clock.lap("forward: all")
        seconds["forward: texts, projections"] = seconds.pop("forward: all") - seconds["forward: image encoder"]
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
        with _autocast():
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


def small_step(config: RunConfig, data: DatasetDict, **options: Any) -> Step:
    """A step of ``config`` on the first batch of ``data``."""
    model, pairs = _model(config, data)
    batch = Collate(model.word_tokenizer, augment=True)(_items(pairs, config.training.batch_size, 1)[0])
    return Step(model, _moved(batch), **options)


def large_step(config: RunConfig, data: DatasetDict, pairs: int = 16) -> Step:
    """ResNet-50 and a BERT of base size with random weights, 224 px (14 x 14 regions), on the same reports."""
    large = replace(
        config,
        data=replace(config.data, image_size=224),
        model=replace(config.model, image_encoder="resnet50", local_dim=768),
    )
    model, dataset = _model(large, data)
    text = BertConfig(vocab_size=30522, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.text_encoder = build_text_encoder(text).to(device())
    model.text_projection = nn.Linear(768, large.model.projection_dim, bias=False).to(device())
    model.word_projection = nn.Linear(768, 768, bias=False).to(device())
    _fast_attention(model)
    batch = _moved(Collate(model.word_tokenizer)(_items(dataset, pairs, 1)[0]))
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


# -- the data ------------------------------------------------------------------------------------------------------------


def data_rates(config: RunConfig, data: DatasetDict, repeats: int) -> pd.DataFrame:
    """Images decoded and moved a second; batches made; and what a step of the same batches takes, for the idle share."""
    model, pairs = _model(config, data)
    step = small_step(config, data)
    number = config.training.batch_size
    encoded = [pairs._split[i]["image"] for i in range(number)]
    items = _items(pairs, number, 1)[0]
    collate = Collate(model.word_tokenizer, augment=True)

    def images() -> None:
        decoded = [{**item, "image": decode_png(png)} for item, png in zip(items, encoded, strict=True)]
        collate._pixels(decoded)

    def batch() -> None:
        collate([pairs[(1, i)] for i in range(number)])

    seconds = take_turns({"decode and transform": images, "whole batch": batch, "step": step.whole}, repeats)
    table = rows("data", f"profile {config.profile}, one process, B {number}", seconds, {})
    for row in table[:2]:
        row["images_per_s"] = number / row["median_s"]
    return pd.DataFrame(table)


def idle_share(config: RunConfig, data: DatasetDict, workers: int) -> float:
    """Share of an epoch's seconds in which the step waits for its batch."""
    model, pairs = _model(config, data)
    step = small_step(config, data)
    number = min(config.training.batch_size, len(pairs))
    loader = DataLoader(
        pairs, batch_size=number, sampler=EpochSampler(len(pairs), 0), drop_last=True, num_workers=workers,
        collate_fn=Collate(model.word_tokenizer, augment=True), persistent_workers=workers > 0,
    )  # fmt: skip
    waited = worked = 0.0
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        start = time.perf_counter()
        for batch in loader:
            arrived = time.perf_counter()
            step.batch = _moved(batch)
            step.whole()
            if epoch:  # the first epoch decodes the images and starts the workers
                waited += arrived - start
                worked += time.perf_counter() - arrived
            start = time.perf_counter()
    return waited / (waited + worked)


# -- scaling -------------------------------------------------------------------------------------------------------------


def scaling(repeats: int) -> pd.DataFrame:
    """Seconds and peak memory of the local loss, one size at a time from B 32, R 49, W 30, D 128."""
    base = {"B": 32, "R": 49, "W": 30}
    table = []
    for name, sizes in {
        "B": (8, 16, 32, 64, 128, 256),
        "R": (9, 25, 49, 100, 196, 361),
        "W": (10, 20, 30, 60, 120),
    }.items():
        for size in sizes:
            values = base | {name: size}
            shape = (values["B"], values["R"], 128, (values["W"], values["W"]))
            inputs = local_inputs(*shape)
            call = partial(_with_gradient, local_attentive_contrastive, inputs)
            seconds = take_turns({"ours": call}, repeats)["ours"]
            table.append({"of": "local loss", "varied": name, "size": size, "median_s": statistics.median(seconds),
                          "min_s": min(seconds), "max_s": max(seconds), "gigabytes": peak_memory(_scaled, *shape)})  # fmt: skip
    return pd.DataFrame(table)


def _scaled(*shape: Any) -> None:
    _with_gradient(local_attentive_contrastive, local_inputs(*shape))


def step_scaling(config: RunConfig, data: DatasetDict, repeats: int) -> pd.DataFrame:
    """Seconds of a step against pairs B and copies K."""
    table = []
    for name, sizes in {"B": (8, 16, 32, 64, 128), "K": (1, 2, 3, 6, 9)}.items():
        for size in sizes:
            changed = (
                replace(config, training=replace(config.training, batch_size=size))
                if name == "B"
                else replace(config, objective=replace(config.objective, copies=size))
            )
            step = small_step(changed, data)
            seconds = take_turns({"step": step.whole}, repeats)["step"]
            table.append({"of": "whole step", "varied": name, "size": size, "median_s": statistics.median(seconds),
                          "min_s": min(seconds), "max_s": max(seconds)})  # fmt: skip
    return pd.DataFrame(table)


# -- helpers -------------------------------------------------------------------------------------------------------------


@contextmanager
def threads(number: int) -> Iterator[None]:
    """torch computes on ``number`` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _model(config: RunConfig, data: DatasetDict) -> tuple[PRDModel, PairDataset]:
    config = replace(config, model=replace(config.model, dropout=0.0, image_weights=""))
    model, _ = build_model(config, 0, sorted({" ".join(words) for words in data["train"]["words"]}))
    model = model.to(device())
    _fast_attention(model)
    return model, PairDataset(data["train"], config.objective.kinds, config.objective.copies, 0)


def _fast_attention(model: PRDModel) -> None:
    if device().type == "cpu":
        model.text_encoder.set_attn_implementation("eager")  # as in training


def _items(pairs: PairDataset, number: int, batches: int) -> list[list[dict[str, Any]]]:
    number = min(number, len(pairs))
    return [[pairs[(b, (b * number + i) % len(pairs))] for i in range(number)] for b in range(batches)]


def _moved(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to(device()) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _autocast() -> torch.autocast:
    return torch.autocast(device().type, BF16)
