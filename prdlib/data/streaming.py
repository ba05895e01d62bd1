"""Shards of a prepared split, read as a stream by every rank and every data-loading process: for data larger than memory.

<directory>/shards.json           key, counts, sizes and hashes of the shards; written last: a folder without it is not used
<directory>/<key>-00000.parquet   one row per study, in an order that was shuffled once
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, Value, load_dataset
from datasets import Sequence as List
from datasets.distributed import split_dataset_by_node
from filelock import FileLock
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from prdlib.data.batches import pair_item, rows_by_study
from prdlib.data.preparation import FEATURES, REPORT_COLUMNS, rows_hash, tagged_report
from prdlib.data.studies import DataError
from prdlib.images import decode_png
from prdlib.repro import generator, hash_files, hash_json, write_json

FORMAT = 2  # raise it when the form of a shard changes: old shards are then written anew
MANIFEST = "shards.json"
OURS = re.compile(r"shards\.json|\.lock|\.?[0-9a-f]{16}-\d{5}\.parquet(\.tmp)?|\.shards\.json\.\d+\.tmp")
GROUP = 64  # studies of a Parquet row group: what a reader takes at once
COLUMNS = ("study_id", "report_group", *REPORT_COLUMNS)
SHARD_FEATURES = Features({**{name: FEATURES[name] for name in COLUMNS}, "images": List(Value("binary"))})


def write_shards(
    data: DatasetDict | Dataset,
    directory: str | Path,
    studies_per_shard: int = 500,
    seed: int = 0,
    data_hash: str = "",
) -> dict[str, Any]:
    """Write a prepared split (of a DatasetDict: train) as Parquet shards into ``directory``; the manifest, see shards_info.

    studies_per_shard: at most; shards differ by one study or none, and a study with all its images stands in one shard.
    seed: of the order of the studies. data_hash: of the prepared data (prepared.json); without it their rows are hashed.
    A second call does nothing, one after a kill goes on at the first shard that is missing, one with other data or arguments
    writes anew. Two processes may call it at once: one waits. Raises DataError when there are no studies, or when
    ``directory`` holds anything but shards: nothing else is ever replaced.
    """
    if isinstance(data, DatasetDict):
        if "train" not in data:
            raise DataError(
                f"The prepared data have no split train, only {', '.join(sorted(data))}: load more studies."
            )
        data = data["train"]
    if studies_per_shard < 1:
        raise DataError(f"studies_per_shard is {studies_per_shard}: it must be at least 1.")
    if not len(data):
        raise DataError("The split has no studies to write: load more studies.")
    directory = Path(directory)
    _refuse_foreign(directory)
    rows, starts = rows_by_study(data)
    facts = {"format": FORMAT, "data": data_hash or rows_hash(DatasetDict({"train": data})), "seed": seed,
             "studies_per_shard": studies_per_shard, "studies": len(starts) - 1, "images": len(rows)}  # fmt: skip
    # The hash of prepared data is that of all their splits: the ids tell which one this is.
    key = hash_json([facts, data.select_columns("study_id")[:]["study_id"]], 16)
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".lock"):
        if not _is_whole(directory, key):
            (directory / MANIFEST).unlink(missing_ok=True)
            order = generator(seed, "shards").permutation(len(starts) - 1)
            shards = []
            for number, part in enumerate(np.array_split(order, -(-len(order) // studies_per_shard))):
                path = (
                    directory / f"{key}-{number:05d}.parquet"
                )  # the key says what is in it: one that is there is kept
                if not path.is_file():
                    _write_shard(data, [rows[starts[i] : starts[i + 1]] for i in part], path)
                shards.append({"file": path.name, "studies": len(part), "bytes": path.stat().st_size,
                               "sha256": hash_files([path], 64)})  # fmt: skip
            write_json(directory / MANIFEST, {"key": key, **facts, "shards": shards})
            kept = {shard["file"] for shard in shards} | {MANIFEST, ".lock"}
            for path in list(directory.iterdir()):
                if OURS.fullmatch(path.name) and path.name not in kept:
                    path.unlink()
    return shards_info(directory)


def _refuse_foreign(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{str(directory)!r} is a file: give an empty or new folder for the shards.")
    foreign = [p.name for p in directory.iterdir() if not OURS.fullmatch(p.name)] if directory.is_dir() else []
    if foreign:
        raise DataError(
            f"{str(directory)!r} holds files that are not shards ({min(foreign)!r}): give an empty or new folder."
        )


def _is_whole(directory: Path, key: str) -> bool:
    try:
        return shards_info(directory)["key"] == key
    except DataError:
        return False


def _write_shard(split: Dataset, studies: Sequence[np.ndarray], path: Path) -> None:
    """studies: the rows of each. The name of the shard appears when all of it is on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    arrow = split.select_columns([*COLUMNS, "image"]).with_format("arrow")
    with temporary.open("wb") as file:
        with pq.ParquetWriter(file, SHARD_FEATURES.arrow_schema) as writer:
            for first in range(0, len(studies), GROUP):
                part = studies[first : first + GROUP]
                table = arrow[np.concatenate(part).tolist()]
                offsets = np.append(0, np.cumsum([len(rows) for rows in part])).astype(np.int32)
                images = pa.ListArray.from_arrays(offsets, table["image"].combine_chunks())
                one = table.select(COLUMNS).take(offsets[:-1]).append_column("images", images)
                writer.write_table(one.cast(SHARD_FEATURES.arrow_schema))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def shards_info(directory: str | Path, hashes: bool = False) -> dict[str, Any]:
    """shards.json of a folder: key, format, data (hash), seed, studies_per_shard, studies, images, and shards: file, studies,
    bytes and sha256 of each. DataError when there is none, or when a shard is missing or not as it was written (its size;
    with ``hashes`` its bytes, which reads all of them)."""
    directory = Path(directory)
    if not (directory / MANIFEST).is_file():
        raise DataError(
            f"No finished shards in {directory.name!r}: write them with prdlib.data.streaming.write_shards."
        )
    info = json.loads((directory / MANIFEST).read_text())
    for shard in info["shards"]:
        path = directory / shard["file"]
        whole = path.is_file() and path.stat().st_size == shard["bytes"]
        if not whole or (hashes and hash_files([path], 64) != shard["sha256"]):
            raise DataError(f"Shard {shard['file']!r} of {directory.name!r} is missing or damaged: delete it and call "
                            "write_shards again.")  # fmt: skip
    return info


