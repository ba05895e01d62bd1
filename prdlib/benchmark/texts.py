"""The text pass over buckets of distinct texts, beside a padded pass per copy."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from torch import Tensor
from torch.nn.functional import normalize

from prdlib.benchmark.measure import rows, take_turns
from prdlib.benchmark.plain import padded_passes
from prdlib.benchmark.setup import autocast, items_of, model_and_pairs, moved
from prdlib.config import RunConfig
from prdlib.data.batches import Collate
from prdlib.models import PRDModel
from prdlib.models.text_encoder import buckets
from prdlib.text import plain


def text_pass(config: RunConfig, data: DatasetDict, repeats: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Original and copies in one pass over buckets of distinct texts, against 1 + K passes padded to the word limit.

    Also returns tokens computed / useful tokens, and the share of distinct texts.
    """
    model, pairs = model_and_pairs(config, data)
    items = items_of(pairs, config.training.batch_size, 3)
    collate = Collate(model.word_tokenizer)
    batches = [moved(collate(part)) for part in items]
    texts = [[[plain(text) for text in (item["words"], *item["copies"])] for item in part] for part in items]
    limit = config.data.word_limit + 2

    def ours() -> None:
        for batch in batches:
            with autocast():
                values = report_embeds(model, batch)
            values.sum().backward()

    def padded() -> None:
        for part in texts:
            with autocast():
                values = padded_passes(model, model.word_tokenizer, part, limit)
            values.sum().backward()

    with torch.no_grad(), autocast():
        difference = (
            report_embeds(model, batches[0]) - padded_passes(model, model.word_tokenizer, texts[0], limit)
        ).abs()
    seconds = take_turns({"1 + K padded passes": padded, "ours": ours}, repeats)
    useful = sum(sum(batch["layout"]["lengths"]) for batch in batches)
    computed = sum(
        (rows_.stop - rows_.start) * batch["layout"]["lengths"][rows_.stop - 1]
        for batch in batches
        for rows_ in buckets(batch["layout"]["lengths"])
    )
    facts = {
        "tokens computed / useful": computed / useful,
        "distinct texts / texts": sum(len(b["input_ids"]) for b in batches)
        / sum(b["report_index"].numel() for b in batches),
        "words a report": statistics.mean(len(plain(i["words"])) for part in items for i in part),
        "largest difference of an embedding": difference.max().item(),
    }
    case = f"{config.data.name}, B {len(items[0])}, K {config.objective.copies}, limit {config.data.word_limit} words"
    return pd.DataFrame(rows("text pass", case, seconds, {"ours": ("1 + K padded passes", "1.4")})), facts


def report_embeds(model: PRDModel, batch: Mapping[str, Any]) -> Tensor:
    pooled = []
    lengths = batch["layout"]["lengths"]
    for part in buckets(lengths):
        length = lengths[part.stop - 1]
        tokens = {name: batch[name][part, :length] for name in ("input_ids", "attention_mask")}
        pooled.append(model.text_features(tokens)[0])
    return normalize(model.text_projection(torch.cat(pooled)).float(), dim=-1)[batch["report_index"]]
