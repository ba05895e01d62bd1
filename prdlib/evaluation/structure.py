"""The paper's 5-option structure test, with the control that it lacked: the same model shown the mean image.

The original report must score above four word-shuffled copies of itself, given the image. A tie is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.scores import pair_scores
from prdlib.evaluation.statistics import mean_interval
from prdlib.models import PRDModel
from prdlib.text import ZERO_SHOT_KINDS, TaggedReport, perturb_reports


def option_reports(
    tagged: Sequence[TaggedReport], ids: Sequence[str], kinds: Sequence[str] = ZERO_SHOT_KINDS, seed: int = 0
) -> tuple[list[list[tuple[str, ...]]], np.ndarray]:
    """Originals and copies of each study: ([n][1 + K] tuples of marked words, valid [n, 1 + K] bool; False = no-op)."""
    copies = perturb_reports(tagged, kinds, seed, 0, ids)
    options = [[t.marked, *(c.marked for c in row)] for t, row in zip(tagged, copies, strict=True)]
    valid = np.array([[True, *(not c.is_noop for c in row)] for row in copies])
    return options, valid


def option_scores(image_embeds: Tensor, model: PRDModel, options: Sequence[Sequence[tuple[str, ...]]]) -> Tensor:
    """<image_i, report_ik>, float64 [n, 1 + K]; ties as in :func:`prdlib.evaluation.scores.pair_scores`."""
    flat = embed_reports(model, [words for row in options for words in row])
    return pair_scores(image_embeds, flat.view(len(options), len(options[0]), -1))


def original_wins(scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(correct [n], tie [n]) from scores [n, 1 + K], index 0 the original: strictly above every copy is correct."""
    original, best = scores[:, 0], scores[:, 1:].max(dim=1).values
    return (original > best).numpy(), (original == best).numpy()


def structure_outcomes(
    model: PRDModel,
    images: np.ndarray,
    tagged: Sequence[TaggedReport],
    ids: Sequence[str] | np.ndarray,
    blind_image: np.ndarray,
    kinds: Sequence[str] = ZERO_SHOT_KINDS,
    seed: int = 0,
) -> pd.DataFrame:
    """The test with the study's image, with the mean image, and their difference: one row per study and input.

    images: uint8 [n, S, S]; tagged, ids: the studies' reports; blind_image: uint8 [S, S], see ``mean_image``.
    Studies with a copy equal to the original leave the test (column ``no_ops`` counts them), so chance is 1 / (1 + K).
    Columns: metric, input ('image', 'mean image', 'image - mean image'), query, outcome, chance, tie, no_ops.
    """
    options, valid = option_reports(tagged, ids, kinds, seed)
    keep = np.flatnonzero(valid.all(axis=1))
    metric, chance = f"{1 + len(kinds)}-option accuracy", 1 / (1 + len(kinds))
    shared = {"metric": metric, "query": np.asarray(ids)[keep], "no_ops": len(tagged) - len(keep)}
    if not len(keep):
        return pd.DataFrame(columns=["metric", "input", "query", "outcome", "chance", "tie", "no_ops"])
    options = [options[i] for i in keep]
    blind = embed_images(model, blind_image[None]).expand(len(keep), -1)
    seen = original_wins(option_scores(embed_images(model, images[keep]), model, options))
    unseen = original_wins(option_scores(blind, model, options))
    parts = [
        pd.DataFrame({**shared, "input": name, "outcome": correct.astype(float), "chance": chance, "tie": tie})
        for name, (correct, tie) in {"image": seen, "mean image": unseen}.items()
    ]
    gain = seen[0].astype(float) - unseen[0]
    parts.append(pd.DataFrame({**shared, "input": "image - mean image", "outcome": gain, "chance": 0.0, "tie": False}))
    return pd.concat(parts, ignore_index=True)


def structure_table(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Accuracy by input with its interval: metric, input, value, ci_low, ci_high, n, chance, ties, no_ops."""
    rows = []
    for (metric, name), part in outcomes.groupby(["metric", "input"], sort=False):
        value, low, high = mean_interval(part["outcome"].to_numpy(), part["query"].to_numpy(), resamples)
        rows.append({"metric": metric, "input": name, "value": value, "ci_low": low, "ci_high": high, "n": len(part),
                     "chance": part["chance"].iloc[0], "ties": int(part["tie"].sum()),
                     "no_ops": int(part["no_ops"].iloc[0])})  # fmt: skip
    return pd.DataFrame(rows)
