"""Boxes as the protocols ask for them."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.boxes import tight_xyxy

BOX_JITTER = 0.05


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Give the box of a mask (H, W): XYXY of its first and last pixels, (4,) float64."""
    box = tight_xyxy(mask)
    if box is None:
        raise ValueError("An empty mask has no box; leave the object out.")
    return np.array(box)


def jittered_box(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Give the tight box with each side moved by up to `BOX_JITTER` of the box's extent, kept on the slice."""
    box = tight_box(mask)
    extent = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    height, width = mask.shape
    moved = box + generator.uniform(-BOX_JITTER, BOX_JITTER, 4) * extent
    return moved.clip(0, [width - 1, height - 1] * 2)
