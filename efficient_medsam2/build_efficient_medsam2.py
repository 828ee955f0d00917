"""The model builder under its first published name."""

from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

__all__ = ["build_efficient_medsam2_model"]
