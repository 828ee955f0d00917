"""Masks on known slices that are as wrong as those of a 2D network."""

from __future__ import annotations

import numpy as np

SHARE_OF_TRUE = 0.35
SHARE_OF_FILLED = 0.1
"""A ring from a box is often found filled."""
SHARE_OF_ELLIPSES = 0.07
"""What a box gives where nothing is seen in it."""
LARGEST_WOBBLE = 0.08
LARGEST_SHIFT = 0.04
"""Of the contour, in parts of the mask's longer side: random along it, and inwards or outwards as a whole."""


def faulty(share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask (N,N) in 0...1 as a 2D network may find it; one without object stays so."""
    from scipy import ndimage

    mask = share > 0.5
    if not mask.any() or rng.random() < SHARE_OF_TRUE:
        return share
    kind = rng.random() * (1 - SHARE_OF_TRUE)
    if kind < SHARE_OF_ELLIPSES:
        mask = _inscribed_ellipse(mask)
    elif kind < SHARE_OF_ELLIPSES + SHARE_OF_FILLED:
        mask = ndimage.binary_fill_holes(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    noise = ndimage.gaussian_filter(rng.standard_normal(mask.shape), rng.uniform(2, 6))
    wobble = noise / max(float(noise.std()), 1e-6) * rng.uniform(0, LARGEST_WOBBLE) * side / 2
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    found = depth + wobble + rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT) * side > 0
    return (found if found.any() else mask).astype(np.float32)


def _inscribed_ellipse(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    v = (2 * np.arange(mask.shape[0]) - rows[0] - rows[-1]) / (rows[-1] - rows[0] + 1)
    u = (2 * np.arange(mask.shape[1]) - columns[0] - columns[-1]) / (columns[-1] - columns[0] + 1)
    return np.asarray((u**2)[None] + (v**2)[:, None] < 1)
