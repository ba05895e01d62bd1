"""One training of the tiny settings, as a script: alone, or in every process that torchrun starts.

Arguments: a folder of prepared data, a folder for the model, a JSON of settings, a method (prd). Beside the model the first
process leaves first_step.pt, the loss and all gradients of the first step; every process leaves seen<rank>.json, its studies in
their order.
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


def main(prepared: str, directory: str, settings: str, method: str = "prd") -> None:
    real, kept, seen = PRDTrainer.training_step, [], []

    def recorded(self, model, inputs, num_items_in_batch=None):
        seen.extend(study for part in inputs.get("parts", [inputs]) for study in part["study_ids"])
        loss = real(self, model, inputs, num_items_in_batch)
        if not kept:
            gradients = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
            kept.append({"loss": loss, **gradients})
        return loss

    PRDTrainer.training_step = recorded
    fit(load_profile("quick", json.loads(settings)), method, 0, load_prepared(prepared), directory, "d", report=None)
    (Path(directory) / f"seen{rank()}.json").write_text(json.dumps(seen))
    if is_first():
        torch.save(kept[0], Path(directory) / "first_step.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
