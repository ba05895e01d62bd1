"""What can be named in a setting: methods, perturbations, collections, views, and what the released code did otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prdlib.settings import ConfigError, nearest


@dataclass(frozen=True)
class Method:
    """What a method has: L_prd, L_local, a segment-structured report encoder, and L_seg between its segments and regions."""

    discrimination: bool = False
    local: bool = False
    structured: bool = False
    segment_region: bool = False


PAPER_METHODS = {  # the four rows of the paper's ablation
    "clip": Method(),
    "gloria": Method(local=True),
    "prd_no_local": Method(discrimination=True),
    "prd": Method(discrimination=True, local=True),
}
METHODS = {
    **PAPER_METHODS,
    "structured": Method(structured=True),
    "structured_prd": Method(structured=True, discrimination=True),
    "grounded": Method(structured=True, segment_region=True),
    "grounded_prd": Method(structured=True, segment_region=True, discrimination=True),
}
WORD_ORDER = (
    "shuffle_all_words",
    "swap_adjacent_words",
    "reverse_sentence",
    "shuffle_within_trigrams",
    "shuffle_trigrams",
    "shuffle_nouns_and_adjectives",
    "shuffle_all_but_nouns_and_adjectives",
    "shuffle_nouns_verbs_adjectives",
    "replace_adjectives_with_antonyms",
)
CLINICAL = (
    "swap_laterality",
    "swap_zone",
    "change_severity",
    "exchange_attributes",
    "exchange_findings",
    "negate_finding",
    "affirm_finding",
    "replace_finding",
    "omit_finding",
    "change_temporal",
    "change_measurement",
)
VIEWS = ("Frontal", "Lateral")
COLLECTIONS = (
    "phantom",
    "openi",
    "own_csv",
    "chexpert",
    "chexpert_5x200",
    "mimic_cxr",
    "ms_cxr",
    "nih",
    "rsna",
)  # readers
OWN_SETTINGS = {
    "directory": "directory",
    "file": "directory",
    "views": "views",
    "deidentified": "deidentified",
}  # of readers
QUIRKS = {  # of the released code, see Fidelity in the README
    "halved_direction": "loss0 + loss1 / 2 in place of the mean of both directions of a contrast",
    "fixed_copies": "copies drawn once and not in each epoch",
    "kept_noops": "copies equal to their original are wrong options",
    "word_pieces": "the local loss looks for pieces of words",
}
FAMILIES = {"word_order": WORD_ORDER, "clinical": CLINICAL}  # of perturbations that training may draw from


def check_method(method: str) -> str:
    """``method`` itself, or a ConfigError that names the known ones."""
    if method not in METHODS:
        raise ConfigError(f"Unknown method {method!r}{nearest(method, METHODS)}: choose one of {', '.join(METHODS)}.")
    return method


def in_order(names: Iterable[str]) -> list[str]:
    """Methods in the order of METHODS; as they come when other names (rows of an ablation) are among them. Each once."""
    names = list(dict.fromkeys(names))
    return [m for m in METHODS if m in names] if set(names) <= set(METHODS) else names
