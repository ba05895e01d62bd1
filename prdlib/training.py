"""Pre-training of one method with one seed, on the Trainer of transformers.

What is random comes from (seed, epoch, study) in the batches and from torch's generator (dropout), which every checkpoint
carries: a run that was killed and started again ends with the same weights as one that was not.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState
from datasets import DatasetDict
from torch.distributed.elastic.multiprocessing.errors import record
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from prdlib.config import ConfigError, RunConfig
from prdlib.data.batches import Collate, EvaluationData, PairDataset
from prdlib.data.preparation import refuse_without_reports, rows_hash
from prdlib.data.streaming import StreamedPairs, write_shards
from prdlib.data.studies import DataError
from prdlib.distributed import is_first, launch, launched, processes, rank, synchronise_batch_norm, wait_for_all
from prdlib.epoch_log import CHECKPOINT_MARK, EpochLog
from prdlib.images import decode_png
from prdlib.models import PRDModel, build_model
from prdlib.repro import generator, git_state, hash_json, write_atomic, write_json
from prdlib.trainer import PRDTrainer
from prdlib.training_inputs import checkpoint_folder, training_sources, weights_hash


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
    Raises ConfigError for a negative seed and for frozen encoders without weights, DataError when ``data`` have no reports or
    were prepared with another image side or word limit than ``config`` says, or the training split has fewer than two studies,
    WeightsError when published weights are missing, NonFiniteLoss when the loss leaves the reals. With training.processes > 1 the
    training runs in processes of its own: they print instead of calling ``report``, and what they raise arrives as a ProcessError
    with the same words.
    """
    config = config.for_method(method)
    if seed < 0:
        raise ConfigError(f"The seed of a training is {seed}: it must be 0 or more.")
    scratch = {"image": not config.model.image_weights, "text": config.model.text_encoder == "small_bert"}
    for part in config.training.freeze:
        if scratch[part]:
            published = "model.image_weights" if part == "image" else "model.text_encoder"
            raise ConfigError(
                f"Setting training.freeze has {part!r}, an encoder that starts from no published weights: set {published}, or "
                "let it learn."
            )
    refuse_without_reports(data)
    _refuse_other_preparation(config, data)
    _join_processes()
    number = processes() if processes() > 1 else config.training.processes
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
            # What batch norm or a stream's order depends on; else many processes and one do the same.
            **({"processes": number} if config.training.shards or config.training.micro_batch else {}),
        }
    )
    finished = _finished(directory, key)
    if finished is not None:
        return finished
    studies = len(data["train"].unique("study_id")) if "train" in data else 0
    if studies < 2:
        raise DataError(
            f"The training split has {studies} studies, contrastive training needs 2 or more: load more studies."
        )
    batch = _batch_of_all(config, number, studies)
    if number > processes():  # nobody has started them yet
        launch(
            _fit_in_process,
            (config, method, seed, data, directory, data_hash if source != "own data" else "", report is not None),
            number,
        )
        return _finished(directory, key, trained_now=True)
    wait_for_all()  # nobody writes before all have looked
    if is_first():
        _forget_other_settings(directory, key)
    wait_for_all()
    report = report if is_first() else None
    with _threads(config.training.threads), torch.random.fork_rng(devices=[]):
        return _train(config, method, seed, data, directory, key, (source, data_hash), batch, report)


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
    batch: int,
    report: Callable[[str], None] | None,
) -> FitResult:
    """origin: name and hash of the data; batch: pairs of a step over all processes."""
    settings, objective = config.training, config.objective
    kinds, copies = (objective.kinds, objective.copies) if objective.discrimination_weight > 0 else ((), 0)
    fixed = "fixed_copies" in objective.quirks
    if settings.shards:
        shards = Path(settings.shards) / origin[1]  # other data, other folder: someone may be reading
        studies = len(data["train"].unique("study_id"))
        write_shards(data["train"], shards, min(500, max(1, studies // 64)), data_hash=origin[1])
        train = StreamedPairs(shards, kinds, copies, seed, rank=rank(), world=processes(), fixed_copies=fixed)
    else:
        train = PairDataset(data["train"], kinds, copies, seed, fixed)
    steps = train.batches(batch // processes(), settings.workers) if settings.shards else max(1, len(train) // batch)
    own_vocabulary = config.model.text_encoder == "small_bert"
    reports = sorted({" ".join(words) for words in data["train"]["words"]}) if own_vocabulary else ()
    model, keys = build_model(config, seed, reports)
    model.config.training = {
        "method": method,
        "seed": seed,
        "data": f"{origin[0]}, {len(train)} training studies, hash {origin[1]}",
        "objective": {"discrimination_weight": objective.discrimination_weight, "local_weight": objective.local_weight},
        "perturbations": list(objective.kinds) if objective.discrimination_weight > 0 else [],
    }
    if not torch.cuda.is_available():
        model.text_encoder.set_attn_implementation("eager")  # on CPUs 1.5 times faster than sdpa at these lengths
    if processes() > 1:
        synchronise_batch_norm(model)
    if settings.compile:
        model.image_encoder.compile()
        model.text_encoder.compile(dynamic=True)  # lengths differ from batch to batch
    if any(keys.values()) and is_first():
        write_json(directory / "weights.json", keys)
    trainer = PRDTrainer(
        model=model,
        args=_arguments(config, seed, directory / "trainer", steps, batch),
        train_dataset=train,
        data_collator=Collate(
            model.word_tokenizer,
            seed,
            settings.augment,
            settings.micro_batch,
            model.config.segments,
            model.config.segment_window,
            settings.mirror,
            "word_pieces" in objective.quirks,
        ),
        config=config,
        pretrained=tuple(keys),
    )
    trainer.remove_callback(PrinterCallback)
    if rank():  # the Trainer gives every process the same seed, and so the same dropout to other studies
        torch.manual_seed(int(generator(seed, "dropout", rank()).integers(2**31)))
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
    seconds = float(history["seconds"].sum())
    if not is_first():
        wait_for_all()
        return FitResult(model, history, directory, seconds, int(start_epoch))
    model.save_pretrained(directory)
    write_atomic(directory / "history.csv", history.to_csv(index=False))
    write_json(directory / "fit.json", {"key": key, "method": method, "seed": seed, "seconds": round(seconds, 2),
               "epochs": settings.epochs, "resumed_from": int(start_epoch), "studies": len(train),
               "precision": settings.autocast, "data": origin[1], "code": training_sources(config), **git_state(),
               "settings": asdict(config)})  # fmt: skip
    shutil.rmtree(directory / "trainer", ignore_errors=True)
    wait_for_all()
    return FitResult(model, history, directory, seconds, int(start_epoch))


def _batch_of_all(config: RunConfig, number: int, studies: int) -> int:
    """Pairs of a step over ``number`` processes; less than training.batch_size when there are fewer studies.

    ConfigError, before anything is written, when the processes cannot share it or do not fit the GPUs.
    """
    size, gpus = config.training.batch_size, torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus > 1 and number == 1:
        raise ConfigError(
            f"{gpus} GPUs are visible: set training.processes to their number, start the training with torchrun or accelerate "
            "launch, or set CUDA_VISIBLE_DEVICES=0."
        )
    if gpus and config.training.processes > gpus:
        raise ConfigError(f"Setting training.processes is {number}, but {gpus} GPUs are visible: set it to {gpus}.")
    if size % number:
        raise ConfigError(
            f"Setting training.batch_size is {size}, which {number} processes cannot share: make it a multiple of {number}."
        )
    if studies < number:
        raise ConfigError(f"The training split has {studies} studies for {number} processes: start fewer of them.")
    return min(size, studies // number * number)


def _join_processes() -> None:
    """Join the processes that a launcher started beside this one, if it did."""
    if launched() and processes() == 1:
        PartialState(cpu=not torch.cuda.is_available())


@record
def _fit_in_process(
    config: RunConfig, method: str, seed: int, data: DatasetDict, directory: Path, data_hash: str, told: bool
) -> None:
    """:func:`fit` in one of the processes that it started itself."""
    fit(config, method, seed, data, directory, data_hash, print if told else None)


def _arguments(config: RunConfig, seed: int, directory: Path, steps: int, batch: int) -> TrainingArguments:
    """steps: of an epoch; batch: pairs of a step over all processes."""
    s = config.training
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=s.epochs,
        per_device_train_batch_size=batch // processes(),
        learning_rate=s.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(s.warmup * s.epochs * steps),
        max_grad_norm=s.max_grad_norm,
        bf16=s.autocast == "bf16",
        use_cpu=not cuda,
        ddp_backend="gloo" if processes() > 1 and not cuda else None,
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


def _finished(directory: Path, key: str | None, trained_now: bool = False) -> FitResult | None:
    mark = directory / "fit.json"
    if not mark.is_file():
        return None
    facts = json.loads(mark.read_text())
    if key is not None and facts["key"] != key:
        return None
    model = PRDModel.from_pretrained(directory).eval()
    history = pd.read_csv(directory / "history.csv")
    return FitResult(
        model, history, directory, float(facts["seconds"]), int(facts["resumed_from" if trained_now else "epochs"])
    )


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
