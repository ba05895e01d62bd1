"""Encoders and the dual encoder that trains on images and reports."""

from prdlib.models.dual_encoder import PRDConfig, PRDModel, build_model
from prdlib.models.published import WeightsError

__all__ = ["PRDConfig", "PRDModel", "WeightsError", "build_model"]
