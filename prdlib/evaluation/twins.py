"""Counterfactual twins of the phantom: two films and two reports of the same words, of which each report is true of one film.

Winoground's scores (Thrush et al., CVPR 2022): the text score asks that each film prefers its own report, the image score that
each report prefers its own film, the group score both. A model without sight fails all three: for one image vector the two
preferences of the text score exclude each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.data import phantom
from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.image_gain import FEWEST, embed_texts, image_vectors
from prdlib.evaluation.scores import pair_scores
from prdlib.evaluation.statistics import resampled_means
from prdlib.text import normalise

CHANCE = {"text score": 1 / 4, "image score": 1 / 4, "group score": 1 / 6, "exchange accuracy": 1 / 2}


@dataclass(frozen=True)
class Twins:
    """n pairs. study_ids [n]; exchanged: 'side', 'zone' or 'grade' [n]; images uint8 [n, 2, S, S]; reports: n pairs of word
    tuples, the study's first."""

    study_ids: tuple[str, ...]
    exchanged: tuple[str, ...]
    images: np.ndarray
    reports: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def make_twins(study_ids: Sequence[str], size: int, word_limit: int | None = None) -> Twins:
    """The twins of phantom studies ('phantom-<seed>-<index>'); studies without two findings to exchange have none.

    size: pixels. word_limit: as the studies were prepared; pairs whose exchange lies beyond it are left out.
    """
    ids, exchanged, images, reports = [], [], [], []
    for study_id in study_ids:
        seed, index = (int(part) for part in str(study_id).split("-")[1:3])
        study = phantom.study(seed, index)
        twin = study.twin()
        if twin is None:
            continue
        pair = tuple(tuple(normalise(item.report, word_limit).split()) for item in (study, twin))
        if pair[0] == pair[1]:
            continue
        ids.append(str(study_id))
        exchanged.append(twin.exchanged)
        images.append(np.stack([study.render(size), twin.render(size)]))
        reports.append(pair)
    stacked = np.stack(images) if images else np.zeros((0, 2, size, size), dtype=np.uint8)
    return Twins(tuple(ids), tuple(exchanged), stacked, tuple(reports))


def twin_outcomes(model: DualEncoder, twins: Twins) -> pd.DataFrame:
    """One row per pair: study_id, exchanged, 'text score', 'image score', 'group score' (0 or 1) and 'exchange accuracy' (share
    of the two films that prefer their own report: exactly 0.5 for any model without sight, ties aside)."""
    if not twins.study_ids:
        return pd.DataFrame(columns=["study_id", "exchanged", *CHANCE])
    number = len(twins.study_ids)
    vectors = image_vectors(model, twins.images.reshape(-1, *twins.images.shape[2:])).view(number, 2, -1)
    embeds, place = embed_texts(model, [text for pair in twins.reports for text in pair])
    texts = embeds[torch.tensor([[place[text] for text in pair] for pair in twins.reports])]
    film, other_film, text, other_text = vectors[:, 0], vectors[:, 1], texts[:, 0], texts[:, 1]
    by_text = np.stack([_prefers(film, text, other_text), _prefers(other_film, other_text, text)])
    by_image = np.stack([_prefers(text, film, other_film), _prefers(other_text, other_film, film)])
    return pd.DataFrame(
        {"study_id": twins.study_ids, "exchanged": twins.exchanged, "text score": by_text.all(axis=0).astype(float),
         "image score": by_image.all(axis=0).astype(float), "group score": (by_text & by_image).all(axis=0).astype(float),
         "exchange accuracy": by_text.mean(axis=0)}
    )  # fmt: skip


def _prefers(vectors: Tensor, own: Tensor, other: Tensor) -> np.ndarray:
    """Whether each of ``vectors`` [n, D] scores strictly higher with its own partner [n, D] than with the other: bool [n]."""
    scores = pair_scores(vectors, torch.stack([own, other], dim=1))
    return (scores[:, 0] > scores[:, 1]).numpy()


def twin_table(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Scores over all pairs and by exchanged attribute: metric, exchanged, value, ci_low, ci_high, n, seeds, chance.

    outcomes: rows of :func:`twin_outcomes`; a column ``seed`` makes training seeds a second level of the bootstrap. Fewer than
    FEWEST pairs get no interval (NaN).
    """
    outcomes = outcomes if "seed" in outcomes else outcomes.assign(seed=0)
    rows = []
    for metric, chance in CHANCE.items():
        for name in ("all", *sorted(outcomes["exchanged"].unique())):
            part = outcomes if name == "all" else outcomes[outcomes["exchanged"] == name]
            wide = part.pivot(index="study_id", columns="seed", values=metric).dropna()
            n, seeds = wide.shape
            low = high = np.nan
            if n >= FEWEST:
                low, high = np.percentile(resampled_means(wide.to_numpy()[None], resamples)[0], [2.5, 97.5])
            rows.append({"metric": metric, "exchanged": name, "value": wide.to_numpy().mean() if n else np.nan, "ci_low": low,
                         "ci_high": high, "n": n, "seeds": seeds, "chance": chance})  # fmt: skip
    return pd.DataFrame(rows)
