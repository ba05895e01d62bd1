"""Batches for training (one image and K fresh copies per study and epoch) and arrays for evaluation.

Everything random depends on (seed, epoch, study) alone: a batch is the same whatever the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from prdlib.data.preparation import tagged_report
from prdlib.images import decode_png
from prdlib.repro import generator
from prdlib.text import TaggedReport, WordTokenizer, draw_names, perturb

CACHE_BYTES = 512 << 20  # decoded images of a split are kept in memory up to this size


class PairDataset(TorchDataset):
    """Image-report pairs of a prepared split: one item per *study*, asked for as (epoch, index).

    perturbations, copies: kinds to draw from and K, the number drawn for each study and epoch; no copies when K is 0.
    An item: study_id, image uint8 [S, S] (one of the study's, drawn per epoch), words, copies (K word tuples), valid
    (1 + K booleans, False for a copy that equals the original), report_group, epoch.
    """

    def __init__(self, split: Dataset, perturbations: Sequence[str] = (), copies: int = 0, seed: int = 0) -> None:
        self.perturbations, self.copies, self.seed = tuple(perturbations), copies, seed
        ids = list(split["study_id"])
        self.rows: dict[str, list[int]] = {}
        for row, study_id in enumerate(ids):
            self.rows.setdefault(study_id, []).append(row)
        self.study_ids = list(self.rows)
        first = split.select([rows[0] for rows in self.rows.values()]).remove_columns("image")
        self.tagged = [tagged_report(row) for row in first]
        self.groups = list(first["report_group"])
        self._split, self._images = split, None

    def __len__(self) -> int:
        return len(self.study_ids)

    def _image(self, row: int) -> np.ndarray:
        if self._images is None:
            one = decode_png(self._split[0]["image"])
            self._images = images_of(self._split) if one.size * len(self._split) <= CACHE_BYTES else False
        return self._images[row] if self._images is not False else decode_png(self._split[row]["image"])

    def __getitem__(self, key: tuple[int, int] | int) -> dict[str, Any]:
        """The item of a study, by (epoch, index) or by index in epoch 0; see the class."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        study_id, report = self.study_ids[index], self.tagged[index]
        rows = self.rows[study_id]
        row = rows[int(generator(self.seed, epoch, study_id, "view").integers(len(rows)))] if len(rows) > 1 else rows[0]
        names = draw_names(self.perturbations, self.copies, self.seed, epoch, study_id) if self.copies else ()
        copies = [perturb(report, name, generator(self.seed, epoch, study_id, name)) for name in names]
        return {
            "study_id": study_id,
            "epoch": epoch,
            "image": self._image(row),
            "words": report.words,
            "copies": [tuple(copy.text.split()) for copy in copies],
            "valid": [True, *(not copy.is_noop for copy in copies)],
            "report_group": self.groups[index],
        }


class EpochSampler(Sampler):
    """(epoch, index) keys in an order that depends on (seed, epoch) alone."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration, from 0; the Trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = generator(self.seed, self.epoch, "order").permutation(self.length)
        return ((self.epoch, int(index)) for index in order)


class Collate:
    """Items of :class:`PairDataset` as the tensors of one step.

    pixel_values float [B, 1, S, S] in [0, 1]; input_ids, attention_mask, word_ids [U, L]: the *distinct* texts of the batch,
    sorted by length; report_index [B, 1 + K]: the text of each original and copy; valid [B, 1 + K] bool; report_group [B];
    study_ids: B strings. layout: what the model would else ask the device for, as lists of integers: lengths, pieces of each
    text; originals, the text of each original; words, its number of words.
    augment: a small random shift, zoom, rotation and exposure; never mirrored, since sides matter.
    micro_batch: m > 0 gives {"parts": [...]} instead, such a batch for each m items (the last may be smaller).
    """

    def __init__(self, tokenizer: WordTokenizer, seed: int = 0, augment: bool = False, micro_batch: int = 0) -> None:
        self.word_tokenizer, self.seed, self.augment, self.micro_batch = tokenizer, seed, augment, micro_batch

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """B items as one batch; see the class for names and shapes."""
        m = self.micro_batch
        if m:
            return {"parts": [self._batch(items[i : i + m]) for i in range(0, len(items), m)]}
        return self._batch(items)

    def _batch(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        texts = [[item["words"], *item["copies"]] for item in items]
        encoded = {words: self.word_tokenizer.encode(words) for words in {words for row in texts for words in row}}
        order = sorted(encoded, key=lambda words: (len(encoded[words][0]), words))
        place = {words: i for i, words in enumerate(order)}
        padded = [encoded[words] for words in order]
        originals = [place[row[0]] for row in texts]
        return {
            "pixel_values": self._pixels(items),
            **self.word_tokenizer.pad(padded),
            "report_index": torch.tensor([[place[words] for words in row] for row in texts]),
            "valid": torch.tensor([item["valid"] for item in items]),
            "report_group": torch.tensor([item["report_group"] for item in items]),
            "study_ids": [item["study_id"] for item in items],
            "layout": {
                "lengths": [len(ids) for ids, _ in padded],
                "originals": originals,
                "words": [1 + max(padded[text][1]) for text in originals],
            },
        }

    def _pixels(self, items: Sequence[dict[str, Any]]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack([item["image"] for item in items]))[:, None].float() / 255
        return self._augmented(pixels, items) if self.augment else pixels

    def _augmented(self, pixels: torch.Tensor, items: Sequence[dict[str, Any]]) -> torch.Tensor:
        draws = np.stack(
            [generator(self.seed, item["epoch"], item["study_id"], "augment").uniform(-1, 1, 6) for item in items]
        ).astype(np.float32)
        angle, zoom = 0.10 * draws[:, 0], 1 - 0.08 * draws[:, 1]
        cos, sin, right, down = (
            torch.from_numpy(v)[:, None, None]
            for v in (zoom * np.cos(angle), zoom * np.sin(angle), 0.08 * draws[:, 2], 0.08 * draws[:, 3])
        )
        side = pixels.shape[-1]
        place = (torch.arange(side) + 0.5) * (2 / side) - 1  # centres of pixels, from -1 to 1
        x, y = place[None, None, :], place[None, :, None]
        grid = torch.stack([cos * x - sin * y + right, sin * x + cos * y + down], dim=-1)
        moved = torch.nn.functional.grid_sample(pixels, grid, align_corners=False)
        contrast, offset = (torch.from_numpy(draws[:, i, None, None, None]) for i in (4, 5))
        return ((moved - 0.5) * (1 + 0.2 * contrast) + 0.5 + 0.08 * offset).clamp(0, 1)


@dataclass(frozen=True)
class EvaluationData:
    """One image and the report of each study of a split, as arrays.

    images uint8 [N, S, S]; tagged, words, study_ids, reports: N each; groups int64 [N]; labels float [N, L] (1, 0, -1, NaN) in
    the order of label_names; findings: N lists of dicts (see Studies).
    """

    images: np.ndarray
    tagged: list[TaggedReport]
    study_ids: list[str]
    groups: np.ndarray
    labels: np.ndarray
    label_names: list[str]
    findings: list[list[dict[str, Any]]]

    @property
    def words(self) -> list[tuple[str, ...]]:
        """Normalised words of each report, inside the limit."""
        return [t.words for t in self.tagged]

    @classmethod
    def first_views(cls, split: Dataset, label_names: Sequence[str] = ()) -> EvaluationData:
        """One row per study: its first frontal image, or its first image when it has no frontal one."""
        views, chosen = list(split["view"]), {}
        for row, study_id in enumerate(split["study_id"]):
            if study_id not in chosen or (views[row] == "Frontal" and views[chosen[study_id]] != "Frontal"):
                chosen[study_id] = row
        part = split.select(list(chosen.values()))
        return cls(
            images_of(part),
            [tagged_report(row) for row in part.remove_columns("image")],
            list(part["study_id"]),
            np.asarray(part["report_group"], dtype=np.int64),
            np.asarray(part["labels"], dtype=np.float64).reshape(len(part), -1),
            list(label_names),
            [json.loads(text) for text in part["findings"]],
        )


def images_of(split: Dataset) -> np.ndarray:
    """All images of a prepared split, uint8 [N, S, S]."""
    return np.stack([decode_png(data) for data in split["image"]])
