"""What a method is given and what it gives back, whether it is compared, timed or learnt from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow

if TYPE_CHECKING:
    import torch

BOX, CLICKS, VOLUME, MASK = "box", "clicks", "volume", "mask"
SCRIBBLE, LASSO = "scribble", "lasso"
WHOLE_RANGE = IntensityWindow(0.0, 1.0, "as given")


@dataclass(frozen=True)
class Prediction:
    """A mask (H, W) bool with the method's own estimate of its IoU, None where it has none."""

    mask: np.ndarray
    score: float | None


@dataclass
class VolumePrediction:
    """A mask (D, H, W) bool, kji order, with the score of each slice that has one."""

    mask: np.ndarray
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SliceEmbedding:
    """What a network makes of one slice.

    Attributes:
        maps: (1, C, h, w) each, embeddings of the whole square input, coarsest first.
        image_size: (H, W) of the slice in pixels.
        valid_size: (H', W') of the part of the square input that holds the slice, the rest is padding.
    """

    maps: tuple[torch.Tensor, ...]
    image_size: tuple[int, int]
    valid_size: tuple[int, int]


@dataclass(frozen=True)
class BoxPredictions:
    """Soft masks for N boxes.

    Attributes:
        logits: (N, H, W) float32 at the resolution asked for; above 0 is the object.
        iou: (N,) the network's own estimate of the IoU of each mask, nominally in 0..1.
    """

    logits: np.ndarray
    iou: np.ndarray

    @classmethod
    def none(cls, size: tuple[int, int]) -> BoxPredictions:
        """For no box."""
        return cls(np.zeros((0, *size), np.float32), np.zeros(0, np.float32))


class SegmentationMethod(Protocol):
    """A network or rule under test. Slices are (H, W) or (H, W, 3) float32, windowed to 0..1."""

    name: str
    protocols: tuple[str, ...]

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Choose the slice of the next prompts; spacing of rows and columns."""
        ...

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Segment what a box, XYXY of first and last pixels, encloses."""
        ...

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Segment from all clicks so far, (N, 2) and (N,); called after each click."""
        ...

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumePrediction:
        """Segment a whole object from one box on one slice."""
        ...


@runtime_checkable
class DrawingReader(Protocol):
    """A method for the protocols "scribble" and "lasso"."""

    name: str
    protocols: tuple[str, ...]

    def segment_scribbles(
        self, image: np.ndarray, spacing_mm: tuple[float, float], inside: np.ndarray, outside: np.ndarray
    ) -> Prediction:
        """Segment what was drawn over, (H, W) bool, and not what was drawn over to exclude it."""
        ...

    def segment_lasso(self, image: np.ndarray, spacing_mm: tuple[float, float], region: np.ndarray) -> Prediction:
        """Segment what a lasso encloses, (H, W) bool."""
        ...


@runtime_checkable
class MaskPropagator(Protocol):
    """A method for the protocol "mask"."""

    name: str
    protocols: tuple[str, ...]

    def propagate_mask(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, slices: range, mask: np.ndarray
    ) -> VolumePrediction:
        """Segment an object whose mask (H, W) bool on the first of some slices is known, on all of these slices."""
        ...


class BoxOnly:
    """What methods share that know no clicks."""

    name: str
    protocols: tuple[str, ...] = (BOX, VOLUME)

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Refuse."""
        raise UserError(f"'{self.name}' needs a box; choose another model for the protocol 'clicks'.")
