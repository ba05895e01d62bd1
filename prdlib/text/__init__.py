"""Reports as words: normalisation, tags, perturbations, word-pieces."""

from prdlib.text.tagging import TaggedReport, normalise, tag
from prdlib.text.tokenization import WordTokenizer, train_wordpiece
from prdlib.text.word_order import (
    PERTURBATIONS,
    ZERO_SHOT_KINDS,
    Perturbed,
    draw_names,
    perturb,
    perturb_reports,
)

__all__ = [
    "PERTURBATIONS",
    "ZERO_SHOT_KINDS",
    "Perturbed",
    "TaggedReport",
    "WordTokenizer",
    "draw_names",
    "normalise",
    "perturb",
    "perturb_reports",
    "tag",
    "train_wordpiece",
]
