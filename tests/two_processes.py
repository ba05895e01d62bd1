"""Trainings of the tiny settings one after the other, as a script: alone, or in every process that torchrun starts.

Arguments: a folder of prepared data, and a JSON of trainings: [folder of the model, settings, method] each. Beside a model the
first process leaves first_step.pt, the loss and all gradients of the first step; every process leaves seen<rank>.json, its
studies in their order.
"""

import json
import sys
from pathlib import Path

import torch

from prdlib.config import load_profile
from prdlib.data import load_prepared
from prdlib.distributed import is_first, rank
from prdlib.trainer import PRDTrainer
from prdlib.training import fit


def train(prepared: str, directory: str, settings: dict, method: str) -> None:
    real, kept, seen = PRDTrainer.training_step, [], []

    def recorded(self, model, inputs, num_items_in_batch=None):
        seen.extend(study for part in inputs.get("parts", [inputs]) for study in part["study_ids"])
        loss = real(self, model, inputs, num_items_in_batch)
        if not kept:
            gradients = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
            kept.append({"loss": loss, **gradients})
        return loss

    PRDTrainer.training_step = recorded
    fit(load_profile("quick", settings), method, 0, load_prepared(prepared), directory, "d", report=None)
    PRDTrainer.training_step = real
    (Path(directory) / f"seen{rank()}.json").write_text(json.dumps(seen))
    if is_first():
        torch.save(kept[0], Path(directory) / "first_step.pt")


if __name__ == "__main__":
    for job in json.loads(sys.argv[2]):
        train(sys.argv[1], *job)
