"""Batches depend on (seed, epoch, study) alone; equal texts are encoded once; sides are never mirrored."""

import tracemalloc

import numpy as np
import psutil
import pytest
import torch
from large_split import large_split, memory
from openi_collection import write_csv
from torch.utils.data import DataLoader

from prdlib.data import load_studies, prepare
from prdlib.data.batches import Collate, EpochSampler, EvaluationData, PairDataset, images_of, mirrored
from prdlib.models.dual_encoder import _layout
from prdlib.text import PERTURBATIONS, WordTokenizer, plain, train_wordpiece

PLACES = ("base", "apex", "hilum", "lingula", "middle lobe")
REPORTS = {
    str(n): (
        f"There is a small left effusion and an opacity of the {PLACES[n % 5]}.",
        "Heart size is normal.",
        "Opacity/lung",
    )
    for n in range(1, 31)
}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openi")
    studies = load_studies("openi", directory=write_csv(folder, REPORTS))
    return prepare(studies, tmp_path_factory.mktemp("prepared"), 32)["train"]


@pytest.fixture(scope="module")
def tokenizer(split):
    return WordTokenizer(train_wordpiece({" ".join(words) for words in split["words"]}, 200))


def pairs(split, seed=0, copies=3):
    return PairDataset(split, tuple(PERTURBATIONS), copies, seed=seed)


def batches(split, tokenizer, workers=0, epoch=1, seed=0, augment=True):
    data = pairs(split, seed)
    sampler = EpochSampler(len(data), seed)
    sampler.set_epoch(epoch)
    collate = Collate(tokenizer, seed=seed, augment=augment)
    return list(DataLoader(data, batch_size=5, sampler=sampler, collate_fn=collate, num_workers=workers))


def same(one, other) -> bool:
    return all(
        all(torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a)
        for a, b in zip(one, other, strict=True)
    )


def test_one_item_per_study_and_the_view_changes_with_the_epoch(split):
    data = pairs(split)
    assert len(data) == len(set(split["study_id"])) < len(split)
    images = [[data[(epoch, i)]["image"] for epoch in range(12)] for i in range(3)]
    assert all(len({image.tobytes() for image in views}) == 2 for views in images)


def test_an_item_depends_on_seed_epoch_and_study_alone(split):
    one, other = pairs(split), pairs(split)
    for i in reversed(range(len(other))):
        a, b = one[(3, i)], other[(3, i)]
        assert a["copies"] == b["copies"]
        assert np.array_equal(a["image"], b["image"])
    assert one[0]["copies"] == one[(0, 0)]["copies"]
    assert any(one[(0, i)]["copies"] != one[(1, i)]["copies"] for i in range(5))
    assert any(one[(0, i)]["copies"] != pairs(split, seed=1)[(0, i)]["copies"] for i in range(5))


def test_valid_is_false_exactly_for_copies_that_equal_the_original(split):
    for i, item in enumerate(map(pairs(split, copies=9).__getitem__, range(6))):
        assert item["valid"] == [True, *(tuple(copy) != item["words"] for copy in item["copies"])], i


def test_sampler_is_a_permutation_that_changes_with_the_epoch():
    sampler = EpochSampler(20, 5)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        assert sorted(key[1] for key in keys) == list(range(20))
        orders.append([key[1] for key in keys])
    assert orders[0] == orders[2] != orders[1]


def test_workers_change_nothing(split, tokenizer):
    reference = batches(split, tokenizer)
    assert same(reference, batches(split, tokenizer, workers=2))
    assert not same(reference, batches(split, tokenizer, epoch=2))


