"""Clicks that say that a mask is of another object than the one that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
    from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrompts


def rejects_earlier(prompts: SlicePrompts, heuristics: HeuristicsConfig) -> bool:
    """Whether the clicks want another object than the earlier mask, which is then better forgotten.

    A first click on a lymph node may be taken for one on the whole abdomen. A second one, deep in it and labelled
    outside, leaves little of the mask to correct: from it and its wide viewport the network finds the node late or
    never. Without it, the clicks are segmented anew in narrow viewports.
    """
    if not heuristics.rejection:
        return False
    if prompts.earlier is None or prompts.trusts_earlier or prompts.box is not None or prompts.neighbour is not None:
        return False
    inside, outside = prompts.points[prompts.labels == 1], prompts.points[prompts.labels == 0]
    if len(prompts.points) > heuristics.rejection_clicks or len(inside) == 0 or len(outside) == 0:
        return False
    return _depth(prompts.earlier, outside) > heuristics.rejection_depth * _depth(prompts.earlier, inside)


def _depth(mask: PlacedLogits, points: np.ndarray) -> float:
    """Distance in pixels from the border of a mask to the deepest of points (N,2) in it; 0 when all are outside."""
    rectangle, shape = mask.rectangle, np.array(mask.logits.shape)
    cell = np.array([rectangle.height, rectangle.width]) / shape
    corner = np.array([rectangle.y0, rectangle.x0]) - 0.5
    # A rim of nothing: what the rectangle leaves out is not the object.
    outside = np.argwhere(np.pad(mask.logits <= 0, 1, constant_values=True))
    at = np.floor((points[:, ::-1] - corner) / cell).clip(-1, shape) + 1
    return float(np.linalg.norm((at[:, None] - outside) * cell, axis=2).min(axis=1).max())
