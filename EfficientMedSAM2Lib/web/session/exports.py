"""Files out: segmentations and prompts of a viewer session; and both read back in."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import plane_of_axis, roi_of_corners
from EfficientMedSAM2Lib.imaging.markups import Markup, write_markups
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.interaction import MarkupPrompt
from EfficientMedSAM2Lib.mrml.labelmaps import extent_of_box, oriented_image
from EfficientMedSAM2Lib.mrml.markups_reader import prompts_of_file
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, decode_prompts, get_tag
from EfficientMedSAM2Lib.mrml.scene.segments import read_segments
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.tables import prepare_table
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import file_name, unique

#: Kind of download -> ending of its file.
SEGMENTATION_ENDINGS = {"segmentation": ".seg.nrrd", "nifti": "-label.nii.gz"}
TABLES = ("measurements", "labels")
KINDS = (*SEGMENTATION_ENDINGS, "prompts", *TABLES)
Export = tuple[str, Callable[[Path], object]]


def prepare(viewer: ViewerSession, kind: str) -> Export:
    """Read the scene for a download; returns the file's name and what writes it, to be called in any thread.

    Raises:
        UserError: there is nothing to save.
    """
    volume = viewer.volume
    if volume is None:
        raise UserError("There is nothing to save yet; open a volume and segment something.")
    if viewer.controller.has_preview:
        raise UserError("What is shown as a preview is in no segment yet; apply it (Enter) or discard it (Esc) first.")
    if kind == "prompts":
        return _prepare_prompts(viewer)
    if kind in TABLES:
        return prepare_table(viewer, kind)
    segments = read_segments(viewer.segmentation_node, viewer.volume_node)
    if not any(segment.mask.any() for segment in segments):
        raise UserError("All segments are empty; there is nothing to save yet.")
    return (
        file_name(volume.name, SEGMENTATION_ENDINGS[kind]),
        lambda path: write_segmentation(path, segments, volume),
    )


def add_segments(viewer: ViewerSession, segments: list[Segment]) -> int:
    """Add segments of a file as one undo step; returns how many have voxels on this volume's grid."""
    names = Segments(viewer)
    used = [segment for segment in segments if segment.mask.any()]
    if not used:
        raise UserError("The segmentation has no voxels on this volume; open the volume that it was made on.")
    viewer.port.save_state_for_undo()
    for segment in used:
        segment_id = names.add(segment.name, undoable=False)
        added = names.get(segment_id)
        if segment.color is not None:
            added.SetColor(*segment.color)
        if segment.terminology:
            added.SetTag(added.GetTerminologyEntryTagName(), segment.terminology)
        add_voxels(viewer, segment_id, segment.mask)
    viewer.controller.scene_changed()
    return len(used)


def add_voxels(viewer: ViewerSession, segment_id: str, mask: np.ndarray) -> None:
    """Make a mask (D, H, W) on the open volume's grid the voxels of a segment."""
    import slicer

    assert viewer.volume is not None
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = oriented_image(mask, (0, 0, 0), viewer.volume.ijk_to_ras)
    extent = list(extent_of_box([[0, size] for size in mask.shape]))
    logic.SetBinaryLabelmapToSegment(image, viewer.segmentation_node, segment_id, logic.MODE_REPLACE, extent)


def add_prompts(viewer: ViewerSession, name: str, markups: Sequence[Markup]) -> None:
    """Ask for the prompts of a file: on the segment of its name, on an empty one without a name, or on a new one.

    The controller answers them as soon as it can.

    Raises:
        UserError: there are none, or one of them is outside of the volume.
    """
    prompts = prompts_of_file(markups, viewer.volume_node)
    if not prompts:
        raise UserError(f"{name!r} holds no point, box or line; place one and save it again.")
    segments = Segments(viewer)
    found = next((known for known in segments.ids if segments.get(known).GetName() == name), None)
    if found is not None:
        segments.select(found)
    elif segments.is_unused(segments.selected):
        segments.rename(segments.selected, name)
    else:
        segments.add(name)
    viewer.controller.use_prompts(prompts)


def _prepare_prompts(viewer: ViewerSession) -> Export:
    volume = viewer.volume
    assert volume is not None
    found = {
        segment_id: to_markups(prompts_of(viewer, segment_id), volume.ijk_to_ras)
        for segment_id in viewer.port.segment_ids()
    }
    listed = {segment_id: markups for segment_id, markups in found.items() if markups}
    if not listed:
        raise UserError("There are no prompts yet; click on a structure or draw a box first.")
    node = viewer.segmentation_node
    titles = [node.GetSegmentation().GetSegment(segment_id).GetName() for segment_id in listed]
    names = unique((file_name(title, "") for title in titles), lambda name, number: f"{name} {number}")
    files = [(f"{name}.mrk.json", markups) for name, markups in zip(names, listed.values())]
    if len(files) == 1:
        return files[0][0], lambda path: write_markups(path, files[0][1])

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, markups in files:
                part = path.with_name(f"part-{name}")
                write_markups(part, markups)
                archive.write(part, name)
                part.unlink()

    return file_name(volume.name, " prompts.zip"), write


def prompts_of(viewer: ViewerSession, segment_id: str) -> list[MarkupPrompt]:
    """Prompts of a segment; before the first action those that it came with."""
    session = viewer.controller.session
    if session is not None:
        return session.prompts(segment_id)
    return saved_prompts(viewer, segment_id)


def saved_prompts(viewer: ViewerSession, segment_id: str) -> list[MarkupPrompt]:
    """Prompts that the segment's voxels were made from, as the scene holds them; previews are not among them."""
    segment = viewer.segmentation_node.GetSegmentation().GetSegment(segment_id)
    return decode_prompts(get_tag(segment, PROMPTS_TAG), viewer.volume_node)


def to_markups(prompts: list[MarkupPrompt], ijk_to_ras: np.ndarray) -> list[Markup]:
    """Prompts as markups that 3D Slicer and `efficient-medsam2 segment` read, each with its plane and sign."""
    markups = []
    for prompt in prompts:
        places, plane = np.array(prompt.origin.points_ras), plane_of_axis(prompt.axis, ijk_to_ras)
        if prompt.kind == "line":
            markups.append(Markup("line", "Diameter", places, planes=(plane,)))
        elif prompt.kind == "box":
            matrix, size = roi_of_corners(places)
            name = "Box" if prompt.positive else "Box to exclude"
            box = Markup("box", name, positive=(prompt.positive,), planes=(plane,), object_to_world=matrix, size=size)
            markups.append(box)
    points = [prompt for prompt in prompts if prompt.kind == "point"]
    if points:
        positions = np.array([point for p in points for point in p.origin.points_ras])
        planes = tuple(plane_of_axis(p.axis, ijk_to_ras) for p in points)
        markups.append(Markup("point", "Points", positions, tuple(p.positive for p in points), planes=planes))
    return markups
