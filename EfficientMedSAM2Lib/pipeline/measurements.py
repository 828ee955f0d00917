"""A segment in numbers: volume in ml, diameters in mm as RECIST asks for them, surface, bounds, the scan's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_slices, box_start, in_plane_axes, moved
from EfficientMedSAM2Lib.core.geometry import ijk_to_ras_points, kji_from_ijk, spacing_of

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume

PERCENTILES = (5, 25, 50, 75, 95)
_BOUNDS = ("r_min_mm", "r_max_mm", "a_min_mm", "a_max_mm", "s_min_mm", "s_max_mm")
#: What is measured, in the order of a table.
MEASURES = (
    "volume_ml",
    "voxels",
    "surface_mm2",
    "longest_diameter_mm",
    "longest_diameter_in_slice_mm",
    "short_axis_mm",
    "slice_of_diameters",
    *_BOUNDS,
    "intensity_mean",
    "intensity_sd",
    "intensity_min",
    "intensity_max",
    *(f"intensity_p{percent}" for percent in PERCENTILES),
)


@dataclass(frozen=True)
class Diameters:
    """The longest diameter in a slice, and the longest one across it in the same slice: RECIST's two.

    Attributes:
        index: The slice.
        longest_mm: Between the outer faces of voxels.
        short_mm: Perpendicular to it, over gaps as a caliper would.
        ends_kji: (2, 3) ends of the longest in voxel coordinates, whole numbers being centres of voxels.
        short_ends_kji: (2, 3) those of the short axis.
    """

    index: int
    longest_mm: float
    short_mm: float
    ends_kji: np.ndarray
    short_ends_kji: np.ndarray


@dataclass(frozen=True)
class BriefMeasurement:
    """What a list of segments shows of each.

    Attributes:
        voxels: Number of voxels.
        milliliters: Their volume; None where the scan does not say how large one is.
        mean: Mean of the scan's own values (HU for CT) inside; None for an empty segment and for colour.
        diameters: RECIST's two, its slice and ends counted in the scan; None without voxels or their size.
    """

    voxels: int
    milliliters: float | None
    mean: float | None = None
    diameters: Diameters | None = None


def measure_briefly(
    mask: np.ndarray, volume: Volume, axis: int = 0, corner: Sequence[int] = (0, 0, 0)
) -> BriefMeasurement:
    """The few measures that are quick enough to be kept up to date while a segment is edited.

    Args:
        mask: (d,h,w) bool, a part of the volume's grid that holds the segment.
        volume: The scan.
        axis: Array axis whose slices diameters are measured in.
        corner: (k, j, i) of the mask's first voxel in the volume.
    """
    voxels = int(np.count_nonzero(mask))
    milliliters = voxels * volume.voxel_mm3 / 1000.0 if volume.spacing_known else None
    if not voxels:
        return BriefMeasurement(0, milliliters)
    diameters = None
    if volume.spacing_known:
        found = diameters_in_slice(mask, volume.ijk_to_ras, axis)
        ends, short_ends = found.ends_kji + np.array(corner), found.short_ends_kji + np.array(corner)
        index = found.index + int(corner[axis])
        diameters = replace(found, index=index, ends_kji=ends, short_ends_kji=short_ends)
    if volume.array.ndim == 4:
        return BriefMeasurement(voxels, milliliters, None, diameters)
    inside = volume.array[tuple(slice(low, low + size) for low, size in zip(corner, mask.shape))][mask]
    return BriefMeasurement(voxels, milliliters, float(np.mean(inside, dtype=np.float64)), diameters)


def measure_mask(mask: np.ndarray, volume: Volume, axis: int = 0, corner: Sequence[int] = (0, 0, 0)) -> dict[str, Any]:
    """All `MEASURES` of a segment; None where there is none, as for an empty one.

    In mm and ml only where the scan says how large a voxel is.

    Volume is the number of voxels times theirs. Surface is SimpleITK's estimate from intersections with lines (after
    Crofton). Diameters are between faces of voxels, so that a cube of 10 mm is 10 mm long along its edges; those in a
    slice are what RECIST asks for. Bounds are of the box of voxels in RAS. Intensities are the scan's own, colours
    averaged; values that are not finite are left out.

    Args:
        mask: (d,h,w) bool, the whole of the volume's grid or a part of it that holds the segment.
        volume: The scan.
        axis: Array axis whose slices diameters are measured in.
        corner: (k, j, i) of the mask's first voxel in the volume.
    """
    found: dict[str, Any] = dict.fromkeys(MEASURES)
    box = bounding_box(mask)
    known = volume.spacing_known
    found.update(voxels=0, volume_ml=0.0 if known else None)
    if box is None:
        return found
    mask = mask[box_slices(box)]
    box = moved(box, corner)
    voxels = int(np.count_nonzero(mask))
    found["voxels"] = voxels
    if known:
        diameters = diameters_in_slice(mask, volume.ijk_to_ras, axis)
        found.update(
            volume_ml=rounded(voxels * volume.voxel_mm3 / 1000.0),
            surface_mm2=rounded(_surface(mask, kji_from_ijk(spacing_of(volume.ijk_to_ras)))),
            longest_diameter_mm=rounded(longest_diameter(mask, _steps(volume.ijk_to_ras))),
            longest_diameter_in_slice_mm=rounded(diameters.longest_mm),
            short_axis_mm=rounded(diameters.short_mm),
            slice_of_diameters=diameters.index + box[axis][0],
            **dict(zip(_BOUNDS, _bounds(box, volume))),
        )
    found.update(_intensities(volume.array[box_slices(box)][mask]))
    return found


def longest_diameter(mask: np.ndarray, steps: np.ndarray) -> float:
    """Largest distance in mm between two faces of the voxels of a mask of two or three axes.

    ``steps`` is the distance in mm along each axis, or the step along each as a row in mm, where axes may lean.
    """
    from scipy.spatial.distance import pdist

    axes = np.diag(steps) if np.ndim(steps) == 1 else np.asarray(steps)
    return float(pdist(_corners(mask, axes) @ axes).max())


def diameters_in_slice(mask: np.ndarray, ijk_to_ras: np.ndarray, axis: int = 0) -> Diameters:
    """The longest diameter in any slice of a mask (d,h,w) with voxels, and the short axis there.

    Args:
        mask: The segment; index and ends are counted in it.
        ijk_to_ras: 4x4 matrix of its grid; only directions and lengths of its axes count.
        axis: Array axis of the slices.
    """
    others = list(in_plane_axes(axis))
    # the two axes in the plane that they span, also where they lean
    axes = np.linalg.qr(_steps(ijk_to_ras)[others].T)[1].T
    planes = np.moveaxis(mask, axis, 0)
    # no diameter is longer than the diagonals of the slice's box, so that most slices need no hull
    boxes = {index: box for index, plane in enumerate(planes) if (box := bounding_box(plane)) is not None}
    bounds = {index: _diagonal(box, axes) for index, box in boxes.items()}
    index, best, found = -1, -1.0, np.zeros((4, 2))
    for candidate in sorted(bounds, key=lambda n: (-bounds[n], n)):
        if bounds[candidate] <= best:
            break
        box = boxes[candidate]
        corners = _corners(planes[candidate][box_slices(box)], axes) + box_start(box)
        long_ends, length = _longest(corners, axes)
        if length > best:
            index, best = candidate, length
            found = np.vstack([long_ends, _across(corners, long_ends, axes)])
    ends: np.ndarray = np.zeros((4, 3))
    ends[:, others], ends[:, axis] = found, index
    short = float(np.linalg.norm((found[3] - found[2]) @ axes))
    return Diameters(index, best, short, ends[:2], ends[2:])


def rounded(value: float) -> float:
    """Six significant digits; a table is for people, too."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else 0.0


