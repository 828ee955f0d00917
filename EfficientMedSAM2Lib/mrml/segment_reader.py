"""Segments as masks on a volume's voxel grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from .labelmaps import (
    box_of_extent,
    grid_offset,
    image_matrix,
    mask_in_box,
    oriented_image,
    resample_mask,
    transform_between,
)
from .volume_reader import volume_matrix, volume_shape


def segment_labelmap(segmentation_node: Any, segment_id: str) -> Any:
    """The (possibly shared) labelmap that holds a segment; not a copy."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        msg = f"There is no segment '{segment_id}' in '{segmentation_node.GetName()}'."
        raise ValueError(msg)
    labelmap = segment.GetRepresentation("Binary labelmap")
    if labelmap is None:
        msg = f"Segment '{segment.GetName()}' has no binary labelmap; convert the segmentation to labelmaps."
        raise ValueError(msg)
    return labelmap


def read_segment(segmentation_node: Any, segment_id: str, volume_node: Any) -> np.ndarray:
    """One segment on the volume's grid, bool (D, H, W); resampled (nearest neighbour) when its own grid is another."""
    labelmap = segment_labelmap(segmentation_node, segment_id)
    label = segmentation_node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    shape = volume_shape(volume_node)
    held = box_of_extent(labelmap.GetExtent())
    if held is None or labelmap.GetPointData().GetScalars() is None:
        return np.zeros(shape, dtype=bool)
    affine, segment_affine = volume_matrix(volume_node), image_matrix(labelmap)
    transform = transform_between(volume_node, segmentation_node)
    shift = grid_offset(affine, segment_affine, transform, shape)
    if shift is not None:
        return mask_in_box(labelmap, [[by, by + size] for by, size in zip(shift, shape)], label)
    mask = mask_in_box(labelmap, held, label)
    alone = oriented_image(mask, [low for low, _high in held], segment_affine)
    return resample_mask(
        alone, affine, [[0, size] for size in shape], transform_between(segmentation_node, volume_node)
    )
