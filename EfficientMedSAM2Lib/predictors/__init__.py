"""Numpy in, numpy out: segmentation of images and volumes under SAM2's names."""

from __future__ import annotations

from EfficientMedSAM2Lib.predictors.automatic_mask_generator import EfficientMedSAM2AutomaticMaskGenerator
from EfficientMedSAM2Lib.predictors.image_predictor import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.predictors.volume_predictor import EfficientMedSAM2VolumePredictor

__all__ = [
    "EfficientMedSAM2AutomaticMaskGenerator",
    "EfficientMedSAM2ImagePredictor",
    "EfficientMedSAM2VolumePredictor",
]
