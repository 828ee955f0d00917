"""Input becomes prompts or one sentence that says what is wrong and what to do; so do empty results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import (
    CURVE_TOLERANCE,
    distance_from_slice,
    ijk_from_kji,
    line_axis,
    line_hint,
    nearest_index,
    nearest_voxel,
    onto_slice,
)
from EfficientMedSAM2Lib.core.masks import PackedMask, enclosed_pixels, voxels_under
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.interaction.prompts import BoxPrompt, LinePrompt, MaskPrompt, PointPrompt
from EfficientMedSAM2Lib.predictors.inputs import as_mask, to_numpy

DIRECTIONS = ("both", "forward", "backward")
#: Half side, in pixels, of the neighbourhood of a point that is looked at to say why nothing was found.
POINT_NEIGHBOURHOOD = 5
#: Voxels outside the window, as a share of those looked at, from which the window is to blame.
SATURATED_SHARE = 0.98


def check_volume(volume: Any) -> np.ndarray:
    """Read-only view of a volume (D,H,W) or (D,H,W,3) of any real dtype, numpy or torch."""
    array = to_numpy(volume)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
        raise UserError(f"A volume must have shape (D,H,W) or (D,H,W,3), not {array.shape}; a single image is (1,H,W).")
    if 0 in array.shape:
        raise UserError(f"The volume has no voxels (shape {array.shape}).")
    if array.dtype.kind not in "buif":
        raise UserError(f"A volume must hold real numbers, not {array.dtype}.")
    view = array.view()
    view.flags.writeable = False
    return view


def check_window(window: Any) -> IntensityWindow:
    """IntensityWindow, or a pair (low, high), as an IntensityWindow."""
    if isinstance(window, IntensityWindow):
        return window
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError):
        raise UserError(f"A window must be an IntensityWindow or a pair (low, high), not {window!r}.") from None
    return IntensityWindow(low, high)


def check_axis(axis: int | None, default: int) -> int:
    """Array axis 0 (k), 1 (j) or 2 (i); None gives the default."""
    if axis is None:
        return default
    if axis not in (0, 1, 2):
        raise UserError(f"axis must be 0 (k), 1 (j) or 2 (i), not {axis!r}.")
    return int(axis)


def check_slice(index: Any, axis: int, shape_kji: Sequence[int]) -> int:
    """Number of a slice of the volume."""
    if not 0 <= int(index) < shape_kji[axis]:
        raise UserError(
            f"Slice {index} is outside the volume, which has slices 0 to {shape_kji[axis] - 1} along axis {axis}."
        )
    return int(index)


def point_prompt(index_kji: Any, positive: bool, axis: int, shape_kji: Sequence[int]) -> PointPrompt:
    """Point from a voxel index, or from a continuous one."""
    return PointPrompt(nearest_voxel(ijk_from_kji(_three(index_kji, "A point")), shape_kji), bool(positive), axis)


def box_prompt(
    bbox_kji: Any, positive: bool, axis: int | None, default_axis: int, shape_kji: Sequence[int]
) -> BoxPrompt:
    """Box from half-open bounds, clipped to the volume. An axis of size 1 says which slice a 2D box lies on."""
    box = np.asarray(bbox_kji)
    if box.shape != (3, 2) or box.dtype.kind not in "uif" or not np.isfinite(box).all():
        raise UserError(f"A box must be [[k0, k1], [j0, j1], [i0, i1]] in voxels, not {bbox_kji!r}.")
    bounds = nearest_index(box)
    if (bounds[:, 1] <= bounds[:, 0]).any():
        raise UserError(
            f"The box {bounds.tolist()} has zero size; bounds are half-open, so the second must be the larger."
        )
    flat = [a for a in range(3) if bounds[a, 1] - bounds[a, 0] == 1]
    if axis is None:
        axis = default_axis if default_axis in flat or not flat else flat[0]
    clipped = np.clip(bounds, 0, np.array(shape_kji)[:, None])
    if (clipped[:, 1] <= clipped[:, 0]).any():
        raise UserError(
            f"The box {bounds.tolist()} is outside the volume of shape {tuple(shape_kji)}; move it over the image."
        )
    k, j, i = ((int(low), int(high)) for low, high in clipped)
    return BoxPrompt((k, j, i), bool(positive), axis)


def line_prompt(
    start_kji: Any,
    end_kji: Any,
    axis: int | None,
    default_axis: int,
    shape_kji: Sequence[int],
    spacing_kji: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[LinePrompt, str]:
    """Diameter from two ends, and what the user should know: it lies on the slice through its middle."""
    drawn = np.array([_three(end, "An end of a line") for end in (start_kji, end_kji)])
    if not np.isfinite(drawn).all():
        raise UserError(f"The ends of a line must be finite numbers, not {start_kji!r} and {end_kji!r}.")
    if axis is None:
        axis = line_axis(drawn, spacing_kji, default_axis)
    ends = onto_slice(drawn, axis)
    first, second = (nearest_voxel(ijk_from_kji(end), shape_kji) for end in ends)
    if first == second:
        raise UserError(f"The line has no length: both ends are in voxel {first}; draw it across the lesion.")
    (k0, j0, i0), (k1, j1, i1) = ends.tolist()
    return LinePrompt((k0, j0, i0), (k1, j1, i1), axis), line_hint(drawn, axis)


def mask_prompt(mask: Any, axis: int, index: int | None, shape_kji: Sequence[int], fixed: bool = True) -> MaskPrompt:
    """Mask of the whole volume, or of one slice when ``index`` is given."""
    array = to_numpy(mask)
    if index is not None:
        index = check_slice(index, axis, shape_kji)
        expected = tuple(size for a, size in enumerate(shape_kji) if a != axis)
    else:
        expected = tuple(shape_kji)
    if array.shape != expected:
        hint = "" if array.ndim != 2 or index is not None else "; say which slice by axis and index"
        raise UserError(f"The mask has shape {array.shape}, but {expected} is needed{hint}.")
    array = as_mask(array)
    if index is not None:
        origin = [0, 0, 0]
        origin[axis] = index
        return MaskPrompt(PackedMask.pack(np.expand_dims(array, axis), origin), axis, index)
    packed = PackedMask.pack(array)
    if packed.box is None:
        raise UserError("The initial mask is empty; paint the structure on at least one slice first.")
    return MaskPrompt(packed, axis, None, fixed)


def drawn_mask(
    mask: Any, axis: int | None, default_axis: int, shape_kji: Sequence[int], what: str
) -> tuple[PackedMask, int]:
    """What was drawn, packed, and the axis whose slices it was drawn on.

    Raises:
        UserError: Not of the volume's shape, or empty.
    """
    array = np.asarray(mask)
    if array.shape != tuple(shape_kji):
        raise UserError(
            f"{what} must be drawn in an array of the volume's shape {tuple(shape_kji)}, not {array.shape}."
        )
    packed = PackedMask.pack(array if array.dtype == bool else array != 0)
    if packed.box is None:
        raise UserError(f"{what} is empty; draw it over at least one voxel.")
    return packed, drawing_axis(packed, axis, default_axis)


def scribble_line(
    points_kji: Any, axis: int | None, default_axis: int, shape_kji: Sequence[int]
) -> tuple[PackedMask, int]:
    """The voxels under a line through points (N,3), continuous voxel indices, and the axis of their slices.

    Raises:
        UserError: There is no point, or one is outside of the volume.
    """
    points = _line_points(points_kji, 1, "A scribble")
    size = np.asarray(shape_kji)
    # a smooth line may swing out a little between points that are inside
    for outside in points[((points < -1.5) | (points > size + 0.5)).any(axis=1)][:1]:
        nearest_voxel(ijk_from_kji(outside), shape_kji)
    voxels = voxels_under(points, shape_kji)
    if not len(voxels):
        nearest_voxel(ijk_from_kji(points[0]), shape_kji)
    low = voxels.min(axis=0)
    drawn: np.ndarray = np.zeros(voxels.max(axis=0) - low + 1, dtype=bool)
    drawn[tuple((voxels - low).T)] = True
    packed = PackedMask.pack(drawn, low.tolist())
    return packed, drawing_axis(packed, axis, default_axis)


def lasso_line(
    points_kji: Any, axis: int | None, default_axis: int, shape_kji: Sequence[int]
) -> tuple[PackedMask, int]:
    """What a closed line through points (N,3), continuous voxel indices, encloses on its slice, and the slice's axis.

    Raises:
        UserError: The line lies on no slice, or encloses nothing of the volume.
    """
    points = _line_points(points_kji, 3, "A lasso")
    distance = distance_from_slice(points)
    flat = [a for a in range(3) if distance[a] <= CURVE_TOLERANCE]
    wanted = [default_axis, *flat] if axis is None else [axis]
    chosen = next((a for a in wanted if a in flat), None)
    if chosen is None:
        least = min(distance[a] for a in (range(3) if axis is None else [axis]))
        raise UserError(
            f"The lasso lies on no slice of the scan: it leaves the nearest one by {least:.1f} voxels; draw it in a "
            "view along the scan's slices, or draw an open curve, a scribble, on the structure."
        )
    middle = (points[:, chosen].min() + points[:, chosen].max()) / 2
    index = check_slice(nearest_index(middle), chosen, shape_kji)
    rows, columns = in_plane_axes(chosen)
    region = enclosed_pixels(points[:, [rows, columns]], (shape_kji[rows], shape_kji[columns]))
    if not region.any():
        raise UserError("The lasso encloses no voxel of the volume; draw it around the structure.")
    origin = [0, 0, 0]
    origin[chosen] = index
    return PackedMask.pack(np.expand_dims(region, chosen), origin), chosen


def drawing_axis(drawn: PackedMask, axis: int | None, default_axis: int) -> int:
    """The axis whose slices something was drawn on, where nobody says it: one along which it is flat."""
    flat = [a for a in range(3) if drawn.shape[a] == 1]
    if axis is not None:
        return axis
    return default_axis if default_axis in flat or not flat else flat[0]


def check_direction(direction: str) -> str:
    """One of DIRECTIONS."""
    if direction not in DIRECTIONS:
        raise UserError(f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r}.")
    return direction


def check_limits(limits: Any, axis: int, shape_kji: Sequence[int]) -> tuple[int, int]:
    """Half-open range of slices, clipped to the volume."""
    try:
        first, last = (int(value) for value in limits)
    except (TypeError, ValueError):
        raise UserError(f"limits must be a half-open range of slices (first, last + 1), not {limits!r}.") from None
    low, high = max(first, 0), min(last, shape_kji[axis])
    if low >= high:
        raise UserError(
            f"limits {first}..{last} hold no slice; the volume has slices 0 to {shape_kji[axis] - 1} along {axis}."
        )
    return low, high


def explain_empty(
    values: np.ndarray, box_xyxy: np.ndarray | None, points_xy: Any, window: IntensityWindow, score: float
) -> str:
    """Why a prompt found nothing.

    Args:
        values: The slice (H,W) or (H,W,3) in the volume's own intensities.
        box_xyxy: Box of the prompt in pixels, or None.
        points_xy: (N, 2) points of the prompt in pixels; looked at where there is no box.
        window: Intensities shown to the network.
        score: The predictor's score.
    """
    if box_xyxy is None:
        points = np.asarray(points_xy, dtype=float).reshape(-1, 2)
        box_xyxy = np.concatenate([points.min(axis=0) - POINT_NEIGHBOURHOOD, points.max(axis=0) + POINT_NEIGHBOURHOOD])
    x0, y0 = np.maximum(np.floor(box_xyxy[:2]), 0).astype(int)
    x1, y1 = np.ceil(box_xyxy[2:]).astype(int) + 1
    region = values[y0:y1, x0:x1]
    bounds = f"the intensity window {window.low:g} to {window.high:g}"
    if region.size and np.mean(region <= window.low) >= SATURATED_SHARE:
        return f"Nothing found: the voxels at the prompt are below {bounds}; choose one that begins lower."
    if region.size and np.mean(region >= window.high) >= SATURATED_SHARE:
        return f"Nothing found: the voxels at the prompt are above {bounds}; choose one that ends higher."
    return (
        f"Nothing found at the prompt (score {score:.2f}); "
        "click in the middle of the structure, or draw a box around it."
    )


def _three(point: Any, what: str) -> np.ndarray:
    values = np.array(point, dtype=np.float64)
    if values.shape != (3,):
        raise UserError(f"{what} must be (k, j, i) voxel coordinates, not {point!r}.")
    return values


def _line_points(points_kji: Any, least: int, what: str) -> np.ndarray:
    points = np.asarray(points_kji, dtype=np.float64).reshape(-1, 3)
    if len(points) < least or not np.isfinite(points).all():
        raise UserError(
            f"{what} needs {least} or more points with finite coordinates, not {len(points)}; draw it anew."
        )
    return points
