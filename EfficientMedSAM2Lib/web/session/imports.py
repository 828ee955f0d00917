"""Files in: segments and prompts of files come to their segments by ID or name, in whatever order they are opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_start, whole_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.markups import Markup
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.mrml.labelmaps import extent_of_box, oriented_image
from EfficientMedSAM2Lib.mrml.markups_reader import prompts_of_file
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, encode_prompts, show_prompts
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box
from EfficientMedSAM2Lib.web.session.exports import prompts_names, prompts_of
from EfficientMedSAM2Lib.web.session.segments import LONGEST_NAME, Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import unique


def add_segments(viewer: ViewerSession, segments: Sequence[Segment]) -> int:
    """Add segments of a file as one undo step; returns how many have voxels on this volume's grid.

    One takes the place of an empty segment of its ID or name, and of what the network has made of nothing but a file of
    prompts for it: those prompts are kept, and belong to the file's voxels. A selected segment that nobody has named,
    drawn in or prompted goes: it was only there to begin with.

    Raises:
        UserError: none has a voxel.
    """
    names = Segments(viewer)
    used = [segment for segment in segments if segment.mask.any()]
    if not used:
        raise UserError("The segmentation has no voxels on this volume; open the volume that it was made on.")
    viewer.port.save_state_for_undo()
    free = [known for known in names.ids if _waits_for_voxels(viewer, known)]
    begun = names.selected if names.is_unused(names.selected) and not prompts_of(viewer, names.selected) else ""
    for segment in used:
        segment_id = names.find(segment.segment_id, segment.name, free)
        if segment_id:
            free.remove(segment_id)
            if names.is_unused(segment_id) and not prompts_of(viewer, segment_id):
                segment_id = names.take_place(segment_id, segment.segment_id, segment.name)
            elif names.get(segment_id).GetName() != segment.name:
                names.get(segment_id).SetName(segment.name[:LONGEST_NAME])
            names.select(segment_id)
        else:
            taken = [names.get(known).GetName() for known in names.ids]
            wanted = segment.name[: LONGEST_NAME - 4]
            name = unique([*taken, wanted], lambda text, number: f"{text} {number}")[-1]
            segment_id = names.add(name, undoable=False, segment_id=segment.segment_id)
        added = names.get(segment_id)
        if segment.color is not None:
            added.SetColor(*segment.color)
        if segment.terminology:
            added.SetTag(added.GetTerminologyEntryTagName(), segment.terminology)
        add_voxels(viewer, segment_id, segment.mask)
    if begun and names.is_unused(begun):
        viewer.segmentation_node.GetSegmentation().RemoveSegment(begun)
    _read_anew(viewer)
    return len(used)


def add_voxels(viewer: ViewerSession, segment_id: str, mask: np.ndarray) -> None:
    """Make a mask (D, H, W) on the open volume's grid the voxels of a segment."""
    import slicer

    assert viewer.volume is not None
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = oriented_image(mask, (0, 0, 0), viewer.volume.ijk_to_ras)
    extent = list(extent_of_box(whole_box(mask.shape)))
    logic.SetBinaryLabelmapToSegment(image, viewer.segmentation_node, segment_id, logic.MODE_REPLACE, extent)


def add_prompts(viewer: ViewerSession, name: str, markups: Sequence[Markup]) -> bool:
    """Take the prompts of a file for the segment of its ID or name, an empty one without a name, or a new one.

    Voxels that have no prompts yet were made with these, and stay. Everything else is asked; the controller answers
    as soon as it can.

    Returns:
        Whether they are asked.

    Raises:
        UserError: there are none, or one of them is outside of the volume.
    """
    prompts = prompts_of_file(markups, viewer.volume_node)
    if not prompts:
        raise UserError(f"{name!r} holds no point, box, line or curve; place one and save it again.")
    segments = Segments(viewer)
    segment_id = next((markup.segment_id for markup in markups if markup.segment_id), "")
    found = segments.find(segment_id, name, segments.ids)
    if not found:  # what two segments of one name are called in files
        found = next((known for known, saved in prompts_names(viewer).items() if saved == name), "")
    if found:
        segments.select(found)
        if segment_box(viewer.segmentation_node, found, viewer.volume_node) and not prompts_of(viewer, found):
            viewer.port.save_state_for_undo()
            segments.get(found).SetTag(PROMPTS_TAG, encode_prompts(prompts))
            show_prompts(viewer.segmentation_node, viewer.volume_node, found, prompts)
            _read_anew(viewer)
            return False
    elif segments.is_unused(segments.selected) and segment_id:
        viewer.port.save_state_for_undo()
        segments.take_place(segments.selected, segment_id, name)
    elif segments.is_unused(segments.selected):
        segments.rename(segments.selected, name)
    else:
        segments.add(name, segment_id=segment_id)
    viewer.controller.use_prompts(prompts)
    return True


def note_answered(viewer: ViewerSession) -> None:
    """The network has answered the prompts of a file: the selected segment is what it has made of them."""
    selected = Segments(viewer).selected
    if selected:
        viewer.from_files[selected] = _fingerprint(viewer, selected)


def _waits_for_voxels(viewer: ViewerSession, segment_id: str) -> bool:
    """Whether a segment is empty, or is still what the network has made of a file of prompts."""
    found = _fingerprint(viewer, segment_id)
    return found is None or viewer.from_files.get(segment_id) == found


def _fingerprint(viewer: ViewerSession, segment_id: str) -> bytes | None:
    """Of a segment's voxels, None for none. The stamp and the box of their labelmap change with every segment in it."""
    nodes = viewer.segmentation_node, segment_id, viewer.volume_node
    box = segment_box(*nodes)
    if box is None:
        return None
    mask = read_segment(*nodes, box)
    if not mask.any():
        return None
    places = np.argwhere(mask) + box_start(box)
    return hashlib.sha256(places.astype(np.int32).tobytes()).digest()


def _read_anew(viewer: ViewerSession) -> None:
    """The scene holds voxels and prompts that belong together: the next action starts from them."""
    viewer.controller.forget()
    viewer.controller.scene_changed()
