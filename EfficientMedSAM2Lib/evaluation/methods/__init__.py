"""What is compared, timed and learnt from: one adapter for each network, and methods without a network.

Nothing heavy is imported to name them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from EfficientMedSAM2Lib.evaluation.methods.copy_mask import CopyMaskMethod
from EfficientMedSAM2Lib.evaluation.methods.efficient_medsam2 import EfficientMedSAM2Method
from EfficientMedSAM2Lib.evaluation.methods.ellipse import EllipseMethod
from EfficientMedSAM2Lib.evaluation.methods.grow_from_seeds import GrowFromSeedsMethod
from EfficientMedSAM2Lib.evaluation.methods.interface import SegmentationMethod


def method_builders(build_model: Callable[[], Any]) -> dict[str, Callable[[], SegmentationMethod]]:
    """Name -> builder of every method of `efficient-medsam2 evaluate`; nothing is loaded before it is asked for."""

    def litemedsam() -> SegmentationMethod:
        from EfficientMedSAM2Lib.evaluation.methods.litemedsam import LiteMedSAM

        return LiteMedSAM()

    return {
        EfficientMedSAM2Method.name: lambda: EfficientMedSAM2Method(build_model()),
        "litemedsam": litemedsam,
        "ellipse": EllipseMethod,
        "growfromseeds": GrowFromSeedsMethod,
        CopyMaskMethod.name: CopyMaskMethod,
    }
