"""Zero-shot classification: is the image nearer to the positive than to the negative prompts of a label?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from torch import Tensor

from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.statistics import auroc_intervals
from prdlib.models import PRDModel
from prdlib.text import normalise

PROMPTS = Path(__file__).with_name("prompts.yaml")


@cache
def prompts(label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(positive, negative) prompts of a label, normalised as reports are."""
    table = yaml.safe_load(PROMPTS.read_text())
    entry = table.get(label, table["default"])
    return tuple(tuple(normalise(p.format(name=label.lower())) for p in entry[s]) for s in ("positive", "negative"))


def zero_shot_scores(model: PRDModel, image_embeds: Tensor, labels: list[str]) -> np.ndarray:
    """Mean similarity to the positive minus mean similarity to the negative prompts: [N, L], image_embeds [N, D]."""
    columns = []
    for label in labels:
        positive, negative = (embed_reports(model, [p.split() for p in side]).mean(dim=0) for side in prompts(label))
        columns.append((image_embeds @ (positive - negative)).numpy())
    return np.stack(columns, axis=1)


def zero_shot(
    model: PRDModel,
    images: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    ids: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC per label with 95 % intervals (no threshold is chosen).

    images: uint8 [N, S, S]; labels: [N, L] with 1 present, 0 absent, other values not judged; ids: [N] study ids.
    """
    truth = np.where(np.isin(labels, (0, 1)), labels, np.nan)
    scores = zero_shot_scores(model, embed_images(model, images), names)
    return auroc_intervals(truth, scores, names, ids, resamples, seed).assign(task="zero-shot")
