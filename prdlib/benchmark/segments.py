"""Reports read in segments: each distinct segment of a batch encoded once, beside every segment of every distinct report, beside
whole reports (distinct ones)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.benchmark.measure import rows, take_turns
from prdlib.benchmark.setup import autocast, items_of, model_and_pairs, moved
from prdlib.benchmark.texts import report_embeds
from prdlib.config import RunConfig
from prdlib.data.batches import Collate
from prdlib.models import PRDModel
from prdlib.models.dual_encoder import SEGMENT_BUCKETS
from prdlib.models.text_encoder import buckets

ONCE, EVERY, WHOLE = "equal segments once", "every segment", "whole reports"


def segment_pass(config: RunConfig, data: DatasetDict, repeats: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Seconds of the text pass, forward and backward, of the originals of three batches, by a structured encoder in two ways and
    by a flat one of the same size.

    Also returns the share of segments that are distinct in a batch, and the largest difference between the two ways.
    """
    models, collates = {}, {}
    for method in ("grounded", "clip"):
        model, pairs = model_and_pairs(config.for_method(method), data)
        items = [[{**item, "copies": [], "valid": [True]} for item in part]
                 for part in items_of(pairs, config.training.batch_size, 3)]  # fmt: skip
        models[method] = model
        collates[method] = Collate(model.word_tokenizer, segments=model.config.segments)
    once = [moved(collates["grounded"](part)) for part in items]
    every = [repeated(batch) for batch in once]
    whole = [moved(collates["clip"](part)) for part in items]

    def of(batches: list[dict[str, Any]]) -> None:
        for batch in batches:
            with autocast():
                values = structured_embeds(models["grounded"], batch)
            values.sum().backward()

    def flat() -> None:
        for batch in whole:
            with autocast():
                values = report_embeds(models["clip"], batch)
            values.sum().backward()

    with torch.no_grad(), autocast():
        difference = (
            structured_embeds(models["grounded"], once[0]) - structured_embeds(models["grounded"], every[0])
        ).abs()
    seconds = take_turns({EVERY: lambda: of(every), ONCE: lambda: of(once), WHOLE: flat}, repeats)
    facts = {
        "distinct segments / segments": sum(len(b["input_ids"]) for b in once)
        / sum(len(b["input_ids"]) for b in every),
        "segments a report": sum(len(b["input_ids"]) for b in every) / sum(len(b["segment_index"]) for b in every),
        "largest difference of an embedding": difference.max().item(),
    }
    case = f"{config.data.name}, B {len(items[0])}, limit {config.data.word_limit} words"
    compared = {ONCE: (EVERY, ""), WHOLE: (ONCE, "")}
    return pd.DataFrame(rows("segments", case, seconds, compared)), facts


def repeated(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch as if no segment were equal to another: a row of its own for each segment of each distinct text."""
    index = batch["segment_index"]
    flat = index[index >= 0]
    order = torch.argsort(flat, stable=True)  # rows are sorted by length, so they stay so
    place = torch.full_like(index, -1)
    place[index >= 0] = torch.argsort(order)
    lengths = [batch["layout"]["lengths"][row] for row in flat[order].tolist()]
    tokens = {name: batch[name][flat[order]] for name in ("input_ids", "attention_mask", "word_ids")}
    return {**batch, **tokens, "segment_index": place, "layout": {**batch["layout"], "lengths": lengths}}


def structured_embeds(model: PRDModel, batch: Mapping[str, Any]) -> Tensor:
    """report_embeds [B, 1, D] of a batch with segments."""
    states, lengths = [], batch["layout"]["lengths"]
    for part in buckets(lengths, **SEGMENT_BUCKETS):
        length = lengths[part.stop - 1]
        tokens = {name: batch[name][part, :length] for name in ("input_ids", "attention_mask")}
        states.append(model.sequence_features(tokens, words=False)[0])
    reports = model.report_states(torch.cat(states), batch["segment_index"])
    return normalize(model.text_projection(reports).float(), dim=-1)[batch["report_index"]]