def test_batch_encodes_each_text_once_and_sorted_by_length(split, tokenizer):
    data = pairs(split)
    items = [data[(0, i)] for i in range(8)]
    batch = Collate(tokenizer)(items)
    texts = [plain(words) for item in items for words in (item["words"], *item["copies"])]
    lengths = batch["attention_mask"].sum(dim=1)
    assert len(batch["input_ids"]) == len(set(texts)) < len(texts)
    assert (lengths.diff() >= 0).all()
    assert batch["report_index"].shape == batch["valid"].shape == (8, 4)
    for place, words in zip(batch["report_index"].flatten(), texts, strict=True):
        ids, word_ids = tokenizer.encode(words)
        assert batch["input_ids"][place, : len(ids)].tolist() == list(ids)
        assert batch["word_ids"][place, : len(ids)].tolist() == list(word_ids)
    groups = batch["report_group"]
    assert groups.dtype == torch.int64
    same_text = torch.tensor([[a["words"] == b["words"] for b in items] for a in items])
    assert torch.equal(groups[:, None] == groups[None], same_text)


def test_the_layout_says_what_the_tensors_say(split, tokenizer):
    data = pairs(split)
    batch = Collate(tokenizer)([data[(0, i)] for i in range(8)])
    assert batch["layout"] == _layout(batch["attention_mask"], batch["word_ids"], batch["report_index"], None)


def test_micro_batches_share_the_items_out_in_order(split, tokenizer):
    data = pairs(split)
    items = [data[(0, i)] for i in range(5)]
    parts = Collate(tokenizer, micro_batch=2)(items)["parts"]
    assert [part["study_ids"] for part in parts] == [[i["study_id"] for i in items[a : a + 2]] for a in (0, 2, 4)]
    assert same(parts, [Collate(tokenizer)(items[a : a + 2]) for a in (0, 2, 4)])


def test_no_copies_is_one_column(split, tokenizer):
    data = PairDataset(split, (), 0)
    batch = Collate(tokenizer)([data[0]])
    assert batch["report_index"].tolist() == [[0]]
    assert batch["valid"].tolist() == [[True]]


def test_pixels_are_the_image_and_augmentation_moves_them_without_mirroring(split, tokenizer):
    data = pairs(split)
    item = dict(data[(0, 0)])
    plain = Collate(tokenizer)([item])["pixel_values"]
    assert plain.shape == (1, 1, 32, 32)
    assert torch.equal((plain[0, 0] * 255).round().byte(), torch.from_numpy(item["image"]))
    marked = np.zeros((32, 32), np.uint8)
    marked[:, :10] = 255  # the image's left
    changed = []
    for epoch in range(60):
        pixels = Collate(tokenizer, augment=True)([{**item, "image": marked, "epoch": epoch}])["pixel_values"]
        assert 0 <= pixels.min() <= pixels.max() <= 1
        assert pixels[0, 0, :, :16].mean() > pixels[0, 0, :, 16:].mean() + 0.2
        changed.append(pixels)
    assert len({p.numpy().tobytes() for p in changed}) == 60


def equal(item, other) -> bool:
    return np.array_equal(item["image"], other["image"]) and all(item[k] == other[k] for k in item if k != "image")


def test_what_is_too_large_for_memory_is_read_one_by_one_with_the_same_result(split, monkeypatch):
    cached = pairs(split)
    monkeypatch.setattr("prdlib.data.batches.CACHE_BYTES", 0)
    monkeypatch.setattr("prdlib.data.batches.CACHE_REPORTS", 0)
    monkeypatch.setattr("prdlib.data.batches.images_of", lambda _: pytest.fail("all images decoded"))
    single = pairs(split)
    assert all(equal(cached[(2, i)], single[(2, i)]) for i in range(len(cached)))


