"""What a user can say about a segment, as plain immutable records, and what each means on one slice.

Indices are voxels in k, j, i order. A slice of axis a is ``volume.take(index, a)``; on it, x is the column (the later
of the two remaining axes) and y the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np

from EfficientMedSAM2Lib.core.geometry import nearest_index
from EfficientMedSAM2Lib.core.masks import PackedMask

#: Short axis of a lesion as a share of its measured longest diameter, when only the latter was drawn.
RECIST_SHORT_AXIS_RATIO = 0.7
#: A box drawn around the ellipse that a diameter suggests is widened by this share of its size on each side.
RECIST_BOX_MARGIN = 0.05

Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class PointPrompt:
    """A click on a voxel, read on the slice of ``axis`` through it."""

    index_kji: tuple[int, int, int]
    positive: bool
    axis: int

    @property
    def index(self) -> int:
        """Number of the slice along ``axis``."""
        return self.index_kji[self.axis]


@dataclass(frozen=True)
class BoxPrompt:
    """A half-open box: a rectangle on one slice, or an ROI over several; negative boxes take voxels away."""

    box_kji: Bounds
    positive: bool
    axis: int

    @property
    def index(self) -> int:
        """Number of the slice along ``axis`` that is prompted: the middle one."""
        low, high = self.box_kji[self.axis]
        return (low + high) // 2

    @property
    def is_roi(self) -> bool:
        """True when the box covers more than one slice."""
        low, high = self.box_kji[self.axis]
        return high - low > 1


@dataclass(frozen=True)
class LinePrompt:
    """The longest diameter of a lesion (RECIST), both ends on one slice; coordinates may lie between voxels."""

    start_kji: tuple[float, float, float]
    end_kji: tuple[float, float, float]
    axis: int

    @property
    def index(self) -> int:
        """Number of the slice along ``axis``."""
        return int(nearest_index(self.start_kji[self.axis]))


@dataclass(frozen=True)
class MaskPrompt:
    """A given mask: the whole segment (``index`` None) or one slice of it. Packed, since prompts are kept for undo.

    ``fixed`` says of a whole segment whether propagation must not change it; else corrections are propagated into it.
    """

    mask: PackedMask
    axis: int
    index: int | None = None
    fixed: bool = True


@dataclass(frozen=True)
class ScribblePrompt:
    """Voxels drawn over, on one slice of ``axis`` or on several: all of them belong to the object, or none."""

    mask: PackedMask
    positive: bool
    axis: int


@dataclass(frozen=True)
class LassoPrompt:
    """What a closed line encloses, on one slice of ``axis`` or on several: the object is in it; or nothing of it is."""

    mask: PackedMask
    positive: bool
    axis: int


Prompt = Union[PointPrompt, BoxPrompt, LinePrompt, MaskPrompt, ScribblePrompt, LassoPrompt]


def in_plane_axes(axis: int) -> tuple[int, int]:
    """The (row, column) axes of a slice along ``axis``."""
    rows, columns = (a for a in range(3) if a != axis)
    return rows, columns


def point_xy(index_kji: Sequence[float], axis: int) -> tuple[float, float]:
    """(x, y) = (column, row) in pixels of a voxel on its slice."""
    row, column = in_plane_axes(axis)
    return float(index_kji[column]), float(index_kji[row])


def box_xyxy(box_kji: Sequence[Sequence[int]], axis: int) -> np.ndarray:
    """(x0, y0, x1, y1) in pixels: centres of the first and the last voxel, half a pixel more where they coincide."""
    row, column = in_plane_axes(axis)
    low = np.array([box_kji[column][0], box_kji[row][0]], dtype=np.float32)
    high = np.array([box_kji[column][1] - 1, box_kji[row][1] - 1], dtype=np.float32)
    thin = high <= low
    return np.concatenate([low - 0.5 * thin, high + 0.5 * thin]).astype(np.float32)


def line_to_prompts(
    start_xy: Sequence[float],
    end_xy: Sequence[float],
    spacing_xy_mm: Sequence[float] = (1.0, 1.0),
    short_axis_ratio: float = RECIST_SHORT_AXIS_RATIO,
    margin: float = RECIST_BOX_MARGIN,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and a box that a longest diameter stands for.

    The lesion is taken for an ellipse with the line as its long axis; the short one is assumed, since a RECIST line
    does not tell it. The box is that ellipse's bounding box, which for a slanted long lesion is much tighter than the
    square around the line's circle. Positive points at a quarter, half and three quarters of the line say what is
    inside; the ends lie on the border and are not given.

    Args:
        start_xy: One end (x, y) in pixels.
        end_xy: Other end.
        spacing_xy_mm: Pixel size, since an ellipse in mm is another one in pixels.
        short_axis_ratio: Assumed short / long axis.
        margin: Widening of the box on each side, as a share of its size.

    Returns:
        Points (3, 2) and box (4,) XYXY, in pixels, float32.
    """
    start, end, spacing = (np.asarray(v, dtype=np.float64) for v in (start_xy, end_xy, spacing_xy_mm))
    points = start + np.array([[0.25], [0.5], [0.75]]) * (end - start)
    long_half_mm = (end - start) * spacing / 2
    short_half_mm = short_axis_ratio * np.array([-long_half_mm[1], long_half_mm[0]])
    half = np.hypot(long_half_mm, short_half_mm) * (1 + 2 * margin) / spacing
    center = (start + end) / 2
    return points.astype(np.float32), np.concatenate([center - half, center + half]).astype(np.float32)
