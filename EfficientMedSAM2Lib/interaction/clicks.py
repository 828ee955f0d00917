"""The clicks that points and scribbles stand for on a slice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.interaction.prompts import PointPrompt, Prompt, ScribblePrompt, point_xy
from EfficientMedSAM2Lib.interaction.segment import SegmentState

#: Clicks that a scribble stands for at most, on each slice: training saw up to seven on a slice.
SCRIBBLE_CLICKS = 5
#: Clicks of a scribble keep this many pixels from each other.
CLICK_DISTANCE_PX = 6.0


class Click(NamedTuple):
    """A click on a slice: (x, y) in pixels, and whether it is inside the object."""

    xy: tuple[float, float]
    positive: bool


def clicks_of(prompt: Prompt, axis: int, index: int) -> list[Click]:
    """Clicks that a prompt stands for on a slice; none for other prompts than points and scribbles."""
    if prompt.axis != axis:
        return []
    if isinstance(prompt, PointPrompt):
        return [Click(point_xy(prompt.index_kji, axis), prompt.positive)] if prompt.index == index else []
    if not isinstance(prompt, ScribblePrompt):
        return []
    low, high = prompt.mask.bounds[axis]
    if not low <= index < high:
        return []
    drawn = prompt.mask.unpack().take(index - low, axis)
    row, column = (prompt.mask.bounds[a][0] for a in range(3) if a != axis)
    return [Click((float(x + column), float(y + row)), prompt.positive) for x, y in centre_line_points(drawn)]


def clicks_on(segment: SegmentState, axis: int, index: int) -> list[Click]:
    """All clicks of a segment's prompts on a slice."""
    return [click for prompt in segment.prompts for click in clicks_of(prompt, axis, index)]


def centre_line_points(
    drawn: np.ndarray, count: int = SCRIBBLE_CLICKS, distance_px: float = CLICK_DISTANCE_PX
) -> list[tuple[int, int]]:
    """Points (x, y) spread along the middle of a scribble, bool (H,W): the first where it is thickest.

    Args:
        drawn: The scribble; one empty gives no points.
        count: Points at most.
        distance_px: Least distance between two of them.
    """
    from scipy import ndimage

    if not drawn.any():
        return []
    depth = ndimage.distance_transform_edt(np.pad(drawn, 1))[1:-1, 1:-1]
    # The middle of a line is what lies no less deep than its neighbours.
    middle = np.argwhere(drawn & (depth >= ndimage.maximum_filter(depth, 3)))
    deepest = depth[tuple(middle.T)]
    nearest = np.linalg.norm(middle - middle[deepest == deepest.max()].mean(axis=0), axis=1)
    chosen = [int(np.argmin(np.where(deepest == deepest.max(), nearest, np.inf)))]
    while len(chosen) < count:
        away = np.linalg.norm(middle[:, None] - middle[chosen], axis=2).min(axis=1)
        farthest = int(away.argmax())
        if away[farthest] < distance_px:
            break
        chosen.append(farthest)
    return [(int(middle[i, 1]), int(middle[i, 0])) for i in chosen]


__all__ = ["Click", "centre_line_points", "clicks_of", "clicks_on"]
