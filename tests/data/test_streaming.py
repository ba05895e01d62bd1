"""A stream has the items of PairDataset: each study once per epoch, whoever reads it; shards are complete or absent."""

import itertools
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import DatasetDict
from large_split import large_split, memory
from openi_collection import write_csv
from torch.utils.data import DataLoader

from prdlib.data import DataError, load_studies, prepare
from prdlib.data.batches import Collate, PairDataset
from prdlib.data.streaming import StreamedBatches, StreamedPairs, shards_info, write_shards
from prdlib.models import build_model
from prdlib.text import PERTURBATIONS, WordTokenizer, train_wordpiece
from prdlib.training import PRDTrainer, _arguments

KINDS = tuple(PERTURBATIONS)
REPORTS = {
    str(n): (f"There is a small left effusion and an opacity of {n} cm.", f"Study {n % 7}.", "normal")
    for n in range(1, 41)
}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    studies = load_studies("openi", directory=write_csv(tmp_path_factory.mktemp("openi"), REPORTS))
    return prepare(studies, tmp_path_factory.mktemp("prepared"), 32)["train"]


@pytest.fixture(scope="module")
def shards(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards [1]") / "s"  # a folder's name is no pattern
    write_shards(split, folder, 5)
    return folder


def streamed(folder, rank=0, world=1, epoch=0, seed=0, buffer=10):
    pairs = StreamedPairs(folder, KINDS, 3, seed, rank=rank, world=world, buffer_size=buffer)
    pairs.set_epoch(epoch)
    return pairs


def one_by_one(pairs, workers=0, **options):
    return list(DataLoader(pairs, batch_size=None, num_workers=workers, collate_fn=_as_it_is, **options))


def _as_it_is(item):
    return item


def ids(items):
    return [item["study_id"] for item in items]


def same(item, other) -> bool:
    return item.keys() == other.keys() and all(
        np.array_equal(item[k], other[k]) if k == "image" else item[k] == other[k] for k in item
    )


def files(folder: Path) -> dict:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 2), (4, 0)])
def test_each_study_once_per_epoch_over_all_ranks_and_workers_with_the_items_of_pair_dataset(
    split, shards, world, workers
):
    reference = PairDataset(split, KINDS, 3, seed=4)
    place = {study: i for i, study in enumerate(reference.study_ids)}
    written = [
        set(pq.read_table(shards / shard["file"])["study_id"].to_pylist()) for shard in shards_info(shards)["shards"]
    ]
    assert len(written) % 4  # so not every reader has as many
    orders = []
    for epoch in (0, 3):
        parts = [one_by_one(streamed(shards, rank, world, epoch, seed=4), workers) for rank in range(world)]
        items = list(itertools.chain(*parts))
        assert sorted(ids(items)) == sorted(place)
        assert all(
            sum(bool(shard & set(ids(part))) for part in parts) == 1 for shard in written
        )  # a shard has one reader
        assert all(parts)
        assert all(same(item, reference[(epoch, place[item["study_id"]])]) for item in items)
        orders.append(ids(items))
    assert orders[0] != orders[1]


def test_views_change_with_the_epoch(shards):
    images: dict[str, set[bytes]] = {}
    for epoch in range(10):
        for item in streamed(shards, epoch=epoch):
            images.setdefault(item["study_id"], set()).add(item["image"].tobytes())
    assert max(map(len, images.values())) == 2


def test_order_is_decided_by_seed_and_epoch(shards):
    first = ids(streamed(shards, epoch=2, seed=1))
    again = streamed(shards, epoch=5, seed=1)
    list(again)
    again.set_epoch(2)
    assert ids(again) == first == ids(streamed(shards, epoch=2, seed=1))
    assert first != ids(streamed(shards, epoch=2, seed=2))
    assert first != ids(streamed(shards, epoch=3, seed=1))
    assert ids(one_by_one(streamed(shards, 1, 2, 2), 2)) == ids(one_by_one(streamed(shards, 1, 2, 2), 2))


def test_workers_that_live_on_hear_of_the_epoch(shards):
    pairs = streamed(shards)
    loader = DataLoader(pairs, batch_size=None, num_workers=2, collate_fn=_as_it_is, persistent_workers=True)
    for epoch in (0, 1):
        pairs.set_epoch(epoch)
        assert {item["epoch"] for item in loader} == {epoch}


