"""Where voxels are in the patient: world (RAS, mm) <-> voxel index, by 4x4 matrices only.

Conventions
    * ``ijk_to_ras`` is a 4x4 matrix. Voxel *centres* are at whole-number indices: voxel v covers v - 0.5 ... v + 0.5.
    * Points are rows: ``(N, 3)`` or a single ``(3,)``. RAS and IJK points are (x, y, z) and (i, j, k).
    * Arrays are indexed k, j, i, and so are boxes (core/boxes.py).
No axis is assumed to be orthogonal, right-handed, isotropic or parallel to the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError

#: Rounding noise of matrix products and of coordinates written as text, in voxels.
INDEX_TOLERANCE = 1e-4
#: Names of slices whose normal points along R, A and S most nearly.
PLANES = ("sagittal", "coronal", "axial")
#: Angle between a line and the slices of the default axis up to which it counts as drawn on one of them.
LINE_TILT_DEGREES = 20.0
#: Straight pieces that Slicer draws between two control points of a curve.
CURVE_PIECES = 10
#: Distance from its middle, in voxels, up to which a curve lies on a slice: it leaves the slice's own voxels nowhere.
CURVE_TOLERANCE = 0.5
#: Spacings that differ by less than this share count as equal.
SPACING_TOLERANCE = 0.01


def check_matrix(matrix: Any, name: str = "ijk_to_ras") -> np.ndarray:
    """Return ``matrix`` as a (4, 4) float64 array; UserError if it is not a finite, invertible affine matrix."""
    affine = np.asarray(matrix, dtype=np.float64)
    if affine.shape != (4, 4):
        raise UserError(f"{name} must be a 4x4 matrix, not an array of shape {affine.shape}.")
    if not np.isfinite(affine).all() or not np.allclose(affine[3], (0.0, 0.0, 0.0, 1.0)):
        raise UserError(f"{name} must be a finite affine matrix with last row 0 0 0 1.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0.0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise UserError(f"{name} cannot be inverted: two of its axes are parallel or an axis has no length.")
    return affine


def transform_points(points: Any, matrix: Any) -> np.ndarray:
    """Apply a 4x4 matrix to points ``(N, 3)`` or ``(3,)``; the result has the same shape, float64."""
    affine = np.asarray(matrix, dtype=np.float64)
    xyz = np.asarray(points, dtype=np.float64)
    if xyz.shape[-1:] != (3,):
        raise UserError(f"Points must have three coordinates each, not an array of shape {xyz.shape}.")
    moved: np.ndarray = xyz @ affine[:3, :3].T + affine[:3, 3]
    return moved


def ijk_to_ras_points(points_ijk: Any, ijk_to_ras: Any) -> np.ndarray:
    """Voxel indices (i, j, k) -> RAS in mm, shape kept."""
    return transform_points(points_ijk, check_matrix(ijk_to_ras))


def ras_to_ijk(points_ras: Any, ijk_to_ras: Any) -> np.ndarray:
    """RAS points in mm -> continuous voxel indices (i, j, k), shape kept. ``ijk_to_ras`` is inverted here, once."""
    return transform_points(points_ras, np.linalg.inv(check_matrix(ijk_to_ras)))


def kji_from_ijk(points_ijk: Any) -> np.ndarray:
    """Reverse the last axis: (i, j, k) -> (k, j, i). Also right for spacings and shapes."""
    reversed_order: np.ndarray = np.asarray(points_ijk)[..., ::-1]
    return reversed_order


def ijk_from_kji(points_kji: Any) -> np.ndarray:
    """Reverse the last axis: (k, j, i) -> (i, j, k)."""
    return kji_from_ijk(points_kji)


def lps_to_ras(array: Any) -> np.ndarray:
    """Flip the first two world axes of points ``(..., 3)`` or of a 4x4 matrix whose *output* is LPS.

    The flip is its own inverse, so the same function takes RAS to LPS.
    """
    values = np.array(array, dtype=np.float64)
    if values.shape == (4, 4):
        values[:2, :] *= -1.0
    elif values.shape[-1:] == (3,):
        values[..., :2] *= -1.0
    else:
        raise UserError(f"Expected points with three coordinates or a 4x4 matrix, not shape {values.shape}.")
    return values


def spacing_of(ijk_to_ras: Any) -> np.ndarray:
    """Distance in mm between neighbour voxels along i, j, k: ``(3,)``, in that order."""
    lengths: np.ndarray = np.linalg.norm(check_matrix(ijk_to_ras)[:3, :3], axis=0)
    return lengths


def grid_offset(ijk_to_ras: Any, other: Any, shape_kji: Sequence[int]) -> float:
    """How far apart two matrices put the corner voxels of one grid: the largest distance along any axis, in voxels."""
    size_ijk = np.asarray(shape_kji[:3], dtype=np.float64)[::-1]
    corners = np.array(list(product((0.0, 1.0), repeat=3))) * (size_ijk - 1)
    moved = ras_to_ijk(transform_points(corners, other), ijk_to_ras)
    return float(np.abs(moved - corners).max())


def slice_axis(spacing_ijk: Any, shape_kji: Sequence[int] | None = None) -> int:
    """Array axis (0 = k, 1 = j, 2 = i) that a stack of slices is read along.

    It is the axis with the largest spacing, and k where spacings are equal. With ``shape_kji``, the only axis of size
    1 wins: a single image is one slice whatever its spacing says.
    """
    if shape_kji is not None and list(shape_kji).count(1) == 1:
        return list(shape_kji).index(1)
    spacing_kji = np.asarray(spacing_ijk, dtype=np.float64)[::-1]
    return int(np.flatnonzero(spacing_kji >= spacing_kji.max() * (1.0 - SPACING_TOLERANCE))[0])


def nearest_index(position: Any) -> np.ndarray:
    """Index of the voxel or slice that a continuous one lies in, int, of the same shape; halves go up.

    The one rule for what lies between two slices, so that a click, a box and a line there are on the same slice. A half
    that matrix products have made a little smaller is still a half.
    """
    index: np.ndarray = np.floor(np.asarray(position, dtype=np.float64) + (0.5 + INDEX_TOLERANCE)).astype(int)
    return index


def nearest_voxel(point_ijk: Any, shape_kji: Sequence[int]) -> tuple[int, int, int]:
    """Index (k, j, i) of the voxel that contains a continuous (i, j, k) point.

    Raises:
        UserError: the point is not finite or lies outside the volume.
    """
    point = np.asarray(point_ijk, dtype=np.float64)
    size_ijk = np.asarray(shape_kji[:3], dtype=np.float64)[::-1]
    inside = (point >= -0.5 - INDEX_TOLERANCE) & (point <= size_ijk - 0.5 + INDEX_TOLERANCE)
    if not inside.all():  # NaN compares false
        at = ", ".join(f"{value:.1f}" for value in point)
        size = " x ".join(f"{value:.0f}" for value in size_ijk)
        raise UserError(f"The point at (i, j, k) = ({at}) is outside the volume of {size} voxels; move it in.")
    i, j, k = np.clip(nearest_index(point), 0, size_ijk.astype(int) - 1).tolist()
    return k, j, i


def roi_corners_ras(object_to_world: Any, size: Any) -> np.ndarray:
    """The eight corners ``(8, 3)``, RAS mm, of an ROI of edge lengths ``size`` (mm) centred on its own origin.

    Raises:
        UserError: the size is negative, not finite, or zero along more than one edge (such an ROI has no area; zero
            along one edge is a rectangle drawn on a slice).
    """
    edges = np.asarray(size, dtype=np.float64)
    if edges.shape != (3,) or not np.isfinite(edges).all() or (edges < 0).any():
        raise UserError(f"ROI size must be three lengths in mm, not {np.asarray(size).tolist()}.")
    if np.count_nonzero(edges) < 2:
        raise UserError(f"The ROI has zero size ({' x '.join(f'{e:g}' for e in edges)} mm); drag it to a box.")
    signs = np.array(list(product((-0.5, 0.5), repeat=3)))
    return transform_points(signs * edges, check_matrix(object_to_world, "object_to_world"))


def roi_of_corners(corners_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(object_to_world (4, 4), size (3,) mm)`` of eight corners (8, 3) in the order of `roi_corners_ras`."""
    edges = np.stack([corners_ras[n] - corners_ras[0] for n in (4, 2, 1)], axis=1)
    size: np.ndarray = np.linalg.norm(edges, axis=0)
    object_to_world = np.eye(4)
    object_to_world[:3, :3] = edges / size
    object_to_world[:3, 3] = corners_ras.mean(axis=0)
    return object_to_world, size


