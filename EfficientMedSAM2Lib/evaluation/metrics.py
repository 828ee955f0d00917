"""Measures of masks beside overlap (core/metrics.py): surface, clicks, shape of the object."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box

NSD_TOLERANCE_MM = 2.0
COMPACT_SOLIDITY = 0.8
COMPACT_MAIN_PART = 0.95
# Upper ends in pixels of the diameter of a disk of the same area.
SIZE_CLASSES = {"small": 16.0, "medium": 64.0, "large": float("inf")}


def surface_dice(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float = NSD_TOLERANCE_MM,
    subvoxels: bool = False,
) -> float:
    """Normalised surface Dice: the share of both surfaces that lies within a tolerance of the other one.

    Args:
        prediction: (H, W) or (D, H, W) bool.
        truth: same shape.
        spacing_mm: distance of neighbour voxels along each axis.
        tolerance_mm: how far surfaces may be apart.
        subvoxels: surfaces run between voxels and count by their area, as in the challenges; else voxels count.

    Returns:
        0..1.
    """
    if not prediction.any() or not truth.any():
        return float(prediction.any() == truth.any())
    import torch
    from monai.metrics import compute_surface_dice

    box = bounding_box(prediction | truth) or []
    window = tuple(slice(max(0, low - 1), high + 1) for low, high in box)
    predicted, true = (
        torch.from_numpy(np.ascontiguousarray(mask[window]))[None, None].float() for mask in (prediction, truth)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI warns about its own calls
        value = compute_surface_dice(
            predicted,
            true,
            [tolerance_mm],
            include_background=True,
            spacing=tuple(float(value) for value in spacing_mm),
            use_subvoxels=subvoxels,
        )
    return float(value[0, 0])


def click_auc(values: Sequence[float]) -> float:
    """Area under a measure over the clicks, by trapezoids of width one: four for five perfect clicks."""
    array = np.asarray(values, dtype=float)
    return float(((array[1:] + array[:-1]) / 2).sum())


def clicks_needed(values: Sequence[float], target: float) -> int:
    """Number of clicks until a measure reaches a target; one more than there were when it never does."""
    reached = np.flatnonzero(np.asarray(values) >= target)
    return int(reached[0]) + 1 if len(reached) else len(values) + 1


def solidity(mask: np.ndarray) -> float:
    """Area of a mask (H, W) over the area of its convex hull, 0..1; holes count as missing."""
    from scipy.spatial import ConvexHull

    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return 0.0
    # Corners of the pixels, so that a rectangle of any size has solidity one.
    corners = np.concatenate([np.stack([rows + dr, columns + dc], axis=1) for dr in (0, 1) for dc in (0, 1)])
    return float(len(rows) / ConvexHull(np.unique(corners, axis=0)).volume)


def is_compact(mask: np.ndarray) -> bool:
    """Say whether a mask (H, W) is one solid thing, such as an organ or a tumour, and no ring, sheet or tree."""
    from scipy import ndimage

    labels, number = ndimage.label(mask, structure=np.ones((3, 3), int))
    if number == 0:
        return False
    main_part = np.bincount(labels.ravel())[1:].max() / np.count_nonzero(mask)
    return bool(main_part >= COMPACT_MAIN_PART and solidity(mask) >= COMPACT_SOLIDITY)


def size_class(mask: np.ndarray) -> str:
    """Name the size of an object on a slice: "small", "medium" or "large"."""
    diameter = 2.0 * np.sqrt(np.count_nonzero(mask) / np.pi)
    return next(name for name, limit in SIZE_CLASSES.items() if diameter < limit)
