"""Viewports chosen from prompts and masks. Pure functions of these and of `HeuristicsConfig`."""

from __future__ import annotations

import math

import numpy as np

from EfficientMedSAM2Lib.core.boxes import BoxXYXY
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors.viewport import Viewport

Spacing = tuple[float, float]


def square_viewport(
    center_xy: tuple[float, float],
    side_mm: float,
    slice_shape: tuple[int, int],
    spacing: Spacing,
    heuristics: HeuristicsConfig,
) -> Viewport:
    """A viewport of about this side and centre, on the grids of sides and positions.

    Args:
        center_xy: Centre in slice pixels.
        side_mm: Wanted side.
        slice_shape: Rows and columns of the slice.
        spacing: mm between rows, between columns.
        heuristics: Limits and grids.
    """
    side_mm = grid_side(side_mm, slice_shape, spacing, heuristics)
    width, height = max(round(side_mm / spacing[1]), 1), max(round(side_mm / spacing[0]), 1)
    x0, y0 = (_place(center, size, heuristics) for center, size in zip(center_xy, (width, height)))
    return Viewport(x0, y0, width, height)


def grid_side(side_mm: float, slice_shape: tuple[int, int], spacing: Spacing, heuristics: HeuristicsConfig) -> float:
    """The side in mm that a viewport of this wanted side gets."""
    smallest = heuristics.zoom_smallest_px * min(spacing)
    largest = max(heuristics.zoom_largest * longest_side(slice_shape, spacing), smallest)
    side_mm = min(max(side_mm, smallest), largest)
    if not heuristics.viewport_grid:
        return side_mm
    step = round(math.log(side_mm / smallest) / math.log(heuristics.viewport_grid_side_ratio))
    # Rounded to the grid, but never beyond the largest.
    return min(smallest * heuristics.viewport_grid_side_ratio**step, largest)


def _place(center: float, size: int, heuristics: HeuristicsConfig) -> int:
    grid = max(size * heuristics.viewport_grid_step, 1.0) if heuristics.viewport_grid else 1.0
    return round(round((center + 0.5 - size / 2) / grid) * grid)


def longest_side(slice_shape: tuple[int, int], spacing: Spacing) -> float:
    """Longest side of a slice in mm."""
    return max(slice_shape[0] * spacing[0], slice_shape[1] * spacing[1])


def viewport_for_box(
    box: BoxXYXY, points_xy: np.ndarray, slice_shape: tuple[int, int], spacing: Spacing, heuristics: HeuristicsConfig
) -> Viewport:
    """The viewport for a box of first and last pixels XYXY; it shows all clicks (N,2) as well."""
    return _viewport_around(box, points_xy, slice_shape, spacing, heuristics.zoom_box, heuristics)


def viewport_for_mask(
    box: BoxXYXY, points_xy: np.ndarray, slice_shape: tuple[int, int], spacing: Spacing, heuristics: HeuristicsConfig
) -> Viewport:
    """The viewport for a mask with this bounding box (first and last pixels) and clicks (N,2)."""
    return _viewport_around(box, points_xy, slice_shape, spacing, heuristics.zoom_mask, heuristics)


def viewport_of_slice(slice_shape: tuple[int, int], spacing: Spacing, heuristics: HeuristicsConfig) -> Viewport:
    """The viewport of a whole slice."""
    middle = ((slice_shape[1] - 1) / 2, (slice_shape[0] - 1) / 2)
    return square_viewport(middle, longest_side(slice_shape, spacing), slice_shape, spacing, heuristics)


