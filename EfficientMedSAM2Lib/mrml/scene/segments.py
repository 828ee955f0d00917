"""All segments of a segmentation node as a file would hold them."""

from __future__ import annotations

from typing import Any

from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment

TERMINOLOGY_TAG = "TerminologyEntry"


def read_segments(segmentation_node: Any, volume_node: Any) -> list[Segment]:
    """Name, mask (D, H, W) on the volume's grid, colour and terminology of each segment, in their order."""
    segmentation = segmentation_node.GetSegmentation()
    found = []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        mask = read_segment(segmentation_node, segment_id, volume_node)
        found.append(Segment(str(segment.GetName()), mask, segment.GetColor(), get_tag(segment, TERMINOLOGY_TAG)))
    return found
