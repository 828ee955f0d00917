"""Files out: segmentations and prompts of a viewer session."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import plane_of_axis, roi_of_corners
from EfficientMedSAM2Lib.imaging.dicom.kept_series import unpacked_series
from EfficientMedSAM2Lib.imaging.dicom.seg_writer import content_key, write_dicom_seg
from EfficientMedSAM2Lib.imaging.labelmaps import write_label_names
from EfficientMedSAM2Lib.imaging.markups import Markup, write_markups
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.interaction import MarkupPrompt
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, decode_prompts, get_tag
from EfficientMedSAM2Lib.mrml.scene.segments import read_segments
from EfficientMedSAM2Lib.web.session.measurements import prepare_table
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import file_name, unique

#: Kind of download -> ending of its file.
SEGMENTATION_ENDINGS = {"segmentation": ".seg.nrrd", "nifti": "-label.nii.gz"}
KINDS = (*SEGMENTATION_ENDINGS, "dicom", "prompts", "measurements", "labels")
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
    segments = read_segments(viewer.segmentation_node, viewer.volume_node)
    if not any(segment.mask.any() for segment in segments):
        raise UserError("All segments are empty; there is nothing to save yet.")
    if kind == "measurements":
        return file_name(volume.name, "-measurements.csv"), prepare_table(viewer, segments)
    if kind == "labels":
        return file_name(volume.name, "-label.tsv"), lambda path: write_label_names(path, segments)
    if kind == "dicom":
        return _prepare_dicom(volume, segments)
    return (
        file_name(volume.name, SEGMENTATION_ENDINGS[kind]),
        lambda path: write_segmentation(path, segments, volume),
    )


def _prepare_dicom(volume: Volume, segments: list[Segment]) -> Export:
    """A DICOM SEG with all segments, empty ones too."""
    from importlib.util import find_spec

    headers = volume.headers
    if headers is None:
        raise UserError(
            "A DICOM SEG refers to the DICOM series that was segmented, and this scan was opened from another kind of "
            "file; save it as .seg.nrrd or NIfTI."
        )
    if find_spec("highdicom") is None:
        raise UserError("The server cannot write DICOM SEG: its Python lacks highdicom; save it as .seg.nrrd.")

    def write(path: Path) -> None:
        with unpacked_series(headers, volume.ijk_to_ras) as scan:
            write_dicom_seg(path, segments, scan, content_key(segments))

    return file_name(volume.name, "-seg.dcm"), write


def _prepare_prompts(viewer: ViewerSession) -> Export:
    volume = viewer.volume
    assert volume is not None
    stated = _stated_names(viewer)
    found = {
        segment_id: [
            replace(markup, segment_id=segment_id, segment_name=stated.get(segment_id, ""))
            for markup in to_markups(prompts_of(viewer, segment_id), volume.ijk_to_ras)
        ]
        for segment_id in viewer.port.segment_ids()
    }
    listed = {segment_id: markups for segment_id, markups in found.items() if markups}
    if not listed:
        raise UserError("There are no prompts yet; click on a structure or draw a box first.")
    names = prompts_names(viewer)
    files = [(f"{names[segment_id]}.mrk.json", markups) for segment_id, markups in listed.items()]
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


def prompts_names(viewer: ViewerSession) -> dict[str, str]:
    """What the file with a segment's prompts is called, without its ending, by the segment's ID; all differ."""
    segmentation, ids = viewer.segmentation_node.GetSegmentation(), viewer.port.segment_ids()
    titles = (file_name(segmentation.GetSegment(segment_id).GetName(), "") for segment_id in ids)
    return dict(zip(ids, unique(titles, lambda name, number: f"{name} {number}")))


def _stated_names(viewer: ViewerSession) -> dict[str, str]:
    """Names that no file can have, as "lesion 1/2", by the segment's ID; of several with one name none."""
    segmentation = viewer.segmentation_node.GetSegmentation()
    names = {segment_id: segmentation.GetSegment(segment_id).GetName() for segment_id in viewer.port.segment_ids()}
    counts = Counter(names.values())
    return {known: name for known, name in names.items() if name != file_name(name, "") and counts[name] == 1}


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
        elif prompt.kind in ("scribble", "lasso"):
            name = prompt.kind.capitalize() if prompt.positive else f"{prompt.kind.capitalize()} to exclude"
            signs = (prompt.positive,) * len(places)
            markups.append(Markup(prompt.kind, name, places, signs, planes=(plane,), straight=True))
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