def test_rows_groups_and_ids_are_those_of_the_split_in_any_order(split):
    mixed = split.select(np.random.default_rng(0).permutation(len(split)))
    data, ids = pairs(mixed), mixed["study_id"][:]
    assert data.study_ids == list(dict.fromkeys(ids))
    for i, study in enumerate(data.study_ids):
        assert data.rows_of(i).tolist() == [row for row, other in enumerate(ids) if other == study]
        assert data.groups[i] == mixed[int(data.rows_of(i)[0])]["report_group"]
        assert data[i]["study_id"] == study
    assert equal(data[-1], data[len(data) - 1])
    with pytest.raises(IndexError):
        data[len(data)]


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_two_hundred_thousand_studies_take_a_few_integers_each(split, monkeypatch, traced):
    monkeypatch.setattr("prdlib.data.batches.CACHE_BYTES", 0)  # 400,000 images of usual size would not be kept either
    number = 200_000
    large = large_split(split, number)
    before = memory()
    tracemalloc.reset_peak()
    objects = tracemalloc.get_traced_memory()[1]
    data = pairs(large)
    assert len(data) == number
    assert memory() - before < 40 * number  # two rows, a start and a group are 24 bytes; a list of the ids alone is 70
    assert tracemalloc.get_traced_memory()[1] - objects < 50 * number  # nor is there such a list for a moment
    some = np.random.default_rng(0).permutation(number)[:400].tolist()
    data[(0, some[0])]
    before = memory()
    assert [data[(1, i)]["study_id"] for i in some] == [f"study-{i:08d}" for i in some]
    assert memory() - before < 200 << 10  # 400 reports are 800 KB


@pytest.mark.parametrize("kept", [True, False])
def test_memory_is_flat_over_fifty_epochs(split, tokenizer, monkeypatch, traced, kept):
    if not kept:
        monkeypatch.setattr("prdlib.data.batches.CACHE_BYTES", 0)
        monkeypatch.setattr("prdlib.data.batches.CACHE_REPORTS", 0)
    data = pairs(split)
    sampler = EpochSampler(len(data), 0)
    loader = DataLoader(data, batch_size=5, sampler=sampler, collate_fn=Collate(tokenizer))
    for epoch in range(60):
        if epoch == 10:  # what is made once is there
            before, resident = memory(), psutil.Process().memory_info().rss
        sampler.set_epoch(epoch)
        assert len(list(loader)) == 5
    assert memory() - before < 64 << 10  # the words of one item per epoch would be 200 KB
    assert psutil.Process().memory_info().rss - resident < 16 << 20


def test_evaluation_takes_the_frontal_image_of_each_study(split):
    data = EvaluationData.first_views(split, ["a"] * len(split[0]["labels"]))
    views = list(split["view"])
    assert len(data.images) == len(data.words) == len(data.groups) == len(data.labels) == len(set(data.study_ids))
    everything = images_of(split)
    for image, study in zip(data.images, data.study_ids, strict=True):
        (row,) = [i for i, s in enumerate(split["study_id"]) if s == study and views[i] == "Frontal"]
        assert np.array_equal(image, everything[row])


def test_mirrored_pairs_are_the_mirror_image_with_the_other_sides(split, tokenizer):
    items = [pairs(split)[(0, i)] for i in range(4)]
    batch = Collate(tokenizer, mirror=True)(items)
    pixels, words = batch["pixel_values"], [plain(item["words"]) for item in items]
    assert len(pixels) == len(batch["valid"]) == len(batch["study_ids"]) == 8
    assert torch.equal(pixels[1::2], pixels[::2].flip(-1))
    mirror = mirrored(items[0])
    assert "left" in words[0]
    assert "left" not in mirror["words"]
    assert [w for w in plain(mirror["words"]) if w != "right"] == [w for w in words[0] if w != "left"]
    assert all(len(a) == len(b) for a, b in zip(mirror["copies"], items[0]["copies"], strict=True))
    assert equal(mirrored(mirror), items[0])
    assert len({int(g) for g in batch["report_group"][:2]}) == 2  # other words: a negative


def test_a_report_without_a_side_is_no_negative_of_its_mirror_image(split, tokenizer):
    item = pairs(split)[(0, 0)]
    item = {**item, "words": ("lungs", "are", "clear"), "copies": []}
    groups = Collate(tokenizer, mirror=True)([{**item, "valid": [True]}])["report_group"]
    assert groups[0] == groups[1]