def _viewport_around(
    box: BoxXYXY,
    points_xy: np.ndarray,
    slice_shape: tuple[int, int],
    spacing: Spacing,
    zoom: float,
    heuristics: HeuristicsConfig,
) -> Viewport:
    if not heuristics.zoom:
        return viewport_of_slice(slice_shape, spacing, heuristics)
    x0, y0, x1, y1 = box
    low, high = np.array([x0, y0]) - 0.5, np.array([x1, y1]) + 0.5
    mm = np.array([spacing[1], spacing[0]])
    side = zoom * float(((high - low) * mm).max())
    center = (low + high) / 2
    side = grid_side(side, slice_shape, spacing, heuristics)
    margin = heuristics.zoom_margin
    if len(points_xy):
        # A click beside the object moves the viewport and, if need be, widens it.
        all_low, all_high = np.minimum(low, points_xy.min(axis=0)), np.maximum(high, points_xy.max(axis=0))
        needed = float(((all_high - all_low) * mm).max()) / (1 - 2 * margin)
        largest = grid_side(math.inf, slice_shape, spacing, heuristics)
        while side < min(needed, largest):
            side = min(side * heuristics.viewport_grid_side_ratio, largest)
        reach = np.maximum(side / mm * (0.5 - margin), (all_high - all_low) / 2)
        center = np.clip(center, all_high - reach, all_low + reach)
    return square_viewport((float(center[0]), float(center[1])), side, slice_shape, spacing, heuristics)


def keeps_viewport(
    viewport: Viewport, box: BoxXYXY, slice_shape: tuple[int, int], heuristics: HeuristicsConfig
) -> bool:
    """Whether a mask with this bounding box is still well placed in a viewport, so that no other is needed."""
    if not heuristics.keep_viewport:
        return False
    lowest, highest = heuristics.keep_viewport_fill
    fill = max((box[2] - box[0] + 1) / viewport.width, (box[3] - box[1] + 1) / viewport.height)
    if not lowest <= fill <= highest:
        # A viewport that cannot grow or shrink is kept as well.
        return False
    margin_x, margin_y = (
        heuristics.keep_viewport_margin * viewport.width,
        heuristics.keep_viewport_margin * viewport.height,
    )
    seen = viewport.clipped(slice_shape)
    return (
        (box[0] - viewport.x0 >= margin_x or seen.x0 > viewport.x0)
        and (box[1] - viewport.y0 >= margin_y or seen.y0 > viewport.y0)
        and (
            viewport.x0 + viewport.width - 1 - box[2] >= margin_x or seen.x0 + seen.width < viewport.x0 + viewport.width
        )
        and (
            viewport.y0 + viewport.height - 1 - box[3] >= margin_y
            or seen.y0 + seen.height < viewport.y0 + viewport.height
        )
    )


def viewports_for_clicks(
    points_xy: np.ndarray,
    labels: np.ndarray,
    slice_shape: tuple[int, int],
    spacing: Spacing,
    heuristics: HeuristicsConfig,
    size_mm: float = 0.0,
) -> list[Viewport]:
    """Candidate viewports, widest first, for clicks without a box or mask; all show the clicks inside the object.

    Args:
        points_xy: (N,2) clicks in slice pixels.
        labels: (N,) 1 inside the object, 0 outside.
        slice_shape: Rows and columns of the slice.
        spacing: mm between rows, between columns.
        heuristics: Sides, limits and grids.
        size_mm: Longest side of the structure that is meant, which one viewport suits; 0 where it is not known.
    """
    positive = points_xy[labels == 1]
    middle = np.array([(slice_shape[1] - 1) / 2, (slice_shape[0] - 1) / 2])
    target = (positive.min(axis=0) + positive.max(axis=0)) / 2 if len(positive) else middle
    mm = np.array([spacing[1], spacing[0]])
    longest = longest_side(slice_shape, spacing)
    extent = np.array([slice_shape[1], slice_shape[0]])
    needed = float(((positive.max(axis=0) - positive.min(axis=0)) * mm).max()) if len(positive) else 0.0
    viewports: list[Viewport] = []
    narrower = heuristics.narrow_viewports_shares if heuristics.narrow_viewports and len(positive) else ()
    shares: tuple[float, ...] = (1.0, *narrower)
    if size_mm and len(positive):
        shares = (task_view_side_mm(size_mm, slice_shape, spacing, heuristics) / longest,)
    for share in shares:
        side = share * longest
        if viewports and needed > side * (1 - 2 * heuristics.zoom_margin):
            break
        # Black borders teach nothing: a viewport stays within the slice where it can.
        half = np.minimum(side / mm / 2, extent / 2)
        center = np.clip(target, half - 0.5, extent - half - 0.5)
        viewport = square_viewport((float(center[0]), float(center[1])), side, slice_shape, spacing, heuristics)
        if not viewports:
            # Of a whole slice the grids of sides and positions may leave out a margin, and a click in it.
            largest = grid_side(math.inf, slice_shape, spacing, heuristics)
            side = grid_side(side, slice_shape, spacing, heuristics)
            while not _shows_well(viewport, positive, slice_shape, heuristics) and side < largest:
                side = min(side * heuristics.viewport_grid_side_ratio, largest)
                viewport = square_viewport((float(center[0]), float(center[1])), side, slice_shape, spacing, heuristics)
        if viewport not in viewports and (not viewports or shows(viewport, positive)):
            viewports.append(viewport)
    return viewports


