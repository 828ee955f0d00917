"""Where a structure is that nobody has pointed at: a network that has learnt a task is asked without a prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.boxes import BoxXYXY
from EfficientMedSAM2Lib.predictors.slices.slice_data import SINGLE_MASK, PlacedLogits, SliceImage, SlicePrompts
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.viewport_choice import longest_side, square_viewport, task_view_side_mm

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.predictors.volume.frames import VolumeContext

SEARCH_RATIO = 8.0
"""Side of the viewports that are searched over the structure's longest side; less where the slice is smaller. Training
asks without a prompt in the same viewports."""
STEP = 0.5
"""Distance of neighbouring viewports, as a share of their side."""
MOST_SLICES = 64
"""Slices that are searched; of more, an even choice."""
LEAST_SCORE = 0.25
"""Below, nothing is proposed. Not compared."""


class Proposal(NamedTuple):
    """The slice on which a structure shows best.

    Attributes:
        frame_idx: Number of the slice.
        box: First and last pixels XYXY of the structure there.
        score: 0...1, predicted IoU times the probability that it is there, over this slice and its neighbours.
    """

    frame_idx: int
    box: BoxXYXY
    score: float


class SearchedSlice(NamedTuple):
    """A slice was searched.

    Attributes:
        done: Slices up to now.
        total: Slices in all.
        proposal: With the last slice: where the structure is; None before, and where nothing looks like it.
    """

    done: int
    total: int
    proposal: Proposal | None = None


def search_side_mm(shape: tuple[int, int], spacing: tuple[float, float], size_mm: float) -> float:
    """Side of the viewports in which a structure of this size is searched on slices of this shape and spacing."""
    longest = longest_side(shape, spacing)
    return min(longest, SEARCH_RATIO * size_mm) if size_mm > 0 else longest


def search(slices: SlicePredictor, volume: VolumeContext, size_mm: float) -> Iterator[SearchedSlice]:
    """Search a volume, a slice at a time.

    Args:
        slices: On a network that has learnt the structure.
        volume: Where to search.
        size_mm: Longest side of the structure on a slice; 0 where it is not known.

    Yields:
        A step for each slice, the last one with the proposal.
    """
    count = len(volume.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int))
    found: list[tuple[float, BoxXYXY | None]] = []
    for index in chosen:
        found.append(_best_on(slices, volume, int(index), size_mm))
        is_last = len(found) == len(chosen)
        yield SearchedSlice(len(found), len(chosen), _best_of(chosen, found) if is_last else None)


def _best_of(chosen: np.ndarray, found: list[tuple[float, BoxXYXY | None]]) -> Proposal | None:
    """The slice on which the structure shows best; None where nothing looks like it."""
    scores = np.array([score for score, _ in found])
    if len(scores) > 2:
        # A structure goes on on the next slice; what is on one alone is something else.
        padded = np.pad(scores, 1, mode="edge")
        scores = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    scores = np.where([box is not None for _, box in found], scores, 0.0)
    best = int(scores.argmax())
    box = found[best][1]
    if box is None or scores[best] < LEAST_SCORE:
        return None
    return Proposal(int(chosen[best]), box, float(scores[best]))


def _best_on(slices: SlicePredictor, volume: VolumeContext, index: int, size_mm: float) -> tuple[float, BoxXYXY | None]:
    """Score and box of the structure on a slice: looked for in wide viewports, then in one that suits its size."""
    image = volume.image(index)
    best: tuple[float, BoxXYXY | None] = (0.0, None)
    for viewport in _viewports(image, size_mm):
        best = max(best, _seen(slices, volume, image, viewport), key=lambda found: found[0])
    box = best[1]
    if box is None or not size_mm:
        return best
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    side = task_view_side_mm(size_mm, image.shape, image.spacing, slices.heuristics)
    close = square_viewport(middle, side, image.shape, image.spacing, slices.heuristics)
    return _seen(slices, volume, image, close)


def _seen(
    slices: SlicePredictor, volume: VolumeContext, image: SliceImage, viewport: Viewport
) -> tuple[float, BoxXYXY | None]:
    """Score and box of the structure in a viewport."""
    prediction, _ = slices.predict(image, SlicePrompts(), volume.cache, viewport)
    presence = 1 / (1 + math.exp(-max(min(prediction.presence, 30.0), -30.0)))
    box = PlacedLogits(prediction.logits[SINGLE_MASK], viewport).bounding_box()
    return presence * float(prediction.iou[SINGLE_MASK]), box and _within(box, image.shape)


def _within(box: BoxXYXY, shape: tuple[int, int]) -> BoxXYXY | None:
    x0, y0 = max(round(box[0]), 0), max(round(box[1]), 0)
    x1, y1 = min(round(box[2]), shape[1] - 1), min(round(box[3]), shape[0] - 1)
    return (x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def _viewports(image: SliceImage, size_mm: float) -> Iterator[Viewport]:
    """Viewports that cover a slice, in rows."""
    side = search_side_mm(image.shape, image.spacing, size_mm)
    height, width = (max(round(side / step), 1) for step in image.spacing)
    for y0 in _places(image.shape[0], height):
        for x0 in _places(image.shape[1], width):
            yield Viewport(x0, y0, width, height)


def _places(extent: int, size: int) -> list[int]:
    if size >= extent:
        return [round((extent - size) / 2)]
    count = math.ceil((extent - size) / (STEP * size)) + 1
    return [round(place) for place in np.linspace(0, extent - size, count)]


__all__ = ["Proposal", "SearchedSlice", "search", "search_side_mm"]
