"""Every kind of maps on many studies: scores beside controls, insertion and deletion, correlations, completeness.

Maps are of one phrase of each study ("small left effusion"), with the controls of prdlib.evaluation.localisation. In insertion
and deletion the pixels are ordered by the control's map, and the model is asked about the study's own image and phrase.
Of words: prdlib.word_faithfulness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.attribution import frozen, pixel_gradients
from prdlib.attribution_methods import map_methods
from prdlib.data.batches import EvaluationData
from prdlib.evaluation import localisation
from prdlib.evaluation.embeddings import embed_images, embed_reports
from prdlib.evaluation.faithfulness import (
    agreement,
    area,
    cells,
    completeness,
    curve_table,
    energy_inside,
    insertion_deletion,
    randomisation,
    with_known_ends,
)
from prdlib.evaluation.grounding import Phrase, box_area
from prdlib.models import PRDModel, random_twin
from prdlib.repro import generator
from prdlib.text import plain
from prdlib.word_regions import head_of

SCORES = {
    **localisation.SCORES,
    "energy": lambda maps, items: energy_inside(maps, localisation.inside_box(items, maps.shape[-1])),
}
AREA = "insertion - deletion"  # difference of the areas under both curves: 0 for a random order
RANDOM = "random order"
OWN = {"value": "own", "ci_low": "own_low", "chance": "own_chance"}  # of the study's own image, in a headline


@dataclass(frozen=True)
class FaithfulnessReport:
    """scores: maps, metric, input ('image', the controls, 'gain over best control'), value, ci_low, ci_high, n, studies, chance;
    curves: maps, input (also 'random order'), curve ('insertion', 'deletion'), fraction, value, ci_low, ci_high, n;
    correlations: first, second, input, value, ... of Spearman's rank correlation, 'second' a method (agreement) or a control
    (randomisation); completeness: maps, input ('image', 'untrained'), value, ..."""

    scores: pd.DataFrame
    curves: pd.DataFrame
    correlations: pd.DataFrame
    completeness: pd.DataFrame

    def pointing(self) -> pd.DataFrame:
        """Rows of :func:`prdlib.evaluation.grounding.pointing_table`, whose input is '<maps>, <input>'."""
        rows = self.scores[(self.scores["metric"] == "pointing") & ~self.scores["input"].str.startswith("gain")]
        return (
            rows.assign(input=rows["maps"] + ", " + rows["input"])
            .drop(columns=["maps", "seeds"])
            .reset_index(drop=True)
        )

    def headline(self) -> pd.DataFrame:
        """The gain of each kind of maps over its best control: maps, metric, value, ci_low, ci_high, n, own (the score itself,
        with own_low and own_chance), best_control and its value, control: of a name alone that has few maps, over these."""
        keys = ["maps", "metric"]
        by_key = self.scores.set_index(keys)
        level, gained = (by_key.loc[by_key["input"] == name, "value"] for name in ("image", "gain over best control"))
        level = (level - gained).rename("level")
        controls = self.scores[~self.scores["input"].isin(["image", "gain over best control"])].join(level, on=keys)
        whole = controls["n"] == controls.groupby(keys)["n"].transform("max")
        is_best = (controls["value"] - controls["level"]).abs() < 1e-9
        order = np.where(
            whole, np.where(is_best, 2, 0), 1
        )  # none of the whole ones gives the gain: the one with few maps does
        best = controls.assign(order=order).sort_values(["order", "value"], ascending=False, kind="stable")
        best = best.drop_duplicates(keys).rename(columns={"input": "best_control", "value": "control"})
        best = best[[*keys, "best_control", "control"]]
        own = self.scores[self.scores["input"] == "image"].rename(columns=OWN)
        gain = self.scores[self.scores["input"] == "gain over best control"].drop(columns=["input", "seeds", "chance"])
        return gain.merge(own[[*keys, *OWN.values()]], on=keys).merge(best, on=keys)


def one_phrase_each(phrases: Sequence[Phrase], most: int) -> list[Phrase]:
    """The first phrase of each of the first ``most`` studies that have one."""
    first: dict[int, Phrase] = {}
    for phrase in phrases:
        first.setdefault(phrase.row, phrase)
    return [first[row] for row in sorted(first)][:most]


def report_on_maps(
    model: PRDModel,
    data: EvaluationData,
    phrases: Sequence[Phrase],
    blind_image: np.ndarray,
    studies: int = 200,
    resamples: int = 1000,
    attention_temperature: float = 4.0,
) -> FaithfulnessReport:
    """Every kind of maps that the model has (:func:`prdlib.attribution_methods.map_methods`), over one phrase of each of
    ``studies`` studies.

    blind_image: uint8 [S, S], the mean image, which also stands for what is left out in insertion and deletion. Tables are empty
    in a collection without boxes.
    """
    items = one_phrase_each(phrases, studies)
    if not items:
        empty = pd.DataFrame(columns=["maps", *localisation.COLUMNS])
        return FaithfulnessReport(empty, *(pd.DataFrame() for _ in range(3)))
    rows = [item.row for item in items]
    items = [item._replace(row=i) for i, item in enumerate(items)]
    images, patients = data.images[rows], [data.patient_ids[row] for row in rows]
    reports = [data.marked[row] for row in rows]
    texts = [[plain(reports[item.row])[w] for w in item.first_mention] for item in items]
    score = partial_images(model, images, embed_reports(model, texts), blind_image)
    there = np.ones((len(items), images[0].size), dtype=bool)
    score = with_known_ends(score, there)
    chance_curves = random_curves(score, there, patients, resamples)
    asked = (model, frozen(random_twin(model)), images, reports, data.groups[rows], blind_image, items)
    chance = dict.fromkeys(SCORES, float(box_area(items).mean())) | {"CNR": 0.0, AREA: 0.0}
    scores, curves, parts, changed = [], [], {}, []
    for name, maps_of in map_methods(attention_temperature, head_of(model)).items():
        maps = localisation.localisation_maps(*asked, maps_of=maps_of)
        values = localisation.localisation_values(maps, items, SCORES)
        flat = {source: found.reshape(len(found), -1) for source, found in maps.items()}
        values, drawn = with_curves(values, flat, score, patients, resamples)
        table = localisation.table_with_controls([values], chance, np.arange(len(items)), patients, resamples)
        scores.append(table.assign(maps=name))
        curves += [drawn.assign(maps=name), chance_curves.assign(maps=name)]
        parts[name] = {source: cells(found) for source, found in maps.items()}
        changed.append(randomisation(name, parts[name], patients, resamples))
    return FaithfulnessReport(
        maps_first(scores),
        maps_first(curves),
        pd.concat([agreement(parts, patients, resamples), *changed], ignore_index=True),
        pixel_completeness({"image": model, "untrained": asked[1]}, images, texts, patients, resamples),
    )


def partial_images(
    model: PRDModel, images: np.ndarray, text_embeds: Tensor, blind_image: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """A score for :func:`prdlib.evaluation.faithfulness.insertion_deletion`: pixels that are there, bool [N, T, S S] -> <v, u>
    [N, T], others being those of ``blind_image``, uint8 [S, S]. images: uint8 [N, S, S]; text_embeds: [N, D]."""

    def score(kept: np.ndarray) -> np.ndarray:
        columns = []
        for there in kept.swapaxes(0, 1):
            shown = np.where(there.reshape(images.shape), images, blind_image)
            columns.append((embed_images(model, shown) * text_embeds).sum(dim=1))
        return torch.stack(columns, dim=1).numpy()

    return score


def with_curves(
    values: pd.DataFrame | None,
    parts: dict[str, np.ndarray],
    score: Callable[[np.ndarray], np.ndarray],
    patients: Sequence[str],
    resamples: int,
    valid: np.ndarray | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(values with the column (AREA, input) of each, curves of each): ``parts`` by input, [N, F]; of a name alone those
    that have a map, as in :func:`prdlib.evaluation.localisation.localisation_values`."""
    areas, tables = {}, []
    for source, importance in parts.items():
        there = localisation.without_missing(source, importance)
        curves = dict(zip(("insertion", "deletion"), insertion_deletion(importance, score, valid=valid), strict=True))
        areas[AREA, source] = np.where(there, area(curves["insertion"]) - area(curves["deletion"]), np.nan)
        if there.any():
            own = {name: curve[there] for name, curve in curves.items()}
            tables.append(curve_table(own, np.asarray(patients)[there], resamples).assign(input=source))
    columns = [pd.DataFrame(areas)] if values is None else [values, pd.DataFrame(areas)]
    return pd.concat(columns, axis=1), pd.concat(tables, ignore_index=True)


