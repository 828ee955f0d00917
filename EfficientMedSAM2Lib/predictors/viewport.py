"""Viewport: the square part of a slice that the network sees, and the way there and back.

Pixel centres lie at whole numbers, so a rectangle (x0, y0, width, height) covers x0 - 0.5 ... x0 + width - 0.5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window

NO_OBJECT_LOGIT = -32.0
"""Logit where there is surely no object: outside the viewport, or when the object is absent. Its mean with a
neighbouring logit still says something, which SAM2's -1024 does not; and every precision holds it."""


class Viewport(NamedTuple):
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

    def cell_middles(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Middles, in slice pixels, of the rows (h,) and of the columns (w,) of a grid of shape (h,w) over it."""
        return (
            self.y0 - 0.5 + (np.arange(shape[0]) + 0.5) * self.height / shape[0],
            self.x0 - 0.5 + (np.arange(shape[1]) + 0.5) * self.width / shape[1],
        )

    def clipped(self, slice_shape: tuple[int, int]) -> Viewport:
        """The part of it within a slice of (rows, columns); of no size where they do not meet."""
        left, top = max(self.x0, 0), max(self.y0, 0)
        right, bottom = min(self.x0 + self.width, slice_shape[1]), min(self.y0 + self.height, slice_shape[0])
        return Viewport(left, top, max(right - left, 0), max(bottom - top, 0))


def whole_slice(slice_shape: tuple[int, int]) -> Viewport:
    """The rectangle of a slice itself, which is not square in general."""
    return Viewport(0, 0, slice_shape[1], slice_shape[0])


def crop(slice_array: np.ndarray, viewport: Viewport, window: IntensityWindow, size: int = 256) -> np.ndarray:
    """What the network sees of a slice: only this part is converted, never more.

    Args:
        slice_array: (H,W) or (H,W,3), any real type.
        viewport: The part to show.
        window: Intensities spread over 0...1.
        size: Side of the network's input.

    Returns:
        (1,3,size,size) float32 in 0...1, grey repeated (without a copy), 0 outside the slice.
    """
    part = viewport.clipped(slice_array.shape[:2])
    if part.width == 0 or part.height == 0:
        return np.zeros((1, 3, size, size), np.float32)
    values = slice_array[part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width]
    image = apply_window(values, window)
    channels = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    rows = _antialiased_bands(viewport.height, size, part.y0 - viewport.y0, part.height)
    columns = _antialiased_bands(viewport.width, size, part.x0 - viewport.x0, part.width)
    seen = columns.along_columns(rows.along_rows(channels))
    return np.broadcast_to(seen[None], (1, 3, size, size))


def resize(channels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Channels (C,h,w) float32 in another size (C,rows,columns), antialiased."""
    rows, columns = channels.shape[-2:]
    if (rows, columns) == shape:
        return channels
    by_rows = _antialiased_bands(rows, shape[0], 0, rows).along_rows(channels)
    return _antialiased_bands(columns, shape[1], 0, columns).along_columns(by_rows)


def resample(
    values: np.ndarray,
    source: Viewport,
    target: Viewport,
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
    rows = _bands(source.y0, source.height, values.shape[-2], target.y0, target.height, target_shape[0])
    columns = _bands(source.x0, source.width, values.shape[-1], target.x0, target.width, target_shape[1])
    # Relative to the fill, what lies outside weighs nothing.
    inner = values.astype(np.float32) - np.float32(fill)
    # The axis that shrinks most (or grows least) first leaves least to do for the other.
    if len(rows.first) * values.shape[-1] < len(columns.first) * values.shape[-2]:
        result = columns.along_columns(rows.along_rows(inner))
    else:
        result = rows.along_rows(columns.along_columns(inner))
    result += np.float32(fill)
    return result


class Bands(NamedTuple):
    """Weights of source cells for target cells along one axis, of which each has a few neighbours only.

    Sums of shifted rows, not matrix products: the threads of numpy's BLAS wait busily after every product and take the
    cores from the network's. On 2 cores that made propagation through 512 x 512 slices 2.5 times as slow.

    Attributes:
        first: (N,) first source cell of each target cell.
        weights: (N,K) weights of that cell and the following; a cell beyond the source's end weighs nothing.
    """

    first: np.ndarray
    weights: np.ndarray

    def along_rows(self, values: np.ndarray) -> np.ndarray:
        """Values (...,h,w) float32 to (...,N,w)."""
        result: np.ndarray | None = None
        last = values.shape[-2] - 1
        for k in range(self.weights.shape[1]):
            term = values.take(np.minimum(self.first + k, last), axis=-2)
            term *= self.weights[:, k, None]
            result = term if result is None else np.add(result, term, out=result)
        assert result is not None
        return result

    def along_columns(self, values: np.ndarray) -> np.ndarray:
        """Values (...,h,w) float32 to (...,h,N)."""
        turned = np.ascontiguousarray(np.swapaxes(values, -1, -2))
        return np.ascontiguousarray(np.swapaxes(self.along_rows(turned), -1, -2))


# Few slices change the viewport, so that the same weights are asked for again and again; nobody writes on them.
@lru_cache(maxsize=256)
def _bands(
    source_start: int, source_size: int, source_count: int, target_start: int, target_size: int, target_count: int
) -> Bands:
    """Weights of the cells of a grid over a source for those of a grid over a target, along one axis."""
    # Edges of the target's cells, in source cells. Whole pixels stay whole numbers until the last multiplication, so
    # that a part of a target gets exactly the values that the whole gets.
    scale = source_count / source_size
    cell = target_size / target_count
    step = cell * scale
    edges = (target_start - source_start + cell * np.arange(target_count + 1)) * scale
    if step > 1:
        low, high = edges[:-1].clip(0, source_count), edges[1:].clip(0, source_count)
        first = np.minimum(np.floor(low).astype(np.int64), source_count - 1)
        cells = first[:, None] + np.arange(max(int((np.ceil(high) - first).max()), 1))
        overlap = np.minimum(high[:, None], cells + 1) - np.maximum(low[:, None], cells)
        return Bands(first, (overlap.clip(0) / step).astype(np.float32))
    centres = (edges[:-1] + edges[1:]) / 2
    inside = (centres >= 0) & (centres <= source_count)
    position = (centres - 0.5).clip(0, source_count - 1)
    first = np.minimum(position.astype(np.int64), max(source_count - 2, 0))
    fraction = position - first
    return Bands(first, (np.stack([1 - fraction, fraction], axis=1) * inside[:, None]).astype(np.float32))


@lru_cache(maxsize=256)
def _antialiased_bands(source_count: int, target_count: int, part_start: int, part_count: int) -> Bands:
    """Bilinear weights, as wide as what shrinks needs: those of `torch.nn.functional.interpolate(antialias=True)`.

    Args:
        source_count: Source cells.
        target_count: Target cells.
        part_start: First source cell that is there; the others are 0.
        part_count: Number of these.
    """
    scale = source_count / target_count
    reach = max(scale, 1.0)
    centre = (np.arange(target_count) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach + 0.5).astype(np.int64), source_count)
    cells = first[:, None] + np.arange(int((stop - first).max()))
    weights = (1 - np.abs((cells - centre[:, None] + 0.5) / reach)).clip(0) * (cells < stop[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    cells -= part_start
    weights *= (cells >= 0) & (cells < part_count)
    # Bands that begin before the part are moved to its beginning, their weights with them.
    shift = np.maximum(-cells[:, 0], 0)
    k = np.arange(cells.shape[1]) + shift[:, None]
    moved = np.take_along_axis(weights, np.minimum(k, cells.shape[1] - 1), axis=1) * (k < cells.shape[1])
    used = max(int(np.flatnonzero(moved.any(axis=0))[-1]) + 1, 1) if moved.any() else 1
    return Bands(np.clip(cells[:, 0], 0, part_count - 1), moved[:, :used].astype(np.float32))


def paste(logits: np.ndarray, viewport: Viewport, slice_shape: tuple[int, int]) -> np.ndarray:
    """Logits (...,h,w) of a viewport on the whole slice (...,H,W), float32, `NO_OBJECT_LOGIT` outside the viewport."""
    part = viewport.clipped(slice_shape)
    full = np.full((*logits.shape[:-2], *slice_shape), NO_OBJECT_LOGIT, np.float32)
    if part.width and part.height:
        inner = resample(logits, viewport, part, (part.height, part.width))
        full[..., part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width] = inner
    return full


def positive_part(logits: np.ndarray, viewport: Viewport, slice_shape: tuple[int, int]) -> Viewport:
    """The part of the slice that can hold positive logits, found on the viewport's coarse grid (h,w)."""
    box = bounding_box(logits > 0)
    if box is None:
        return Viewport(0, 0, 0, 0)
    (row0, row1), (column0, column1) = box
    cell_x, cell_y = viewport.width / logits.shape[1], viewport.height / logits.shape[0]
    # Interpolation carries a positive cell no farther than to the next cell's centre.
    left, right = viewport.x0 + (column0 - 1) * cell_x, viewport.x0 + (column1 + 1) * cell_x
    top, bottom = viewport.y0 + (row0 - 1) * cell_y, viewport.y0 + (row1 + 1) * cell_y
    x0, y0 = max(int(np.floor(left)), viewport.x0), max(int(np.floor(top)), viewport.y0)
    x1, y1 = (
        min(int(np.ceil(right)) + 1, viewport.x0 + viewport.width),
        min(int(np.ceil(bottom)) + 1, viewport.y0 + viewport.height),
    )
    part = Viewport(x0, y0, x1 - x0, y1 - y0).clipped(slice_shape)
    return part if part.width and part.height else Viewport(0, 0, 0, 0)