def ijk_box_from_corners(corners_ijk: Any, shape_kji: Sequence[int]) -> Box:
    """Half-open kji box of the voxels whose centres lie between the corners, clipped to the volume.

    An extent too thin to hold a voxel centre gives the one voxel that its middle lies in, so that an ROI thinner than a
    slice, or drawn flat on one, selects that slice.

    Args:
        corners_ijk: ``(N, 3)`` continuous voxel indices (i, j, k).
        shape_kji: Shape of the volume.

    Raises:
        UserError: the corners enclose nothing, or nothing of the volume.
    """
    corners = np.asarray(corners_ijk, dtype=np.float64).reshape(-1, 3)
    if len(corners) == 0 or not np.isfinite(corners).all():
        raise UserError("Box corners must be finite voxel coordinates.")
    low, high = corners.min(axis=0), corners.max(axis=0)
    if np.count_nonzero(high - low > INDEX_TOLERANCE) < 2:
        raise UserError("The box has zero size; drag it over the structure.")
    start = np.ceil(low - INDEX_TOLERANCE)
    stop = np.floor(high + INDEX_TOLERANCE) + 1
    thin = stop <= start
    start = np.where(thin, nearest_index((low + high) / 2), start)
    stop = np.where(thin, start + 1, stop)
    size_ijk = np.asarray(shape_kji[:3], dtype=np.float64)[::-1]
    first, last = np.clip(start, 0, size_ijk), np.clip(stop, 0, size_ijk)
    if (last <= first).any():
        extent = ", ".join(f"{name} {a:.0f}...{b - 1:.0f}" for name, a, b in zip("ijk", start, stop))
        size = " x ".join(f"{value:.0f}" for value in size_ijk)
        raise UserError(f"The box ({extent}) is outside the volume of {size} voxels; move it over the image.")
    return [[int(a), int(b)] for a, b in zip(first[::-1], last[::-1])]


