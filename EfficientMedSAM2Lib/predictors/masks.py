"""Masks at rest and their cleaning: a slice's mask as bits of its bounding box; holes filled, sprinkles removed."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class PackedMask:
    """A mask of a slice in one bit a pixel, within its bounding box.

    Attributes:
        x0: First column of the bounding box.
        y0: First row.
        width: Columns; 0 when the mask is empty.
        height: Rows.
        bits: The box's pixels, row by row, eight to a byte.
    """

    x0: int
    y0: int
    width: int
    height: int
    bits: bytes

    @classmethod
    def pack(cls, mask: np.ndarray, offset_xy: tuple[int, int] = (0, 0)) -> PackedMask:
        """Pack a mask bool (h,w), whose first pixel lies at an offset in its slice."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return cls(0, 0, 0, 0, b"")
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(
            int(columns[0]) + offset_xy[0],
            int(rows[0]) + offset_xy[1],
            inner.shape[1],
            inner.shape[0],
            np.packbits(inner).tobytes(),
        )

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """First and last pixels XYXY, None when the mask is empty."""
        if not self.bits:
            return None
        return float(self.x0), float(self.y0), float(self.x0 + self.width - 1), float(self.y0 + self.height - 1)

    @property
    def area(self) -> int:
        """Pixels that belong to the mask."""
        return int(self.part().sum())

    def part(self) -> np.ndarray:
        """The mask within its bounding box, bool (height,width)."""
        bits = np.frombuffer(self.bits, np.uint8)
        return np.unpackbits(bits, count=self.width * self.height).reshape(self.height, self.width).view(bool)

    def full(self, slice_shape: tuple[int, int]) -> np.ndarray:
        """The mask on its slice, bool (H,W)."""
        mask = np.zeros(slice_shape, bool)
        if self.bits:
            mask[self.y0 : self.y0 + self.height, self.x0 : self.x0 + self.width] = self.part()
        return mask


def clean_mask(
    mask: np.ndarray,
    max_hole_area: float,
    max_sprinkle_area: float,
    inside_xy: np.ndarray | None = None,
    outside_xy: np.ndarray | None = None,
) -> np.ndarray:
    """A mask bool (H,W) with small holes filled and small separate parts removed; the largest part always stays.

    So do holes with a click outside the object in them, and parts with a click inside it.

    Args:
        mask: The mask; not changed.
        max_hole_area: Pixels up to which a hole is filled; 0 fills none.
        max_sprinkle_area: Pixels up to which a part is removed; 0 removes none.
        inside_xy: (N,2) clicks inside the object, in pixels.
        outside_xy: (N,2) clicks outside the object.
    """
    from scipy import ndimage

    if not mask.any():
        return mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    span = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inner = mask[span].copy()
    if max_hole_area > 0:
        # One pixel of border, so that what is open to the outside is not a hole.
        labels, count = ndimage.label(np.pad(~inner, 1, constant_values=True))
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        small = areas <= max_hole_area
        small[[0, labels[0, 0], *_labels_at(labels[1:-1, 1:-1], outside_xy, (columns[0], rows[0]))]] = False
        inner |= small[labels][1:-1, 1:-1]
    if max_sprinkle_area > 0:
        labels, count = ndimage.label(inner, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        small = areas <= max_sprinkle_area
        small[[0, 1 + int(areas[1:].argmax()), *_labels_at(labels, inside_xy, (columns[0], rows[0]))]] = False
        inner &= ~small[labels]
    cleaned = np.zeros_like(mask)
    cleaned[span] = inner
    return cleaned


def _labels_at(labels: np.ndarray, points_xy: np.ndarray | None, offset_xy: tuple[int, int]) -> list[int]:
    """Labels (h,w) of the pixels with points (N,2) in them, as far as they lie on this part of the slice."""
    if points_xy is None or len(points_xy) == 0:
        return []
    x, y = np.floor(points_xy + 0.5).astype(int).T - np.array([[offset_xy[0]], [offset_xy[1]]])
    here = (x >= 0) & (y >= 0) & (x < labels.shape[1]) & (y < labels.shape[0])
    return [int(label) for label in labels[y[here], x[here]]]
