"""The optimiser of every fine-tuning: a new head at one learning rate, the encoder below it at a smaller one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from prdlib.config import TrainingConfig


def optimizer_and_schedule(
    classifier: nn.Module, settings: TrainingConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with weight decay on matrices only, as in pre-training, and a cosine schedule with warm-up.

    classifier: with the parts ``head`` (learning_rate) and ``model`` (times encoder_learning_rate_factor), of which what requires
    a gradient learns. steps: of an epoch.
    """
    rates = {"head": 1.0, "model": settings.encoder_learning_rate_factor}
    groups = []
    for part, factor in rates.items():
        learning = [p for p in getattr(classifier, part).parameters() if p.requires_grad]
        for decay, params in ((settings.weight_decay, [p for p in learning if p.ndim > 1]),
                              (0.0, [p for p in learning if p.ndim < 2])):  # fmt: skip
            groups.append({"params": params, "lr": settings.learning_rate * factor, "weight_decay": decay})
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    total = steps * settings.epochs
    return optimizer, get_cosine_schedule_with_warmup(optimizer, int(settings.warmup * total), total)


def learn(
    loss: Tensor,
    classifier: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: TrainingConfig,
) -> Tensor:
    """One step down the gradient of ``loss``, clipped at max_grad_norm where that is not 0; returns the loss, detached."""
    optimizer.zero_grad()
    loss.backward()
    if settings.max_grad_norm:
        nn.utils.clip_grad_norm_(classifier.parameters(), settings.max_grad_norm)
    optimizer.step()
    schedule.step()
    return loss.detach()
