"""Cleaning a mask: small holes filled, small separate parts removed."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box, box_slices


def clean_mask(
    mask: np.ndarray,
    max_hole_area: float,
    max_sprinkle_area: float,
    inside_xy: np.ndarray | None = None,
    outside_xy: np.ndarray | None = None,
) -> np.ndarray:
    """A mask bool (H,W) with small holes filled and small separate parts removed; the largest part always stays.

    So do holes with a click outside the object in them, and parts with a click inside it.

    Args:
        mask: The mask; not changed.
        max_hole_area: Pixels up to which a hole is filled; 0 fills none.
        max_sprinkle_area: Pixels up to which a part is removed; 0 removes none.
        inside_xy: (N,2) clicks inside the object, in pixels.
        outside_xy: (N,2) clicks outside the object.
    """
    from scipy import ndimage

    box = bounding_box(mask)
    if box is None:
        return mask
    span, offset_xy = box_slices(box), (box[1][0], box[0][0])
    inner = mask[span].copy()
    if max_hole_area > 0:
        # One pixel of border, so that what is open to the outside is not a hole.
        labels, count = ndimage.label(np.pad(~inner, 1, constant_values=True))
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        small = areas <= max_hole_area
        small[[0, labels[0, 0], *_labels_at(labels[1:-1, 1:-1], outside_xy, offset_xy)]] = False
        inner |= small[labels][1:-1, 1:-1]
    if max_sprinkle_area > 0:
        labels, count = ndimage.label(inner, structure=np.ones((3, 3)))
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        small = areas <= max_sprinkle_area
        small[[0, 1 + int(areas[1:].argmax()), *_labels_at(labels, inside_xy, offset_xy)]] = False
        inner &= ~small[labels]
    cleaned = np.zeros_like(mask)
    cleaned[span] = inner
    return cleaned


def _labels_at(labels: np.ndarray, points_xy: np.ndarray | None, offset_xy: tuple[int, int]) -> list[int]:
    """Labels (h,w) of the pixels with points (N,2) in them, as far as they lie on this part of the slice."""
    if points_xy is None or len(points_xy) == 0:
        return []
    x, y = np.floor(points_xy + 0.5).astype(int).T - np.array([[offset_xy[0]], [offset_xy[1]]])
    within = (x >= 0) & (y >= 0) & (x < labels.shape[1]) & (y < labels.shape[0])
    return [int(label) for label in labels[y[within], x[within]]]
