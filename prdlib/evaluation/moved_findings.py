"""Does a map follow a finding? Two films that differ in the place of one finding alone, both asked for the finding's name alone.

Pointing in one film can be a prior of place, since the report says where, and findings have places where they are common. Here
the words are the same for both films and say no place, so what the map knows without the film is the same twice:

    follows     the map is higher in the study's box against the moved one in the study's film than it is in the moved film. A map
                without sight is the same for both: a tie, which counts half, so that its score is exactly 1/2
    both        the maximum lies in the finding's box in both films. A map without sight can be right in both only where the
                boxes overlap; chance: a random point in each film
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from prdlib.data import phantom
from prdlib.evaluation.grounding import Phrase, box_area, pointing
from prdlib.evaluation.localisation import inside_box, phrase_maps
from prdlib.evaluation.twins import share
from prdlib.models import PRDModel
from prdlib.text import normalise

METRICS = ("follows", "both")
COLUMNS = ["metric", "moved", "input", "value", "ci_low", "ci_high", "n", "seeds", "chance"]


class MovedFindings(NamedTuple):
    """n pairs of films. study_ids: n; moved: 'side' or 'zone' of each; images: uint8 [2 n, S, S], the studies' films, then those
    with the finding moved; texts: 2 n names as words; items: 2 n phrases with the finding's box in their own film."""

    study_ids: tuple[str, ...]
    moved: tuple[str, ...]
    images: np.ndarray
    texts: list[tuple[str, ...]]
    items: list[Phrase]


def moved_findings(study_ids: Sequence[str], size: int) -> MovedFindings:
    """Of phantom studies ('phantom-<seed>-<index>'); those without a finding that has a side or a zone, or whose finding is
    drawn outside the film in one of the two, are left out. size: pixels."""
    ids, moved, names, films, boxes = [], [], [], [], []
    for study_id in study_ids:
        study = phantom.study(*(int(part) for part in str(study_id).split("-")[1:3]))
        found = study.moved()
        if found is None:
            continue
        other, i = found
        places = [item.truth(size)[i]["box"] for item in (study, other)]
        if None in places:
            continue
        ids.append(str(study_id))
        moved.append(other.exchanged)
        names.append(study.findings[i].name)
        films.append([item.render(size) for item in (study, other)])
        boxes.append(places)
    images = (
        np.stack([pair[k] for k in (0, 1) for pair in films]) if films else np.zeros((0, size, size), dtype=np.uint8)
    )
    texts = [tuple(normalise(name).split()) for name in names]
    items = [
        Phrase(k * len(ids) + row, name, tuple(range(len(texts[row]))), tuple(boxes[row][k]))
        for k in (0, 1)
        for row, name in enumerate(names)
    ]
    return MovedFindings(tuple(ids), tuple(moved), images, texts * 2, items)


def moved_outcomes(
    model: PRDModel, pairs: MovedFindings, maps_of: Callable[..., np.ndarray] = phrase_maps
) -> pd.DataFrame:
    """One row per pair: study_id, moved, follows (1, 0, or 1/2 of a tie), both (1 or 0), area (chance of both).

    maps_of: as of :func:`prdlib.evaluation.localisation.localisation_maps`.
    """
    number, size = len(pairs.study_ids), pairs.images.shape[-1]
    if not number:
        return pd.DataFrame(columns=["study_id", "moved", *METRICS, "area"])
    maps = maps_of(model, pairs.images, pairs.texts, pairs.items, size).astype(np.float64)
    hits, areas = (values.reshape(2, number) for values in (pointing(maps, pairs.items), box_area(pairs.items)))
    return pd.DataFrame(
        {"study_id": pairs.study_ids, "moved": pairs.moved, "follows": follows(maps, inside_box(pairs.items, size)),
         "both": hits.all(axis=0).astype(float), "area": areas.prod(axis=0)}
    )  # fmt: skip


def follows(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """1 where a map follows its finding, 0 where it goes the other way, 1/2 where it does not move: [n].

    maps: [2 n, S, S], inside: [2 n, S, S] bool, the boxes: of the studies' films, then of the moved. Pixels of both boxes say
    nothing and are left out; 1/2 where nothing else is left of one of them.
    """
    (first, second), (here, there) = (x.reshape(2, -1, *x.shape[1:]) for x in (maps, inside))
    shared = here & there
    gains = []
    for a, b, h, t in zip(first, second, here & ~shared, there & ~shared, strict=True):
        gains.append((a[h].mean() - a[t].mean()) - (b[h].mean() - b[t].mean()) if h.any() and t.any() else 0.0)
    return (1 + np.sign(gains)) / 2


def moved_table(outcomes: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """Both scores over all pairs and by what moved, with 95 % intervals over studies and training seeds.

    outcomes: rows of :func:`moved_outcomes` with columns seed and input ('image', 'untrained'). Columns: see COLUMNS.
    """
    rows = []
    for source, given in outcomes.groupby("input", sort=False):
        for metric in METRICS:
            for name in ("all", *sorted(given["moved"].unique())):
                part = given if name == "all" else given[given["moved"] == name]
                wide = part.pivot(index="study_id", columns="seed", values=metric)
                chance = 0.5 if metric == "follows" else part["area"].mean()
                rows.append({"metric": metric, "moved": name, "input": source, **share(wide, resamples, chance)})
    return pd.DataFrame(rows, columns=COLUMNS)
