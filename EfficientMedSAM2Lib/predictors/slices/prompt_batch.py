"""Prompts of one object, in slice pixels: which viewport they fix, and how the network takes them in several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.appearance import Intensities
from EfficientMedSAM2Lib.models.bundles import Array, PromptBatch
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import dense_maps
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SliceImage, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport


class Attempt(NamedTuple):
    """A viewport to segment in, and the earlier mask that is a prompt there."""

    viewport: Viewport
    earlier: PlacedLogits | None


def viewport_of_prompts(
    image: SliceImage, prompts: SlicePrompts, low_res: int, heuristics: HeuristicsConfig
) -> Viewport | None:
    """The viewport that prompts fix, None when there are clicks alone (or nothing).

    Args:
        image: The slice.
        prompts: Of an object on it.
        low_res: Side of mask logits.
        heuristics: Of the network.
    """
    shown = (prompts.points, image.shape, image.spacing, heuristics)
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        return viewport_choice.viewport_for_box((x0, y0, x1, y1), *shown)
    for known in (prompts.earlier, prompts.neighbour):
        box = known.bounding_box() if known is not None else None
        if known is not None and box is not None:
            viewport, is_viewport = known.rectangle, known.logits.shape == (low_res, low_res)
            keeps = is_viewport and viewport_choice.keeps_viewport(viewport, box, image.shape, heuristics)
            if keeps and viewport_choice.shows(viewport, prompts.points):
                return viewport
            return viewport_choice.viewport_for_mask(box, *shown)
    return None


def prompt_batch(
    prompts: SlicePrompts,
    attempts: list[Attempt],
    config: ModelConfig,
    to_device: Callable[[np.ndarray], Any],
    intensities: Callable[[Viewport], Intensities],
) -> PromptBatch:
    """Prompts of one object in V viewports.

    Args:
        prompts: Of the object; its earlier mask is that of the attempts.
        attempts: V viewports; either all have an earlier mask or none.
        config: Of the network.
        to_device: Makes the network's kind of array.
        intensities: What the network sees of the slice in a viewport, on the grid of mask logits; asked by networks
            with dense maps.
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
        each = [intensities(viewport) for viewport in viewports]
        known = Intensities(*(np.concatenate(parts) for parts in zip(*each)))
        batch.dense = to_device(dense_maps(known, prompts, viewports, earlier, (boxes, points, labels), size))
    return batch
