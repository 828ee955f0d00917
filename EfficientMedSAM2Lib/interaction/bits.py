"""Masks kept as bits: one volume per segment, and small crops of it for the history and for mask prompts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_slices, whole_box

#: Fastest level: packed masks are mostly zeros, higher levels save little and take five times as long.
COMPRESSION_LEVEL = 1


@dataclass(frozen=True)
class PackedMask:
    """The part of a mask that is set, packed and compressed.

    Attributes:
        box_kji: Half-open bounding box of the set voxels; all zero where nothing is set.
        data: zlib-compressed bits of that box, C order.
    """

    box_kji: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    data: bytes

    @classmethod
    def pack(cls, mask: np.ndarray, origin_kji: Sequence[int] = (0, 0, 0)) -> PackedMask:
        """Pack a bool array (K,J,I) whose first voxel is at ``origin_kji`` of the volume."""
        box = bounding_box(mask)
        if box is None:
            return cls(((0, 0), (0, 0), (0, 0)), b"")
        k, j, i = ((low + start, high + start) for (low, high), start in zip(box, origin_kji))
        return cls((k, j, i), zlib.compress(np.packbits(mask[box_slices(box)]).tobytes(), COMPRESSION_LEVEL))

    @property
    def box(self) -> Box | None:
        """Half-open bounding box, None when nothing is set."""
        return [list(bounds) for bounds in self.box_kji] if self.data else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the bounding box."""
        return tuple(high - low for low, high in self.box_kji)

    def unpack(self) -> np.ndarray:
        """Bool array of the bounding box."""
        if not self.data:
            return np.zeros(self.shape, dtype=bool)
        packed = np.frombuffer(zlib.decompress(self.data), dtype=np.uint8)
        return np.unpackbits(packed, count=int(np.prod(self.shape))).view(bool).reshape(self.shape)

    def unpack_into(self, shape_kji: Sequence[int]) -> np.ndarray:
        """Bool array of the whole volume."""
        mask = np.zeros(tuple(shape_kji), dtype=bool)
        if self.data:
            mask[box_slices(self.box_kji)] = self.unpack()
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
        return inner and [[low + start, high + start] for (low, high), (start, _) in zip(inner, coarse)]