def _steps(ijk_to_ras: np.ndarray) -> np.ndarray:
    """(3, 3): the step along k, j and i, each a row in mm."""
    return np.asarray(ijk_to_ras)[:3, 2::-1].T


def _corners(mask: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Corners of the convex hull in mm of a mask's voxels, as places (n, axes) in voxels: middles of voxel faces."""
    from scipy.spatial import ConvexHull

    half = np.vstack([np.eye(mask.ndim) / 2, -np.eye(mask.ndim) / 2])
    # the faces of even one voxel span the space, so that the hull is never flat
    faces = (_ends(mask)[:, None, :] + half[None, :, :]).reshape(-1, mask.ndim)
    corners: np.ndarray = faces[ConvexHull(faces @ axes).vertices]
    return corners


def _ends(mask: np.ndarray) -> np.ndarray:
    """First and last voxel of each row along the last axis: all that a convex hull can touch."""
    rows = np.argwhere(mask.any(axis=-1))
    filled = mask[tuple(rows.T)]
    first, last = filled.argmax(axis=-1), mask.shape[-1] - 1 - filled[:, ::-1].argmax(axis=-1)
    ends: np.ndarray = np.vstack([np.column_stack([rows, first]), np.column_stack([rows, last])]).astype(np.float64)
    return ends


def _diagonal(box: Box, axes: np.ndarray) -> float:
    """Longer diagonal in mm of a box of pixels."""
    rows, columns = ((high - low) * step for (low, high), step in zip(box, axes))
    return float(max(np.linalg.norm(rows + columns), np.linalg.norm(rows - columns)))


def _longest(corners: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, float]:
    """The two (2, 2) of some places in a plane that are farthest from each other in mm, and how far that is."""
    from scipy.spatial.distance import cdist

    places = corners @ axes
    distances = cdist(places, places)
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    return corners[[first, second]], float(distances[first, second])


def _across(corners: np.ndarray, ends: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Ends (2, 2) of the longest line through a convex polygon that is perpendicular to the one between two ends.

    The width of a convex polygon changes linearly between its corners, so that it is largest at one of them.
    """
    places = corners @ axes
    along = (ends[1] - ends[0]) @ axes
    along = along / np.linalg.norm(along)
    across = np.array([-along[1], along[0]])
    x, y = places @ along, places @ across
    following = np.roll(np.arange(len(places)), -1)
    x0, x1, y0, y1 = x, x[following], y, y[following]
    best, result = -1.0, np.zeros((2, 2))
    for at in x:
        crossed = (np.minimum(x0, x1) <= at) & (at <= np.maximum(x0, x1))
        run = np.where(x1 == x0, 1.0, x1 - x0)
        heights = np.concatenate([(y0 + (at - x0) / run * (y1 - y0))[crossed], y1[crossed & (x1 == x0)]])
        width = float(np.ptp(heights))
        if width > best:
            best = width
            result = np.outer([at, at], along) + np.outer([heights.min(), heights.max()], across)
    ends_found: np.ndarray = np.linalg.solve(axes.T, result.T).T
    return ends_found


def _surface(mask: np.ndarray, spacing_kji: np.ndarray) -> float:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing([float(value) for value in spacing_kji[::-1]])
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputePerimeterOn()
    shape.Execute(image)
    return float(shape.GetPerimeter(1))


def _bounds(box: Box, volume: Volume) -> list[float]:
    """R, A, S from ... to, of the outer corners of a box of voxels."""
    faces = np.array(box, dtype=np.float64) - 0.5
    corners_kji = np.stack(np.meshgrid(*faces, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = ijk_to_ras_points(corners_kji[:, ::-1], volume.ijk_to_ras)
    return [rounded(value) for pair in zip(corners.min(axis=0), corners.max(axis=0)) for value in pair]


def _intensities(values: np.ndarray) -> dict[str, Any]:
    numbers = values.astype(np.float64)
    numbers = numbers.mean(axis=1) if numbers.ndim == 2 else numbers
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) == 0:
        return {}
    found = {"mean": numbers.mean(), "sd": numbers.std(), "min": numbers.min(), "max": numbers.max()}
    found.update(zip((f"p{percent}" for percent in PERCENTILES), np.percentile(numbers, PERCENTILES)))
    return {f"intensity_{name}": rounded(value) for name, value in found.items()}
