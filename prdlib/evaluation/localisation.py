"""Does a map point because the model sees, or because it knows where such things are? Localisation beside its controls.

Scores of a map [S, S] for a phrase with a box (MS-CXR's definitions, Boecking et al., ECCV 2022, arXiv 2204.09817):

    pointing    the maximum lies in the box
    CNR         |mean inside - mean outside| / sqrt(variance inside + variance outside), with its sign kept: a map that is low
                inside the box is wrong, not right
    mean IoU    of {map > t} and the box, mean over t = .1, .2, .3, .4, .5; the map is scaled to [0, 1] first, since our maps are
                no cosines between -1 and 1

Controls, each a map for the same phrase that cannot know the study's finding: the *mean image*; *another study's image*; the
finding's *name alone* in place of what the report says of it (it may see the finding, but not read which side or zone is meant);
an *untrained* model. What counts is the gain over the best of them.
The name alone has no map where its map is constant: attention is a softmax over the words of a text, so that a name of one word
("cardiomegaly") looks everywhere alike. That control is then scored over the other phrases alone (its n says how many), compared
with the own map of these; it is left out where no phrase has one. Counted as wrong it would be a weak control for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from prdlib.evaluation.grounding import Phrase, box_area, pointing
from prdlib.evaluation.image_gain import other_rows
from prdlib.evaluation.statistics import bootstrap_weights, redraw_seeds
from prdlib.models import PRDModel
from prdlib.text import normalise, plain, segment

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
CONTROLS = ("mean image", "other image", "name alone", "untrained")
COLUMNS = ["metric", "input", "value", "ci_low", "ci_high", "n", "studies", "seeds", "chance"]


def inside_box(items: Sequence[Phrase], size: int) -> np.ndarray:
    """[P, size, size] bool: pixels whose centre lies in a box of each phrase."""
    centre = (np.arange(size) + 0.5) / size
    inside = np.zeros((len(items), size, size), dtype=bool)
    for place, item in zip(inside, items, strict=True):
        for x0, y0, x1, y1 in item.boxes:
            place |= ((y0 <= centre) & (centre <= y1))[:, None] & (x0 <= centre) & (centre <= x1)
    return inside


def contrast_to_noise(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """CNR of maps [P, S, S] for boxes [P, S, S] bool: [P]; 0 where the map is constant, or the box has no or every pixel."""
    values = []
    for image, box in zip(maps.astype(np.float64), inside, strict=True):
        if not box.any() or box.all():
            values.append(0.0)
            continue
        within, without = image[box], image[~box]
        spread = np.sqrt(within.var() + without.var())
        values.append((within.mean() - without.mean()) / spread if spread > 0 else 0.0)
    return np.array(values)


def mean_iou(maps: np.ndarray, inside: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Mean intersection over union [P] of {map > t} with the boxes, maps scaled to [0, 1] one by one; 0 for a constant map."""
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    scaled = np.divide(maps - low, high - low, out=np.zeros_like(maps, dtype=np.float64), where=high > low)
    total = np.zeros(len(maps))
    for threshold in thresholds:
        above = scaled > threshold
        union = (above | inside).sum(axis=(1, 2))
        total += np.divide((above & inside).sum(axis=(1, 2)), union, out=np.zeros(len(maps)), where=union > 0)
    return total / len(thresholds)


Score = Callable[[np.ndarray, Sequence[Phrase]], np.ndarray]  # maps [P, S, S], items -> [P]
SCORES: dict[str, Score] = {
    "pointing": lambda maps, items: pointing(maps, items).astype(float),
    "CNR": lambda maps, items: contrast_to_noise(maps, inside_box(items, maps.shape[-1])),
    "mean IoU": lambda maps, items: mean_iou(maps, inside_box(items, maps.shape[-1])),
}


