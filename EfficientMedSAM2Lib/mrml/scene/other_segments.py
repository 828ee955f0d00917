"""The segments beside the one that is edited: what they keep, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.segment_lock import locked_losers
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment


def read_kept_voxels(port: EditorPort, segment_id: str, box_kji: Box, all_others: bool) -> np.ndarray:
    """Voxels in a half-open box of the volume's grid, bool, that a segment must not take from the others.

    Args:
        port: The editor.
        segment_id: The segment.
        box_kji: Half-open box.
        all_others: Keep those of all other segments; else those of locked ones, unless nobody can lose voxels.
    """
    mask = np.zeros([high - low for low, high in box_kji], dtype=bool)
    others = [s for s in port.segment_ids() if s != segment_id] if all_others else locked_losers(port, segment_id)
    for other in others:
        mask |= read_segment(port.segmentation_node(), other, port.source_volume_node(), box_kji)
    return mask


def draws_inside(port: EditorPort) -> bool:
    """Whether the user asks to draw inside of other segments, by the editable area."""
    node = port.segmentation_node()
    inside = (
        node.EditAllowedInsideAllSegments,
        node.EditAllowedInsideVisibleSegments,
        node.EditAllowedInsideSingleSegment,
    )
    return port.mask_mode() in inside


def read_each_other_segment(port: EditorPort, segment_id: str, box_kji: Box) -> dict[str, np.ndarray]:
    """Voxels of each segment but one in a half-open box of the volume's grid, bool, by segment ID."""
    segmentation, volume = port.segmentation_node(), port.source_volume_node()
    others = [other for other in port.segment_ids() if other != segment_id]
    return {other: read_segment(segmentation, other, volume, box_kji) for other in others}


def changes_elsewhere(port: EditorPort, segment_id: str, box_kji: Box, before: Mapping[str, np.ndarray]) -> list[str]:
    """What a change has taken from other segments or given to them, a sentence for each; ``before`` as they were."""
    notes: list[str] = []
    for other, after in read_each_other_segment(port, segment_id, box_kji).items():
        name = port.segmentation_node().GetSegmentation().GetSegment(other).GetName()
        lost, gained = (before[other] & ~after).sum(), (after & ~before[other]).sum()
        notes += [f"'{name}' lost {lost} voxels to this segment."] if lost else []
        notes += [f"'{name}' was given {gained} voxels of this segment."] if gained else []
    return notes
