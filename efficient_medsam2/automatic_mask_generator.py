"""The automatic mask generator, beside the names that were published first."""

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2AutomaticMaskGenerator

__all__ = ["EfficientMedSAM2AutomaticMaskGenerator"]
