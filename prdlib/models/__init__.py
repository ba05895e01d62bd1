"""Encoders and the dual encoder that trains on images and reports."""

from prdlib.models.build import build_model, imagenet_twin, random_twin
from prdlib.models.dual_encoder import PRDModel
from prdlib.models.prd_config import PRDConfig
from prdlib.models.published import WeightsError

__all__ = ["PRDConfig", "PRDModel", "WeightsError", "build_model", "imagenet_twin", "random_twin"]
