"""What a user can say about a segment, as plain immutable records, and what each means on one slice.

Indices are voxels in k, j, i order. A slice of axis a is ``volume.take(index, a)``; on it, x is the column (the later
of the two remaining axes) and y the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Union

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.geometry import nearest_index
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.metrics import depth_inside

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction.segment import SliceRecord

#: Short axis of a lesion as a share of its measured longest diameter, when only the latter was drawn.
RECIST_SHORT_AXIS_RATIO = 0.7
#: A box drawn around the ellipse that a diameter suggests is widened by this share of its size on each side.
RECIST_BOX_MARGIN = 0.05
#: Clicks that a scribble stands for at most, on each slice: training saw up to seven on a slice.
SCRIBBLE_CLICKS = 5
#: Clicks of a scribble keep this many pixels from each other.
CLICK_DISTANCE_PX = 6.0

Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Origin:
    """Where in a scene a prompt was given; what the prompt means does not depend on it.

    Attributes:
        points_ras: In the *volume's* local frame, mm: the click, the two ends of the line, the box's eight corners, the
            line that a scribble or lasso was drawn along.
        node_id: Markups node that it was read from, None when it was drawn in a view.
        warning: What the user should know, one sentence, or nothing.
        time_point: Index value of the sequence item that it was given on, "" for an ordinary volume.
    """

    points_ras: tuple[tuple[float, float, float], ...] = ()
    node_id: str | None = None
    warning: str = ""
    time_point: str = ""


@dataclass(frozen=True)
class PointPrompt:
    """A click on a voxel, read on the slice of ``axis`` through it."""

    index_kji: tuple[int, int, int]
    positive: bool
    axis: int
    origin: Origin = field(default=Origin(), compare=False)
    kind: ClassVar[str] = "point"

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
    origin: Origin = field(default=Origin(), compare=False)
    kind: ClassVar[str] = "box"

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
    origin: Origin = field(default=Origin(), compare=False)
    kind: ClassVar[str] = "line"
    positive: ClassVar[bool] = True

    @property
    def index(self) -> int:
        """Number of the slice along ``axis``."""
        return int(nearest_index(self.start_kji[self.axis]))


@dataclass(frozen=True)
class MaskPrompt:
    """A given mask: the whole segment (``index`` None) or one slice of it. Packed, since prompts are kept for undo.

    ``fixed`` says of a whole segment whether propagation must not change it; else corrections are propagated into it.
    ``edited`` are voxels of it that were painted or erased by hand: later results keep them, a click on them apart.
    ``records`` is what is known of a whole segment's slices where it is the result of an earlier session.
    """

    mask: PackedMask
    axis: int
    index: int | None = None
    fixed: bool = True
    edited: PackedMask | None = None
    records: Mapping[int, SliceRecord] | None = field(default=None, compare=False)
    kind: ClassVar[str] = "mask"


@dataclass(frozen=True)
class ScribblePrompt:
    """Voxels drawn over, on one slice of ``axis`` or on several: all of them belong to the object, or none."""

    mask: PackedMask
    positive: bool
    axis: int
    origin: Origin = field(default=Origin(), compare=False)
    kind: ClassVar[str] = "scribble"

    @property
    def index(self) -> int:
        """Number of the slice along ``axis``: the middle one of several."""
        return sum(self.mask.bounds[self.axis]) // 2


@dataclass(frozen=True)
class LassoPrompt:
    """What a closed line encloses, on one slice of ``axis`` or on several: the object is in it; or nothing of it is."""

    mask: PackedMask
    positive: bool
    axis: int
    origin: Origin = field(default=Origin(), compare=False)
    kind: ClassVar[str] = "lasso"

    @property
    def index(self) -> int:
        """Number of the slice along ``axis``: the middle one of several."""
        return sum(self.mask.bounds[self.axis]) // 2


#: Prompts that a scene can show as markups.
MarkupPrompt = Union[PointPrompt, BoxPrompt, LinePrompt, ScribblePrompt, LassoPrompt]
Prompt = Union[MarkupPrompt, MaskPrompt]

#: In which order prompts of a file are given, by kind. A box, a diameter or a lasso says what is meant; scribbles and
#: points refine it. What excludes comes after all of them, since it needs something to take away from.
PROMPT_ORDER = {"box": 0, "line": 1, "lasso": 2, "scribble": 3, "point": 4}


def prompted_slices(prompt: Prompt, axis: int) -> range:
    """Slices along an axis that a prompt was given on; none where it was given along another axis."""
    if prompt.axis != axis:
        return range(0)
    if isinstance(prompt, (ScribblePrompt, LassoPrompt)):
        return range(*prompt.mask.bounds[axis])
    return range(0) if prompt.index is None else range(prompt.index, prompt.index + 1)


class Click(NamedTuple):
    """A click on a slice: (x, y) in pixels, and whether it is inside the object."""

    xy: tuple[float, float]
    positive: bool


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
    does not show it. The box is that ellipse's bounding box, which for a slanted long lesion is much tighter than the
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


def clicks_of(prompt: Prompt, axis: int, index: int) -> list[Click]:
    """Clicks that a prompt stands for on a slice; none for other prompts than points and scribbles."""
    if prompt.axis != axis:
        return []
    if isinstance(prompt, PointPrompt):
        return [Click(point_xy(prompt.index_kji, axis), prompt.positive)] if prompt.index == index else []
    if not isinstance(prompt, ScribblePrompt):
        return []
    low, high = prompt.mask.bounds[axis]
    if not low <= index < high:
        return []
    drawn = prompt.mask.unpack().take(index - low, axis)
    row, column = (prompt.mask.bounds[a][0] for a in in_plane_axes(axis))
    return [Click((float(x + column), float(y + row)), prompt.positive) for x, y in centre_line_points(drawn)]


def clicks_on(prompts: Iterable[Prompt], axis: int, index: int) -> list[Click]:
    """All clicks that prompts stand for on a slice."""
    return [click for prompt in prompts for click in clicks_of(prompt, axis, index)]


def centre_line_points(drawn: np.ndarray) -> list[tuple[int, int]]:
    """Points (x, y) spread along the middle of a scribble, bool (H,W): the first where it is thickest.

    An empty scribble gives none.
    """
    from scipy import ndimage

    if not drawn.any():
        return []
    depth = depth_inside(drawn)
    # The middle of a line is what lies no less deep than its neighbours.
    middle = np.argwhere(drawn & (depth >= ndimage.maximum_filter(depth, 3)))
    deepest = depth[tuple(middle.T)]
    nearest = np.linalg.norm(middle - middle[deepest == deepest.max()].mean(axis=0), axis=1)
    chosen = [int(np.argmin(np.where(deepest == deepest.max(), nearest, np.inf)))]
    while len(chosen) < SCRIBBLE_CLICKS:
        away = np.linalg.norm(middle[:, None] - middle[chosen], axis=2).min(axis=1)
        farthest = int(away.argmax())
        if away[farthest] < CLICK_DISTANCE_PX:
            break
        chosen.append(farthest)
    return [(int(middle[i, 1]), int(middle[i, 0])) for i in chosen]
