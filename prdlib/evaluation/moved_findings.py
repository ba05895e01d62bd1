"""Does a map follow a finding? Two films that differ in the place of one finding alone, both asked with the same words.

Pointing in one film can be a prior of place: the report says where, and findings have places where they are common. Here the
study's own report is asked of its film and of the film in which the finding has moved, so what a map knows without the film is
the same twice:

    follows     the map is higher in the finding's old box against its new one in the study's film than it is in the moved film. A
                map without sight does not change: a tie, which counts half, so that its score is exactly 1/2
    other words the same films, asked with another study's report for a finding that this study has not. A map that lights up
                wherever something lies, whatever is asked, follows with these as well; so does an untrained one, or the other way
                round, since any convolution reacts to what has changed
    gain        of the own words over the other ones: what counts, chance 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from prdlib.data import phantom
from prdlib.evaluation.grounding import Phrase, phrases
from prdlib.evaluation.image_gain import FEWEST
from prdlib.evaluation.localisation import inside_box, phrase_maps
from prdlib.evaluation.statistics import redraw_seeds, resampled_studies
from prdlib.models import PRDModel, random_twin
from prdlib.repro import generator
from prdlib.text import find_breaks, tag

COLUMNS = ["metric", "moved", "input", "value", "ci_low", "ci_high", "n", "seeds", "chance"]
METRICS = {"own": ("follows, own words", 0.5), "other": ("follows, other words", 0.5), "gain": ("gain", 0.0)}


class MovedFindings(NamedTuple):
    """n pairs of films. study_ids: n; moved: 'side' or 'zone' of each; images: uint8 [2 n, S, S], the studies' films, then those
    with the finding moved; inside: bool [2 n, S, S], its box in each; reports: n marked words; asked, others: n phrases of these
    reports, row k of pair k: its own, and a finding of another study's report that study k has not."""

    study_ids: tuple[str, ...]
    moved: tuple[str, ...]
    images: np.ndarray
    inside: np.ndarray
    reports: list[tuple[str, ...]]
    asked: list[Phrase]
    others: list[Phrase]


def moved_findings(study_ids: Sequence[str], size: int, word_limit: int | None = None, seed: int = 0) -> MovedFindings:
    """Of phantom studies ('phantom-<seed>-<index>'): those with a finding that has a side or a zone, whose words lie inside the
    word limit, and for which another of them has a finding that they have not. size: pixels."""
    found = []
    for study_id in study_ids:
        study = phantom.study(*(int(part) for part in str(study_id).split("-")[1:3]))
        if (moved := study.moved()) is None:
            continue
        tagged = find_breaks(tag([study.report], word_limit))[0]
        truths = [item.truth(size)[moved[1]] for item in (study, moved[0])]
        asked = phrases([truths[:1]], [tagged.offsets])
        if asked and truths[1]["box"] is not None:
            found.append((str(study_id), study, *moved, tagged.marked, asked[0], truths[1]["box"]))
    rng = generator(seed, "moved findings")
    pairs = []
    for row in found:
        present = {finding.name for finding in row[1].findings}
        able = [other for other in found if other[5].name not in present]
        if able:
            pairs.append((*row, able[int(rng.integers(len(able)))]))
    films = [[pair[k].render(size) for pair in pairs] for k in (1, 2)]
    boxes = [pair[5] for pair in pairs] + [Phrase(0, "", (), tuple(pair[6])) for pair in pairs]
    reports = [pair[4] for pair in pairs] + [pair[7][4] for pair in pairs]
    return MovedFindings(
        tuple(pair[0] for pair in pairs),
        tuple(pair[2].exchanged for pair in pairs),
        np.array([film for part in films for film in part], dtype=np.uint8).reshape(-1, size, size),
        inside_box(boxes, size),
        reports,
        [pair[5]._replace(row=k) for k, pair in enumerate(pairs)],
        [pair[7][5]._replace(row=k) for k, pair in enumerate(pairs)],
    )


