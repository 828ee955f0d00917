"""What a box says of a round object: its outline is close to the ellipse inscribed in the box."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig


def rounded(logits: np.ndarray, box: np.ndarray, size: int, heuristics: HeuristicsConfig) -> np.ndarray:
    """Draw masks towards the ellipse inscribed in their box: the more, the less sure and the rounder they are.

    What the network adds to the ellipse is in part noise, most of all where contrast is low. Masks of rings, cords and
    branches agree little with the ellipse, those of organs with sharp contours are sure: both stay nearly as they are.
    On boxes of `dev` CT lesions and sarcomas gained 0.014 and 0.016 Dice, hippocampi lost 0.007
    (docs/experiments/first-weights/13-roundness.md).

    Args:
        logits: (C,h,h) mask logits of a viewport.
        box: (4,) XYXY, first and last network pixels.
        size: Side of the viewport in network pixels.
        heuristics: How much they are drawn.

    Returns:
        (C,h,h) float32.
    """
    side = logits.shape[-1]
    pixels = (np.arange(side, dtype=np.float32) + 0.5) * (size / side) - 0.5
    x0, y0, x1, y1 = (float(edge) for edge in box)
    u = (2 * pixels - x0 - x1) / max(x1 - x0 + 1, 1.0)
    v = (2 * pixels - y0 - y1) / max(y1 - y0 + 1, 1.0)
    # 1 at the centre, 0 on the ellipse.
    ellipse = np.maximum(1 - (u * u)[None, :] - (v * v)[:, None], -1)
    inside, masks = ellipse > 0, logits > 0
    agreement = 2 * (masks & inside).sum(axis=(1, 2)) / np.maximum(masks.sum(axis=(1, 2)) + inside.sum(), 1)
    presence = 1 / (1 + np.exp(-logits.clip(-30, 30)))
    unsure = (
        (4 * presence * (1 - presence)).sum(axis=(1, 2)) * (size / side) ** 2 / max((x1 - x0 + 1) * (y1 - y0 + 1), 1.0)
    )
    weight = heuristics.roundness_logit * np.minimum(unsure, heuristics.roundness_unsure) * agreement**2
    return np.asarray(logits + weight[:, None, None] * ellipse, np.float32)