def box_to_roi(box_kji: Sequence[Sequence[int]], ijk_to_ras: Any) -> tuple[np.ndarray, np.ndarray]:
    """ROI that covers exactly the voxels of a box: ``(object_to_world (4, 4), size (3,) mm)``.

    The ROI's axes are the volume's; one of them is reversed for a left-handed volume, since an ROI must not be mirrored
    (its box is the same).
    """
    affine = check_matrix(ijk_to_ras)
    bounds_ijk = np.asarray(box_kji, dtype=np.float64)[::-1]
    spacing = spacing_of(affine)
    object_to_world = np.eye(4)
    object_to_world[:3, :3] = affine[:3, :3] / spacing
    if np.linalg.det(object_to_world[:3, :3]) < 0:
        object_to_world[:3, 2] *= -1.0
    object_to_world[:3, 3] = transform_points(bounds_ijk.mean(axis=1) - 0.5, affine)
    size: np.ndarray = (bounds_ijk[:, 1] - bounds_ijk[:, 0]) * spacing
    return object_to_world, size


def plane_of_axis(axis: int, ijk_to_ras: Any) -> str:
    """Name of the slices along an array axis: "axial", "coronal" or "sagittal", each the name of one axis only."""
    return PLANES[_world_axes(ijk_to_ras)[2 - axis]]


