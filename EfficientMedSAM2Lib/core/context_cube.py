"""A cube of a volume around an object, as the context network is shown it: made alike in training and in use.

Axes are those of the volume (k, j, i). Voxels and cells have their centres at whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.appearance import CHANNELS as APPEARANCE_CHANNELS
from EfficientMedSAM2Lib.core.appearance import AppearanceModel, Intensities, blurred
from EfficientMedSAM2Lib.core.boxes import in_plane_axes

CUBE_CHANNELS = 3 + APPEARANCE_CHANNELS
"""Image, known slices, validity, and maps of appearance."""
_LARGEST_SHARPNESS = 1.5
"""Voxels per cell from which on a cell is a mean of voxels; below, it is interpolated."""
_MOST_TAPS = 3
"""Voxels averaged for a cell along one axis at most: more cost time and show nothing."""
_BLURS = (0.7, 2.2)
"""Of the two intensities of the appearance, in cells. Cells are about twice as large as the pixels of mask logits."""
_LARGEST_INTENSITY = 4.0
"""Standardised intensities are cut here."""


class Cube(NamedTuple):
    """Where a cube lies, isotropic in mm; it may reach beyond its volume.

    Attributes:
        centre: (k, j, i) in voxels.
        spacing: mm between voxels along k, j and i.
        side_mm: Length of its edges.
        size: Cells along each edge.
    """

    centre: tuple[float, float, float]
    spacing: tuple[float, float, float]
    side_mm: float
    size: int = 64

    def places(self, axis: int) -> np.ndarray:
        """Where the cells' centres lie along an axis, (size,) in voxels."""
        steps = np.arange(self.size) - (self.size - 1) / 2
        return np.asarray(self.centre[axis] + steps * self.cell(axis))

    def cell(self, axis: int) -> float:
        """Length of a cell in voxels of an axis."""
        return self.side_mm / self.size / self.spacing[axis]

    def grown(self, factor: float) -> Cube:
        """A larger cube around the same centre."""
        return self._replace(side_mm=self.side_mm * factor)

    def slab(self, axis: int, index: float) -> np.ndarray:
        """The cells that a slice perpendicular to an axis lies in, (size,) bool; see `slab`."""
        position = (index - self.centre[axis]) / self.cell(axis) + (self.size - 1) / 2
        return slab(self.size, position, 1 / self.cell(axis))

    def validity(self, shape: Sequence[int]) -> np.ndarray:
        """Which cells lie in a volume of (D, H, W) voxels, bool (size,size,size)."""
        lines = [(self.places(axis) > -0.5) & (self.places(axis) < shape[axis] - 0.5) for axis in range(3)]
        return np.asarray(lines[0][:, None, None] & lines[1][:, None] & lines[2])


class KnownSlice(NamedTuple):
    """A slice of a cube on which the object is known.

    Attributes:
        axis: Of the cube, that the slice is perpendicular to.
        slab: (size,) bool, cells along it that belong to the slice.
        share: (size,size) of each cell that the object covers, 0...1.
    """

    axis: int
    slab: np.ndarray
    share: np.ndarray


def slab(size: int, position: float, thickness: float) -> np.ndarray:
    """The cells of a line that a slice lies in, (size,) bool: those within half its thickness, and the nearest.

    Args:
        size: Cells of the line.
        position: Of the slice's middle, in cells.
        thickness: Of the slice, in cells.
    """
    return np.asarray(np.abs(np.arange(size) - position) <= max(0.5 * thickness, 0.51))


