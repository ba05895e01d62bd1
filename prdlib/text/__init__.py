"""Reports as words: normalisation, tags, statements, perturbations, word-pieces."""

from prdlib.text.perturbation import Perturbation, Perturbed, draw_names, rebuild
from prdlib.text.registry import FAMILIES, PERTURBATIONS, ZERO_SHOT_KINDS, perturb, perturb_reports
from prdlib.text.tagging import TaggedReport, normalise, tag
from prdlib.text.tokenization import WordTokenizer, train_wordpiece

__all__ = [
    "FAMILIES",
    "PERTURBATIONS",
    "ZERO_SHOT_KINDS",
    "Perturbation",
    "Perturbed",
    "TaggedReport",
    "WordTokenizer",
    "draw_names",
    "normalise",
    "perturb",
    "perturb_reports",
    "rebuild",
    "tag",
    "train_wordpiece",
]