def moved_outcomes(
    model: PRDModel, pairs: MovedFindings, maps_of: Callable[..., np.ndarray] = phrase_maps
) -> pd.DataFrame:
    """One row per pair: study_id, moved, own and other (1, 0, or 1/2 of a tie), and gain, the first minus the second.

    maps_of: as of :func:`prdlib.evaluation.localisation.localisation_maps`.
    """
    number, size = len(pairs.study_ids), pairs.images.shape[-1]
    outcomes = pd.DataFrame({"study_id": pairs.study_ids, "moved": pairs.moved})
    for name, items, texts in (
        ("own", pairs.asked, pairs.reports[:number]),
        ("other", pairs.others, pairs.reports[number:]),
    ):
        both = [item._replace(row=item.row + k * number) for k in (0, 1) for item in items]
        maps = maps_of(model, pairs.images, texts * 2, both, size)
        outcomes[name] = follows(maps.astype(np.float64), pairs.inside)
    return outcomes.assign(gain=outcomes["own"] - outcomes["other"])


def follows(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """1 where a map follows its finding, 0 where it goes the other way, 1/2 where it does not move: [n].

    maps: [2 n, S, S], inside: [2 n, S, S] bool, the boxes: of the studies' films, then of the moved. Pixels of both boxes say
    nothing and are left out; 1/2 where nothing else is left of one of them.
    """
    number = len(maps) // 2
    gains = np.zeros(number)
    for k, (a, b, here, there) in enumerate(
        zip(maps[:number], maps[number:], inside[:number], inside[number:], strict=True)
    ):
        old, new = here & ~there, there & ~here
        if old.any() and new.any():
            gains[k] = (a[old].mean() - a[new].mean()) - (b[old].mean() - b[new].mean())
    return (1 + np.sign(gains)) / 2


def moved_tables(
    models: Mapping[tuple[str, int], PRDModel],
    pairs: MovedFindings,
    kinds: Mapping[str, Callable[..., np.ndarray]],
    resamples: int = 1000,
) -> pd.DataFrame:
    """:func:`moved_table` of every method and kind of maps, beside an untrained model: its columns, and method and maps.

    models: (method, training seed) -> model; kinds: name -> what makes a phrase's map, see :func:`moved_outcomes`.
    """
    tables = []
    for name in dict.fromkeys(name for name, _ in models):
        trained = {seed: model for (n, seed), model in models.items() if n == name}
        for maps, maps_of in kinds.items():
            outcomes = [
                moved_outcomes(shown, pairs, maps_of).assign(seed=seed, input=source)
                for seed, model in trained.items()
                for source, shown in (("image", model), ("untrained", random_twin(model)))
            ]
            table = moved_table(pd.concat(outcomes, ignore_index=True), resamples)
            tables.append(table.assign(method=name, maps=maps))
    return pd.concat(tables, ignore_index=True)


def moved_table(outcomes: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Own words, other words and the gain, over all pairs and by what moved, with 95 % intervals over studies and training seeds.

    outcomes: rows of :func:`moved_outcomes` with columns seed and input ('image', 'untrained'). Columns: see COLUMNS; fewer than
    FEWEST pairs get no interval (NaN).
    """
    rows = []
    for source, given in outcomes.groupby("input", sort=False):
        for column, (metric, chance) in METRICS.items():
            for name in ("all", *sorted(given["moved"].unique())):
                part = given if name == "all" else given[given["moved"] == name]
                wide = part.pivot(index="study_id", columns="seed", values=column).to_numpy()
                low = high = np.nan
                if len(wide) >= FEWEST:
                    draws = redraw_seeds(resampled_studies(wide[None], resamples, seed), seed)[0]
                    low, high = np.percentile(draws if column == "gain" else draws.clip(0, 1), [2.5, 97.5])
                rows.append({"metric": metric, "moved": name, "input": source, "value": wide.mean(), "ci_low": low,
                             "ci_high": high, "n": len(wide), "seeds": wide.shape[1], "chance": chance})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
