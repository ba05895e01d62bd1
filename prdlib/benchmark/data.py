"""How fast data come, and how long a step waits for them."""

from __future__ import annotations

import time

import pandas as pd
from datasets import DatasetDict
from torch.utils.data import DataLoader

from prdlib.benchmark.measure import rows, take_turns
from prdlib.benchmark.setup import items_of, model_and_pairs, moved
from prdlib.benchmark.step import small_step
from prdlib.config import RunConfig
from prdlib.data.batches import Collate, EpochSampler
from prdlib.images import decode_png


def data_rates(config: RunConfig, data: DatasetDict, repeats: int) -> pd.DataFrame:
    """Images decoded and moved a second; batches made; and what a step of the same batches takes, for the idle share."""
    model, pairs = model_and_pairs(config, data)
    step = small_step(config, data)
    number = config.training.batch_size
    encoded = [data["train"][i]["image"] for i in range(number)]
    items = items_of(pairs, number, 1)[0]
    collate = Collate(model.word_tokenizer, augment=True)

    def images() -> None:
        decoded = [{**item, "image": decode_png(png)} for item, png in zip(items, encoded, strict=True)]
        collate._pixels(decoded)

    def batch() -> None:
        collate([pairs[(1, i)] for i in range(number)])

    seconds = take_turns({"decode and transform": images, "whole batch": batch, "step": step.whole}, repeats)
    table = rows("data", f"profile {config.profile}, one process, B {number}", seconds, {})
    for row in table[:2]:
        row["images_per_s"] = number / row["median_s"]
    return pd.DataFrame(table)


def idle_share(config: RunConfig, data: DatasetDict, workers: int) -> float:
    """Share of an epoch's seconds in which the step waits for its batch."""
    model, pairs = model_and_pairs(config, data)
    step = small_step(config, data)
    number = min(config.training.batch_size, len(pairs))
    loader = DataLoader(
        pairs, batch_size=number, sampler=EpochSampler(len(pairs), 0), drop_last=True, num_workers=workers,
        collate_fn=Collate(model.word_tokenizer, augment=True), persistent_workers=workers > 0,
    )  # fmt: skip
    waited = worked = 0.0
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        start = time.perf_counter()
        for batch in loader:
            arrived = time.perf_counter()
            step.batch = moved(batch)
            step.whole()
            if epoch:  # the first epoch decodes the images and starts the workers
                waited += arrived - start
                worked += time.perf_counter() - arrived
            start = time.perf_counter()
    return waited / (waited + worked)
