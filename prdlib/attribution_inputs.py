"""What can be explained: images in a list, reports as text or words, copies that differ from their report. Else one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prdlib.models import PRDModel
from prdlib.text import Perturbed, find_breaks, normalise, plain, tag


def marked_reports(model: PRDModel, reports: Sequence[str | Sequence[str]]) -> list[tuple[str, ...]]:
    """Reports as (marked) words: a string is normalised, with the marks of its segments if ``model`` reads them, as
    ``model.tokenise`` does; words are left as they are.

    Raises ValueError for a single string and for a report without words.
    """
    if isinstance(reports, str):
        raise ValueError("reports is a single string: give a list of reports, e.g. [report].")
    texts = [_words(model, report) if isinstance(report, str) else tuple(report) for report in reports]
    empty = next((i for i, text in enumerate(texts) if not plain(text)), None)
    if empty is not None:
        raise ValueError(f"Report {empty} has no words: leave it out.")
    return texts


def _words(model: PRDModel, report: str) -> tuple[str, ...]:
    return tuple(normalise(report).split()) if model.config.segments == "none" else find_breaks(tag([report]))[0].marked


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raises ValueError for no image, and for a single one, uint8 [H, W], outside a list."""
    if len(images) == 0:
        raise ValueError("No images: give a list of at least one.")
    if np.ndim(images[0]) < 2:
        raise ValueError("images is a single image: give a list of images, e.g. [image].")


def check_copies(copies: Sequence[Perturbed], reports: Sequence[Sequence[str]]) -> None:
    """Raises ValueError where ``copies`` are not one for each of the N (marked) word lists, or a copy equals its report."""
    for i, (copy, report) in enumerate(zip(copies, reports, strict=True)):
        if not isinstance(copy, Perturbed):
            raise ValueError(
                f"against[{i}] is a {type(copy).__name__}, not one perturbed copy: give one of prdlib.text.perturb_reports' "
                "copies for each report."
            )
        if tuple(copy.original.split()) != plain(report):
            raise ValueError(f"against[{i}] is a copy of another report: give copies in the order of reports.")
        if copy.text == copy.original:
            raise ValueError(f"against[{i}] equals its report, to which the perturbation does not apply: leave it out.")


def check_number(name: str, value: int) -> None:
    """Raises ValueError for a number of steps or samples below 1."""
    if value < 1:
        raise ValueError(f"{name} is {value}: give at least 1.")
