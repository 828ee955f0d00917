"""Where a slice looks like an object that is known: the encoder's features inside of it against those around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Cells around an object that tell what it has to be told from.
RING_CELLS = 3


@dataclass(frozen=True)
class SliceFeatures:
    """Features of a whole slice.

    Attributes:
        cells: (C,h,w) float32.
        rows: (h,) row of the slice in the middle of each row of cells; it may lie outside.
        columns: (w,) the same for columns.
    """

    cells: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def sample(self, picture: np.ndarray) -> np.ndarray:
        """Pixels of a slice (H,W) in the middle of each cell, (h,w); the nearest one for cells outside."""
        rows, columns = (
            np.rint(np.clip(at, 0, size - 1)).astype(int) for at, size in zip((self.rows, self.columns), picture.shape)
        )
        sampled: np.ndarray = picture[np.ix_(rows, columns)]
        return sampled

    def is_inside(self, shape: tuple[int, int]) -> np.ndarray:
        """Cells (h,w) whose middle lies on a slice of this shape."""
        rows, columns = ((at >= 0) & (at <= size - 1) for at, size in zip((self.rows, self.columns), shape))
        inside: np.ndarray = rows[:, None] & columns[None, :]
        return inside


def join_features(parts: list[np.ndarray]) -> np.ndarray:
    """Maps (C,h,w) of several strides as one (sum of C,H,W) of the finest, each of unit length at each place."""
    height = max(part.shape[1] for part in parts)
    joined = []
    for part in parts:
        times = height // part.shape[1]
        grown = part.astype(np.float32).repeat(times, axis=1).repeat(times, axis=2)
        joined.append(grown / np.maximum(np.linalg.norm(grown, axis=0), 1e-6))
    return np.concatenate(joined)


@dataclass(frozen=True)
class Likeness:
    """What tells an object from its surroundings: 1 is as the object on average, 0 as what is around it.

    Attributes:
        direction: (C,) weight of each feature.
        middle: Where 0 is.
    """

    direction: np.ndarray
    middle: float

    def of(self, features: SliceFeatures) -> np.ndarray:
        """How much each cell (h,w) of a slice is like the object."""
        found: np.ndarray = np.tensordot(self.direction, features.cells, axes=1) - self.middle
        return found


def likeness_of(features: SliceFeatures, mask: np.ndarray) -> Likeness:
    """What tells the object of a mask (H,W) bool from what is around it."""
    from scipy import ndimage

    inside = features.sample(mask)
    if not inside.any():  # smaller than a cell: the cell that it is in
        row, column = (float(np.mean(at)) for at in np.nonzero(mask))
        inside[np.abs(features.rows - row).argmin(), np.abs(features.columns - column).argmin()] = True
    ring = ndimage.binary_dilation(inside, iterations=1 + RING_CELLS) & ~ndimage.binary_dilation(inside)
    ring &= features.is_inside(mask.shape)
    if not ring.any():
        ring = ~inside
    within, around = features.cells[:, inside].mean(axis=1), features.cells[:, ring].mean(axis=1)
    direction = (within - around) / max(float(((within - around) ** 2).sum()), 1e-6)
    return Likeness(direction, float(direction @ around))
