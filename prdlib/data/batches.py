"""Batches for training (one image and K fresh copies per study and epoch) and arrays for evaluation.

Everything random depends on (seed, epoch, study) alone: a batch is the same whatever the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from prdlib.data.augmentation import augmented
from prdlib.data.preparation import REPORT_COLUMNS, tagged_report
from prdlib.images import decode_png
from prdlib.repro import generator, hash_json
from prdlib.text import TaggedReport, WordTokenizer, draw_names, exchange_sides, perturb, plain, segment
from prdlib.text.tokenization import padded_index

CACHE_BYTES = 512 << 20  # decoded images of a split are kept in memory up to this size
CACHE_REPORTS = 8192  # reports of a split are kept in memory up to this number of studies (5 KB each at 60 words)


def pair_item(
    epoch: int,
    study_id: str,
    report: TaggedReport,
    group: int,
    views: int,
    image: Callable[[int], np.ndarray],
    perturbations: Sequence[str],
    copies: int,
    seed: int,
    fixed_copies: bool = False,
) -> dict[str, Any]:
    """One study in one epoch, wherever it is read from; see :class:`PairDataset` for what the item holds.

    views: number of the study's images; image: the one of 0 to views - 1 that is drawn, uint8 [S, S]. fixed_copies: those of
    epoch 0 in every epoch.
    """
    view = int(generator(seed, epoch, study_id, "view").integers(views)) if views > 1 else 0
    drawn_in = 0 if fixed_copies else epoch
    names = draw_names(perturbations, copies, seed, drawn_in, study_id) if copies else ()
    drawn = [perturb(report, name, generator(seed, drawn_in, study_id, name)) for name in names]
    return {
        "study_id": study_id,
        "epoch": epoch,
        "image": image(view),
        "words": report.marked,
        "copies": [copy.marked for copy in drawn],
        "valid": [True, *(not copy.is_noop for copy in drawn)],
        "report_group": group,
    }


class PairDataset(TorchDataset):
    """Image-report pairs of a prepared split: one item per *study*, asked for as (epoch, index).

    perturbations, copies: kinds to draw from and K, the number drawn for each study and epoch; no copies when K is 0.
    fixed_copies: those of epoch 0 in every epoch.
    An item: study_id, image uint8 [S, S] (one of the study's, drawn per epoch), words and copies (K) as marked words, valid
    (1 + K booleans, False for a copy that equals the original), report_group, epoch.
    groups: report group of each study, int64 [N]. In memory are a few integers per study, and reports and decoded images up
    to CACHE_REPORTS and CACHE_BYTES; the rest is read from the memory-mapped split when it is asked for.
    """

    def __init__(
        self,
        split: Dataset,
        perturbations: Sequence[str] = (),
        copies: int = 0,
        seed: int = 0,
        fixed_copies: bool = False,
    ) -> None:
        self.perturbations, self.copies, self.seed, self.fixed_copies = tuple(perturbations), copies, seed, fixed_copies
        self._rows, self._starts = rows_by_study(split)
        self._texts, self._pixels = split.select_columns(["study_id", *REPORT_COLUMNS]), split.select_columns("image")
        groups = split.select_columns("report_group").with_format("arrow")[:]["report_group"]
        self.groups = groups.to_numpy()[self._rows[self._starts[:-1]]]
        # Read now and not when first asked for: the processes of a data loader then share what this one has read.
        self._reports = [self._read(i) for i in range(len(self))] if len(self) <= CACHE_REPORTS else None
        size = decode_png(self._pixels[0]["image"]).size if len(split) else 0
        self._images = images_of(split) if 0 < size * len(split) <= CACHE_BYTES else None

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def study_ids(self) -> list[str]:
        """The study of each index, read from the split."""
        return self._texts.select(self._rows[self._starts[:-1]])["study_id"][:]

    def rows_of(self, index: int) -> np.ndarray:
        """Rows of the split that belong to a study, in the order of the split: int32 [number of its images]."""
        return self._rows[self._starts[index] : self._starts[index + 1]]

    def _read(self, index: int) -> tuple[str, TaggedReport]:
        row = self._texts[int(self._rows[self._starts[index]])]
        return row["study_id"], tagged_report(row)

    def _image(self, row: int) -> np.ndarray:
        return self._images[row] if self._images is not None else decode_png(self._pixels[row]["image"])

    def __getitem__(self, key: tuple[int, int] | int) -> dict[str, Any]:
        """The item of a study, by (epoch, index) or by index in epoch 0; see the class."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        index = range(len(self))[index]  # an index from the end counts, one beyond it is an IndexError
        study_id, report = self._reports[index] if self._reports is not None else self._read(index)
        rows = self.rows_of(index)
        return pair_item(
            epoch,
            study_id,
            report,
            int(self.groups[index]),
            len(rows),
            lambda view: self._image(int(rows[view])),
            self.perturbations,
            self.copies,
            self.seed,
            self.fixed_copies,
        )


def rows_by_study(split: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(rows int32 [rows], starts int64 [studies + 1]): the rows of the i-th study to appear are rows[starts[i]:starts[i + 1]]."""
    ids = split.select_columns("study_id").with_format("arrow")[:]["study_id"]
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.argsort(codes, kind="stable").astype(np.int32), np.append(0, np.cumsum(np.bincount(codes)))


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


def mirrored(item: dict[str, Any]) -> dict[str, Any]:
    """The mirror image of an item, left and right exchanged in its report and copies: as true as the item, of the same words but
    for the sides, so that only the image tells which of the two reports is whose."""
    texts = {"words": exchange_sides(item["words"]), "copies": [exchange_sides(copy) for copy in item["copies"]]}
    return {**item, **texts, "image": np.ascontiguousarray(item["image"][:, ::-1])}


def by_words(item: dict[str, Any]) -> dict[str, Any]:
    """An item whose report_group is a hash of its words, below 2**60: a mirrored report may be another study's."""
    return {**item, "report_group": int(hash_json(list(plain(item["words"])), 15), 16)}


class Collate:
    """Items of :class:`PairDataset` as the tensors of one step.

    pixel_values float [B, 1, S, S] in [0, 1]; input_ids, attention_mask, word_ids [U, L]: the *distinct* texts of the batch,
    sorted by length; report_index [B, 1 + K]: the text of each original and copy; valid [B, 1 + K] bool; report_group [B];
    study_ids: B strings. layout: what the model would else ask the device for, as lists of integers: lengths, pieces of each
    text; originals, the text of each original; words, its number of words; sequences, what the text encoder sees of it.
    segments, window: with a kind of segments (see ``text.segment``) the rows of input_ids are the distinct *segments* of all
    texts, and segment_index [T, S] has those of each distinct text (-1: none).
    augment: a small random shift, zoom, rotation and exposure; never mirrored, since sides matter.
    word_pieces: each piece of a word counts as a word of its own, for the local loss of an ablation.
    mirror: beside each item stands its mirror image with the other sides in its texts: 2 B pairs (see :func:`mirrored`).
    micro_batch: m > 0 gives {"parts": [...]} instead, such a batch for each m items (the last may be smaller).
    """

    def __init__(
        self,
        tokenizer: WordTokenizer,
        seed: int = 0,
        augment: bool = False,
        micro_batch: int = 0,
        segments: str = "none",
        window: int = 8,
        mirror: bool = False,
        word_pieces: bool = False,
    ) -> None:
        self.word_pieces = word_pieces
        self.word_tokenizer, self.seed, self.augment, self.micro_batch = tokenizer, seed, augment, micro_batch
        self.segments, self.window, self.mirror = segments, window, mirror

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """B items as one batch; see the class for names and shapes."""
        if self.mirror:
            items = [pair for item in items for pair in (by_words(item), by_words(mirrored(item)))]
        m = self.micro_batch
        if m:
            return {"parts": [self._batch(items[i : i + m]) for i in range(0, len(items), m)]}
        return self._batch(items)

    def _batch(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        structured = self.segments != "none"
        texts = [[self._sequences(text) for text in (item["words"], *item["copies"])] for item in items]
        distinct = {text for row in texts for text in row}
        encoded = {words: self._encode(words) for words in {words for text in distinct for words in text}}
        order = sorted(encoded, key=lambda words: (len(encoded[words][0]), words))
        place = {words: i for i, words in enumerate(order)}
        padded = [encoded[words] for words in order]
        text_place = {text: i for i, text in enumerate(sorted(distinct, key=lambda text: [place[w] for w in text]))}
        originals = [text_place[row[0]] for row in texts]
        sequences = [[place[words] for words in row[0]] for row in texts]
        return {
            "pixel_values": self._pixels(items),
            **self.word_tokenizer.pad(padded),
            **({"segment_index": padded_index(list(text_place), place)} if structured else {}),
            "report_index": torch.tensor([[text_place[text] for text in row] for row in texts]),
            "valid": torch.tensor([item["valid"] for item in items]),
            "report_group": torch.tensor([item["report_group"] for item in items]),
            "study_ids": [item["study_id"] for item in items],
            "layout": {
                "lengths": [len(ids) for ids, _ in padded],
                "originals": originals,
                "words": [sum(1 + max(padded[s][1]) for s in row) for row in sequences],
                "sequences": sequences,
            },
        }

    def _encode(self, words: tuple[str, ...]) -> tuple[list[int], list[int]]:
        ids, word_ids = self.word_tokenizer.encode(words)
        if self.word_pieces:
            places = count()
            word_ids = [next(places) if word >= 0 else -1 for word in word_ids]
        return ids, word_ids

    def _sequences(self, marked: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """What the text encoder sees of a text: the whole, or its segments."""
        return tuple(segment(marked, self.segments, self.window)) if self.segments != "none" else (plain(marked),)

    def _pixels(self, items: Sequence[dict[str, Any]]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack([item["image"] for item in items]))[:, None].float() / 255
        if not self.augment:
            return pixels
        return augmented(pixels, self.seed, [item["epoch"] for item in items], [item["study_id"] for item in items])


@dataclass(frozen=True)
class EvaluationData:
    """One image and the report of each study of a split, as arrays.

    images uint8 [N, S, S]; tagged, words, study_ids, patient_ids: N each; groups int64 [N]; labels float [N, L] (1, 0, -1, NaN)
    in the order of label_names; findings: N lists of dicts (see Studies).
    """

    images: np.ndarray
    tagged: list[TaggedReport]
    study_ids: list[str]
    patient_ids: list[str]
    groups: np.ndarray
    labels: np.ndarray
    label_names: list[str]
    findings: list[list[dict[str, Any]]]

    @property
    def words(self) -> list[tuple[str, ...]]:
        """Normalised words of each report, inside the limit."""
        return [t.words for t in self.tagged]

    @property
    def marked(self) -> list[tuple[str, ...]]:
        """Words of each report with marks where segments begin, for models that read segments."""
        return [t.marked for t in self.tagged]

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
            list(part["patient_id"]),
            np.asarray(part["report_group"], dtype=np.int64),
            np.asarray(part["labels"], dtype=np.float64).reshape(len(part), -1),
            list(label_names),
            [json.loads(text) for text in part["findings"]],
        )


def images_of(split: Dataset) -> np.ndarray:
    """All images of a prepared split, uint8 [N, S, S]."""
    pixels = split.select_columns("image")
    images = np.empty((len(split), *decode_png(pixels[0]["image"]).shape), np.uint8)
    for place, row in zip(images, pixels, strict=True):
        place[:] = decode_png(row["image"])
    return images
