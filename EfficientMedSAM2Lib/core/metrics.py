"""Overlap of masks, and the click that a user would make next. Empty against empty counts as perfect."""

from __future__ import annotations

import numpy as np


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two boolean masks of any equal shape."""
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(prediction & truth) / total) if total else 1.0


def intersection_over_union(prediction: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two boolean masks of any equal shape."""
    union = np.count_nonzero(prediction | truth)
    return float(np.count_nonzero(prediction & truth) / union) if union else 1.0


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
