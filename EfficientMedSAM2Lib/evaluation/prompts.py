"""Prompts as the protocols ask for them: a jittered tight box, the next click on the largest error."""

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


def next_click(prediction: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], bool] | None:
    """Give the click a user would make next: in the middle of the largest error.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.

    Returns:
        ((x, y), is_positive) at the maximum of the distance transform of the largest connected error; None when
        there is no error.
    """
    from scipy import ndimage

    error = prediction ^ truth
    # Missing and superfluous parts that touch are two errors: they need clicks of opposite sign.
    best: np.ndarray | None = None
    best_area = 0
    for part in (error & truth, error & ~truth):
        labels, number = ndimage.label(part, structure=np.ones((3, 3), int))
        if number == 0:
            continue
        areas = np.bincount(labels.ravel())[1:]
        if areas.max() > best_area:
            best, best_area = labels == 1 + int(areas.argmax()), int(areas.max())
    if best is None:
        return None
    # The rim of the picture is a border as well.
    depth = ndimage.distance_transform_edt(np.pad(best, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(column), int(row)), bool(truth[row, column])
