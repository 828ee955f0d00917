"""Measurements of a segment, in ml and mm, for a table of the cohort."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box
from EfficientMedSAM2Lib.core.geometry import ijk_to_ras_points, kji_from_ijk, spacing_of
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult

PERCENTILES = (5, 25, 50, 75, 95)
_BOUNDS = ("r_min_mm", "r_max_mm", "a_min_mm", "a_max_mm", "s_min_mm", "s_max_mm")
#: Columns of the table, in order.
COLUMNS = (
    "segment",
    "empty",
    "volume_ml",
    "voxels",
    "surface_mm2",
    "longest_diameter_mm",
    "longest_diameter_in_slice_mm",
    *_BOUNDS,
    "intensity_mean",
    "intensity_sd",
    "intensity_min",
    "intensity_max",
    *(f"intensity_p{percent}" for percent in PERCENTILES),
    "slices",
    "score_mean",
    "score_lowest",
    "slice_lowest",
    "slice_axis",
)


def measure(result: SegmentResult, volume: Volume) -> dict[str, Any]:
    """All measurements of a segment; None where there is none, as for an empty segment.

    In mm and ml only where the scan says how large a voxel is.

    Volume is the number of voxels times theirs. Surface is SimpleITK's estimate from intersections with lines (after
    Crofton). Diameters are between faces of voxels, so that a cube of 10 mm is 10 mm long along its edges; the one in
    a slice is what RECIST asks for. Bounds are of the box of voxels in RAS. Intensities are the scan's own, colours
    averaged; values that are not finite are left out. Scores are of the slices that hold the segment.
    """
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    box = bounding_box(result.mask)
    known = volume.spacing_known
    found.update(
        segment=result.name,
        empty=box is None,
        voxels=0,
        volume_ml=0.0 if known else None,
        slices=0,
        slice_axis=result.axis,
    )
    if box is None:
        found["score_lowest"] = found["score_mean"] = 0.0
        return found
    inside = tuple(slice(*bounds) for bounds in box)
    mask = result.mask[inside]
    found["voxels"] = int(np.count_nonzero(mask))
    if known:
        found.update(_lengths(mask, box, result.axis, volume))
    found.update(_intensities(volume.array[inside][mask]))
    found.update(_scores(result, box))
    return found


def _lengths(mask: np.ndarray, box: Box, axis: int, volume: Volume) -> dict[str, Any]:
    """What is in ml and mm, of a mask that was cut out of the volume by a box."""
    spacing_kji = kji_from_ijk(spacing_of(volume.ijk_to_ras))
    return {
        "volume_ml": _number(int(np.count_nonzero(mask)) * volume.voxel_mm3 / 1000.0),
        "surface_mm2": _number(_surface(mask, spacing_kji)),
        "longest_diameter_mm": _number(longest_diameter(mask, volume.ijk_to_ras[:3, 2::-1].T)),
        "longest_diameter_in_slice_mm": _number(_longest_in_slice(mask, spacing_kji, axis)),
        **dict(zip(_BOUNDS, _bounds(box, volume))),
    }


def longest_diameter(mask: np.ndarray, steps: np.ndarray) -> float:
    """Largest distance in mm between two faces of the voxels of a mask of two or three axes.

    ``steps`` is the distance in mm along each axis, or the step along each as a row in mm, where axes may lean.
    """
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    axes = np.diag(steps) if np.ndim(steps) == 1 else np.asarray(steps)
    points = _ends(mask) @ axes
    # the faces of even one voxel span the space, so that the hull is never flat
    half = np.vstack([axes / 2, -axes / 2])
    faces = (points[:, None, :] + half[None, :, :]).reshape(-1, mask.ndim)
    corners = faces[ConvexHull(faces).vertices]
    return float(pdist(corners).max())


def _ends(mask: np.ndarray) -> np.ndarray:
    """First and last voxel of each row along the last axis: all that a convex hull can touch."""
    rows = np.argwhere(mask.any(axis=-1))
    filled = mask[tuple(rows.T)]
    first, last = filled.argmax(axis=-1), mask.shape[-1] - 1 - filled[:, ::-1].argmax(axis=-1)
    ends: np.ndarray = np.vstack([np.column_stack([rows, first]), np.column_stack([rows, last])]).astype(np.float64)
    return ends


def _longest_in_slice(mask: np.ndarray, spacing_kji: np.ndarray, axis: int) -> float:
    others = [n for n in range(3) if n != axis]
    slices = (np.take(mask, index, axis) for index in range(mask.shape[axis]))
    return max(longest_diameter(plane, spacing_kji[others]) for plane in slices if plane.any())


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
    return [_number(value) for pair in zip(corners.min(axis=0), corners.max(axis=0)) for value in pair]


def _intensities(values: np.ndarray) -> dict[str, Any]:
    numbers = values.astype(np.float64)
    numbers = numbers.mean(axis=1) if numbers.ndim == 2 else numbers
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) == 0:
        return {}
    found = {"mean": numbers.mean(), "sd": numbers.std(), "min": numbers.min(), "max": numbers.max()}
    found.update(zip((f"p{percent}" for percent in PERCENTILES), np.percentile(numbers, PERCENTILES)))
    return {f"intensity_{name}": _number(value) for name, value in found.items()}


def _scores(result: SegmentResult, box: Box) -> dict[str, Any]:
    first, last = box[result.axis]
    used = [index for index in range(first, last) if np.take(result.mask, index, result.axis).any()]
    scores = {index: float(result.scores[index]) for index in used if index in result.scores}
    if not scores:  # nothing was computed: a mask that was given as it is
        return {"slices": len(used)}
    lowest = min(scores, key=lambda index: (scores[index], index))
    mean = sum(scores.values()) / len(scores)
    return {
        "slices": len(used),
        "score_mean": _number(mean),
        "score_lowest": _number(scores[lowest]),
        "slice_lowest": lowest,
    }


def _number(value: float) -> float:
    """Six significant digits; a table is for people, too."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else 0.0
