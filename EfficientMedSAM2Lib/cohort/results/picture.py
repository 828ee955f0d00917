"""A small picture of a case for the contact sheet: the least certain slice, and the largest, with contours.

Drawn without matplotlib, since a cohort has hundreds of them; `imaging.preview` draws the large pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, in_plane_axes, union
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.geometry import kji_from_ijk, spacing_of
from EfficientMedSAM2Lib.core.planes import Plane, plane_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.terminology import segment_colors
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult

PANEL_PIXELS = 220
#: Shown around the segments, as a part of their extent and in mm at least.
MARGIN, LEAST_MARGIN_MM = 0.25, 20.0


def write_picture(
    path: Path, volume: Volume, segments: Sequence[Segment], results: Sequence[SegmentResult], window: IntensityWindow
) -> None:
    """Write a PNG of two panels: the slice with the lowest score, and the one with most of the segments.

    Args:
        path: The PNG file.
        volume: The scan.
        segments: The masks, with colours where they have their own.
        results: The same segments with their scores.
        window: Intensities shown.
    """
    from PIL import Image

    axis = results[0].axis
    plane = plane_of(volume.ijk_to_ras, volume.shape_kji, axis)
    box = union(*(bounding_box(segment.mask) for segment in segments))
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    panels = [
        _panel(volume, segments, colors, window, plane, index, box) for index in _slices(segments, results, axis, box)
    ]
    with replacing(path) as temporary:
        Image.fromarray(np.hstack(panels)).save(temporary, format="PNG")


def _slices(segments: Sequence[Segment], results: Sequence[SegmentResult], axis: int, box: Box | None) -> list[int]:
    if box is None:
        known = [index for result in results if result.axis == axis for index in result.scores]
        return [known[0] if known else segments[0].mask.shape[axis] // 2] * 2
    others = in_plane_axes(axis)
    area = sum(np.count_nonzero(segment.mask, axis=others) for segment in segments)
    uncertain = [
        (score, index)
        for result in results
        if result.axis == axis
        for index, score in result.scores.items()
        if np.take(result.mask, index, axis).any()
    ]
    largest = int(np.argmax(area))
    return [min(uncertain)[1] if uncertain else largest, largest]


def _panel(
    volume: Volume,
    segments: Sequence[Segment],
    colors: Sequence[Any],
    window: IntensityWindow,
    plane: Plane,
    index: int,
    box: Box | None,
) -> np.ndarray:
    """(PANEL_PIXELS, PANEL_PIXELS, 3) uint8: a slice with outlines one pixel wide, in true proportion."""
    from scipy import ndimage

    spacing_kji = kji_from_ijk(spacing_of(volume.ijk_to_ras))
    picture = apply_window(plane.image(volume.array, index), window)
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    masks = [plane.image(segment.mask, index) for segment in segments]
    size_mm = np.array(picture.shape[:2]) * (spacing_kji[plane.down], spacing_kji[plane.across])
    low_mm, high_mm = _view(plane, box, volume.shape_kji, spacing_kji, size_mm)
    step = float((high_mm - low_mm).max()) / PANEL_PIXELS
    start = (low_mm + high_mm) / 2 - step * PANEL_PIXELS / 2
    places_mm = start[:, None] + step * (np.arange(PANEL_PIXELS) + 0.5)
    rows, columns = (np.floor(places_mm[n] / size_mm[n] * picture.shape[n]).astype(int) for n in range(2))
    seen = _inside(rows, picture.shape[0])[:, None] & _inside(columns, picture.shape[1])[None, :]
    at = np.ix_(rows.clip(0, picture.shape[0] - 1), columns.clip(0, picture.shape[1] - 1))
    panel = np.where(seen[..., None], picture[at], 0.0)
    for mask, color in zip(masks, colors):
        shown = mask[at] & seen
        panel[shown & ~ndimage.binary_erosion(shown, border_value=1)] = color
    return (panel * 255).round().astype(np.uint8)


def _view(
    plane: Plane, box: Box | None, shape_kji: Sequence[int], spacing_kji: np.ndarray, size_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From ... to, (down, across) in mm from the upper left edge."""
    if box is None:
        return np.zeros(2), size_mm
    low, high = [], []
    for axis, flip in ((plane.down, plane.flip_down), (plane.across, plane.flip_across)):
        first, last = box[axis]
        first, last = (shape_kji[axis] - last, shape_kji[axis] - first) if flip else (first, last)
        low.append(first * spacing_kji[axis])
        high.append(last * spacing_kji[axis])
    margin = max(MARGIN * max(b - a for a, b in zip(low, high)), LEAST_MARGIN_MM)
    return np.maximum(np.array(low) - margin, 0.0), np.minimum(np.array(high) + margin, size_mm)


def _inside(indices: np.ndarray, count: int) -> np.ndarray:
    inside: np.ndarray = (indices >= 0) & (indices < count)
    return inside
