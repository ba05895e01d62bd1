"""Pre-training of one method with one seed, on the Trainer of transformers.

What is random comes from (seed, epoch, study) in the batches and from torch's generator (dropout), which every checkpoint
carries: a run that was killed and started again ends with the same weights as one that was not.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import DatasetDict
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from prdlib.config import ConfigError, RunConfig
from prdlib.data.batches import Collate, EpochSampler, EvaluationData, PairDataset
from prdlib.data.preparation import rows_hash
from prdlib.data.studies import DataError
from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.retrieval import retrieval_ranks
from prdlib.evaluation.structure import option_reports, option_scores, original_wins
from prdlib.images import decode_png
from prdlib.losses import Objective
from prdlib.models import PRDModel, build_model
from prdlib.repro import git_state, hash_json, write_atomic, write_json
from prdlib.training_inputs import checkpoint_folder, training_sources, weights_hash

HISTORY = (
    "epoch",
    "loss",
    "contrastive",
    "discrimination",
    "local",
    "logit_scale",
    "discrimination_scale",
    "validation_R@1",
    "validation_structure",
    "seconds",
    "pairs_per_second",
)  # columns of history.csv
CHECKPOINT_MARK = "complete.json"  # written last: a checkpoint without it was cut off and is not used


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; names the studies of the batch."""


@dataclass(frozen=True)
class FitResult:
    """model: trained, in eval mode. history: one row per epoch. directory: where both are kept.
    seconds: of training, over all its starts. resumed_from: epochs that an earlier start had finished (all of them: nothing
    was trained now)."""

    model: PRDModel
    history: pd.DataFrame
    directory: Path
    seconds: float
    resumed_from: int


def fit(
    config: RunConfig,
    method: str,
    seed: int,
    data: DatasetDict,
    directory: str | Path,
    data_hash: str = "",
    report: Callable[[str], None] | None = print,
) -> FitResult:
    """Train ``method`` with ``seed`` on the prepared ``data`` and keep model, history and settings in ``directory``.

    A finished training with the same settings, data, published weights and code is loaded, an interrupted one is continued from
    its last epoch, one with others is started afresh. data_hash: of the prepared data (prepared.json); without it their rows
    are hashed, so that other data are never taken for these. report: told one line per epoch (None: silent).
    An epoch is whole batches: up to batch_size - 1 studies, others in each epoch, are left out of it.
    Raises ConfigError for a negative seed, DataError when ``data`` were prepared with another image side or word limit than
    ``config`` says or the training split has fewer than two studies, WeightsError when published weights are missing,
    NonFiniteLoss when the loss leaves the reals.
    """
    config = config.for_method(method)
    if seed < 0:
        raise ConfigError(f"The seed of a training is {seed}: it must be 0 or more.")
    _refuse_other_preparation(config, data)
    directory = Path(directory)
    code, weights = training_sources(config), weights_hash(config)
    source = config.data.name if data_hash else "own data"
    data_hash = data_hash or rows_hash(data)
    key = hash_json(
        {
            "settings": config.scientific(),
            "method": method,
            "seed": seed,
            "data": data_hash,
            "code": code,
            "weights": weights,
        }
    )
    finished = _finished(directory, key)
    if finished is not None:
        return finished
    if "train" not in data or len(set(data["train"]["study_id"])) < 2:
        number = len(set(data["train"]["study_id"])) if "train" in data else 0
        raise DataError(
            f"The training split has {number} studies, contrastive training needs 2 or more: load more studies."
        )
    _forget_other_settings(directory, key)
    with _threads(config.training.threads), torch.random.fork_rng(devices=[]):
        return _train(config, method, seed, data, directory, key, (source, data_hash), report)


def _refuse_other_preparation(config: RunConfig, data: DatasetDict) -> None:
    """What ``data`` themselves say: the side of an image, the words of the longest report or of one that was cut."""
    for name, split in data.items():
        height, width = decode_png(split[0]["image"]).shape if len(split) else (config.data.image_size,) * 2
        if (height, width) != (config.data.image_size,) * 2:
            raise DataError(
                f"The {name} data were prepared at {height} x {width} pixels, data.image_size is {config.data.image_size}: "
                "prepare them again with image_size=config.data.image_size, or change the setting."
            )
        limit = config.data.word_limit
        for words, whole in zip(split["words"], split["n_words"], strict=True):
            if len(words) > limit or len(words) < min(whole, limit):
                raise DataError(
                    f"The {name} data were prepared with reports of {len(words)} words, data.word_limit is {limit}: "
                    "prepare them again with word_limit=config.data.word_limit, or change the setting."
                )