class StreamedPairs(IterableDataset):
    """The items of :class:`PairDataset`, read from shards: the same ones for the same (seed, epoch, study), in another order.

    directory: of :func:`write_shards`. perturbations, copies, seed: as for PairDataset. rank, world: of this process among
    those that train together; each rank, and each process of its data loader, reads shards of its own, so that an epoch has
    every study once. buffer_size: studies that a process shuffles among each other, of one shard or more; it holds about
    three times as many in memory, their images as PNG.
    Order and shares depend on the shards and (seed, epoch, rank, world, number of processes, buffer_size) alone; the order of
    the shards changes with the epoch. len(): studies of an epoch, over all ranks.
    Raises DataError when there are no whole shards, or fewer of them than processes that read.
    """

    def __init__(
        self,
        directory: str | Path,
        perturbations: Sequence[str] = (),
        copies: int = 0,
        seed: int = 0,
        *,
        rank: int = 0,
        world: int = 1,
        buffer_size: int = 1000,
        fixed_copies: bool = False,
    ) -> None:
        if not 0 <= rank < world:
            raise DataError(f"Rank {rank} is not one of {world} ranks: they count from 0 to {world - 1}.")
        if buffer_size < 1:
            raise DataError(f"buffer_size is {buffer_size}: it must be at least 1.")
        self.perturbations, self.copies, self.seed, self.fixed_copies = tuple(perturbations), copies, seed, fixed_copies
        self.rank, self.world, self.info = rank, world, shards_info(directory)
        self.check(1)
        files = [glob.escape(str(Path(directory).absolute() / shard["file"])) for shard in self.info["shards"]]
        stream = load_dataset("parquet", data_files=files, split="train", streaming=True, features=SHARD_FEATURES)
        # "shards" also where their number is no multiple of the ranks: by default each rank would then read every shard.
        stream = split_dataset_by_node(stream, rank, world, strategy="shards")
        # One shard after the other: reading several at once costs threads, and datasets waits 5 seconds for them per epoch.
        self._stream = stream.shuffle(seed=seed, buffer_size=buffer_size, max_buffer_input_shards=1)

    def check(self, workers: int) -> None:
        """DataError when ``workers`` processes of each rank would find fewer shards than processes."""
        needed, shards = self.world * max(1, workers), len(self.info["shards"])
        if shards < needed:
            raise DataError(f"{shards} shards cannot be shared by {self.world} ranks with {max(1, workers)} reading processes "
                            f"each: write {needed} or more (a smaller studies_per_shard), or use fewer processes.")  # fmt: skip

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration, from 0; processes of a data loader that are at work hear of it too."""
        self._stream.set_epoch(epoch)

    def __len__(self) -> int:
        return self.info["studies"]

    def batches(self, batch_size: int, workers: int = 0) -> int:
        """Whole batches that every rank can make in every epoch, each data-loading process from its own shards."""
        workers = max(1, workers)
        sizes = np.sort([shard["studies"] for shard in self.info["shards"]])
        places = range(len(sizes))
        # The shards change hands with the epoch, their number does not: a process has at least as many of the smallest.
        least = [
            [int(sizes[: len(places[rank :: self.world][worker::workers])].sum()) for worker in range(workers)]
            for rank in range(self.world)
        ]
        return min(sum(studies // batch_size for studies in rank) for rank in least)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        self.check(worker.num_workers if worker else 1)
        epoch = self._stream.epoch
        for row in self._stream:
            images = row["images"]
            yield pair_item(
                epoch,
                row["study_id"],
                tagged_report(row),
                row["report_group"],
                len(images),
                lambda view, images=images: decode_png(images[view]),
                self.perturbations,
                self.copies,
                self.seed,
                self.fixed_copies,
            )


class StreamedBatches(DataLoader):
    """One rank's whole batches of an epoch: as many on each rank and in each epoch, so that no rank waits for another.

    pairs, batch_size, collate: as for a DataLoader; workers: its processes. Studies that do not fill a batch of their process
    are left out, others in each epoch. Raises DataError when there is no whole batch.
    """

    def __init__(
        self, pairs: StreamedPairs, batch_size: int, collate: Callable[..., Any], workers: int = 0, **options: Any
    ) -> None:
        pairs.check(workers)  # here, since the error of a process that loads data is a traceback
        self.number = pairs.batches(batch_size, workers)
        if not self.number:
            raise DataError(
                f"{len(pairs)} studies in {len(pairs.info['shards'])} shards give {pairs.world} ranks with {max(1, workers)} "
                f"reading processes each no batch of {batch_size}: use a smaller batch or fewer processes."
            )
        super().__init__(pairs, batch_size, collate_fn=collate, num_workers=workers, drop_last=True, **options)

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration, from 0; the Trainer calls it."""
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), self.number)
