"""Where to look: views chosen from prompts and masks. Pure functions; every number here may be tuned after training."""

from __future__ import annotations

import math

import numpy as np

from .fov import FieldOfView

BOX_ZOOM = 2.0
"""Side of the view over the longest side of a box. Training saw 1.3 ... 2.6, mostly 2.0."""
MASK_ZOOM = 2.0
"""Side of the view over the longest side of a known mask."""
CLICK_MARGIN = 0.08
"""Share of the side that every prompt keeps from the border of the view."""
MINIMUM_SIDE_PX = 24
"""Fewer pixels across leave nothing but interpolation to look at."""
MAXIMUM_SIDE = 1.1
"""Largest view, over the longest side of the slice."""
SIDE_STEP = 2 ** (1 / 4)
"""Sides lie on a geometric grid of this ratio, so that similar prompts share one encoded view."""
POSITION_STEP = 1 / 16
"""Views are placed on a grid of this share of their side."""
KEEP_FILL = (0.3, 0.75)
"""A slice is looked at in its neighbour's view while the mask takes this share of its side."""
KEEP_MARGIN = 0.06
"""... and keeps this share of the side away from its border."""
CLICK_VIEWS = (1.0, 0.35, 0.125)
"""Views tried for clicks alone, over the longest side of the slice."""
TOUCHING_PENALTY = 0.97
"""Factor on the score of a candidate that is cut off by the border of its view: the network's own judgement of it is
right as a rule, and the second look sees the rest."""
SMALL_FILL = 0.12
"""A candidate that takes less of its view than this is better judged in a narrower one; its score shrinks with it."""
MISSED_CLICK_PENALTY = 0.1
"""Factor on the score of a candidate that leaves out a click inside the object: it is of another one."""
SURE_SCORE = 0.75
"""A candidate of the widest view with this score is taken without a look at the narrower views: so is more than half of
the first clicks on `dev`, and no mask of them got worse (see TRAINING.md)."""
Spacing = tuple[float, float]
Box = tuple[float, float, float, float]


def square_view(
    center_xy: tuple[float, float], side_mm: float, slice_shape: tuple[int, int], spacing: Spacing
) -> FieldOfView:
    """A view of about this side and centre, on the grids of sides and positions.

    Args:
        center_xy: Centre in slice pixels.
        side_mm: Wanted side.
        slice_shape: Rows and columns of the slice.
        spacing: mm between rows, between columns.
    """
    side_mm = grid_side(side_mm, slice_shape, spacing)
    width, height = max(round(side_mm / spacing[1]), 1), max(round(side_mm / spacing[0]), 1)
    return FieldOfView(_place(center_xy[0], width), _place(center_xy[1], height), width, height)


def grid_side(side_mm: float, slice_shape: tuple[int, int], spacing: Spacing) -> float:
    """The side in mm that a view of this wanted side gets."""
    smallest = MINIMUM_SIDE_PX * min(spacing)
    largest = max(MAXIMUM_SIDE * longest_side(slice_shape, spacing), smallest)
    step = round(math.log(min(max(side_mm, smallest), largest) / smallest) / math.log(SIDE_STEP))
    # Rounded to the grid, but never beyond the largest.
    return min(smallest * SIDE_STEP**step, largest)


def _place(center: float, size: int) -> int:
    grid = max(size * POSITION_STEP, 1.0)
    return round(round((center + 0.5 - size / 2) / grid) * grid)


def longest_side(slice_shape: tuple[int, int], spacing: Spacing) -> float:
    """Longest side of a slice in mm."""
    return max(slice_shape[0] * spacing[0], slice_shape[1] * spacing[1])


def view_for_box(
    box: Box, points_xy: np.ndarray, slice_shape: tuple[int, int], spacing: Spacing, zoom: float = BOX_ZOOM
) -> FieldOfView:
    """The view for a box of first and last pixels XYXY; it shows all clicks (N,2) as well."""
    x0, y0, x1, y1 = box
    low, high = np.array([x0, y0]) - 0.5, np.array([x1, y1]) + 0.5
    mm = np.array([spacing[1], spacing[0]])
    side = zoom * float(((high - low) * mm).max())
    center = (low + high) / 2
    side = grid_side(side, slice_shape, spacing)
    if len(points_xy):
        # A click beside the object moves the view and, if need be, widens it.
        all_low, all_high = np.minimum(low, points_xy.min(axis=0)), np.maximum(high, points_xy.max(axis=0))
        needed = float(((all_high - all_low) * mm).max()) / (1 - 2 * CLICK_MARGIN)
        largest = grid_side(math.inf, slice_shape, spacing)
        while side < min(needed, largest):
            side = min(side * SIDE_STEP, largest)
        reach = np.maximum(side / mm * (0.5 - CLICK_MARGIN), (all_high - all_low) / 2)
        center = np.clip(center, all_high - reach, all_low + reach)
    return square_view((float(center[0]), float(center[1])), side, slice_shape, spacing)


def view_for_mask(box: Box, points_xy: np.ndarray, slice_shape: tuple[int, int], spacing: Spacing) -> FieldOfView:
    """The view for a mask with this bounding box (first and last pixels) and clicks (N,2)."""
    return view_for_box(box, points_xy, slice_shape, spacing, MASK_ZOOM)


