"""A split of any number of studies for the price of a few, and what it takes in memory."""

import gc
import tracemalloc

import numpy as np
import pyarrow as pa
from datasets import Dataset


def large_split(split: Dataset, studies: int) -> Dataset:
    """``studies`` (thousands of them) of two images, all with the first two rows of ``split``, which must be one study's: chunks
    that share every column but the ids."""
    two = split.select([0, 1] * 1000).with_format("arrow")[:].combine_chunks()
    assert len(set(two["study_id"].to_pylist())) == 1
    place = two.schema.get_field_index("study_id")
    ids = np.repeat([f"study-{n:08d}" for n in range(studies)], 2).reshape(-1, 2000)
    chunks = [two.set_column(place, "study_id", pa.array(part)).to_batches()[0] for part in ids]
    return Dataset(pa.Table.from_batches(chunks), fingerprint=f"made-of-{studies}")  # else all of it is hashed


def memory() -> int:
    """Bytes of Python's objects, of NumPy's and of Arrow's arrays, while tracemalloc is at work."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
