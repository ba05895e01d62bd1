"""Pointing: does the strongest region of a map lie in the true box? With chance and the mean-image control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prdlib.data.batches import EvaluationData
from prdlib.evaluation.statistics import mean_interval
from prdlib.losses import local_attention
from prdlib.models import PRDModel
from prdlib.text import normalise

POINTING_COLUMNS = ["metric", "input", "value", "ci_low", "ci_high", "n", "studies", "chance"]


class Phrase(NamedTuple):
    """A finding of a study: row of the image, positions of its words in the report, its box in fractions [x0, y0, x1, y1], and
    what more boxes it has. What lies in one of them is right, what lies in all together is the region (MS-CXR)."""

    row: int
    name: str
    words: tuple[int, ...]
    box: tuple[float, float, float, float]
    more: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """All of its boxes."""
        return (self.box, *self.more)

    @property
    def first_mention(self) -> tuple[int, ...]:
        """Positions of the words of the full statement, without those of later sentences that name the finding again."""
        return tuple(w for i, w in enumerate(self.words) if w == self.words[0] + i)


def phrases(findings: Sequence[Sequence[dict]], offsets: Sequence[Sequence[tuple[int, int]]]) -> list[Phrase]:
    """Findings that have a box and whose words lie inside the word limit; boxes of the same words are one phrase's.

    findings: per study, dicts with name, box (fractions or None) and spans (characters of the report).
    offsets: per study, the character offsets of the report's words.
    """
    found: dict[tuple[int, str, tuple[int, ...]], Phrase] = {}
    for row, (items, places) in enumerate(zip(findings, offsets, strict=True)):
        for item in items:
            spans = item.get("spans") or []
            words = tuple(i for i, (a, b) in enumerate(places) if any(a < end and b > start for start, end in spans))
            if item.get("box") is not None and words:
                _join(found, Phrase(row, item["name"], words, tuple(item["box"])))
    return list(found.values())


def _join(found: dict[tuple[int, str, tuple[int, ...]], Phrase], new: Phrase) -> None:
    key = (new.row, new.name, new.words)
    found[key] = found[key]._replace(more=(*found[key].more, new.box)) if key in found else new


def by_themselves(items: Sequence[Phrase]) -> list[Phrase]:
    """Phrases whose texts are their own words, one after the other, as MS-CXR asks for them: rows 0 to P - 1."""
    return [item._replace(row=i, words=tuple(range(len(item.words)))) for i, item in enumerate(items)]


def named(findings: Sequence[Sequence[dict]]) -> tuple[list[Phrase], list[tuple[str, ...]]]:
    """Of a collection with boxes and no reports: the name of each finding as a phrase, and these names as words.

    The row of a phrase is the study's: see :func:`by_themselves` for what then follows.
    """
    found: dict[tuple[int, str, tuple[int, ...]], Phrase] = {}
    for row, items in enumerate(findings):
        for item in items:
            words = tuple(normalise(item["name"]).split())
            if item.get("box") is not None and words:
                _join(found, Phrase(row, item["name"], tuple(range(len(words))), tuple(item["box"])))
    return list(found.values()), [tuple(normalise(phrase.name).split()) for phrase in found.values()]


class Asked(NamedTuple):
    """Phrases to be found, with what they are rows of: images uint8 [N, S, S], texts (N marked words), groups [N] (equal: no
    other study); patients: of each phrase."""

    items: list[Phrase]
    images: np.ndarray
    texts: Sequence[Sequence[str]]
    groups: np.ndarray
    patients: list[str]


def asked_phrases(data: EvaluationData, reports: bool = True, alone: bool = False) -> Asked:
    """What the boxes of a split belong to, in their report; ``alone``: each phrase a text of its own, with its image, as MS-CXR
    has it. Without ``reports`` the name of the finding is the text."""
    if reports:
        items, texts = phrases(data.findings, [report.offsets for report in data.tagged]), data.marked
    else:
        items, texts = named(data.findings)
    rows, patients = [item.row for item in items], [data.patient_ids[item.row] for item in items]
    if reports and not alone:
        return Asked(items, data.images, texts, data.groups, patients)
    if reports:
        texts = [tuple(data.words[item.row][i] for i in item.words) for item in items]
    return Asked(by_themselves(items), data.images[rows], texts, np.array(rows, dtype=int), patients)


def lost_boxes(findings: Sequence[Sequence[dict]], items: Sequence[Phrase]) -> pd.DataFrame:
    """One row: boxes of a split, those that ``items`` score, those that are lost and why."""
    boxes = sum(finding.get("box") is not None for found in findings for finding in found)
    lost = boxes - sum(len(item.boxes) for item in items)
    why = "its words are none of the report's first words" if lost else ""
    return pd.DataFrame([{"boxes": boxes, "scored": boxes - lost, "lost": lost, "why": why}])


@torch.inference_mode()
def word_region_maps(
    model: PRDModel, images: np.ndarray, reports: Sequence[Sequence[str]], attention_temperature: float = 4.0
) -> tuple[Tensor, int]:
    """alpha of the local loss for each word of each report over its own image: ([N, W, R], side h of the h x h grid)."""
    model.eval()
    regions, words, masks = [], [], []
    longest = max(len(r) for r in reports)
    for i in range(0, len(images), 64):
        regions.append(model.encode_regions(torch.from_numpy(images[i : i + 64])))
        embeds, mask = model.encode_words(list(reports[i : i + 64]))
        pad = longest - embeds.shape[1]
        words.append(torch.nn.functional.pad(embeds, (0, 0, 0, pad)))
        masks.append(torch.nn.functional.pad(mask, (0, pad)))
    attention = local_attention(
        torch.cat(regions), torch.cat(words), torch.cat(masks), attention_temperature=attention_temperature
    )
    return attention.cpu(), round(attention.shape[2] ** 0.5)


def shown_phrases(row: int, items: Sequence[Phrase], tags: Sequence[str], most: int = 4) -> list[Phrase]:
    """What to draw of study ``row``: its phrases with a box, or, in a collection without boxes, its first nouns."""
    mine = [p for p in items if p.row == row][:most]
    nouns = [i for i, tag in enumerate(tags) if tag.startswith("NN")][:most]
    return mine or [Phrase(row, "", (i,), (0.0, 0.0, 0.0, 0.0)) for i in nouns]


def richest_rows(items: Sequence[Phrase], rows: int, number: int) -> list[int]:
    """The ``number`` studies with most phrases (the first of equals), or the first ones when there are no boxes."""
    counts = np.bincount([p.row for p in items], minlength=rows)
    return sorted(np.argsort(-counts, kind="stable")[:number].tolist())


def pointing(maps: np.ndarray, items: Sequence[Phrase]) -> np.ndarray:
    """[P] bool: the maximum of map p lies in a box of phrase p. A constant map points nowhere and is wrong.

    maps: [P, S, S]. A pixel counts by its centre.
    """
    size = maps.shape[1]
    hits = []
    for image, item in zip(maps, items, strict=True):
        y, x = np.unravel_index(int(image.argmax()), image.shape)
        centre_x, centre_y = (x + 0.5) / size, (y + 0.5) / size
        inside = any(x0 <= centre_x <= x1 and y0 <= centre_y <= y1 for x0, y0, x1, y1 in item.boxes)
        hits.append(image.max() > image.min() and inside)
    return np.array(hits)


def box_area(items: Sequence[Phrase]) -> np.ndarray:
    """[P] share of the image that the boxes of each phrase cover: the chance of a random point."""
    return np.array([_area(p.boxes) for p in items])


def _area(boxes: Sequence[tuple[float, float, float, float]]) -> float:
    """Of their union: the cells between all edges that lie in one of them."""
    xs, ys = (np.unique([value for box in boxes for value in (box[i], box[i + 2])]) for i in (0, 1))
    covered = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        covered |= ((ys[:-1] >= y0) & (ys[1:] <= y1))[:, None] & ((xs[:-1] >= x0) & (xs[1:] <= x1))
    return float((np.outer(np.diff(ys), np.diff(xs)) * covered).sum())


def pointing_table(
    maps: dict[str, np.ndarray], items: Sequence[Phrase], resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Pointing score of several sources of maps (image, mean image, untrained model, ...) for the same phrases.

    Columns: metric, input, value, ci_low, ci_high, n (phrases), studies, chance (mean box area); intervals by study.
    """
    studies = np.array([p.row for p in items])
    chance = float(box_area(items).mean())
    rows = []
    for name, images in maps.items():
        value, low, high = mean_interval(pointing(images, items), studies, resamples, seed)
        rows.append({"metric": "pointing", "input": name, "value": value, "ci_low": low, "ci_high": high,
                     "n": len(items), "studies": len(np.unique(studies)), "chance": chance})  # fmt: skip
    return pd.DataFrame(rows, columns=POINTING_COLUMNS)
