"""Connected parts of a label on a slice, and which parts of the next slice continue them."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box

MIN_PART_PX = 12


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Half-open row0, row1, column0, column1 of a mask (H, W); None when it is empty."""
    box = bounding_box(mask)
    return None if box is None else (*box[0], *box[1])  # type: ignore[return-value]


def random_part(mask: np.ndarray, rng: np.random.Generator, whole_probability: float = 0.15) -> np.ndarray:
    """One connected part of a mask, or the whole mask.

    A label in several parts (lesions, ribs, bowel) is rarely meant as a whole by someone who draws one box.

    Args:
        mask: (H, W) bool, not empty.
        rng: source of randomness; larger parts are likelier, by the root of their area.
        whole_probability: how often a mask in several parts stays whole.

    Returns:
        (H, W) bool.
    """
    from scipy import ndimage

    parts, count = ndimage.label(mask, structure=np.ones((3, 3), int))
    if count < 2:
        return mask
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(areas >= MIN_PART_PX)
    if len(large) == 0:
        return mask
    # Crumbs beside one dominant part are part of the annotation, whole or not: keep them half the time.
    dominated = len(large) == 1 and areas[large[0]] > 0.9 * areas.sum()
    if rng.random() < (0.5 if dominated else whole_probability):
        return mask
    weights = np.sqrt(areas[large])
    chosen = int(rng.choice(large, p=weights / weights.sum()))
    return parts == chosen + 1


def continued_part(mask: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The parts of the same label on a neighbouring slice that overlap a part of this slice (H, W)."""
    from scipy import ndimage

    parts, count = ndimage.label(mask, structure=np.ones((3, 3), int))
    if count == 0:
        return mask
    touched = np.zeros(count + 1, bool)
    touched[parts[part]] = True
    touched[0] = False
    return touched[parts]
