"""A lock on a segment: no click, box, propagation or other action of this program changes it, nor takes voxels from it.

It is a tag of the segment, so that it is saved with the scene and with ``.seg.nrrd``, and each change of it is an undo
step of the editor: *Undo* cannot pass a lock without taking it off first. Slicer has no lock of its own (5.13): its
masking settings hold for all segments at once, and the status *Completed* is a note for people.
"""

from __future__ import annotations

from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag

LOCKED_TAG = "EfficientMedSAM2.Locked"


def is_locked(segmentation_node: Any, segment_id: str) -> bool:
    """Whether a segment must not be changed; False for one that does not exist."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    return segment is not None and get_tag(segment, LOCKED_TAG) == "1"


def set_locked(port: EditorPort, segment_id: str, locked: bool) -> None:
    """Lock or unlock a segment, as one undo step of the editor; nothing happens when it is so already."""
    segment = port.segment(segment_id)
    if segment is None:
        raise UserError("This segment does not exist any more.")
    if is_locked(port.segmentation_node(), segment_id) == locked:
        return
    port.save_state_for_undo()
    if locked:
        segment.SetTag(LOCKED_TAG, "1")
    else:
        segment.RemoveTag(LOCKED_TAG)


def require_unlocked(segmentation_node: Any, segment_id: str) -> None:
    """Raise a UserError for a segment that is locked."""
    if is_locked(segmentation_node, segment_id):
        name = segmentation_node.GetSegmentation().GetSegment(segment_id).GetName()
        raise UserError(f"'{name}' is locked; unlock it to change it.")


def locked_segments(port: EditorPort, but: str) -> list[str]:
    """IDs of the locked segments, one excepted."""
    node = port.segmentation_node()
    return [segment_id for segment_id in port.segment_ids() if segment_id != but and is_locked(node, segment_id)]


def locked_losers(port: EditorPort, but: str) -> list[str]:
    """Those of them that may lose voxels under the editor's overwrite rules."""
    # OverwriteNone of vtkMRMLSegmentEditorNode is 2
    return locked_segments(port, but) if port.overwrite_mode() != 2 else []
