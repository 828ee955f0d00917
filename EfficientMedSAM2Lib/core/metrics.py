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
    found = largest_error(truth & ~prediction, prediction & ~truth)
    if found is None:
        return None
    depth, is_missed = found
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(column), int(row)), is_missed


def largest_error(missed: np.ndarray, excess: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The largest connected error of a mask.

    Args:
        missed: (H, W) bool, object that was not found. Where it touches `excess` these are two errors: they need clicks
            of opposite sign.
        excess: (H, W) bool, found where there is no object.

    Returns:
        How deep each pixel (H, W) lies in that error, 0 outside, and whether it was missed; None without any error.
    """
    from scipy import ndimage

    best: tuple[int, np.ndarray, bool] | None = None
    for part, is_missed in ((missed, True), (excess, False)):
        labels, number = ndimage.label(part, structure=np.ones((3, 3), int))
        if number == 0:
            continue
        areas = np.bincount(labels.ravel())[1:]
        if best is None or areas.max() > best[0]:
            best = int(areas.max()), labels == 1 + int(areas.argmax()), is_missed
    if best is None:
        return None
    return depth_inside(best[1]), best[2]


def depth_inside(mask: np.ndarray) -> np.ndarray:
    """Distance in voxels of each that is set to the nearest that is not, 0 for others; the array's rim is a border."""
    from scipy import ndimage

    depth: np.ndarray = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    return depth
