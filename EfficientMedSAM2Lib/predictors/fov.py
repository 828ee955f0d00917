"""Field of view: the square part of a slice that the network looks at, and the way there and back.

Pixel centres lie at whole numbers, so a rectangle (x0, y0, width, height) covers x0 - 0.5 ... x0 + width - 0.5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..imaging.windows import IntensityWindow, apply_window

NO_OBJECT_LOGIT = -32.0
"""Logit where there is surely no object: outside the view, or when the object is absent. Its mean with a neighbouring
logit still says something, which SAM2's -1024 does not; and every precision holds it."""


class FieldOfView(NamedTuple):
    """A rectangle of whole pixels of a slice, square in mm; it may reach beyond the slice.

    Attributes:
        x0: Leftmost column.
        y0: Topmost row.
        width: Columns.
        height: Rows.
    """

    x0: int
    y0: int
    width: int
    height: int

    def to_network(self, points_xy: np.ndarray, size: int = 256) -> np.ndarray:
        """Points (N,2) in slice pixels to network pixels, float32."""
        points = np.asarray(points_xy, dtype=np.float64).reshape(-1, 2)
        origin, extent = np.array(self[:2]), np.array(self[2:])
        return ((points - origin + 0.5) * size / extent - 0.5).astype(np.float32)

    def box_to_network(self, box_xyxy: np.ndarray, size: int = 256) -> np.ndarray:
        """Box (4,) of first and last pixels to first and last network pixels, float32: its edges are what is moved."""
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        low, high = self.to_network(np.array([[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5]]), size)
        return np.concatenate([low + 0.5, high - 0.5])

    def from_network(self, points_xy: np.ndarray, size: int = 256) -> np.ndarray:
        """Points (N,2) in network pixels to slice pixels, float32."""
        points = np.asarray(points_xy, dtype=np.float64).reshape(-1, 2)
        origin, extent = np.array(self[:2]), np.array(self[2:])
        return ((points + 0.5) * extent / size - 0.5 + origin).astype(np.float32)

    def clipped(self, slice_shape: tuple[int, int]) -> FieldOfView:
        """The part of it within a slice of (rows, columns); of no size where they do not meet."""
        left, top = max(self.x0, 0), max(self.y0, 0)
        right, bottom = min(self.x0 + self.width, slice_shape[1]), min(self.y0 + self.height, slice_shape[0])
        return FieldOfView(left, top, max(right - left, 0), max(bottom - top, 0))


def whole_slice(slice_shape: tuple[int, int]) -> FieldOfView:
    """The rectangle of a slice itself, which is not square in general."""
    return FieldOfView(0, 0, slice_shape[1], slice_shape[0])


def crop(slice_array: np.ndarray, fov: FieldOfView, window: IntensityWindow, size: int = 256) -> torch.Tensor:
    """What the network sees of a slice: only this part is converted, never more.

    Args:
        slice_array: (H,W) or (H,W,3), any real type.
        fov: The part to look at.
        window: Intensities spread over 0...1.
        size: Side of the network's input.

    Returns:
        (1,3,size,size) float32 in 0...1, grey repeated, 0 outside the slice.
    """
    part = fov.clipped(slice_array.shape[:2])
    if part.width == 0 or part.height == 0:
        return torch.zeros(1, 3, size, size)
    values = slice_array[part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width]
    image = torch.from_numpy(apply_window(values, window))
    image = image[None, None] if image.ndim == 2 else image.permute(2, 0, 1)[None]
    left, top = part.x0 - fov.x0, part.y0 - fov.y0
    right, bottom = fov.width - left - part.width, fov.height - top - part.height
    if left or top or right or bottom:
        image = F.pad(image, (left, right, top, bottom))
    if image.shape[2:] != (size, size):
        # Antialiasing changes nothing on a side that grows.
        image = F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return image.expand(1, 3, size, size)


def resample(
    values: np.ndarray,
    source: FieldOfView,
    target: FieldOfView,
    target_shape: tuple[int, int],
    fill: float = NO_OBJECT_LOGIT,
) -> np.ndarray:
    """Logits on a grid over one rectangle, as a grid over another: areas are averaged, what grows is bilinear.

    Args:
        values: (...,h,w) logits, a grid over `source`.
        source: Rectangle that the grid covers, in slice pixels.
        target: Rectangle of the new grid.
        target_shape: Rows and columns of the new grid.
        fill: Value outside `source`.

    Returns:
        (...,rows,columns) float32.
    """
    rows, row_span = _axis_weights(
        source.y0, source.height, values.shape[-2], target.y0, target.height, target_shape[0]
    )
    columns, column_span = _axis_weights(
        source.x0, source.width, values.shape[-1], target.x0, target.width, target_shape[1]
    )
    # Relative to the fill, what lies outside weighs nothing.
    inner = values[..., row_span, column_span].astype(np.float32) - np.float32(fill)
    # In torch, not numpy: the threads of numpy's BLAS wait busily after every product and take the cores from torch's.
    # On 2 cores that made propagation through 512 x 512 slices 2.5 times as slow (13 instead of 33 slices/s).
    by_columns = torch.from_numpy(inner) @ torch.from_numpy(columns).T
    result = (torch.from_numpy(rows) @ by_columns).numpy()
    result += np.float32(fill)
    return result


