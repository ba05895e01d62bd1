"""Batches depend on (seed, epoch, study) alone, whatever the order or the number of workers."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from prdlib.config import WORD_ORDER
from prdlib.data.batches import Collate, EpochSampler, PairDataset
from prdlib.text import WordTokenizer, train_wordpiece


@pytest.fixture(scope="module")
def pairs(tiny_data):
    return PairDataset(tiny_data["train"], WORD_ORDER, copies=3, seed=1)


@pytest.fixture(scope="module")
def tokenizer(tiny_data):
    return WordTokenizer(train_wordpiece([" ".join(w) for w in tiny_data["train"]["words"]], 500))


def batches(pairs, tokenizer, workers, epoch=2):
    sampler = EpochSampler(len(pairs), seed=1)
    sampler.set_epoch(epoch)
    return list(
        DataLoader(pairs, 8, sampler=sampler, num_workers=workers, collate_fn=Collate(tokenizer, 1, augment=True))
    )


def test_batches_are_the_same_for_any_number_of_workers(pairs, tokenizer):
    for one, two in zip(batches(pairs, tokenizer, 0), batches(pairs, tokenizer, 2), strict=True):
        assert one["study_ids"] == two["study_ids"]
        for name in ("pixel_values", "input_ids", "report_index", "valid", "report_group"):
            assert torch.equal(one[name], two[name])


def test_epochs_differ_in_order_copies_and_pixels(pairs, tokenizer):
    assert [b["study_ids"] for b in batches(pairs, tokenizer, 0)] != [
        b["study_ids"] for b in batches(pairs, tokenizer, 0, 3)
    ]
    assert pairs[(0, 4)]["copies"] != pairs[(1, 4)]["copies"]
    assert pairs[(0, 4)]["copies"] == pairs[(0, 4)]["copies"]


def test_every_study_stands_once_in_an_epoch(pairs):
    assert sorted(i for _, i in EpochSampler(len(pairs), 0)) == list(range(len(pairs)))


def test_collated_texts_are_distinct_sorted_and_found_again(pairs, tokenizer):
    items = [pairs[(0, i)] for i in range(8)]
    batch = Collate(tokenizer)([*items, items[0]])
    lengths = batch["attention_mask"].sum(dim=1)
    assert (lengths[1:] >= lengths[:-1]).all()
    assert len({tuple(row.tolist()) for row in batch["input_ids"]}) == len(batch["input_ids"])
    for row, item in zip(batch["report_index"], [*items, items[0]], strict=True):
        for text, words in zip(row, [item["words"], *item["copies"]], strict=True):
            ids, _ = tokenizer.encode(words)
            assert batch["input_ids"][text][: len(ids)].tolist() == ids
    assert torch.equal(batch["report_index"][0], batch["report_index"][-1])
    assert batch["pixel_values"].shape == (9, 1, 32, 32)


def test_no_op_copies_are_marked(pairs):
    item = pairs[(0, 0)]
    assert item["valid"][0] is True
    assert item["valid"][1:] == [copy != item["words"] for copy in item["copies"]]


def test_augmentation_is_small_and_never_mirrors(pairs, tokenizer):
    item = dict(pairs[(0, 0)])
    item["image"] = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (32, 1))  # dark left, bright right
    for epoch in range(20):
        pixels = Collate(tokenizer, 0, augment=True)([{**item, "epoch": epoch}])["pixel_values"][0, 0]
        assert pixels[8:24, 20:26].mean() > pixels[8:24, 6:12].mean()
        assert 0 <= pixels.min() <= pixels.max() <= 1


def test_without_copies_a_batch_has_the_originals_alone(tiny_data, tokenizer):
    batch = Collate(tokenizer)([PairDataset(tiny_data["train"])[i] for i in range(4)])
    assert batch["report_index"].shape == (4, 1)
