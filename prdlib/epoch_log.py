"""What an epoch leaves behind: a row of the history, and the mark of a whole checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import TrainerCallback

from prdlib.config import RunConfig
from prdlib.data.batches import EvaluationData
from prdlib.distributed import is_first, processes, wait_for_all
from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.retrieval import retrieval_ranks
from prdlib.evaluation.structure import option_reports, option_scores, original_wins
from prdlib.repro import write_json
from prdlib.trainer import PRDTrainer

HISTORY = (
    "epoch",
    "loss",
    "contrastive",
    "discrimination",
    "local",
    "segment",
    "logit_scale",
    "discrimination_scale",
    "validation_R@1",
    "validation_structure",
    "seconds",
    "pairs_per_second",
)  # columns of history.csv
CHECKPOINT_MARK = "complete.json"  # written last: a checkpoint without it was cut off and is not used


class EpochLog(TrainerCallback):
    """One row per epoch: mean losses, scales, throughput, validation R@1 and structure accuracy; kept in the Trainer's log."""

    def __init__(
        self,
        trainer: PRDTrainer,
        validation: EvaluationData | None,
        config: RunConfig,
        seed: int,
        report: Callable[[str], None] | None,
    ) -> None:
        self.trainer, self.validation, self.config, self.report = trainer, validation, config, report
        self.started = 0.0
        if validation is not None:
            self.options, valid = option_reports(validation.tagged, validation.study_ids, seed=seed)
            self.kept = np.flatnonzero(valid.all(axis=1))

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.trainer.losses.clear()
        self.started = time.perf_counter()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.check_finite()
        seconds = time.perf_counter() - self.started
        losses = self.trainer.losses
        row: dict[str, float] = {"finished_epoch": round(state.epoch)}
        row |= {name: torch.stack([part[name] for part in losses]).mean().item() for name in losses[0]}
        scale, discrimination_scale = self.trainer.model.scales()
        row |= {"logit_scale": scale.item(), "discrimination_scale": discrimination_scale.item()}
        if self.validation is not None and is_first():
            row |= self.validate()
        studies = len(losses) * args.per_device_train_batch_size * processes()
        row |= {"seconds": round(seconds, 3), "pairs_per_second": round(studies / seconds, 1)}
        self.trainer.log(dict(row))  # the Trainer adds to what it is given
        if self.report:
            shown = {k: v for k, v in row.items() if k not in ("finished_epoch", "pairs_per_second", "seconds")}
            text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
            self.report(f"epoch {row['finished_epoch']:>2}/{self.config.training.epochs}  {text}  {seconds:.1f} s")

    def validate(self) -> dict[str, float]:
        model, data = self.trainer.model, self.validation
        was_training = model.training
        images = embed_images(model, data.images)
        ranks = retrieval_ranks(images, embed_reports(model, data.marked), data.groups)
        row = {"validation_R@1": float(np.mean([np.mean(rank[0] == 1) for rank in ranks.values()]))}
        if len(self.kept):
            correct, _ = original_wins(
                option_scores(images[torch.from_numpy(self.kept)], model, [self.options[i] for i in self.kept])
            )
            row["validation_structure"] = float(correct.mean())
        model.train(was_training)
        return row

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        wait_for_all()  # each process keeps its random state in the checkpoint
        if not is_first():
            return
        write_json(folder / CHECKPOINT_MARK, {"epoch": round(state.epoch), "step": state.global_step})

    def history(self) -> pd.DataFrame:
        rows = [dict(entry) for entry in self.trainer.state.log_history if "finished_epoch" in entry]
        table = pd.DataFrame(rows).drop(columns=["epoch", "step"], errors="ignore")
        table = table.rename(columns={"finished_epoch": "epoch"}).astype({"epoch": int})
        known = [name for name in HISTORY if name in table]  # a log that was read again has its keys sorted
        return table[[*known, *sorted(set(table) - set(known))]]