def random_curves(
    score: Callable[[np.ndarray], np.ndarray],
    there: np.ndarray,
    patients: Sequence[str],
    resamples: int,
) -> pd.DataFrame:
    """Curves of a random order of the parts, which no map has to do with: chance. there: parts that exist, bool [N, F]."""
    order = generator(0, RANDOM).random(there.shape)
    return with_curves(None, {RANDOM: order}, score, patients, resamples, there)[1]


def pixel_completeness(
    models: Mapping[str, PRDModel],
    images: np.ndarray,
    texts: Sequence[Sequence[str]],
    patients: Sequence[str],
    resamples: int = 1000,
    batch_size: int = 64,
) -> pd.DataFrame:
    """:func:`prdlib.evaluation.faithfulness.completeness` of Integrated Gradients over pixels: maps, input, value, ...

    models: input -> model; images: uint8 [N, S, S]; texts: N word lists.
    """
    rows = []
    for source, model in models.items():
        parts = (slice(start, start + batch_size) for start in range(0, len(images), batch_size))
        found = [pixel_gradients(model, images[part], texts[part]) for part in parts]
        deltas = np.concatenate([part.delta for part in found])
        changes = np.concatenate([part.maps.sum(axis=(1, 2)) for part in found]) - deltas
        share = completeness(deltas, changes, patients, resamples)
        rows.append({"maps": "Integrated Gradients", "input": source, **share})
    return pd.DataFrame(rows)


def maps_first(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, the column maps in front."""
    table = pd.concat(tables, ignore_index=True)
    return table[["maps", *(column for column in table if column != "maps")]]