@torch.inference_mode()
def phrase_maps(
    model: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    items: Sequence[Phrase],
    size: int,
) -> np.ndarray:
    """A map [size, size] for each phrase: [P, size, size].

    images: uint8 [N, S, S]; reports: N marked words; items: phrases with rows of these. Of a model with a segment-region head the
    cosine of the phrase's segment (the one that holds its first word) with each region; of others the mean over the phrase's
    words of their inner product with each region, which is what the local loss compares. Its attention would not do: it is a
    softmax over the words of a text, so that the map of a text of one word ("cardiomegaly") is constant whatever the image.
    """
    model.eval()
    kind, window = model.config.segments, model.config.segment_window
    coarse: list[Tensor | None] = [None] * len(items)
    for start in range(0, len(images), 64):
        rows = range(start, min(start + 64, len(images)))
        shown, texts = torch.from_numpy(images[rows.start : rows.stop]), [reports[row] for row in rows]
        if model.config.segment_regions:
            units, regions = model.encode_segments(texts)[0], model.encode_places(shown)[:, :-1]
        else:
            units, regions = model.encode_words([plain(text) for text in texts])[0], model.encode_regions(shown)
        found = units @ regions.transpose(1, 2)  # [n, segments or words, regions]
        for place, item in ((p, item) for p, item in enumerate(items) if item.row in rows):
            if model.config.segment_regions:
                ends = np.cumsum([len(part) for part in segment(reports[item.row], kind, window)])
                coarse[place] = found[item.row - start, int(np.searchsorted(ends, item.words[0], side="right"))]
            else:
                coarse[place] = found[item.row - start, list(item.words)].mean(dim=0)
    return enlarged(coarse, size)


def enlarged(coarse: Sequence[Tensor], size: int) -> np.ndarray:
    """Maps of R = h * h regions each, bilinearly enlarged."""
    if not coarse:
        return np.zeros((0, size, size), dtype=np.float32)
    side = round(len(coarse[0]) ** 0.5)
    grid = torch.stack([row.float().cpu() for row in coarse]).view(-1, 1, side, side)
    return interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)[:, 0].numpy()


def localisation_maps(
    model: PRDModel,
    untrained: PRDModel,
    images: np.ndarray,
    reports: Sequence[Sequence[str]],
    groups: np.ndarray,
    blind_image: np.ndarray,
    items: Sequence[Phrase],
    seed: int = 0,
    maps_of: Callable[..., np.ndarray] = phrase_maps,
) -> dict[str, np.ndarray]:
    """Maps [P, S, S] of the study's image and of every control, for the same phrases.

    images: uint8 [N, S, S]; reports: N marked words; groups: [N], equal for reports that say the same; blind_image: the mean of
    the training images. maps_of: (model, images, reports, items, size) -> maps, such as :func:`phrase_maps` (what the local
    similarity finds where) or prdlib.attribution.phrase_grad_cam.
    """
    if not items:
        return {}
    size = images.shape[-1]
    names = [tuple(normalise(item.name).split()) for item in items]
    alone = [
        item._replace(row=i, words=tuple(range(len(name))))
        for i, (item, name) in enumerate(zip(items, names, strict=True))
    ]
    own = images[[item.row for item in items]]
    blind = np.broadcast_to(blind_image, images.shape).copy()
    shown = {
        "image": (model, images, reports, items),
        "mean image": (model, blind, reports, items),
        "other image": (model, images[other_rows(groups, seed)], reports, items),
        "name alone": (model, own, names, alone),
        "untrained": (untrained, images, reports, items),
    }
    if all(plain(reports[item.row]) == name for item, name in zip(items, names, strict=True)):
        del shown["name alone"]  # the text is the name: no control of it
    return {name: maps_of(*asked, size) for name, asked in shown.items()}


def localisation_values(
    maps: Mapping[str, np.ndarray], items: Sequence[Phrase], scores: Mapping[str, Score] = SCORES
) -> pd.DataFrame:
    """Every score of every map, [P, inputs x metrics], columns (metric, input); NaN of a name alone that has no map. maps: see
    :func:`localisation_maps`."""
    there = {name: without_missing(name, images) for name, images in maps.items()}
    return pd.DataFrame(
        {
            (metric, name): np.where(there[name], score(images, items), np.nan)
            for metric, score in scores.items()
            for name, images in maps.items()
        },
        index=range(len(items)),
    )


