"""Numpy in, numpy out: segmentation of images and volumes under SAM2's names."""

from __future__ import annotations

from .image_predictor import EfficientMedSAM2ImagePredictor
from .volume_predictor import EfficientMedSAM2VolumePredictor

__all__ = ["EfficientMedSAM2ImagePredictor", "EfficientMedSAM2VolumePredictor"]
