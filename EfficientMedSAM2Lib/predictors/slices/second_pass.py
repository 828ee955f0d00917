"""A slice asked about once more by what its first mask says: its contour moves to the edges of this slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Optional

import numpy as np

from EfficientMedSAM2Lib.core.metrics import intersection_over_union
from EfficientMedSAM2Lib.models.bundles import ImageFeatures
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors.slices.inference_thread import InferenceThread
from EfficientMedSAM2Lib.predictors.slices.slice_data import SINGLE_MASK, PlacedLogits, SlicePrediction, SlicePrompts

_KEPT_LOGIT = 4.0
"""Where a kept mask saturates, as the network's own priors do."""

Ask = Callable[[SlicePrompts, Optional[ImageFeatures]], SlicePrediction]
"""Segments the slice in the first mask's viewport. Features with memories are given, or None: then without memory."""


def second_pass(
    first: SlicePrediction,
    prompts: SlicePrompts,
    ask: Ask,
    heuristics: HeuristicsConfig,
    thread: InferenceThread | None,
) -> SlicePrediction:
    """The single mask once more, with itself as a prompt.

    It stands for the neighbouring slice's mask, which would draw the contour back to its own. What was said of the
    object as a whole, presence and score, stays: given a mask, the network believes in it.

    Args:
        first: The first answer.
        prompts: What it was given for.
        ask: Asks the network.
        heuristics: Of the network.
        thread: For a propagated slice: asks without memory besides, from the mask and the box of it, at the same time.
    """
    known = PlacedLogits(first.logits[SINGLE_MASK], first.viewport)
    box = known.bounding_box()
    if box is None:
        return first
    prompts = dataclasses.replace(prompts, earlier=known, neighbour=None, neighbour_mm=0.0)
    kept = heuristics.second_pass_kept * _KEPT_LOGIT * np.tanh(known.logits / _KEPT_LOGIT)
    alone: Callable[[], SlicePrediction] | None = None
    if thread is not None and heuristics.memoryless_pass:
        boxed = dataclasses.replace(prompts, box=np.asarray(box))
        alone = thread.defer(lambda: ask(boxed, None))
    second = first
    if first.iou[SINGLE_MASK] >= heuristics.second_pass_score:
        second = ask(prompts, first.informed)
        second = dataclasses.replace(second, logits=second.logits + kept)
    memoryless = alone().logits[SINGLE_MASK] + kept if alone is not None else None
    return dataclasses.replace(second, iou=first.iou, object_logit=first.object_logit, memoryless=memoryless)


def second_pass_by_task(
    first: SlicePrediction, prompts: SlicePrompts, ask: Ask, heuristics: HeuristicsConfig
) -> SlicePrediction:
    """What a network with a task finds in the box of a propagated slice's first mask, without memory.

    The mask itself, which may have drifted to other tissue, is not shown to it: it knows what is in the box.

    Args:
        first: The first answer.
        prompts: What it was given for.
        ask: Asks the network.
        heuristics: Of the network.
    """
    box = PlacedLogits(first.logits[SINGLE_MASK], first.viewport).bounding_box()
    if box is None:
        return first
    x0, y0, x1, y1 = box
    outward = heuristics.task_box_margin * np.array([x0 - x1, y0 - y1, x1 - x0, y1 - y0])
    second = ask(dataclasses.replace(prompts, box=box + outward, neighbour=None, neighbour_mm=0.0), None)
    if not (second.logits[SINGLE_MASK] > 0).any():
        return first
    return dataclasses.replace(second, iou=first.iou, object_logit=first.object_logit)


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


__all__ = ["second_pass", "second_pass_by_task", "with_memoryless_mask"]