def _axis_weights(
    source_start: int, source_size: int, source_count: int, target_start: int, target_size: int, target_count: int
) -> tuple[np.ndarray, slice]:
    """Weights (target_count, n) of those n source cells that matter along one axis, and which ones these are."""
    # Edges of the target's cells, in source cells. Whole pixels stay whole numbers until the last multiplication, so
    # that a part of a target gets exactly the values that the whole gets.
    scale = source_count / source_size
    cell = target_size / target_count
    step = cell * scale
    edges = (target_start - source_start + cell * np.arange(target_count + 1)) * scale
    if step > 1:
        low, high = edges[:-1].clip(0, source_count), edges[1:].clip(0, source_count)
        first = int(min(np.floor(low.min()), source_count - 1))
        last = max(int(np.ceil(high.max())), first + 1)
        cells = np.arange(first, last)
        overlap = np.minimum(high[:, None], cells + 1) - np.maximum(low[:, None], cells)
        return (overlap.clip(0) / step).astype(np.float32), slice(first, last)
    centres = (edges[:-1] + edges[1:]) / 2
    inside = (centres >= 0) & (centres <= source_count)
    position = (centres - 0.5).clip(0, source_count - 1)
    lower = np.minimum(position.astype(np.int64), max(source_count - 2, 0))
    upper = np.minimum(lower + 1, source_count - 1)
    first, last = int(lower.min()), int(upper.max()) + 1
    weights = np.zeros((target_count, last - first), np.float32)
    index = np.arange(target_count)
    fraction = position - lower
    weights[index, lower - first] = 1 - fraction
    # With a single source cell both indices are the same, and the fraction is 0.
    weights[index, upper - first] += np.where(upper > lower, fraction, 0)
    return weights * inside[:, None].astype(np.float32), slice(first, last)


def paste(logits: np.ndarray, fov: FieldOfView, slice_shape: tuple[int, int]) -> np.ndarray:
    """Logits (...,h,w) of a view on the whole slice (...,H,W), float32, `NO_OBJECT_LOGIT` outside the view."""
    part = fov.clipped(slice_shape)
    full = np.full((*logits.shape[:-2], *slice_shape), NO_OBJECT_LOGIT, np.float32)
    if part.width and part.height:
        inner = resample(logits, fov, part, (part.height, part.width))
        full[..., part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width] = inner
    return full


def crop_logits(logits: np.ndarray, fov: FieldOfView, size: int = 64) -> np.ndarray:
    """Logits (...,H,W) of a whole slice as seen in a view: (...,size,size) float32."""
    return resample(logits, whole_slice(logits.shape[-2:]), fov, (size, size))


def positive_part(logits: np.ndarray, fov: FieldOfView, slice_shape: tuple[int, int]) -> FieldOfView:
    """The part of the slice that can hold positive logits, found on the view's coarse grid (h,w)."""
    above = logits > 0
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if len(rows) == 0:
        return FieldOfView(0, 0, 0, 0)
    cell_x, cell_y = fov.width / logits.shape[1], fov.height / logits.shape[0]
    # Interpolation carries a positive cell no farther than to the next cell's centre.
    left, right = fov.x0 + (columns[0] - 1) * cell_x, fov.x0 + (columns[-1] + 2) * cell_x
    top, bottom = fov.y0 + (rows[0] - 1) * cell_y, fov.y0 + (rows[-1] + 2) * cell_y
    x0, y0 = max(int(np.floor(left)), fov.x0), max(int(np.floor(top)), fov.y0)
    x1, y1 = min(int(np.ceil(right)) + 1, fov.x0 + fov.width), min(int(np.ceil(bottom)) + 1, fov.y0 + fov.height)
    part = FieldOfView(x0, y0, x1 - x0, y1 - y0).clipped(slice_shape)
    return part if part.width and part.height else FieldOfView(0, 0, 0, 0)
