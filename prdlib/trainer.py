"""transformers' Trainer with our batches, objective, parameter groups, all processes' negatives and a feature cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from prdlib.config import RunConfig
from prdlib.data.batches import EpochSampler
from prdlib.data.streaming import StreamedBatches, StreamedPairs
from prdlib.distributed import gather, gather_lists, processes
from prdlib.losses import Objective
from prdlib.losses.local_pairs import Workspace
from prdlib.models.dual_encoder import PRDOutput

EMBEDS = (
    "image_embeds",
    "report_embeds",
    "region_embeds",
    "word_embeds",
    "place_embeds",
    "segment_embeds",
    "text_prior",
)
PADDED = {"word_embeds": "word_mask", "segment_embeds": "segment_mask"}  # to the longest report of the batch
SCALES = ("logit_scale", "discrimination_scale", "segment_scale")


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; names the studies of the batch."""


class PRDTrainer(Trainer):
    """One step is: embeddings of the batch, gathered from all processes, and the objective on them.

    ``losses`` collects the parts of the loss of every step, on the device: nothing in a step waits for a GPU. Whether a loss is
    finite is looked at a step later (:meth:`check_finite`), when its value has long been there.
    """

    def __init__(self, *, config: RunConfig, pretrained: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        o = config.objective
        self.settings, self.pretrained = config, tuple(f"{part}_encoder." for part in pretrained)
        self.model.freeze(*config.training.freeze)
        self.objective = Objective(
            o.discrimination_weight,
            o.local_weight,
            o.attention_temperature,
            o.word_temperature,
            o.similarity_temperature,
            segment_weight=o.segment_weight if self.model.config.segment_regions else 0.0,
            segment_temperature=o.segment_temperature,
            discrimination=o.discrimination,
            halved_direction="halved_direction" in o.quirks,
            products=torch.bfloat16 if config.training.autocast == "bf16" else None,
            workspace=Workspace(),
        )
        self.losses: list[dict[str, Tensor]] = []
        self._unchecked: _Unchecked | None = None

    def get_train_dataloader(self) -> DataLoader:
        """Of a stream its own whole batches: accelerate would share out batches that cannot be cut."""
        if isinstance(self.train_dataset, StreamedPairs):
            return StreamedBatches(
                self.train_dataset,
                self._train_batch_size,
                self.data_collator,
                self.args.dataloader_num_workers,
                pin_memory=self.args.dataloader_pin_memory,
            )
        return super().get_train_dataloader()

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return EpochSampler(len(train_dataset or self.train_dataset), seed=self.args.seed)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        output = self._embed(model, inputs)
        loss = self._loss(output, [inputs])
        return (loss, output) if return_outputs else loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """A whole batch at once, or in micro-batches with the embeddings of all of them in the loss.

        With a feature cache (Gao et al. 2021, arXiv 2101.06983): embed every micro-batch without a graph; take the gradient of
        the loss at the embeddings of all; embed every micro-batch again, with the same dropout, and send its part of that
        gradient through the encoders. The gradient is the whole batch's; memory is that of one micro-batch and all embeddings.
        Batch normalisation sees a micro-batch (of all processes) at a time.
        """
        if "parts" not in inputs:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        parts = [self._prepare_inputs(part) for part in inputs["parts"]]
        states, outputs = [], []
        with torch.no_grad(), _statistics_kept(model):
            for part in parts:
                states.append(_random_state())
                outputs.append(self._embed(self.accelerator.unwrap_model(model), part))
        whole = _joined(outputs)
        given = {name: getattr(whole, name) for name in (*EMBEDS, *SCALES)}
        leaves = {name: value.detach().requires_grad_() for name, value in given.items() if value is not None}
        masks = {name: getattr(whole, name) for name in PADDED.values()}
        loss = self._loss(PRDOutput(**leaves, **masks), parts)
        loss.backward()
        start = 0
        for number, (part, state) in enumerate(zip(parts, states, strict=True)):
            last = number == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                with _random_state_of(state):
                    output = self._embed(model, part)
                rows = slice(start, start := start + len(output.image_embeds))
                names = [name for name in EMBEDS if name in leaves]
                values = [output[name] for name in names]
                gradients = [leaves[name].grad[rows] for name in names]
                gradients = [g[:, : v.shape[1]] for g, v in zip(gradients, values, strict=True)]  # padding
                if last:  # the scales are the model's own, once
                    used = [name for name in SCALES if name in leaves and leaves[name].grad is not None]
                    values += [output[name] for name in used]
                    gradients += [leaves[name].grad for name in used]
                self.accelerator.backward(sum((v * g).sum() for v, g in zip(values, gradients, strict=True)))
        return loss.detach()

    def _embed(self, model: nn.Module, batch: Mapping[str, Any]) -> PRDOutput:
        return model(
            pixel_values=batch["pixel_values"],
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            word_ids=batch["word_ids"],
            report_index=batch["report_index"],
            segment_index=batch.get("segment_index"),
            local=self.objective.needs_words,
            segments=self.objective.needs_segments,
            layout=batch["layout"],
        )

    def _loss(self, output: PRDOutput, parts: Sequence[Mapping[str, Any]]) -> Tensor:
        self.check_finite()
        groups = gather(torch.cat([part["report_group"] for part in parts]))
        with torch.autocast(output.image_embeds.device.type, enabled=False):
            values = self.objective(
                output.image_embeds,
                output.report_embeds,
                output.logit_scale,
                output.discrimination_scale,
                valid=None
                if "kept_noops" in self.settings.objective.quirks
                else torch.cat([part["valid"] for part in parts]),
                region_embeds=output.region_embeds,
                word_embeds=output.word_embeds,
                word_mask=output.word_mask,
                place_embeds=output.place_embeds,
                segment_embeds=output.segment_embeds,
                segment_mask=output.segment_mask,
                segment_scale=output.segment_scale,
                text_prior=output.text_prior,
                positives=groups[:, None] == groups[None] if self.settings.objective.mask_duplicates else None,
                gather=gather if processes() > 1 else None,
            )
        detached = {name: value.detach() for name, value in values.items()}
        self.losses.append(detached)
        studies = [study for part in parts for study in part["study_ids"]]
        self._unchecked = _Unchecked(self.state.global_step + 1, detached, studies)
        return values["loss"]

    def check_finite(self) -> None:
        """Raise NonFiniteLoss when the newest loss that was not looked at yet is not finite."""
        unchecked, self._unchecked = self._unchecked, None
        if unchecked is None or unchecked.is_finite():
            return
        values = ", ".join(f"{name} {value.item():g}" for name, value in unchecked.losses.items())
        raise NonFiniteLoss(
            f"The loss is not finite at step {unchecked.step} ({values}); studies of the batch: "
            f"{', '.join(gather_lists(unchecked.studies))}. Lower training.learning_rate, or look at these studies."
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Weight decay on matrices only (no bias, norm or scale); a factor on the learning rate of pretrained encoders."""
        s = self.settings.training
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            slow = name.startswith(self.pretrained)
            groups.setdefault((parameter.ndim > 1, slow), []).append(parameter)
        options = [
            {"params": parameters, "weight_decay": s.weight_decay if decayed else 0.0,
             "lr": s.learning_rate * (s.encoder_learning_rate_factor if slow else 1.0)}
            for (decayed, slow), parameters in groups.items()
        ]  # fmt: skip
        if s.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(options, betas=(0.9, 0.98), fused=True)
        else:
            self.optimizer = torch.optim.SGD(options, momentum=s.momentum, fused=True)
        return self.optimizer


class _Unchecked:
    """The losses of a step, and whether they are finite: on its way to the host, which asks for it a step later."""

    def __init__(self, step: int, losses: dict[str, Tensor], studies: list[str]) -> None:
        self.step, self.losses, self.studies = step, losses, studies
        self.finite, self.arrived = torch.isfinite(losses["loss"]), None
        if self.finite.is_cuda:
            self.finite = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(self.finite, non_blocking=True)
            self.arrived = torch.cuda.Event()
            self.arrived.record()

    def is_finite(self) -> bool:
        if self.arrived is not None:
            self.arrived.synchronize()  # with the step before, not with what was begun since
        return bool(self.finite)


def _joined(outputs: Sequence[PRDOutput]) -> PRDOutput:
    """The embeddings of micro-batches below each other; words and segments padded to the longest report of all."""
    joined = {}
    for name in EMBEDS:
        parts = [getattr(output, name) for output in outputs]
        if parts[0] is None:
            continue
        if name in PADDED:
            masks = [getattr(output, PADDED[name]) for output in outputs]
            missing = [max(mask.shape[1] for mask in masks) - mask.shape[1] for mask in masks]
            parts = [nn.functional.pad(part, (0, 0, 0, n)) for part, n in zip(parts, missing, strict=True)]
            masks = [nn.functional.pad(mask, (0, n)) for mask, n in zip(masks, missing, strict=True)]
            joined[PADDED[name]] = torch.cat(masks)
        joined[name] = torch.cat(parts)
    return PRDOutput(**joined, **{name: getattr(outputs[0], name) for name in SCALES})


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch normalisation leaves its running statistics alone: each micro-batch counts once, when its graph is built."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


@contextmanager
def _random_state_of(state: tuple[Tensor, Tensor | None]) -> Iterator[None]:
    """Inside, torch draws as it did from ``state`` on; afterwards it goes on as if nothing had been."""
    before = _random_state()
    _set_random_state(state)
    try:
        yield
    finally:
        _set_random_state(before)


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
