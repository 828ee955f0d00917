"""EfficientMedSAM2: promptable 3D medical image segmentation.

The public names are loaded when first asked for (PEP 562), so that importing the package costs nothing and works
before torch is installed - 3D Slicer shows its panel, and explains what is missing, on such an installation.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime reads this when it is imported, which every way into this package does later than this. Without it, it
# keeps an identifier of the machine under the home folder and notes events there, to be sent.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.interaction.nninteractive import nnInteractiveInferenceSession
    from EfficientMedSAM2Lib.predictors import (
        EfficientMedSAM2AutomaticMaskGenerator,
        EfficientMedSAM2ImagePredictor,
        EfficientMedSAM2VolumePredictor,
    )
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

_HOMES = {
    "EfficientMedSAM2AutomaticMaskGenerator": "predictors",
    "EfficientMedSAM2ImagePredictor": "predictors",
    "EfficientMedSAM2VolumePredictor": "predictors",
    "InteractiveSession": "interaction",
    "build_efficient_medsam2_model": "runtimes",
    "nnInteractiveInferenceSession": "interaction.nninteractive",
}

__all__ = [
    "EfficientMedSAM2AutomaticMaskGenerator",
    "EfficientMedSAM2ImagePredictor",
    "EfficientMedSAM2VolumePredictor",
    "InteractiveSession",
    "__version__",
    "build_efficient_medsam2_model",
    "nnInteractiveInferenceSession",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
