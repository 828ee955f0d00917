"""What a slice predictor is given and gives back: a slice, prompts in its pixels, masks placed on it."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Hashable

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel
from EfficientMedSAM2Lib.core.boxes import BoxXYXY, bounding_box
from EfficientMedSAM2Lib.core.masks import COMPRESSION_LEVEL, PackedMask
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.models.bundles import DecodedMasks, ImageFeatures
from EfficientMedSAM2Lib.predictors.viewport import Viewport, paste, positive_part, resample

MASK_LOGIT = 6.0
"""Logit that stands for a mask without logits: inside plus, outside minus this, as in training."""
PROMPT_LIMIT = 20.0
"""Logits given back to the network are cut here, as in training."""
SINGLE_MASK = 0
"""Index of the mask for unambiguous prompts; the others are candidates."""


@dataclasses.dataclass(frozen=True)
class SliceImage:
    """One slice as the network may see it.

    Attributes:
        array: (H,W) or (H,W,3), any real type; never written.
        window: Intensities spread over 0...1.
        spacing: mm between rows, between columns.
        key: Names the slice in the feature cache.
    """

    array: np.ndarray
    window: IntensityWindow
    spacing: tuple[float, float]
    key: Hashable = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.array.shape[0], self.array.shape[1]


@dataclasses.dataclass(frozen=True)
class PlacedLogits:
    """Mask logits on a grid over a rectangle of a slice.

    Attributes:
        logits: (h,w).
        rectangle: What the grid covers. Outside it there is no object.
    """

    logits: np.ndarray
    rectangle: Viewport

    @classmethod
    def from_mask(cls, mask: np.ndarray, offset_xy: tuple[int, int] = (0, 0)) -> PlacedLogits:
        """A mask bool (h,w), whose first pixel lies at an offset in its slice."""
        logits = np.where(mask, np.float32(MASK_LOGIT), np.float32(-MASK_LOGIT))
        return cls(logits, Viewport(*offset_xy, mask.shape[1], mask.shape[0]))

    @classmethod
    def from_packed(cls, mask: PackedMask) -> PlacedLogits:
        """A slice's packed mask."""
        row0, column0 = mask.origin
        return cls.from_mask(mask.unpack(), (column0, row0))

    def seen_in(self, viewport: Viewport, size: int) -> np.ndarray:
        """As seen in a viewport, (size,size) float32."""
        if self.rectangle == viewport and self.logits.shape == (size, size):
            return self.logits.astype(np.float32).clip(-PROMPT_LIMIT, PROMPT_LIMIT)
        # No clearer outside than the mask's own, or its border would move where areas are averaged.
        outside = float(self.logits.min()) if self.logits.size else -MASK_LOGIT
        fill = min(max(outside, -PROMPT_LIMIT), -MASK_LOGIT)
        seen = resample(self.logits, self.rectangle, viewport, (size, size), fill)
        return seen.clip(-PROMPT_LIMIT, PROMPT_LIMIT)

    def on_slice(self, slice_shape: tuple[int, int]) -> np.ndarray:
        """On the whole slice, (H,W) float32."""
        return paste(self.logits, self.rectangle, slice_shape)

    def bounding_box(self) -> BoxXYXY | None:
        """First and last pixels XYXY of what is positive, None when nothing is."""
        box = bounding_box(self.logits > 0)
        if box is None:
            return None
        (row0, row1), (column0, column1) = box
        cell_x, cell_y = self.rectangle.width / self.logits.shape[1], self.rectangle.height / self.logits.shape[0]
        x, y = self.rectangle.x0 - 0.5, self.rectangle.y0 - 0.5
        return (
            x + column0 * cell_x + 0.5,
            y + row0 * cell_y + 0.5,
            x + column1 * cell_x - 0.5,
            y + row1 * cell_y - 0.5,
        )


@dataclasses.dataclass(frozen=True)
class PackedLogits:
    """The mask logits of a slice in little memory: in eighths, up to 16, compressed; about a kilobyte.

    Attributes:
        data: zlib-compressed int8, C order.
        shape: Rows and columns of the grid.
        rectangle: What the grid covers.
    """

    data: bytes
    shape: tuple[int, int]
    rectangle: Viewport

    @classmethod
    def pack(cls, logits: np.ndarray, rectangle: Viewport) -> PackedLogits:
        """Logits (h,w) on a grid over a rectangle."""
        eighths = np.rint(logits * 8).clip(-127, 127).astype(np.int8)
        return cls(zlib.compress(eighths.tobytes(), COMPRESSION_LEVEL), (logits.shape[0], logits.shape[1]), rectangle)

    def placed(self) -> PlacedLogits:
        """The logits, float32."""
        eighths = np.frombuffer(zlib.decompress(self.data), np.int8).reshape(self.shape)
        return PlacedLogits(eighths.astype(np.float32) / 8, self.rectangle)