def axis_of_plane(plane: str, ijk_to_ras: Any) -> int:
    """The inverse of `plane_of_axis`."""
    return 2 - _world_axes(ijk_to_ras).index(PLANES.index(plane))


def _world_axes(ijk_to_ras: Any) -> list[int]:
    """For each of i, j, k the axis of the world, R, A or S, that it follows most, none of them twice."""
    axes = check_matrix(ijk_to_ras)[:3, :3]
    cosines = np.abs(axes / np.linalg.norm(axes, axis=0))
    orders = list(permutations(range(3)))
    return list(max(orders, key=lambda order: sum(cosines[world, n] for n, world in enumerate(order))))


def line_axis(ends_kji: Any, spacing_kji: Sequence[float], default_axis: int) -> int:
    """Array axis of the slices that a line was drawn on, where nobody says it.

    That is the default axis, unless the line leaves its slices by more than `LINE_TILT_DEGREES`; then it is the axis
    that the line keeps to best. A line drawn in a tilted view, or by an unsteady hand, stays on the slices that it was
    meant for.

    Args:
        ends_kji: (2, 3) continuous voxel indices.
        spacing_kji: mm between voxels along k, j, i.
        default_axis: Axis that wins where it can.
    """
    start, end = np.asarray(ends_kji, dtype=np.float64)
    along = np.abs(end - start) * np.asarray(spacing_kji, dtype=np.float64)
    length = float(np.linalg.norm(along))
    if along[default_axis] <= length * np.sin(np.deg2rad(LINE_TILT_DEGREES)):
        return default_axis
    return int(np.argmin(along))


def onto_slice(ends_kji: Any, axis: int) -> np.ndarray:
    """Ends (2, 3) of a line, projected along an axis onto the slice through its middle; float64."""
    ends = np.array(ends_kji, dtype=np.float64)
    ends[:, axis] = nearest_index(ends[:, axis].mean())
    return ends


def line_hint(ends_kji: Any, axis: int) -> str:
    """What the user should know of a line that is not on one slice; nothing for one that is."""
    first, last = nearest_index(np.asarray(ends_kji, dtype=np.float64)[:, axis]).tolist()
    if first == last:
        return ""
    index = int(onto_slice(ends_kji, axis)[0, axis])
    return f"The line crosses {abs(last - first) + 1} slices; it counts on slice {index}, through its middle."


def is_rotated_against_grid(object_to_world: Any, ijk_to_ras: Any, tolerance_degrees: float = 1.0) -> bool:
    """True when an ROI's edges are not parallel to the voxel axes, so that its voxel box is larger than the ROI."""
    grid = check_matrix(ijk_to_ras)[:3, :3]
    edges = check_matrix(object_to_world, "object_to_world")[:3, :3]
    cosines = np.abs((grid / np.linalg.norm(grid, axis=0)).T @ (edges / np.linalg.norm(edges, axis=0)))
    return bool((cosines.max(axis=0) < np.cos(np.deg2rad(tolerance_degrees))).any())


def curve_points(control_points: Any, closed: bool) -> np.ndarray:
    """Points (M,3) along the curve through control points (N,3), in their units; a closed one ends where it begins.

    It is the curve that Slicer shows by default, a cardinal spline: counted by control points rather than by length,
    and at rest at the ends of an open one. A markups file does not say which kind of curve was chosen.
    """
    from scipy.interpolate import CubicSpline

    points = np.asarray(control_points, dtype=np.float64).reshape(-1, 3)
    if closed:
        points = np.concatenate([points, points[:1]])
    if len(points) < 3:
        return points
    spline = CubicSpline(np.arange(len(points)), points, bc_type="periodic" if closed else "clamped")
    along: np.ndarray = spline(np.linspace(0, len(points) - 1, CURVE_PIECES * (len(points) - 1) + 1))
    return along


def distance_from_slice(points_kji: np.ndarray) -> np.ndarray:
    """How far points (N,3) leave the plane through their middle, along each array axis (3,), in voxels."""
    half: np.ndarray = (points_kji.max(axis=0) - points_kji.min(axis=0)) / 2
    return half
