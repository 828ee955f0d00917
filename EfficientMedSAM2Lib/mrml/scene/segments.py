"""Segments of a segmentation node: all of them as a file would hold them, and a new one for the next object."""

from __future__ import annotations

import re
from typing import Any

from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.terminology import segment_colors, terminology_entry
from EfficientMedSAM2Lib.interaction import LESION, base_name, numbered_name
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag, is_new_segment
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment

TERMINOLOGY_TAG = "TerminologyEntry"
#: Names that nobody has given, of Slicer and of the page.
NAMELESS = re.compile(r"Segment_\d+")
_NUMBER = re.compile(r"\s+\d+$")
_NUMBERED = re.compile(r".*\S\s+\d+")


def begin_object(port: EditorPort, like: str = "") -> str:
    """Select a segment for the next of many objects, "Lesion 1" and so on; returns its ID.

    It is the selected one while that is empty, else a new one, numbered as the selected one is. It is added without a
    state of its own in the editor's history: *Undo* empties it, and the next object takes it.

    Args:
        port: The editor.
        like: Name of an object that this one is another of, to be numbered as that; "" for nothing known, which holds
            for "Segment_1" and other names that nobody has given, too.
    """
    node = port.segmentation_node()
    segmentation, selected = node.GetSegmentation(), port.editor_node.GetSelectedSegmentID() or ""
    names = {segment_id: segmentation.GetSegment(segment_id).GetName() for segment_id in port.segment_ids()}
    name, taken = names.get(selected, ""), set(names.values())
    if name and is_new_segment(node, selected) and (not like or base_name(name) == base_name(like)):
        if NAMELESS.fullmatch(name):
            _call(segmentation.GetSegment(selected), numbered_name(LESION, taken))
        return str(selected)
    segment_id = str(segmentation.AddEmptySegment())
    base = (LESION if NAMELESS.fullmatch(like) else like) or (name if _NUMBERED.fullmatch(name) else LESION)
    _call(segmentation.GetSegment(segment_id), numbered_name(base, taken))
    choose_color(segmentation, segment_id)
    port.editor_node.SetSelectedSegmentID(segment_id)
    return segment_id


def begin_structure(port: EditorPort, name: str, terminology: str = "") -> str:
    """Select a segment for a structure that has a name of its own; returns its ID.

    It is the selected one while that is empty, which keeps a name that somebody has given it; else a new one, as for
    `begin_object`.

    Args:
        port: The editor.
        name: What the structure is called.
        terminology: Slicer's entry for it, "" for the one that its name says.
    """
    node = port.segmentation_node()
    segmentation, segment_id = node.GetSegmentation(), str(port.editor_node.GetSelectedSegmentID() or "")
    taken = [segmentation.GetSegment(known).GetName() for known in port.segment_ids()]
    called = numbered_name(name, taken) if name in taken else name
    if segment_id and is_new_segment(node, segment_id):
        if not NAMELESS.fullmatch(segmentation.GetSegment(segment_id).GetName()):
            return segment_id
    else:
        segment_id = str(segmentation.AddEmptySegment())
    _call(segmentation.GetSegment(segment_id), called, terminology)
    choose_color(segmentation, segment_id)
    port.editor_node.SetSelectedSegmentID(segment_id)
    return segment_id


def choose_color(segmentation: Any, segment_id: str) -> None:
    """Give a segment the colour of what it is called, or another one where a segment has nearly the same.

    Slicer's own choice for empty segments is not told apart as thin contours: two greens and a grey were side by side.
    """
    ids = [*(other for other in segmentation.GetSegmentIDs() if other != segment_id), segment_id]
    segments = [segmentation.GetSegment(one) for one in ids]
    colors = [*(tuple(segment.GetColor()) for segment in segments[:-1]), None]
    segments[-1].SetColor(*segment_colors([segment.GetName() for segment in segments], colors)[-1])


def _call(segment: Any, name: str, terminology: str = "") -> None:
    """Give a segment a name, and the terminology that goes with it."""
    segment.SetName(name)
    segment.SetTag(TERMINOLOGY_TAG, terminology or terminology_entry(_NUMBER.sub("", name)))


def read_segments(segmentation_node: Any, volume_node: Any) -> list[Segment]:
    """Name, mask (D, H, W) on the volume's grid, colour, terminology and ID of each segment, in their order."""
    segmentation = segmentation_node.GetSegmentation()
    found = []
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        mask = read_segment(segmentation_node, segment_id, volume_node)
        terminology = get_tag(segment, TERMINOLOGY_TAG)
        found.append(Segment(str(segment.GetName()), mask, segment.GetColor(), terminology, str(segment_id)))
    return found