@dataclasses.dataclass(frozen=True)
class SlicePrompts:
    """Everything known of an object on a slice before the network is asked, in slice pixels.

    Attributes:
        points: (N,2) clicks (x, y).
        labels: (N,) 1 inside, 0 outside.
        box: (4,) XYXY first and last pixels, or None.
        earlier: The slice's own mask before, or None.
        trusts_earlier: Whether that mask stands for more than clicks, and they may correct but not reject it.
        neighbour: The object's mask on a neighbouring slice, or None.
        neighbour_mm: Its distance.
        scribble: What was scribbled inside the object, as a mask, or None.
        scribble_outside: What was scribbled beside it, or None.
        lasso: The filled lasso around it, or None.
        appearance: What the object looks like on another slice; None: as these prompts show it on this one.
    """

    points: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    labels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    box: np.ndarray | None = None
    earlier: PlacedLogits | None = None
    trusts_earlier: bool = False
    neighbour: PlacedLogits | None = None
    neighbour_mm: float = 0.0
    scribble: PlacedLogits | None = None
    scribble_outside: PlacedLogits | None = None
    lasso: PlacedLogits | None = None
    appearance: AppearanceModel | None = None

    @property
    def asserts_presence(self) -> bool:
        """Whether the user says that the object is on this slice."""
        return self.box is not None or bool((self.labels == 1).any())

    @property
    def lone_box(self) -> np.ndarray | None:
        """The box where it is all that is known of the object on the slice, else None."""
        return self.box if len(self.points) == 0 and self.earlier is None else None

    @property
    def shows_no_detail(self) -> bool:
        """Whether no click, mask or drawing says anything of this slice's contour: a box, or other slices, alone."""
        drawn = (self.earlier, self.scribble, self.scribble_outside, self.lasso)
        return len(self.points) == 0 and all(mask is None for mask in drawn)

    @property
    def is_ambiguous(self) -> bool:
        """Whether several masks may be meant: a lone click. As in training, everything else means one."""
        return len(self.points) == 1 and self.box is None and self.earlier is None


@dataclasses.dataclass(frozen=True)
class SlicePrediction:
    """What the network says of one slice.

    Attributes:
        viewport: What it saw of the slice.
        logits: (C,h,w) float32, one single mask and then the candidates.
        iou: (C,) predicted intersection over union.
        object_logit: Above 0 where the object is on the slice.
        features: Of the viewport, before memory.
        informed: The same, with what memories say.
        decoded: The network's own output, for the object pointer.
        memoryless: (h,w) the single mask without memory, where that was asked, too.
    """

    viewport: Viewport
    logits: np.ndarray
    iou: np.ndarray
    object_logit: float
    features: ImageFeatures
    informed: ImageFeatures
    decoded: DecodedMasks
    memoryless: np.ndarray | None = None

    @property
    def presence(self) -> float:
        """Probability that the object is on the slice."""
        return _probability(self.object_logit)

    def score(self, choice: int, uncertainty: float = 0.0) -> float:
        """Predicted IoU of one mask times the probability that the object is there, 0...1.

        Args:
            choice: The mask.
            uncertainty: Taken from the object logit, for what the network does not know.
        """
        return float(self.iou[choice]) * _probability(self.object_logit - uncertainty)

    def full_logits(self, choice: int, slice_shape: tuple[int, int]) -> np.ndarray:
        """Logits (H,W) float32 of one mask on the whole slice."""
        return paste(self.logits[choice], self.viewport, slice_shape)

    def mask_part(self, choice: int, slice_shape: tuple[int, int]) -> tuple[np.ndarray, Viewport]:
        """The part of the slice that holds one mask: bool (h,w) and its rectangle, without touching the rest."""
        part = positive_part(self.logits[choice], self.viewport, slice_shape)
        if part.width == 0 or part.height == 0:
            return np.zeros((0, 0), bool), part
        return resample(self.logits[choice], self.viewport, part, (part.height, part.width)) > 0, part


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))
