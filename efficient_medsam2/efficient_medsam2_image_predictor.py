"""The image predictor under its first published name."""

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor

__all__ = ["EfficientMedSAM2ImagePredictor"]
