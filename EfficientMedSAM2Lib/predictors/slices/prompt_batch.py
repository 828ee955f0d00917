"""Prompts of one object, in slice pixels, as the network takes them in each of several viewports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from EfficientMedSAM2Lib.models.bundles import Array, PromptBatch
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import dense_maps
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport


class Attempt(NamedTuple):
    """A viewport to segment in, and the earlier mask that is a prompt there."""

    viewport: Viewport
    earlier: PlacedLogits | None


def prompt_batch(
    prompts: SlicePrompts,
    attempts: list[Attempt],
    config: ModelConfig,
    to_device: Callable[[np.ndarray], Any],
    crop: Callable[[Viewport], np.ndarray],
) -> PromptBatch:
    """Prompts of one object in V viewports.

    Args:
        prompts: Of the object; its earlier mask is that of the attempts.
        attempts: V viewports; either all have an earlier mask or none.
        config: Of the network.
        to_device: Makes the network's kind of array.
        crop: What the network sees of the slice in a viewport, (1,3,S,S).
    """
    count, size, low_res = len(attempts), config.image_size, config.low_res_size
    viewports = [attempt.viewport for attempt in attempts]
    earlier = [attempt.earlier for attempt in attempts if attempt.earlier is not None]

    def seen(masks: list[PlacedLogits]) -> Array:
        return to_device(
            np.stack([mask.seen_in(viewport, low_res) for mask, viewport in zip(masks, viewports)])[:, None]
        )

    points = np.zeros((count, 0, 2), np.float32)
    if len(prompts.points):
        points = np.stack([viewport.to_network(prompts.points, size) for viewport in viewports])
    boxes = np.full((count, 4), np.nan, np.float32)
    if prompts.box is not None:
        boxes = np.stack([viewport.box_to_network(prompts.box, size) for viewport in viewports])
    # Clicks outside the object may lie outside a narrow viewport, which they then say nothing about.
    labels = np.array(
        [np.where(viewport_choice.shown(viewport, prompts.points), prompts.labels, -1) for viewport in viewports],
        np.int64,
    ).reshape(count, -1)
    batch = PromptBatch(to_device(points), to_device(labels), to_device(boxes))
    if earlier:
        batch.mask_logits = seen(earlier)
        batch.has_mask = to_device(np.ones(count, bool))
    if prompts.neighbour is not None:
        batch.neighbour_logits = seen([prompts.neighbour] * count)
        batch.neighbour_mm = to_device(np.full(count, prompts.neighbour_mm, np.float32))
    if config.is_fine:
        crops = np.concatenate([crop(viewport) for viewport in viewports])
        batch.dense = to_device(dense_maps(crops, prompts, viewports, earlier, (boxes, points, labels), low_res))
    return batch
