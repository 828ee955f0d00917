"""Dense maps of prompts: what is drawn, and how much each pixel looks like the object as far as the prompts show it."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel, Intensities
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport

ELLIPSE = 0.75
"""Inside a box this share of the inscribed ellipse counts as object: its rim may be either."""
CLICK_RADIUS = 10.0
"""Network pixels around a click that count as what was clicked at."""
CLICK_WEIGHT = 5.0
"""Weight of pixels at clicks and scribbles over those of masks and boxes, which are many."""


def known_pixels(
    boxes: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    mask_logits: np.ndarray,
    has_mask: np.ndarray,
    neighbour_logits: np.ndarray,
    has_neighbour: np.ndarray,
    drawn: np.ndarray,
    image_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the prompts of B objects say that the object is, and where it is not.

    The surest knowledge counts: an earlier mask, else a box, else a lasso, else the neighbour's mask; clicks and
    scribbles besides. Around clicks alone all else counts as surroundings, most of which it is.

    Args:
        boxes: (B,4) XYXY network pixels, NaN where there is none.
        points: (B,N,2) network pixels.
        labels: (B,N) 1 inside, 0 outside, -1 padding.
        mask_logits: (B,h,h).
        has_mask: (B,) bool.
        neighbour_logits: (B,h,h).
        has_neighbour: (B,) bool.
        drawn: (B,3,h,h) scribbles inside, outside, and the lasso, 0...1.
        image_size: Side of the network's input.

    Returns:
        Weights inside and outside, (B,h,h) float32 each.
    """
    side = drawn.shape[-1]
    stride = image_size / side
    pixels = (np.arange(side, dtype=np.float32) + 0.5) * stride - 0.5
    inside = np.zeros((len(boxes), side, side), np.float32)
    outside = np.ones_like(inside)
    for i, box in enumerate(boxes):
        lasso = drawn[i, 2] > 0.5
        if has_mask[i]:
            inside[i] = mask_logits[i] > 0
            outside[i] = 1 - inside[i]
        elif np.isfinite(box).all():
            u = (2 * pixels - box[0] - box[2]) / max(box[2] - box[0] + 1, 1)
            v = (2 * pixels - box[1] - box[3]) / max(box[3] - box[1] + 1, 1)
            inside[i] = (u * u)[None] + (v * v)[:, None] < ELLIPSE
            outside[i] = (np.abs(u) > 1)[None] | (np.abs(v) > 1)[:, None]
        elif lasso.any():
            inside[i] = lasso
            outside[i] = 1 - inside[i]
        elif has_neighbour[i]:
            inside[i] = neighbour_logits[i] > 0
            outside[i] = 1 - inside[i]
    for wanted, mine, other in ((1, inside, outside), (0, outside, inside)):
        marked = drawn[:, 0 if wanted else 1] > 0.5
        for i, k in np.argwhere(labels == wanted):
            x, y = points[i, k]
            marked[i] |= ((pixels - x) ** 2)[None] + ((pixels - y) ** 2)[:, None] <= CLICK_RADIUS**2
        mine[marked] = CLICK_WEIGHT
        other[marked] = 0
    return inside, outside


def grey(images: np.ndarray, side: int) -> np.ndarray:
    """Images (B,3,S,S) as grey ones on the grid of masks, (B,side,side) float32."""
    step = images.shape[-1] // side
    mean = images[:, 0] if np.shares_memory(images[:, 0], images[:, -1]) else images.mean(axis=1)
    # A sum of every step-th pixel takes a fifth of the time of a mean over blocks.
    total = sum(mean[:, y::step, x::step] for y in range(step) for x in range(step))
    return np.asarray(total / step**2, np.float32)


def dense_maps(
    seen: Intensities,
    prompts: SlicePrompts,
    viewports: list[Viewport],
    earlier: list[PlacedLogits],
    sparse: tuple[np.ndarray, np.ndarray, np.ndarray],
    image_size: int,
) -> np.ndarray:
    """`PromptBatch.dense` of one object's prompts in V viewports of its slice.

    Args:
        seen: What the network sees, V images on the grid of mask logits.
        prompts: Of the object.
        viewports: What it sees.
        earlier: The slice's own mask before, for each viewport; empty where there is none.
        sparse: Boxes (V,4), points (V,N,2) and labels (V,N) in network pixels.
        image_size: Side of the network's input.

    Returns:
        (V,5,side,side) float32.
    """
    count, side = len(viewports), seen.fine.shape[-1]
    drawn = np.zeros((count, 3, side, side), np.float32)
    for channel, placed in enumerate((prompts.scribble, prompts.scribble_outside, prompts.lasso)):
        if placed is not None:
            drawn[:, channel] = [placed.seen_in(viewport, side) > 0 for viewport in viewports]
    model = prompts.appearance
    if model is None:
        neighbours = [] if prompts.neighbour is None else [prompts.neighbour] * count
        masks = [
            np.stack([mask.seen_in(viewport, side) for mask, viewport in zip(given, viewports)])
            if given
            else np.zeros((count, side, side), np.float32)
            for given in (earlier, neighbours)
        ]
        known = [np.full(count, bool(given)) for given in (earlier, neighbours)]
        inside, outside = known_pixels(*sparse, masks[0], known[0], masks[1], known[1], drawn, image_size)
        model = AppearanceModel.fit(seen, inside, outside)
    return np.concatenate([model.maps(seen), drawn], axis=1, dtype=np.float32)
