"""Masks kept as bits: the set part of a slice's or a volume's mask, and a whole volume with boxes read and written.

Also what lies under a line that somebody drew, and what a closed one encloses.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from EfficientMedSAM2Lib.core.boxes import (
    Box,
    BoxXYXY,
    bounding_box,
    box_shape,
    box_slices,
    box_start,
    intersection,
    moved,
    union,
    whole_box,
)
from EfficientMedSAM2Lib.core.geometry import nearest_index

#: Fastest level: packed masks are mostly zeros, higher levels save little and take five times as long. A slice's mask
#: of 240 x 240 pixels takes 75 us to compress and 9 us to read.
COMPRESSION_LEVEL = 1


@dataclass(frozen=True)
class PackedMask:
    """The part of a mask that is set, packed and compressed; of a slice (two axes) or a volume (three).

    Attributes:
        bounds: Half-open bounding box of what is set, a pair for each axis; all zero where nothing is set.
        data: zlib-compressed bits of that box, C order; empty where nothing is set.
    """

    bounds: tuple[tuple[int, int], ...]
    data: bytes = b""

    @classmethod
    def pack(cls, mask: np.ndarray, origin: Sequence[int] | None = None) -> PackedMask:
        """Pack a bool array whose first element is at ``origin`` of the whole, an index for each axis; None: at 0."""
        box = bounding_box(mask)
        if box is None:
            return cls.empty(mask.ndim)
        starts = origin if origin is not None else [0] * mask.ndim
        bounds = tuple((low + int(start), high + int(start)) for (low, high), start in zip(box, starts))
        return cls(bounds, zlib.compress(np.packbits(mask[box_slices(box)]).tobytes(), COMPRESSION_LEVEL))

    @classmethod
    def empty(cls, axes: int) -> PackedMask:
        """A mask in which nothing is set."""
        return cls(((0, 0),) * axes)

    @classmethod
    def any_of(cls, masks: Sequence[PackedMask]) -> PackedMask:
        """What is set in at least one of some masks of a volume."""
        box = union(*(mask.box for mask in masks))
        if box is None:
            return cls.empty(3)
        found = np.zeros(box_shape(box), dtype=bool)
        for mask in masks:
            found |= mask.window(box)
        return cls.pack(found, box_start(box))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set."""
        return not self.data

    @property
    def box(self) -> Box | None:
        """Half-open bounding box, None when nothing is set."""
        return [list(pair) for pair in self.bounds] if self.data else None

    @property
    def box_xyxy(self) -> BoxXYXY | None:
        """First and last pixels of a slice's mask, None when it is empty."""
        if not self.data:
            return None
        (row0, row1), (column0, column1) = self.bounds
        return float(column0), float(row0), float(column1 - 1), float(row1 - 1)

    @property
    def origin(self) -> tuple[int, ...]:
        """Where the bounding box begins."""
        return tuple(box_start(self.bounds))

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the bounding box."""
        return tuple(high - low for low, high in self.bounds)

    @property
    def area(self) -> int:
        """How many pixels or voxels are set."""
        return int(np.count_nonzero(self.unpack()))

    def unpack(self) -> np.ndarray:
        """Bool array of the bounding box."""
        if not self.data:
            return np.zeros(self.shape, dtype=bool)
        count = int(np.prod(self.shape))
        # No more than the box holds: data of a file may unpack to any size.
        bits = zlib.decompressobj().decompress(self.data, max(1, ceil(count / 8)))
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).view(bool).reshape(self.shape)

    def window(self, box: Sequence[Sequence[int]]) -> np.ndarray:
        """Bool array of any half-open box of the whole; beyond the bounding box nothing is set."""
        window = np.zeros(box_shape(box), dtype=bool)
        common = intersection(self.box, box)
        if common is not None:
            window[box_slices(common, box)] = self.unpack()[box_slices(common, self.bounds)]
        return window

    def full(self, shape: Sequence[int]) -> np.ndarray:
        """Bool array of the whole slice or volume."""
        mask = np.zeros(tuple(shape), dtype=bool)
        if self.data:
            mask[box_slices(self.bounds)] = self.unpack()
        return mask


class BitVolume:
    """A bool volume (D,H,W) in an eighth of the memory; boxes of it are read and written as bool arrays."""

    def __init__(self, shape_kji: Sequence[int]) -> None:
        self.shape: tuple[int, int, int] = (int(shape_kji[0]), int(shape_kji[1]), int(shape_kji[2]))
        self._bits = np.zeros((*self.shape[:2], -(-self.shape[2] // 8)), dtype=np.uint8)

    def read(self, box: Box | None = None) -> np.ndarray:
        """Bool copy of a half-open box, None for the whole volume."""
        k, j, (i0, i1) = box if box is not None else whole_box(self.shape)
        first_byte = i0 // 8
        packed = self._bits[slice(*k), slice(*j), first_byte : -(-i1 // 8)]
        offset = i0 - 8 * first_byte
        return np.ascontiguousarray(np.unpackbits(packed, axis=2)[:, :, offset : offset + i1 - i0]).view(bool)

    def write(self, box: Box, values: np.ndarray) -> None:
        """Replace a half-open box by a bool array of its shape."""
        k, j, (i0, i1) = box
        first_byte, last_byte = i0 // 8, -(-i1 // 8)
        target = self._bits[slice(*k), slice(*j), first_byte:last_byte]
        bits = np.unpackbits(target, axis=2)  # the neighbours that share the first and last byte keep their values
        offset = i0 - 8 * first_byte
        bits[:, :, offset : offset + i1 - i0] = values
        target[...] = np.packbits(bits, axis=2)

    def flip(self, difference: PackedMask) -> None:
        """Invert the voxels set in ``difference``; doing it twice changes nothing."""
        box = difference.box
        if box is not None:
            self.write(box, self.read(box) ^ difference.unpack())

    def bounding_box(self) -> Box | None:
        """Half-open bounding box of the set voxels, None when there are none."""
        packed = bounding_box(self._bits)
        if packed is None:
            return None
        k, j, (b0, b1) = packed
        coarse = [k, j, [8 * b0, min(8 * b1, self.shape[2])]]
        inner = bounding_box(self.read(coarse))
        return inner and moved(inner, box_start(coarse))


def voxels_under(points_kji: np.ndarray, shape_kji: Sequence[int]) -> np.ndarray:
    """Indices (M,3) of the voxels under the straight pieces between points (N,3); those outside are left out."""
    parts = [points_kji[:1]]
    for start, end in zip(points_kji[:-1], points_kji[1:]):
        steps = max(1, ceil(2 * np.abs(end - start).max()))  # half a voxel each: no gap
        parts.append(start + np.linspace(0.0, 1.0, steps + 1)[1:, None] * (end - start))
    voxels = nearest_index(np.concatenate(parts))
    inside: np.ndarray = voxels[((voxels >= 0) & (voxels < np.asarray(shape_kji))).all(axis=1)]
    return inside


def enclosed_pixels(points_yx: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pixels (H,W) bool whose centres a closed line through points (N,2) winds around.

    Where a line drawn by hand crosses itself, as ends that overlap do, all of it counts.
    """
    height, width = shape
    winding: np.ndarray = np.zeros((height, width + 1), dtype=np.int32)
    for (y0, x0), (y1, x1) in zip(points_yx, np.roll(points_yx, -1, axis=0)):
        first, last = max(ceil(min(y0, y1)), 0), min(ceil(max(y0, y1)), height)
        if first < last:
            rows = np.arange(first, last)
            crossings = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
            winding[rows, np.clip(np.ceil(crossings), 0, width).astype(int)] += 1 if y1 > y0 else -1
    within: np.ndarray = winding[:, :-1].cumsum(axis=1) != 0
    return within
