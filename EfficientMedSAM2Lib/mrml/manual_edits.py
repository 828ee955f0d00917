"""Changes of a segment by other means than prompts: Paint, Erase, another effect, an older session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_start, moved, union, whole_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import STATE_TAG, get_tag
from EfficientMedSAM2Lib.mrml.scene.slice_store import SavedSlices, read_slices, still_true
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box


@dataclass(frozen=True)
class ManualEdit:
    """A segment that was edited, read on the main thread; any thread may send it to the engine.

    Attributes:
        stamp: Its labelmap's stamp when it was read.
        mask: The segment as it is now, (D, H, W) bool; None when no voxel differs from what the engine knows.
        box: Half-open box of the edited voxels.
        by_hand: Voxels in it that were painted or erased, which later results have to keep.
        saved: What is known of the slices of a segment that came with the scene.
    """

    stamp: tuple[int, int]
    mask: np.ndarray | None
    box: Box
    by_hand: PackedMask
    saved: SavedSlices | None = None


def read_manual_edit(
    port: EditorPort, segment_id: str, stamp: tuple[int, int], known: PackedMask | None, whole: bool
) -> ManualEdit:
    """Compare a segment with what the engine knows of it.

    Args:
        port: The editor.
        segment_id: The segment.
        stamp: Its labelmap's present stamp.
        known: Voxels that the engine knows.
        whole: Ignore these, and take all of the segment for edited.

    Raises:
        UserError: ``whole``, and the segment is empty.
    """
    segmentation, volume = port.segmentation_node(), port.source_volume_node()
    known = None if whole else known
    box = union(segment_box(segmentation, segment_id, volume), known.box if known is not None else None)
    edited, by_hand = None, PackedMask.empty(3)
    if box is not None:
        difference = read_segment(segmentation, segment_id, volume, box) ^ (known or PackedMask.empty(3)).window(box)
        edited, by_hand = bounding_box(difference), PackedMask.pack(difference, box_start(box))
    if edited is None and whole:
        raise UserError("The segment is empty; paint the structure on at least one slice, or give a prompt.")
    if box is None or edited is None:
        return ManualEdit(stamp, None, [], by_hand)
    mask = read_segment(segmentation, segment_id, volume)
    edited = moved(edited, box_start(box))
    # A whole segment is a starting point, to be corrected; so is one that came with the scene and was made by prompts.
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    saved = None if whole or known is not None else read_slices(segment, volume)
    if saved is not None:
        saved, held = still_true(saved, mask)
        by_hand = PackedMask.pack(held)
    elif whole or (known is None and get_tag(segment, STATE_TAG) is not None):
        by_hand = PackedMask.empty(3)
    return ManualEdit(stamp, mask, whole_box(mask.shape) if whole else edited, by_hand, saved)
