"""A propagated slice without memory: its contour as this slice alone shows it."""

from __future__ import annotations

import dataclasses

from EfficientMedSAM2Lib.core.metrics import intersection_over_union
from EfficientMedSAM2Lib.predictors.slices.slice_data import SlicePrediction


def with_memoryless_mask(prediction: SlicePrediction, choice: int, least_overlap: float) -> SlicePrediction:
    """The mean of a mask as it was propagated and as the slice alone shows it.

    Contours drift from slice to slice, each following the one before. Where the two masks hardly overlap, the network
    has taken something else for the object, and nothing changes.

    Args:
        prediction: Of the slice, by propagation.
        choice: Which of its masks was taken.
        least_overlap: Intersection over union from which on the mean is taken.

    Returns:
        The prediction, with other logits of the chosen mask.
    """
    before, alone = prediction.logits[choice], prediction.memoryless
    if alone is None or intersection_over_union(alone > 0, before > 0) < least_overlap:
        return prediction
    logits = prediction.logits.copy()
    logits[choice] = (before + alone) / 2
    return dataclasses.replace(prediction, logits=logits)


__all__ = ["with_memoryless_mask"]