def keeps_view(view: FieldOfView, box: Box, slice_shape: tuple[int, int]) -> bool:
    """Whether a mask with this bounding box is still well placed in a view, so that no other is needed."""
    fill = max((box[2] - box[0] + 1) / view.width, (box[3] - box[1] + 1) / view.height)
    if not KEEP_FILL[0] <= fill <= KEEP_FILL[1]:
        # A view that cannot grow or shrink is kept as well.
        return False
    margin_x, margin_y = KEEP_MARGIN * view.width, KEEP_MARGIN * view.height
    seen = view.clipped(slice_shape)
    return (
        (box[0] - view.x0 >= margin_x or seen.x0 > view.x0)
        and (box[1] - view.y0 >= margin_y or seen.y0 > view.y0)
        and (view.x0 + view.width - 1 - box[2] >= margin_x or seen.x0 + seen.width < view.x0 + view.width)
        and (view.y0 + view.height - 1 - box[3] >= margin_y or seen.y0 + seen.height < view.y0 + view.height)
    )


def views_for_clicks(
    points_xy: np.ndarray, labels: np.ndarray, slice_shape: tuple[int, int], spacing: Spacing
) -> list[FieldOfView]:
    """Candidate views, widest first, for clicks without a box or mask; all show the clicks inside the object."""
    positive = points_xy[labels == 1]
    middle = np.array([(slice_shape[1] - 1) / 2, (slice_shape[0] - 1) / 2])
    target = (positive.min(axis=0) + positive.max(axis=0)) / 2 if len(positive) else middle
    mm = np.array([spacing[1], spacing[0]])
    longest = longest_side(slice_shape, spacing)
    extent = np.array([slice_shape[1], slice_shape[0]])
    needed = float(((positive.max(axis=0) - positive.min(axis=0)) * mm).max()) if len(positive) else 0.0
    views: list[FieldOfView] = []
    for share in CLICK_VIEWS if len(positive) else CLICK_VIEWS[:1]:
        side = share * longest
        if share < 1 and needed > side * (1 - 2 * CLICK_MARGIN):
            break
        # Black borders teach nothing: a view stays within the slice where it can.
        half = np.minimum(side / mm / 2, extent / 2)
        center = np.clip(target, half - 0.5, extent - half - 0.5)
        view = square_view((float(center[0]), float(center[1])), side, slice_shape, spacing)
        if not views:
            # Of a whole slice the grids of sides and positions may leave out a margin, and a click in it.
            largest = grid_side(math.inf, slice_shape, spacing)
            side = grid_side(side, slice_shape, spacing)
            while not _shows_well(view, positive, slice_shape) and side < largest:
                side = min(side * SIDE_STEP, largest)
                view = square_view((float(center[0]), float(center[1])), side, slice_shape, spacing)
        if view not in views and (not views or shows(view, positive)):
            views.append(view)
    return views


def _shows_well(view: FieldOfView, points_xy: np.ndarray, slice_shape: tuple[int, int]) -> bool:
    """Whether a view shows points (N,2) and, where the slice goes on, some more of it around each of them."""
    margin = CLICK_MARGIN * np.array([view.width, view.height])
    last = np.array([slice_shape[1], slice_shape[0]]) - 1
    return shows(view, np.concatenate([points_xy - margin, points_xy + margin]).clip(0, last))


def shows(view: FieldOfView, points_xy: np.ndarray) -> bool:
    """Whether all points (N,2) lie in a view."""
    return bool(shown(view, points_xy).all())


def shown(view: FieldOfView, points_xy: np.ndarray) -> np.ndarray:
    """Which of points (N,2) lie in a view, (N,) bool."""
    low, high = np.array(view[:2]) - 0.5, np.array(view[:2]) + np.array(view[2:]) - 0.5
    inside: np.ndarray = ((points_xy >= low) & (points_xy <= high)).all(axis=1)
    return inside


def choose_candidate(
    views: list[FieldOfView],
    logits: np.ndarray,
    iou: np.ndarray,
    presence: np.ndarray,
    slice_shape: tuple[int, int],
    holds: np.ndarray | None = None,
) -> tuple[int, int, float]:
    """The best of the candidate masks in several views.

    Args:
        views: V views.
        logits: (V,C,h,w) mask logits in each.
        iou: (V,C) predicted intersection over union.
        presence: (V,) probability that the object is there.
        slice_shape: Rows and columns of the slice.
        holds: (V,C) bool, whether a candidate holds all clicks inside the object; None for all.

    Returns:
        Indices of view and candidate, and the score by which it is the best, 0 to 1.
    """
    score = iou * presence[:, None]
    if holds is not None:
        score = np.where(holds, score, score * MISSED_CLICK_PENALTY)
    masks = logits > 0
    for v, view in enumerate(views):
        for c in range(masks.shape[1]):
            mask = masks[v, c]
            if not mask.any():
                score[v, c] *= 1e-3
                continue
            fill = max(np.ptp(np.flatnonzero(mask.any(axis=axis))) + 1 for axis in (0, 1)) / mask.shape[0]
            score[v, c] *= min(fill / SMALL_FILL, 1.0)
            if touches_border(mask, view, slice_shape):
                score[v, c] *= TOUCHING_PENALTY
    best = int(score.argmax())
    return best // masks.shape[1], best % masks.shape[1], float(score.flat[best])


def touches_border(mask: np.ndarray, view: FieldOfView, slice_shape: tuple[int, int]) -> bool:
    """Whether a mask (h,w) of a view is cut off by the view's border, other than by the slice's."""
    return bool(
        (view.x0 > 0 and mask[:, 0].any())
        or (view.y0 > 0 and mask[0].any())
        or (view.x0 + view.width < slice_shape[1] and mask[:, -1].any())
        or (view.y0 + view.height < slice_shape[0] and mask[-1].any())
    )
