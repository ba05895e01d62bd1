"""Losses of method.md: pure functions of tensors."""

from prdlib.losses.contrastive import image_text_contrastive, symmetric_cross_entropy
from prdlib.losses.discrimination import perturbed_report_discrimination
from prdlib.losses.local import local_attention, local_attentive_contrastive, local_similarity
from prdlib.losses.objective import Objective

__all__ = [
    "Objective",
    "image_text_contrastive",
    "local_attention",
    "local_attentive_contrastive",
    "local_similarity",
    "perturbed_report_discrimination",
    "symmetric_cross_entropy",
]
