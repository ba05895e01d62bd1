"""Reports as words: normalisation, tags, statements, perturbations, word-pieces."""

from prdlib.text.clauses import find_breaks
from prdlib.text.mirror import exchange_sides
from prdlib.text.perturbation import Perturbation, Perturbed, draw_names, rebuild
from prdlib.text.registry import FAMILIES, PERTURBATIONS, ZERO_SHOT_KINDS, perturb, perturb_reports
from prdlib.text.segments import first_words, mark, plain, segment
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
    "exchange_sides",
    "find_breaks",
    "first_words",
    "mark",
    "normalise",
    "perturb",
    "perturb_reports",
    "plain",
    "rebuild",
    "segment",
    "tag",
    "train_wordpiece",
]