def test_fewer_shards_than_readers_is_one_sentence(split, tmp_path):
    write_shards(split, tmp_path, 10)
    assert len(shards_info(tmp_path)["shards"]) == 3
    with pytest.raises(DataError, match=r"^3 shards cannot be shared by 4 ranks[^.]*\.$"):
        streamed(tmp_path, world=4)
    with pytest.raises(DataError, match=r"^3 shards cannot be shared by 2 ranks with 2 reading processes[^.]*\.$"):
        StreamedBatches(streamed(tmp_path, world=2), 2, _as_it_is, workers=2)
    with pytest.raises(DataError, match="3 shards cannot be shared by 2 ranks with 2 reading"):
        one_by_one(streamed(tmp_path, world=2), 2)
    with pytest.raises(DataError, match=r"^Rank 2 is not one of 2 ranks[^.]*\.$"):
        streamed(tmp_path, rank=2, world=2)
    with pytest.raises(DataError, match=r"^buffer_size is 0[^.]*\.$"):
        streamed(tmp_path, buffer=0)
    assert len(one_by_one(streamed(tmp_path, world=3), 1)) > 0


@pytest.mark.parametrize(  # 6 shards of 5 studies; of 4 ranks two have one shard, so two batches, and the others are cut to that
    ("world", "workers", "size", "number"), [(1, 0, 4, 7), (1, 2, 4, 6), (2, 0, 3, 5), (2, 2, 3, 4), (4, 0, 2, 2)]
)
def test_batches_are_whole_and_as_many_on_each_rank_and_in_each_epoch(split, shards, world, workers, size, number):
    collate = Collate(WordTokenizer(train_wordpiece({" ".join(words) for words in split["words"]}, 200)))
    loaders = [StreamedBatches(streamed(shards, rank, world), size, collate, workers) for rank in range(world)]
    assert [len(loader) for loader in loaders] == [number] * world
    for epoch in range(4):
        seen = []
        for loader in loaders:
            loader.set_epoch(epoch)
            batches = list(loader)
            assert len(batches) == number
            assert all(batch["pixel_values"].shape == (size, 1, 32, 32) for batch in batches)
            seen += [study for batch in batches for study in batch["study_ids"]]
        assert len(seen) == len(set(seen)) == world * number * size


def test_no_whole_batch_is_one_sentence(shards):
    with pytest.raises(DataError, match=r"no batch of 20: use a smaller batch or fewer processes\.$"):
        StreamedBatches(streamed(shards, world=2), 20, _as_it_is)


def test_a_shard_holds_whole_studies_in_mixed_order(split, shards):
    info = shards_info(shards, hashes=True)
    assert (info["studies"], info["images"]) == (len(set(split["study_id"])), len(split))
    tables = [pq.read_table(shards / shard["file"]).to_pylist() for shard in info["shards"]]
    assert [len(rows) for rows in tables] == [shard["studies"] for shard in info["shards"]]
    assert max(map(len, tables)) - min(map(len, tables)) <= 1
    assert max(map(len, tables)) <= 5
    written = [row["study_id"] for rows in tables for row in rows]
    assert sorted(written) == sorted(set(split["study_id"]))
    assert written != sorted(written)
    for row in itertools.chain(*tables):
        assert row["images"] == [one["image"] for one in split if one["study_id"] == row["study_id"]]


def test_second_call_does_nothing_and_other_data_or_arguments_write_anew(split, tmp_path):
    info = write_shards(DatasetDict({"train": split}), tmp_path, 5)
    before = files(tmp_path)
    assert write_shards(split, tmp_path, 5) == info
    assert files(tmp_path) == before
    keys = {info["key"]}
    for data, size, seed, data_hash in (
        (split, 6, 0, ""),
        (split, 5, 1, ""),
        (split, 5, 1, "a"),
        (split.select(range(9)), 5, 1, "a"),
    ):
        other = write_shards(data, tmp_path, size, seed, data_hash)
        assert {path.name for path in tmp_path.glob("*.parquet")} == {shard["file"] for shard in other["shards"]}
        assert len(streamed(tmp_path)) == len(list(streamed(tmp_path))) == other["studies"]
        keys.add(other["key"])
    assert len(keys) == 5


