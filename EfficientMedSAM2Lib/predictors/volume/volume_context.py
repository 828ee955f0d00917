"""What a slice's segmentation needs of its volume, besides the object."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.predictors.volume.frames import Frames


class PropagationRun(NamedTuple):
    """One run over slices.

    Attributes:
        start: Its first slice.
        reverse: Whether it runs towards slice 0.
    """

    start: int
    reverse: bool


@dataclasses.dataclass(frozen=True)
class VolumeContext:
    """A volume as the propagator sees it.

    Attributes:
        frames: The slices.
        window: Intensities spread over 0...1.
        slice_spacing: mm between rows, between columns.
        slice_mm: mm between slices.
        cache: Features of slices.
    """

    frames: Frames
    window: IntensityWindow
    slice_spacing: tuple[float, float]
    slice_mm: float
    cache: FeatureCache

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self.frames.shape

    def image(self, frame_idx: int) -> SliceImage:
        """A slice with all that is needed to show it to the network."""
        return SliceImage(self.frames[frame_idx], self.window, self.slice_spacing, frame_idx)
