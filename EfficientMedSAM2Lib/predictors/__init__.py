"""Numpy in, numpy out: segmentation of images and volumes under SAM2's names."""

from __future__ import annotations

from .image_predictor import EfficientMedSAM2ImagePredictor

__all__ = ["EfficientMedSAM2ImagePredictor"]