def _shows_well(
    viewport: Viewport, points_xy: np.ndarray, slice_shape: tuple[int, int], heuristics: HeuristicsConfig
) -> bool:
    """Whether a viewport shows points (N,2) and, where the slice goes on, some more of it around each of them."""
    margin = heuristics.zoom_margin * np.array([viewport.width, viewport.height])
    last = np.array([slice_shape[1], slice_shape[0]]) - 1
    return shows(viewport, np.concatenate([points_xy - margin, points_xy + margin]).clip(0, last))


def task_view_side_mm(
    size_mm: float, slice_shape: tuple[int, int], spacing: Spacing, heuristics: HeuristicsConfig
) -> float:
    """Side in mm of the viewport that suits a structure with this longest side in mm (`task_view`)."""
    return min(heuristics.task_view_zoom * size_mm, longest_side(slice_shape, spacing))


def shows(viewport: Viewport, points_xy: np.ndarray) -> bool:
    """Whether all points (N,2) lie in a viewport."""
    return bool(shown(viewport, points_xy).all())


def shown(viewport: Viewport, points_xy: np.ndarray) -> np.ndarray:
    """Which of points (N,2) lie in a viewport, (N,) bool."""
    low, high = np.array(viewport[:2]) - 0.5, np.array(viewport[:2]) + np.array(viewport[2:]) - 0.5
    inside: np.ndarray = ((points_xy >= low) & (points_xy <= high)).all(axis=1)
    return inside


def choose_candidate(
    viewports: list[Viewport],
    logits: np.ndarray,
    iou: np.ndarray,
    presence: np.ndarray,
    slice_shape: tuple[int, int],
    heuristics: HeuristicsConfig,
) -> tuple[int, int, float]:
    """The best of the candidate masks in several viewports.

    Args:
        viewports: V viewports.
        logits: (V,C,h,w) mask logits in each.
        iou: (V,C) predicted intersection over union.
        presence: (V,) probability that the object is there.
        slice_shape: Rows and columns of the slice.
        heuristics: What counts besides the predicted scores.

    Returns:
        Indices of viewport and candidate, and the score by which it is the best, 0 to 1.
    """
    score = iou * presence[:, None]
    masks = logits > 0
    for v, viewport in enumerate(viewports):
        for c in range(masks.shape[1]):
            mask = masks[v, c]
            if not mask.any():
                score[v, c] *= 1e-3
                continue
            if not heuristics.candidate_score:
                continue
            fill = max(np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1)) / mask.shape[0]
            score[v, c] *= min(fill / heuristics.candidate_score_fill, 1.0)
            if touches_border(mask, viewport, slice_shape):
                score[v, c] *= heuristics.candidate_score_cut_off
    best = int(score.argmax())
    return best // masks.shape[1], best % masks.shape[1], float(score.flat[best])


def touches_border(mask: np.ndarray, viewport: Viewport, slice_shape: tuple[int, int]) -> bool:
    """Whether a mask (h,w) of a viewport is cut off by the viewport's border, other than by the slice's."""
    return bool(
        (viewport.x0 > 0 and mask[:, 0].any())
        or (viewport.y0 > 0 and mask[0].any())
        or (viewport.x0 + viewport.width < slice_shape[1] and mask[:, -1].any())
        or (viewport.y0 + viewport.height < slice_shape[0] and mask[-1].any())
    )