def test_a_killed_call_is_not_used_and_goes_on(split, tmp_path):
    split.save_to_disk(str(tmp_path / "data"))
    script = (
        "import time\nfrom datasets import Dataset\nimport prdlib.data.streaming as s\n"
        "write = s._write_shard\n"
        "s._write_shard = lambda *a: (write(*a), time.sleep(0.2))\n"
        f"s.write_shards(Dataset.load_from_disk({str(tmp_path / 'data')!r}), {str(tmp_path / 'p')!r}, 2, data_hash='x')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("p/*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    (tmp_path / "p" / f".{min(p.name for p in tmp_path.glob('p/*.parquet'))}.tmp").write_bytes(b"cut off")
    before = files(tmp_path / "p")
    with pytest.raises(DataError, match="No finished shards"):
        streamed(tmp_path / "p")
    resumed = write_shards(split, tmp_path / "p", 2, data_hash="x")
    fresh = write_shards(split, tmp_path / "q", 2, data_hash="x")
    assert resumed == fresh
    after = files(tmp_path / "p")
    assert all(after[name] == before[name] for name in before if name.endswith(".parquet"))
    assert not [name for name in after if name.endswith(".tmp")]


def test_two_processes_at_once(split, tmp_path):
    split.save_to_disk(str(tmp_path / "data"))
    script = (
        "from datasets import Dataset\nfrom prdlib.data.streaming import write_shards\n"
        f"write_shards(Dataset.load_from_disk({str(tmp_path / 'data')!r}), {str(tmp_path / 'p')!r}, 2)\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(list(streamed(tmp_path / "p"))) == shards_info(tmp_path / "p")["studies"]


def test_a_damaged_shard_is_named_and_written_again(split, tmp_path):
    info = write_shards(split, tmp_path, 5)
    path = tmp_path / info["shards"][1]["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    shards_info(tmp_path)
    with pytest.raises(DataError, match=f"^Shard '{path.name}' .* missing or damaged"):
        shards_info(tmp_path, hashes=True)
    for damage in (lambda: path.write_bytes(whole[:50]), path.unlink):
        damage()
        with pytest.raises(DataError, match="missing or damaged"):
            streamed(tmp_path)
    assert write_shards(split, tmp_path, 5) == info
    assert path.read_bytes() == whole


def test_a_folder_with_other_files_is_refused_and_untouched(split, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "0123456789abcdef-00000.parquet").write_text("stays as long as the call is refused")
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"not shards \('thesis\.txt'\)"):
        write_shards(split, tmp_path, 5)
    assert files(tmp_path) == before
    with pytest.raises(DataError, match="is a file"):
        write_shards(split, tmp_path / "thesis.txt", 5)


def test_nothing_to_write_is_one_sentence(split, tmp_path):
    with pytest.raises(DataError, match="must be at least 1"):
        write_shards(split, tmp_path / "p", 0)
    with pytest.raises(DataError, match="no studies"):
        write_shards(split.select([]), tmp_path / "p")
    with pytest.raises(DataError, match="no split train, only test"):
        write_shards(DatasetDict({"test": split}), tmp_path / "p")
    with pytest.raises(DataError, match="No finished shards"):
        streamed(tmp_path / "p")


def test_memory_is_bounded_by_the_buffer(split, tmp_path):
    number = 4000
    write_shards(large_split(split, number), tmp_path, 100, data_hash="x")
    tracemalloc.start()
    try:
        peaks = {}
        for buffer in (200, number):
            pairs = StreamedPairs(tmp_path, buffer_size=buffer)
            before = memory()
            peaks[buffer] = 0
            for place, _ in enumerate(pairs):
                if place % 50 == 0:
                    peaks[buffer] = max(
                        peaks[buffer], tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
                    )
            assert place == number - 1
            assert memory() - before < 1 << 20  # nothing stays behind
    finally:
        tracemalloc.stop()
    study = sum(map(len, (split[0]["image"], split[1]["image"])))
    assert peaks[number] > number * study  # so the measure sees what is held
    assert peaks[200] < peaks[number] / 4


def test_the_trainer_takes_a_stream(tiny_config, tiny_data, tmp_path):
    class StreamingTrainer(PRDTrainer):
        def get_train_dataloader(self):
            return StreamedBatches(self.train_dataset, self._train_batch_size, self.data_collator)

    config = tiny_config.for_method("prd")
    write_shards(tiny_data, tmp_path / "shards", 10, data_hash="x")
    model, _ = build_model(config, 0, sorted({" ".join(words) for words in tiny_data["train"]["words"]}))
    pairs = StreamedPairs(tmp_path / "shards", config.objective.kinds, config.objective.copies, 0)
    seen = []

    def collate(items):
        seen.append([(item["epoch"], item["study_id"]) for item in items])
        return Collate(model.word_tokenizer, augment=True)(items)

    trainer = StreamingTrainer(
        model=model,
        args=_arguments(config, 0, tmp_path / "trainer", len(pairs) // 8, 8),
        train_dataset=pairs,
        data_collator=collate,
        config=config,
        pretrained=(),
    )
    trainer.train()
    steps = len(pairs) // config.training.batch_size
    assert trainer.state.global_step == steps * config.training.epochs
    assert [len(batch) for batch in seen] == [config.training.batch_size] * trainer.state.global_step
    for epoch in range(config.training.epochs):
        part = [key for batch in seen[epoch * steps : (epoch + 1) * steps] for key in batch]
        assert {key[0] for key in part} == {epoch}
        assert len(set(part)) == len(part)
    assert all(torch.isfinite(loss["loss"]) for loss in trainer.losses)