def without_missing(name: str, maps: np.ndarray) -> np.ndarray:
    """[P] bool: the maps [P, ...] of an input that count: all, but of the name alone those that are not constant."""
    flat = maps.reshape(len(maps), -1)
    return np.full(len(flat), name != "name alone") | (np.ptp(flat, axis=1) > 1e-5 * np.abs(flat).max(axis=1))


def localisation_table(
    trainings: Sequence[pd.DataFrame],
    items: Sequence[Phrase],
    resamples: int = 1000,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every score of every map, and its gain over the best control, with 95 % intervals over patients and training seeds.

    patients: of each phrase; None: each row of a phrase is a patient.
    trainings: :func:`localisation_values` of each training seed of a method. The best control is chosen anew in each resample.
    Columns: metric, input (image, the controls, 'gain over best control'), value, ci_low, ci_high, n (phrases: of a name
    alone those that have one), studies, seeds,
    chance (of pointing: the mean area of the boxes; of CNR: 0; of mean IoU: a constant map above every threshold, that area).
    """
    if not items:
        return pd.DataFrame(columns=COLUMNS)
    studies = np.array([item.row for item in items])
    area = float(box_area(items).mean())
    chance = dict.fromkeys(SCORES, area) | {"CNR": 0.0}
    return table_with_controls(trainings, chance, studies, patients, resamples, seed)


def table_with_controls(
    trainings: Sequence[pd.DataFrame],
    chance: Mapping[str, float],
    studies: np.ndarray,
    patients: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The table of :func:`localisation_table` of any scores: trainings hold (metric, input) for each item [P], 'image' is what is
    asked and every other input a control; chance: of each metric in the order of the table, 0 of those that are no shares.

    A control that is NaN for an item is scored over the others (n), its gain is that of 'image' over it on the same items, and
    the best control is the one with the least gain; one that is NaN everywhere is left out.
    """
    weights = bootstrap_weights(studies if patients is None else np.asarray(patients), resamples, seed)
    rows = []
    for metric, level in chance.items():
        names = list(trainings[0][metric])
        values = np.stack([values[metric][names].to_numpy().T for values in trainings], axis=1)  # [inputs, seeds, P]
        there = ~np.isnan(values).any(axis=1)  # [inputs, P]
        names = [name for name, some in zip(names, there.any(axis=1), strict=True) if some]
        values, there = values[there.any(axis=1)], there[there.any(axis=1)]
        own = values[names.index("image")]
        table, gains = {}, []
        for name, found, mask in zip(names, values, there, strict=True):
            used, asked = weights[:, mask], np.stack([found[:, mask], own[:, mask]])  # [2, seeds, items]
            total = np.maximum(used.sum(axis=1), 1)  # a resample may have none of a control's items
            drawn = redraw_seeds(((asked @ used.T) / total).swapaxes(1, 2), seed)  # [2, draws]
            drawn = drawn.clip(0, 1) if level else drawn  # shares, see resampled_means
            means = asked.mean(axis=(1, 2))
            table[name] = (means[0], drawn[0], mask)
            if name != "image":
                gains.append((means[1] - means[0], drawn[1] - drawn[0]))
        lowest = [np.min(column, axis=0) for column in zip(*gains, strict=True)]
        table["gain over best control"] = (*lowest, there[names.index("image")])
        for name, (value, draws, mask) in table.items():
            low, high = np.percentile(draws, [2.5, 97.5])
            rows.append({"metric": metric, "input": name, "value": value, "ci_low": low, "ci_high": high, "n": int(mask.sum()),
                         "studies": len(np.unique(studies[mask])), "seeds": len(trainings),
                         "chance": 0.0 if name.startswith("gain") else level})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
