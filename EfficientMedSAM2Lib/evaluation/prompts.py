"""Boxes as the protocols ask for them."""

from __future__ import annotations

import numpy as np

BOX_JITTER = 0.05


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Give the box of a mask (H, W): XYXY of its first and last pixels, (4,) float64."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        raise ValueError("An empty mask has no box; leave the object out.")
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)


def jittered_box(mask: np.ndarray, generator: np.random.Generator, amount: float = BOX_JITTER) -> np.ndarray:
    """Give the tight box with each side moved by up to `amount` of the box's extent, kept on the slice."""
    box = tight_box(mask)
    extent = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    height, width = mask.shape
    moved = box + generator.uniform(-amount, amount, 4) * extent
    return moved.clip(0, [width - 1, height - 1] * 2)
