"""What networks run on: torch, or ONNX Runtime without torch. Nothing here imports torch before it is needed."""

from __future__ import annotations

from EfficientMedSAM2Lib.runtimes.build import build_efficient_medsam2_model

__all__ = ["build_efficient_medsam2_model"]
