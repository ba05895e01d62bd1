"""Fine-tuning of an image encoder for labels of images: independent labels, one class of several, or a task a label.

    multi-label    one linear layer, binary cross-entropy of each label; labels that are not judged (NaN, -1) are masked
    single-label   one linear layer, cross-entropy of K exclusive classes (the one label that is 1), as CheXpert 5x200 has
    multi-task     a small head for each label: absent or present, or with ``classes`` 3 uncertain as a class of its own, the
                   'multi-class' policy of CheXpert (Irvin et al. 2019, arXiv 1901.07031); cross-entropy, averaged over judged
                   cells. With the labels CHEXPERT_TASKS the tasks that the PRD paper fine-tunes for

The encoder's pooled features are read before any projection, as a linear probe reads them. Beside a fine-tuned model stands what
the labels alone teach: the same from an untrained encoder (``models.random_twin``) or from ImageNet (``models.imagenet_twin``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from prdlib.config import TrainingConfig
from prdlib.data.augmentation import augmented
from prdlib.data.batches import EvaluationData
from prdlib.data.chexpert_5x200 import FINDINGS as CHEXPERT_TASKS
from prdlib.data.studies import DataError
from prdlib.evaluation.classification import mean_auroc
from prdlib.evaluation.exclusive_scores import NOT_JUDGED, exclusive_classes
from prdlib.evaluation.label_subsets import has_both_classes, only_labels, refuse_shared_patients
from prdlib.evaluation.optimisation import learn, optimizer_and_schedule
from prdlib.models import PRDModel
from prdlib.repro import generator
from prdlib.trainer import NonFiniteLoss

__all__ = ["CHEXPERT_TASKS", "HEADS", "IMAGE_FINE_TUNING", "FineTunedImages", "ImageClassifier", "fine_tune_images"]

HEADS = ("multi-label", "single-label", "multi-task")
TASK_WIDTH = 64  # hidden units of the head of one task
UNCERTAIN, IGNORED = 2, -100  # class of an uncertain label among three; what cross_entropy leaves out
# learning_rate is the head's, the encoder's is 1e-4: pre-trained features move slowly
IMAGE_FINE_TUNING = TrainingConfig(
    epochs=10, batch_size=32, learning_rate=1e-3, encoder_learning_rate_factor=0.1, weight_decay=0.05
)


def choose_head(head: str, splits: Mapping[str, EvaluationData]) -> tuple[str, dict[str, EvaluationData]]:
    """(head, splits with the labels that it is for) of evaluation.fine_tuning_head.

    auto: where the five CHEXPERT_TASKS are among the labels 'multi-class' (with an uncertain label in training) or 'multi-task',
    elsewhere 'multi-label'. Every head but multi-label is for the five alone where they are there.
    """
    splits = dict(splits)
    five = set(CHEXPERT_TASKS) <= set(splits["train"].label_names)
    of_five = {name: only_labels(split, CHEXPERT_TASKS) for name, split in splits.items()} if five else splits
    if head == "auto":
        uncertain = five and (of_five["train"].labels == -1).any()
        head = ("multi-class" if uncertain else "multi-task") if five else "multi-label"
    return head, splits if head == "multi-label" else of_five


class ImageClassifier(nn.Module):
    """The image encoder of ``model`` and a new head for ``labels`` labels; see the module for ``head``, one of HEADS.

    classes: of each task, 2 (absent, present) or 3 (and uncertain); the other heads have no choice. ValueError for others.
    """

    def __init__(self, model: PRDModel, labels: int, head: str = "multi-label", classes: int = 2) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"A head is {', '.join(HEADS[:-1])} or {HEADS[-1]}, not {head!r}.")
        if classes not in ((2, 3) if head == "multi-task" else (2,)):
            raise ValueError(f"classes is 2, or 3 for a multi-task head, not {classes} for a {head} one.")
        self.model, self.kind, self.classes = model, head, classes
        width = model.image_encoder.pooled_dim
        self.head: nn.Module = _Tasks(width, labels, classes) if head == "multi-task" else nn.Linear(width, labels)
        self.head.to(model.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, float32, of pixels [B, 1, S, S] in [0, 1]: [B, L], of a multi-task head [B, L, classes]."""
        return self.head(self.model.image_features(pixels)[0]).float()

    def targets(self, labels: np.ndarray) -> Tensor:
        """What :meth:`loss` compares with, of labels [n, L] in 1, 0, -1, NaN: float [n, L] with NaN where not judged, int64 [n]
        of the class, or int64 [n, L] of each task's class, IGNORED where not judged."""
        known = np.isin(labels, (0, 1))
        if self.kind == "multi-label":
            return torch.from_numpy(np.where(known, labels, np.nan)).float()
        if self.kind == "single-label":
            chosen = exclusive_classes(labels)
            return torch.from_numpy(np.where(chosen == NOT_JUDGED, IGNORED, chosen))
        rest = np.where((labels == -1) & (self.classes == 3), UNCERTAIN, IGNORED)
        return torch.from_numpy(np.where(known, np.nan_to_num(labels), rest).astype(np.int64))

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the judged cells of a batch, 0 without one."""
        if self.kind == "multi-label":
            judged = targets.isfinite()
            total = binary_cross_entropy_with_logits(logits[judged], targets[judged], reduction="sum")
        else:
            judged = targets != IGNORED
            total = cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return total / judged.sum().clamp(min=1)

    @torch.inference_mode()
    def predict(self, images: np.ndarray, batch_size: int = 128) -> np.ndarray:
        """Probabilities float64 [n, L] of uint8 images [n, S, S]; in eval mode, float32.

        Of presence; of a single-label head of each class, which add up to 1. With three classes a task's probability is that
        of presence among present and absent, as CheXpert's paper reads it.
        """
        self.eval()
        parts = [torch.zeros(0)]
        for i in range(0, len(images), batch_size):
            logits = self(self.model.prepare_images(torch.from_numpy(images[i : i + batch_size]))).double().cpu()
            if self.kind == "multi-label":
                parts.append(logits.sigmoid())
            else:
                parts.append(logits.softmax(-1) if self.kind == "single-label" else logits[..., :2].softmax(-1)[..., 1])
        return torch.cat(parts[1:] or parts).numpy()

    def truth(self, labels: np.ndarray) -> np.ndarray:
        """[n, L] in {0, 1}, NaN = not judged, of labels [n, L]: what the columns of :meth:`predict` are held against."""
        if self.kind == "single-label":
            chosen = exclusive_classes(labels)[:, None]
            return np.where(chosen == NOT_JUDGED, np.nan, chosen == np.arange(labels.shape[1]))
        return np.where(np.isin(labels, (0, 1)), labels, np.nan)


class _Tasks(nn.Module):
    """A head with one hidden layer for each label: [B, C] -> [B, L, classes]."""

    def __init__(self, width: int, labels: int, classes: int) -> None:
        super().__init__()
        self.tasks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, TASK_WIDTH), nn.GELU(), nn.Linear(TASK_WIDTH, classes))
            for _ in range(labels)
        )

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.stack([task(pooled) for task in self.tasks], dim=1)


@dataclass(frozen=True)
class FineTunedImages:
    """classifier: as of the epoch chosen, in eval mode; history: epoch, loss, validation AUROC; epoch: the one chosen, from 1,
    the first of the highest mean AUROC on validation; studies: training studies that were read, those with a judged label."""

    classifier: ImageClassifier
    history: pd.DataFrame
    epoch: int
    studies: int


def fine_tune_images(
    model: PRDModel,
    train: EvaluationData,
    validation: EvaluationData,
    seed: int = 0,
    head: str = "multi-label",
    classes: int = 2,
    settings: TrainingConfig = IMAGE_FINE_TUNING,
    report: Callable[[str], None] | None = None,
    passes: int = 1,
) -> FineTunedImages:
    """Train a copy of ``model``'s image encoder with a new head on the labels of ``train``; ``model`` itself stays as it is.

    seed: of the head's weights, the order of studies and their augmentation; torch's generators are left as they were. head,
    classes: see the module. settings: of it are read epochs, batch_size (the most: the batches of an epoch are of one size, or
    one less), learning_rate (the head's), encoder_learning_rate_factor, freeze ('image': the head alone learns), weight_decay,
    warmup, max_grad_norm (0: no clipping), precision and augment. report: told one line per epoch.
    passes: over the studies in an epoch, at whose end validation is looked at: several where there are few studies.
    Raises DataError when the splits share a patient or differ in labels, for fewer than two training studies with a judged label,
    for validation without both classes of any label, and for three classes without an uncertain label; ValueError for an unknown
    head; NonFiniteLoss when the loss leaves the reals.
    """
    refuse_shared_patients({"train": train, "validation": validation})
    device = model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier = ImageClassifier(_trainable_copy(model, settings), train.labels.shape[1], head, classes)
        targets, truth = classifier.targets(train.labels), classifier.truth(validation.labels)
        judged = targets.isfinite() if head == "multi-label" else targets != IGNORED
        rows = np.flatnonzero(judged.view(len(targets), -1).any(dim=1).numpy())
        _refuse(train, validation, truth, rows, classes)
        batches = -(-len(rows) // settings.batch_size) * passes
        optimizer, schedule = optimizer_and_schedule(classifier, settings, batches)
        history, best = [], None
        for epoch in range(1, settings.epochs + 1):
            classifier.train()
            rng, losses = generator(seed, epoch, "image order"), []
            order = np.concatenate([rows[rng.permutation(len(rows))] for _ in range(passes)])
            for chosen in np.array_split(order, batches):  # no last batch of one image: batch norm could not read it
                pixels = _pixels(train, chosen, seed, epoch, settings.augment).to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast == "bf16"):
                    logits = classifier(pixels)
                loss = classifier.loss(logits, targets[chosen].to(device))
                losses.append(learn(loss, classifier, optimizer, schedule, settings))
            mean = float(torch.stack(losses).mean())  # the device is waited for once an epoch
            probabilities = classifier.predict(validation.images)
            if not np.isfinite(mean) or not np.isfinite(probabilities).all():
                raise NonFiniteLoss(f"The loss of fine-tuning is {mean} in epoch {epoch}, or what follows from it is no number: "
                                    "lower the learning rate.")  # fmt: skip
            value = mean_auroc(probabilities, truth)
            if best is None or value > best[0]:
                best = value, epoch, _state(classifier)
            history.append({"epoch": epoch, "loss": mean, "validation AUROC": value})
            if report:
                report(f"{head}, epoch {epoch}: loss {mean:.3f}, validation AUROC {value:.3f}")
    classifier.load_state_dict(best[2], strict=False)
    return FineTunedImages(classifier.eval(), pd.DataFrame(history), best[1], len(rows))


def _refuse(
    train: EvaluationData, validation: EvaluationData, truth: np.ndarray, rows: np.ndarray, classes: int
) -> None:
    if train.label_names != validation.label_names:
        raise DataError(
            f"The labels of training are {train.label_names}, of validation {validation.label_names}: choose the same."
        )
    if len(rows) < 2:
        raise DataError(
            f"{len(rows)} training studies have a judged label and fine-tuning needs two or more: label more, or read blank "
            "labels as absent where they mean that (data.options.blanks=absent for CheXpert)."
        )
    if not has_both_classes(truth).any():
        raise DataError(
            "No label has both classes in validation, where the epoch is chosen by AUROC: add studies to it."
        )
    refuse_without_third_class(train, classes)


def refuse_without_third_class(train: EvaluationData, classes: int) -> None:
    """DataError when ``classes`` is 3 and no label of ``train`` is uncertain."""
    if classes == 3 and not (train.labels == -1).any():
        raise DataError(
            "No training label is uncertain (-1), so there is no third class: load with uncertain='keep', or take two classes "
            "(evaluation.fine_tuning_head=multi-task; classes=2)."
        )


def _trainable_copy(model: PRDModel, settings: TrainingConfig) -> PRDModel:
    """A copy in which the image encoder may learn, and nothing else."""
    twin = copy.deepcopy(model).requires_grad_(False)
    twin.image_encoder.requires_grad_(True)
    twin.freeze(*{"text", *settings.freeze})
    return twin


def _pixels(data: EvaluationData, rows: np.ndarray, seed: int, epoch: int, augment: bool) -> Tensor:
    """[B, 1, S, S] in [0, 1], as pre-training's batches."""
    pixels = torch.from_numpy(data.images[rows])[:, None].float() / 255
    return augmented(pixels, seed, [epoch] * len(rows), [data.study_ids[row] for row in rows]) if augment else pixels


def _state(classifier: ImageClassifier) -> dict[str, Tensor]:
    """What training changes: weights of encoder and head, and batch norm's statistics."""
    learnt = ("model.image_encoder.", "head.")
    return {name: value.detach().clone() for name, value in classifier.state_dict().items() if name.startswith(learnt)}
