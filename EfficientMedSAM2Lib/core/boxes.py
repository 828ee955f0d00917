"""Boxes of arrays: half-open ``[[low, high], ...]``, one pair of indices for each axis of the array, in its order.

A volume's box is ``[[k0, k1], [j0, j1], [i0, i1]]``, a slice's ``[[row0, row1], [column0, column1]]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = list[list[int]]
BoxXYXY = tuple[float, float, float, float]
"""First and last pixels x0, y0, x1, y1 of a slice, as SAM2 counts a box prompt."""


def bounding_box(mask: np.ndarray) -> Box | None:
    """Half-open box of what is set in a mask of any number of axes, None when nothing is."""
    box: Box = []
    rest = np.asarray(mask)
    for axis in range(rest.ndim):  # each axis is searched only in what those before left over
        used = np.flatnonzero(rest.any(axis=tuple(a for a in range(rest.ndim) if a != axis)))
        if len(used) == 0:
            return None
        box.append([int(used[0]), int(used[-1]) + 1])
        rest = rest[(slice(None),) * axis + (slice(*box[-1]),)]
    return box


def union(*boxes: Box | None) -> Box | None:
    """Smallest box that holds them all; None counts as empty."""
    held = [box for box in boxes if box is not None]
    if len(held) < 2:
        return held[0] if held else None
    return [[min(low for low, _ in pairs), max(high for _, high in pairs)] for pairs in zip(*held)]


def intersection(box: Sequence[Sequence[int]] | None, other: Sequence[Sequence[int]] | None) -> Box | None:
    """What two boxes share, None for nothing; None counts as empty."""
    if box is None or other is None:
        return None
    shared = [[max(a[0], b[0]), min(a[1], b[1])] for a, b in zip(box, other)]
    return shared if all(low < high for low, high in shared) else None


def box_start(box: Sequence[Sequence[int]]) -> list[int]:
    """First index of a box along each axis."""
    return [low for low, _high in box]


def box_shape(box: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Shape of an array that holds a box and no more."""
    return tuple(high - low for low, high in box)


def moved(box: Sequence[Sequence[int]], by: Sequence[int]) -> Box:
    """A box moved by a number of indices along each axis."""
    return [[low + step, high + step] for (low, high), step in zip(box, by)]


def box_slices(box: Sequence[Sequence[int]], held: Sequence[Sequence[int]] | None = None) -> tuple[slice, ...]:
    """Index expression of a box: ``array[box_slices(box)]``.

    Args:
        box: The box.
        held: The box that the array holds, where that is not all from index 0 on.
    """
    start = [0] * len(box) if held is None else box_start(held)
    return tuple(slice(int(low - first), int(high - first)) for (low, high), first in zip(box, start))


def whole_box(shape: Sequence[int]) -> Box:
    """Box of a whole array."""
    return [[0, int(size)] for size in shape]


def slice_box(shape: Sequence[int], axis: int, index: int) -> Box:
    """Box of one slice of a volume."""
    box = whole_box(shape)
    box[axis] = [index, index + 1]
    return box


def in_plane_axes(axis: int) -> tuple[int, int]:
    """The (row, column) axes of a volume's slice along ``axis``."""
    rows, columns = (a for a in range(3) if a != axis)
    return rows, columns


def tight_xyxy(mask: np.ndarray) -> BoxXYXY | None:
    """First and last pixels x0, y0, x1, y1 of a mask (H, W), as SAM2 counts a box prompt; None when it is empty."""
    box = bounding_box(mask)
    if box is None:
        return None
    (row0, row1), (column0, column1) = box
    return float(column0), float(row0), float(column1 - 1), float(row1 - 1)
