"""A segment as the scene holds it, for measuring it in another thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from EfficientMedSAM2Lib.core.boxes import box_start
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.mrml.effect.slice_scores import read_scores
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag
from EfficientMedSAM2Lib.mrml.scene.segments import TERMINOLOGY_TAG
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box


@dataclass(frozen=True)
class SegmentReading:
    """A segment at one moment.

    Attributes:
        segment_id: ID of the segment.
        name: Its name.
        mask: Its voxels on the volume's grid.
        axis: Array axis of its slices.
        scores: 0...1 by slice; slices that were edited by hand have none, since nobody has judged them.
        prompted: Slices with prompts.
        color: 0...1, red, green and blue.
        terminology: As Slicer keeps it, "" for none.
    """

    segment_id: str
    name: str
    mask: PackedMask
    axis: int
    scores: dict[int, float]
    prompted: tuple[int, ...]
    color: tuple[float, ...]
    terminology: str


def read_for_measuring(port: EditorPort, session: SegmentEditorSession | None, segment_id: str) -> SegmentReading:
    """Read a segment. Main thread.

    Args:
        port: The editor.
        session: What knows more of the segment than the scene does; None for nothing.
        segment_id: The segment.
    """
    node, volume_node = port.segmentation_node(), port.source_volume_node()
    segment: Any = node.GetSegmentation().GetSegment(segment_id)
    box, mask = segment_box(node, segment_id, volume_node), PackedMask.empty(3)
    if box is not None:
        mask = PackedMask.pack(read_segment(node, segment_id, volume_node, box), box_start(box))
    found = read_scores(session, port, segment_id)
    return SegmentReading(
        segment_id,
        str(segment.GetName()),
        mask,
        found.axis,
        found.judged,
        tuple(sorted(found.prompted)),
        tuple(segment.GetColor()),
        get_tag(segment, TERMINOLOGY_TAG) or "",
    )