def load_fit(run_dir: str | Path, method: str, seed: int) -> FitResult:
    """The finished training of ``method`` and ``seed``; DataError names the command that makes it."""
    directory = checkpoint_folder(run_dir, method, seed)
    result = _finished(directory, None)
    if result is None:
        raise DataError(
            f"No finished training of {method} with seed {seed} in {directory.parent.parent.name}: "
            f"run notebook 02 with method {method} and seed {seed}, or 'make run' for all of them."
        )
    return result


def _train(
    config: RunConfig,
    method: str,
    seed: int,
    data: DatasetDict,
    directory: Path,
    key: str,
    origin: tuple[str, str],
    report: Callable[[str], None] | None,
) -> FitResult:
    """origin: name and hash of the data."""
    settings, objective = config.training, config.objective
    train = PairDataset(
        data["train"],
        perturbations=objective.kinds if objective.discrimination_weight > 0 else (),
        copies=objective.copies if objective.discrimination_weight > 0 else 0,
        seed=seed,
    )
    model, keys = build_model(config, seed, sorted({" ".join(words) for words in data["train"]["words"]}))
    model.config.training = {
        "method": method,
        "seed": seed,
        "data": f"{origin[0]}, {len(train)} training studies, hash {origin[1]}",
        "objective": {"discrimination_weight": objective.discrimination_weight, "local_weight": objective.local_weight},
        "perturbations": list(objective.kinds) if objective.discrimination_weight > 0 else [],
    }
    if not torch.cuda.is_available():
        model.text_encoder.set_attn_implementation("eager")  # on CPUs 1.5 times faster than sdpa at these lengths
    if any(keys.values()):
        write_json(directory / "weights.json", keys)
    trainer = PRDTrainer(
        model=model,
        args=_arguments(config, seed, directory / "trainer", len(train)),
        train_dataset=train,
        data_collator=Collate(model.word_tokenizer, seed=seed, augment=settings.augment),
        config=config,
        pretrained_images="image" in keys,
    )
    trainer.remove_callback(PrinterCallback)
    validation = EvaluationData.first_views(data["validation"]) if "validation" in data else None
    epoch_log = EpochLog(trainer, validation, config, seed, report)
    trainer.add_callback(epoch_log)
    if settings.report_to == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        trainer.add_callback(TensorBoardCallback(SummaryWriter(str(directory / "tensorboard"))))
    last = _last_checkpoint(directory / "trainer")
    start_epoch = 0
    if last is not None:
        start_epoch = json.loads((last / CHECKPOINT_MARK).read_text())["epoch"]
        if report:
            report(f"continuing after epoch {start_epoch} of {settings.epochs}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    history = epoch_log.history()
    model.eval()
    model.save_pretrained(directory)
    write_atomic(directory / "history.csv", history.to_csv(index=False))
    seconds = float(history["seconds"].sum())
    write_json(directory / "fit.json", {"key": key, "method": method, "seed": seed, "seconds": round(seconds, 2),
               "epochs": settings.epochs, "studies": len(train), "data": origin[1],
               "code": training_sources(config), **git_state(), "settings": asdict(config)})  # fmt: skip
    shutil.rmtree(directory / "trainer", ignore_errors=True)
    return FitResult(model, history, directory, seconds, int(start_epoch))


class PRDTrainer(Trainer):
    """transformers' Trainer with our batches, our objective and our parameter groups."""

    def __init__(self, *, config: RunConfig, pretrained_images: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        o = config.objective
        self.settings, self.pretrained_images = config, pretrained_images
        self.objective = Objective(
            o.discrimination_weight,
            o.local_weight,
            o.attention_temperature,
            o.word_temperature,
            o.similarity_temperature,
        )
        self.losses: list[dict[str, Tensor]] = []

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return EpochSampler(len(train_dataset or self.train_dataset), seed=self.args.seed)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        groups = inputs["report_group"]
        output = model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            word_ids=inputs["word_ids"],
            report_index=inputs["report_index"],
            local=self.objective.needs_words,
        )
        with torch.autocast(output.image_embeds.device.type, enabled=False):
            parts = self.objective(
                output.image_embeds,
                output.report_embeds,
                output.logit_scale,
                output.discrimination_scale,
                valid=inputs["valid"],
                region_embeds=output.region_embeds,
                word_embeds=output.word_embeds,
                word_mask=output.word_mask,
                positives=groups[:, None] == groups[None] if self.settings.objective.mask_duplicates else None,
            )
        if not torch.isfinite(parts["loss"]):
            values = ", ".join(f"{name} {value.item():g}" for name, value in parts.items())
            raise NonFiniteLoss(
                f"The loss is not finite at step {self.state.global_step + 1} ({values}); studies of the batch: "
                f"{', '.join(inputs['study_ids'])}. Lower training.learning_rate, or look at these studies."
            )
        self.losses.append({name: value.detach() for name, value in parts.items()})
        return (parts["loss"], output) if return_outputs else parts["loss"]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Weight decay on matrices only (no bias, norm or scale); a factor on the learning rate of pretrained images."""
        s = self.settings.training
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            slow = self.pretrained_images and name.startswith("image_encoder.")
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
        seconds = time.perf_counter() - self.started
        losses = self.trainer.losses
        row: dict[str, float] = {"finished_epoch": round(state.epoch)}
        row |= {name: torch.stack([part[name] for part in losses]).mean().item() for name in losses[0]}
        scale, discrimination_scale = self.trainer.model.scales()
        row |= {"logit_scale": scale.item(), "discrimination_scale": discrimination_scale.item()}
        if self.validation is not None:
            row |= self.validate()
        studies = len(self.trainer.train_dataset)
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
        ranks = retrieval_ranks(images, embed_reports(model, data.words), data.groups)
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
        write_json(folder / CHECKPOINT_MARK, {"epoch": round(state.epoch), "step": state.global_step})

    def history(self) -> pd.DataFrame:
        rows = [dict(entry) for entry in self.trainer.state.log_history if "finished_epoch" in entry]
        table = pd.DataFrame(rows).drop(columns=["epoch", "step"], errors="ignore")
        table = table.rename(columns={"finished_epoch": "epoch"}).astype({"epoch": int})
        known = [name for name in HISTORY if name in table]  # a log that was read again has its keys sorted
        return table[[*known, *sorted(set(table) - set(known))]]


def _arguments(config: RunConfig, seed: int, directory: Path, studies: int) -> TrainingArguments:
    s = config.training
    batch = min(s.batch_size, studies)
    steps = s.epochs * max(1, studies // batch)
    cuda = torch.cuda.is_available()
    if cuda and torch.cuda.device_count() > 1 and not torch.distributed.is_initialized():
        raise ConfigError(
            f"{torch.cuda.device_count()} GPUs are visible, and one process would split a batch between them: set "
            "CUDA_VISIBLE_DEVICES=0 (several GPUs are not supported yet)."
        )
    return TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=s.epochs,
        per_device_train_batch_size=batch,
        learning_rate=s.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(s.warmup * steps),
        max_grad_norm=s.max_grad_norm,
        bf16=s.precision == "bf16",
        use_cpu=not cuda,
        seed=seed,
        dataloader_drop_last=True,
        dataloader_num_workers=s.workers,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="wandb" if s.report_to == "wandb" else "none",
    )


def _finished(directory: Path, key: str | None) -> FitResult | None:
    mark = directory / "fit.json"
    if not mark.is_file():
        return None
    facts = json.loads(mark.read_text())
    if key is not None and facts["key"] != key:
        return None
    model = PRDModel.from_pretrained(directory).eval()
    history = pd.read_csv(directory / "history.csv")
    return FitResult(model, history, directory, float(facts["seconds"]), int(facts["epochs"]))


def _forget_other_settings(directory: Path, key: str) -> None:
    """Start afresh when the folder holds a training with other settings or data; refuse a folder that is not a training's."""
    mark = directory / "started.json"
    if directory.is_dir() and any(directory.iterdir()) and not mark.is_file():
        raise DataError(f"{directory.name!r} holds files that are no training: give an empty or new folder.")
    if not mark.is_file() or json.loads(mark.read_text())["key"] != key:
        shutil.rmtree(directory, ignore_errors=True)
        write_json(mark, {"key": key})


def _last_checkpoint(directory: Path) -> Path | None:
    whole = [p for p in directory.glob("checkpoint-*") if (p / CHECKPOINT_MARK).is_file()]
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quiet() -> None:
    """Keep library chatter (not warnings of ours) out of notebooks."""
    for name in ("transformers", "datasets", "accelerate", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    disable_progress_bar()
