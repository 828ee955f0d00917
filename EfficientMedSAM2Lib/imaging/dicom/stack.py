"""The grid of parallel slices, from the position of every one of them.

highdicom and ITK sort positions and check their distances, but keep the slices square to their stacking direction; a
tilted gantry shears the grid, by 7 to 9 mm across a head. Here the step from slice to slice is a vector, fitted to all
positions, and each slice is compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import lps_to_ras

#: A slice lies where the grid has it when it is off by no more than this share of a voxel along each axis.
TOLERANCE = 0.1
#: Slices nearer to each other than this, in mm, are at the same place.
SAME_PLACE_MM = 0.01
#: A grid has at most so many slices for each that was taken: beyond, most of the scan would be made up.
MOST_SLICES = 4


@dataclass(frozen=True)
class Stack:
    """Slices on a regular grid.

    Attributes:
        order: Numbers of the slices, as they were given, along k.
        ijk_to_ras: (4,4), RAS mm; k may lean.
        depth: Number of slices of the grid.
        places: (N,) where each slice of ``order`` lies along k, in steps of the grid.
        shifts_ij: (N,2) how far each lies beside its place on the grid, in pixels along i and j.
        tilt: Angle in degrees between k and the normal of the slices.
    """

    order: tuple[int, ...]
    ijk_to_ras: np.ndarray
    depth: int
    places: np.ndarray
    shifts_ij: np.ndarray
    tilt: float

    @property
    def is_even(self) -> bool:
        """True where every slice is one of the grid."""
        return self.depth == len(self.order) and not np.any(self.places % 1.0) and not self.shifts_ij.any()

    @property
    def nearest(self) -> list[int]:
        """Slice of the grid that each of ``order`` is nearest to."""
        return [int(place) for place in np.floor(self.places + 0.5)]


def normal_of(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal (3,) of slices, LPS: direction of i times direction of j."""
    normal = np.cross(np.asarray(orientation[:3], float), np.asarray(orientation[3:], float))
    unit: np.ndarray = normal / np.linalg.norm(normal)
    return unit


def stack_slices(
    positions: np.ndarray,
    orientation: Sequence[float],
    spacing: Sequence[float],
    thickness: float | None,
    may_be_sparse: bool = False,
) -> Stack:
    """Put parallel slices on a grid.

    Args:
        positions: (N,3) centre of the first pixel of each, LPS mm, all at different places.
        orientation: Direction of i, then of j, LPS.
        spacing: Distance in mm of rows, then of columns.
        thickness: Step in mm of a single slice; None for 1 mm. The distance of several may be a multiple of it.
        may_be_sparse: The slices are few of those of the grid, whose step is ``thickness``; gaps may be of any size.

    Raises:
        UserError: The gaps between the slices are too large to be filled.
    """
    directions = np.array([orientation[:3], orientation[3:]], dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normal, sizes = normal_of(orientation), np.array([spacing[1], spacing[0]], dtype=float)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    positions, along = positions[order], along[order]
    if len(order) == 1:
        return _stack(order, directions, sizes, positions[0], normal * (thickness or 1.0), normal, 1, along * 0.0)
    lean, start = _line(along, positions)
    beside = _in_pixels(positions - start - np.outer(along - along[0], lean), directions, sizes)
    beside[np.abs(beside).max(axis=1) <= TOLERANCE] = 0.0
    steps = np.diff(along)
    candidates = [float(np.median(steps)), float(steps.min()), *([thickness] if thickness else [])]
    step, places = _step(along, candidates[::-1] if may_be_sparse and thickness else candidates)
    depth = int(np.floor(places[-1] + 0.5)) + 1
    if depth > MOST_SLICES * len(order) and not may_be_sparse:
        raise UserError(
            f"its {len(order)} slices are not evenly spaced ({steps.min():.4g} to {steps.max():.4g} mm apart), and the "
            "gaps are too large to be filled; keep one block of slices in the folder."
        )
    return _stack(order, directions, sizes, start, lean * step, normal, depth, places, beside)


def _stack(
    order: np.ndarray,
    directions: np.ndarray,
    sizes: np.ndarray,
    start: np.ndarray,
    step: np.ndarray,
    normal: np.ndarray,
    depth: int,
    places: np.ndarray,
    beside: np.ndarray | None = None,
) -> Stack:
    matrix = np.eye(4)
    matrix[:3, :2] = (directions * sizes[:, None]).T
    matrix[:3, 2], matrix[:3, 3] = step, start
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1.0, 1.0))))
    shifts = np.zeros((len(order), 2)) if beside is None else beside
    return Stack(tuple(int(n) for n in order), lps_to_ras(matrix), depth, places, shifts, tilt)


def _line(along: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line through all positions: mm (3,) for each mm along the normal, and the point (3,) of the first slice."""
    middle, centre = along.mean(), positions.mean(axis=0)
    lean = (along - middle) @ (positions - centre) / ((along - middle) ** 2).sum()
    return lean, centre + (along[0] - middle) * lean


def _in_pixels(offsets: np.ndarray, directions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,2) of offsets within the slice plane (N,3 mm), along i and j."""
    pixels: np.ndarray = np.linalg.lstsq((directions * sizes[:, None]).T, offsets.T, rcond=None)[0].T
    return pixels


def _step(along: np.ndarray, candidates: Sequence[float]) -> tuple[float, np.ndarray]:
    """Step of the grid in mm, and where each slice lies on it, in steps; whole numbers where that is within tolerance.

    The usual distance is tried first and then smaller ones, of which others may be multiples: slices that are missing,
    or a block of thinner ones. Where none fits all slices, the grid has the usual distance.
    """
    for candidate in candidates:
        places = np.floor((along - along[0]) / candidate + 0.5)
        for _ in range(2):  # the first distance may be rounded: fitted to all, the last slices count as well
            fit = np.polyfit(places, along, 1)
            places = np.floor((along - fit[1]) / fit[0] + 0.5) if fit[0] > 0 else places
        whole = (np.diff(places) > 0).all() and fit[0] > 0 and places[0] == 0.0
        if whole and np.abs(along - np.polyval(fit, places)).max() <= TOLERANCE * fit[0]:
            return float(fit[0]), places
    return candidates[0], (along - along[0]) / candidates[0]
