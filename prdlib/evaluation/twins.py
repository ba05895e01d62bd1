"""Counterfactual twins of the phantom: two films and two reports of the same words, of which each report is true of one film.

Winoground's scores (Thrush et al., CVPR 2022): the text score asks that each film prefers its own report, the image score that
each report prefers its own film, the group score both. A model without sight fails all three: for one image vector the two
preferences of the text score exclude each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
from prdlib.text import TaggedReport, find_breaks, segment, tag
from prdlib.text.segments import KINDS

CHANCE = {"text score": 1 / 4, "image score": 1 / 4, "group score": 1 / 6, "exchange accuracy": 1 / 2}
DIRECTIONS = ("study", "twin", "blind study")  # chance 1/2 each; what is blind gains in one what it loses in the other


@dataclass(frozen=True)
class Twins:
    """n pairs. study_ids [n]; exchanged: 'side', 'zone' or 'grade' [n]; images uint8 [n, 2, S, S]; reports: n pairs of word
    tuples, the study's first; marked: each of these texts -> with marks where segments begin; apart [n]: the coarsest kind of
    segments ('sentence', 'clause', 'item', 'phrase') that differ between the two though each is a bag of words, '' for none."""

    study_ids: tuple[str, ...]
    exchanged: tuple[str, ...]
    images: np.ndarray
    reports: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    marked: Mapping[tuple[str, ...], tuple[str, ...]]
    apart: tuple[str, ...]

    def inside(self, kind: str) -> np.ndarray:
        """Whether what is exchanged stays inside segments of ``kind``, so that dividing a report into them tells a bag of words
        nothing: bool [n]."""
        return np.array([KINDS[kind] > KINDS.get(name, 0) for name in self.apart], dtype=bool)


def make_twins(study_ids: Sequence[str], size: int, word_limit: int | None = None) -> Twins:
    """The twins of phantom studies ('phantom-<seed>-<index>'); studies without two findings to exchange have none.

    size: pixels. word_limit: as the studies were prepared; pairs whose exchange lies beyond it are left out.
    """
    ids, exchanged, images, reports, apart = [], [], [], [], []
    marked: dict[tuple[str, ...], tuple[str, ...]] = {}
    for study_id in study_ids:
        seed, index = (int(part) for part in str(study_id).split("-")[1:3])
        study = phantom.study(seed, index)
        twin = study.twin()
        if twin is None:
            continue
        tagged = find_breaks(tag([item.report for item in (study, twin)], word_limit))
        pair = tuple(t.words for t in tagged)
        if pair[0] == pair[1]:
            continue
        marked |= {t.words: t.marked for t in tagged}
        ids.append(str(study_id))
        exchanged.append(twin.exchanged)
        images.append(np.stack([study.render(size), twin.render(size)]))
        reports.append(pair)
        apart.append(_divided(tagged))
    stacked = np.stack(images) if images else np.zeros((0, 2, size, size), dtype=np.uint8)
    return Twins(tuple(ids), tuple(exchanged), stacked, tuple(reports), marked, tuple(apart))


def _divided(pair: Sequence[TaggedReport]) -> str:
    """The coarsest kind of segments that tell the two reports apart though each segment is a bag of words."""
    one, two = (report.marked for report in pair)
    return next((kind for kind in ("sentence", "clause", "item", "phrase") if bags(one, kind) != bags(two, kind)), "")


def bags(marked: Sequence[str], kind: str) -> Counter[tuple[str, ...]]:
    """The segments of marked words as bags: what is left when the order inside and of segments is not seen."""
    return Counter(tuple(sorted(part)) for part in segment(marked, kind))


def twin_outcomes(model: DualEncoder, twins: Twins, blind_image: np.ndarray | None = None) -> pd.DataFrame:
    """One row per pair: study_id, exchanged, apart (see Twins), 'text score', 'image score', 'group score' (0 or 1) and 'exchange
    accuracy' (share of the two films that prefer their own report: exactly 0.5 for any model without sight, ties aside), and its
    two halves, 'study' and 'twin': whether the study's and its twin's film prefer their own. blind_image: uint8 [S, S]; adds
    'blind study', whether that image prefers the study's report: the mean says which way a model without sight leans.
    """
    number = len(twins.study_ids)
    if not number:
        return outcomes_of_scores(twins, torch.zeros(0, 2, 2))
    vectors = image_vectors(model, twins.images.reshape(-1, *twins.images.shape[2:])).view(number, 2, -1)
    embeds, place = embed_texts(model, [text for pair in twins.reports for text in pair], twins.marked)
    texts = embeds[torch.tensor([[place[text] for text in pair] for pair in twins.reports])]
    scores = torch.stack([pair_scores(vectors[:, film], texts) for film in (0, 1)], dim=1)
    of_texts = torch.stack([pair_scores(texts[:, text], vectors) for text in (0, 1)], dim=1)
    blind = None
    if blind_image is not None:
        blind = pair_scores(image_vectors(model, blind_image[None]).expand(number, -1), texts)
    return outcomes_of_scores(twins, scores, blind, of_texts)


def outcomes_of_scores(
    twins: Twins, scores: Tensor, blind: Tensor | None = None, of_texts: Tensor | None = None
) -> pd.DataFrame:
    """:func:`twin_outcomes` of scores [n, 2 films, 2 reports], however a model comes by them; a tie is wrong.

    blind: scores [n, 2 reports] of the blind image; of_texts: the same scores as [n, 2 reports, 2 films], for a model whose ties
    are made exact report by report (default: ``scores`` turned).
    """
    if not twins.study_ids:
        return pd.DataFrame(columns=["study_id", "exchanged", "apart", *CHANCE, *DIRECTIONS])
    of_texts = scores.transpose(1, 2) if of_texts is None else of_texts
    by_text, by_image = (
        np.stack([(s[:, 0, 0] > s[:, 0, 1]).numpy(), (s[:, 1, 1] > s[:, 1, 0]).numpy()]) for s in (scores, of_texts)
    )
    blind_study = {} if blind is None else {"blind study": (blind[:, 0] > blind[:, 1]).numpy().astype(float)}
    return pd.DataFrame(
        {"study_id": twins.study_ids, "exchanged": twins.exchanged, "apart": twins.apart,
         "text score": by_text.all(axis=0).astype(float), "image score": by_image.all(axis=0).astype(float),
         "group score": (by_text & by_image).all(axis=0).astype(float), "exchange accuracy": by_text.mean(axis=0),
         "study": by_text[0].astype(float), "twin": by_text[1].astype(float), **blind_study}
    )  # fmt: skip


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
            rows.append({"metric": metric, "exchanged": name, **share(wide, resamples, chance)})
    return pd.DataFrame(rows)


def share(wide: pd.DataFrame, resamples: int = 1000, chance: float = 0.5) -> dict[str, float]:
    """value, ci_low, ci_high, n, seeds, chance of shares [studies, seeds]; fewer than FEWEST studies get no interval (NaN)."""
    n, seeds = wide.shape
    low = high = np.nan
    if n >= FEWEST:
        low, high = np.percentile(resampled_means(wide.to_numpy()[None], resamples)[0], [2.5, 97.5])
    value = wide.to_numpy().mean() if n else np.nan
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "seeds": seeds, "chance": chance}


def direction_table(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Both halves of exchange accuracy, and which way the model leans without sight: columns direction, value, ci_low, ci_high,
    n, seeds, chance."""
    outcomes = outcomes if "seed" in outcomes else outcomes.assign(seed=0)
    return pd.DataFrame(
        [
            {
                "direction": name,
                **share(outcomes.pivot(index="study_id", columns="seed", values=name).dropna(), resamples),
            }
            for name in DIRECTIONS
            if name in outcomes
        ]
    )


def binding_table(outcomes: pd.DataFrame, kind: str, resamples: int = 1000) -> pd.DataFrame:
    """Exchange accuracy apart for exchanges that segments of ``kind`` divide and for those inside a segment: twin_table's
    columns and place, 'across segments' or 'inside a segment'. Only the second asks whether a model binds words by itself."""
    inside = outcomes["apart"].map(lambda name: KINDS[kind] > KINDS.get(name, 0)).to_numpy(dtype=bool)
    parts = []
    for place, rows in (("across segments", ~inside), ("inside a segment", inside)):
        if rows.any():
            table = twin_table(outcomes[rows], resamples)
            parts.append(table[table["metric"] == "exchange accuracy"].assign(place=place))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