def sample(volume: np.ndarray, cube: Cube, transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A volume in a cube: interpolated where cells are small, means where they are large, edges repeated beyond it.

    Args:
        volume: (D,H,W) or (D,H,W,C), any type.
        cube: Where.
        transform: Turns parts (h,w) or (h,w,C) of a slice into numbers (h,w), such as a window.

    Returns:
        (size,size,size) float32.
    """
    taps = [_Taps.along(cube, axis, volume.shape[axis]) for axis in range(3)]
    seen = np.zeros((len(taps[0].voxels), cube.size, cube.size), np.float32)
    inner = np.ix_(taps[1].voxels, taps[2].voxels)
    for number, index in enumerate(taps[0].voxels):
        part = np.asarray(transform(volume[index][inner]), np.float32)
        seen[number] = taps[1].mix(taps[2].mix(part.T).T)
    return taps[0].mix(seen)


def sample_plane(plane: np.ndarray, cube: Cube, axis: int) -> np.ndarray:
    """A mask (H,W) of a slice perpendicular to an axis, as the cube's cells see it: (size,size) float32 in 0...1."""
    rows, columns = in_plane_axes(axis)
    by_rows = _Taps.along(cube, rows, plane.shape[0])
    by_columns = _Taps.along(cube, columns, plane.shape[1])
    part = plane[np.ix_(by_rows.voxels, by_columns.voxels)].astype(np.float32)
    return by_rows.mix(by_columns.mix(part.T).T)


class _Taps(NamedTuple):
    """Which voxels make up the cells along one axis: `voxels` (n,) in order, and for each cell numbers of them and
    weights, (size,K)."""

    voxels: np.ndarray
    numbers: np.ndarray
    weights: np.ndarray

    @classmethod
    def along(cls, cube: Cube, axis: int, count: int) -> _Taps:
        places, cell = cube.places(axis)[:, None], cube.cell(axis)
        if cell <= _LARGEST_SHARPNESS:
            first = np.floor(places)
            index = np.concatenate([first, first + 1], axis=1)
            weights = np.concatenate([first + 1 - places, places - first], axis=1)
        else:
            taps = min(_MOST_TAPS, round(cell))
            index = np.rint(places + ((np.arange(taps) + 0.5) / taps - 0.5) * cell)
            weights = np.full(index.shape, 1 / taps)
        voxels, numbers = np.unique(index.clip(0, count - 1).astype(np.int64), return_inverse=True)
        return cls(voxels, numbers.reshape(index.shape), weights.astype(np.float32))

    def mix(self, values: np.ndarray) -> np.ndarray:
        """Values (n,...) of voxels to those of cells (size,...)."""
        shape = (-1, *[1] * (values.ndim - 1))
        total = values[self.numbers[:, 0]] * self.weights[:, 0].reshape(shape)
        for tap in range(1, self.numbers.shape[1]):
            total += values[self.numbers[:, tap]] * self.weights[:, tap].reshape(shape)
        return np.asarray(total)


def network_input(image: np.ndarray, valid: np.ndarray, known: Sequence[KnownSlice]) -> np.ndarray:
    """What the context network is given.

    Args:
        image: (N,N,N) windowed intensities, 0...1.
        valid: (N,N,N) bool, cells that lie in the volume.
        known: Slices on which the object is known; where two cross, the later counts.

    Returns:
        (CUBE_CHANNELS,N,N,N) float32: standardised image, known slices (1 object, -1 not, 0 unknown), validity, maps of
        appearance.
    """
    given = np.zeros(image.shape, np.float32)
    for axis, slab, share in known:
        np.moveaxis(given, axis, 0)[slab] = 2 * share - 1
    given *= valid
    seen = Intensities(*(_blurred(image, sigma)[None] for sigma in _BLURS))
    maps = AppearanceModel.fit(seen, (given > 0)[None].astype(np.float32), (given < 0)[None].astype(np.float32)).maps(
        seen
    )
    values = image[valid]
    mean, spread = (float(values.mean()), float(values.std())) if len(values) else (0.0, 1.0)
    standard = ((image - mean) / max(spread, 1e-3)).clip(-_LARGEST_INTENSITY, _LARGEST_INTENSITY)
    return np.concatenate([(standard * valid)[None], given[None], valid[None], maps[0] * valid], dtype=np.float32)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """As `blurred`, of one cube (N,N,N). Products of small matrices take a tenth of the time of shifted sums here."""
    matrix = _blur_matrix(len(image), sigma)
    along = matrix @ image @ matrix.T
    return np.asarray((matrix @ along.swapaxes(0, 1)).swapaxes(0, 1))


@lru_cache(maxsize=8)
def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    """(size,size) that blurs a line."""
    return np.ascontiguousarray(blurred(np.eye(size, dtype=np.float32), sigma).T)


def connected_part(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The parts of a mask bool (N,N,N), connected by faces, that meet seeds bool (N,N,N). Scipy takes long to load."""
    part = mask & seeds
    count, before = int(part.sum()), -1
    while count != before:
        for axis in range(3):
            line, inside = np.moveaxis(part, axis, 0), np.moveaxis(mask, axis, 0)
            # In place, plane after plane: what is reached here reaches on in the same sweep.
            for number in range(1, len(line)):
                line[number] |= line[number - 1] & inside[number]
            for number in range(len(line) - 2, -1, -1):
                line[number] |= line[number + 1] & inside[number]
        count, before = int(part.sum()), count
    return np.asarray(part)


__all__ = ["CUBE_CHANNELS", "Cube", "KnownSlice", "connected_part", "network_input", "sample", "sample_plane", "slab"]
