"""Finished cases of a scene: scans with a segment of one structure, written as files that `learn` reads. No Qt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag, nodes_of_class
from EfficientMedSAM2Lib.mrml.scene.segments import TERMINOLOGY_TAG
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment
from EfficientMedSAM2Lib.mrml.volume_reader import volume_from_node

_PATIENT_LEVEL = "Patient"


class SceneCase(NamedTuple):
    """A scan of a scene with a segment.

    Attributes:
        volume: Its vtkMRMLScalarVolumeNode.
        segmentation: The vtkMRMLSegmentationNode on it.
        segment_id: The segment.
        patient: What tells its patient from others: an item of the subject hierarchy, or the volume's own ID.
    """

    volume: Any
    segmentation: Any
    segment_id: str
    patient: str


def structures(scene: Any) -> list[str]:
    """Names of all segments of a scene, those of most scans first."""
    counts: dict[str, int] = {}
    for node in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        for name in {segmentation.GetSegment(s).GetName() for s in segmentation.GetSegmentIDs()}:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def finished_cases(scene: Any, name: str) -> list[SceneCase]:
    """The scans of a scene that have a segment of this name.

    Raises:
        UserError: There are fewer than two, a segmentation belongs to no volume, or a scan has the segment twice.
    """
    found: list[SceneCase] = []
    for node in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
        segment_id = node.GetSegmentation().GetSegmentIdBySegmentName(name)
        if not segment_id:
            continue
        volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        if volume is None or not volume.IsA("vtkMRMLScalarVolumeNode"):
            raise UserError(
                f"The segmentation {node.GetName()!r} belongs to no scan; choose its volume in the Segment Editor."
            )
        if any(case.volume == volume for case in found):
            raise UserError(
                f"{volume.GetName()!r} has the segment {name!r} in two segmentations; rename or remove one of them."
            )
        found.append(SceneCase(volume, node, segment_id, _patient(scene, volume)))
    if len(found) < 2:
        what = f"One scan of this scene has a segment {name!r}" if found else f"No scan of this scene has a {name!r}"
        raise UserError(f"{what}; learning takes finished scans of two patients or more, so load others with theirs.")
    return found


def write_finished_cases(cases: list[SceneCase], name: str, folder: Path) -> None:
    """Write each case as a scan and a `.seg.nrrd` beside it, named after its patient and its volume.

    Args:
        cases: From `finished_cases`.
        name: Of the segment.
        folder: An empty one.

    Raises:
        UserError: A volume is no grey scan, or a file cannot be written.
    """
    import SimpleITK as sitk

    from EfficientMedSAM2Lib.imaging.labelmaps import array_to_image

    patients = list(dict.fromkeys(case.patient for case in cases))
    for number, case in enumerate(cases, start=1):
        volume = volume_from_node(case.volume)
        if volume.array.ndim != 3:
            raise UserError(f"{volume.name!r} has colours, and learning reads grey scans; leave it out.")
        bare = re.sub(r"[^\w-]+", "-", volume.name).strip("-_") or "scan"
        path = folder / f"patient{patients.index(case.patient) + 1}_{bare}_{number}.nrrd"
        segment = case.segmentation.GetSegmentation().GetSegment(case.segment_id)
        mask = read_segment(case.segmentation, case.segment_id, case.volume)
        terminology = get_tag(segment, TERMINOLOGY_TAG)
        try:
            sitk.WriteImage(array_to_image(volume.array, volume.ijk_to_ras), str(path))
        except RuntimeError as error:  # SimpleITK's only one
            raise UserError(f"Cannot write {path}; make room on the disk.") from error
        write_segmentation(path.with_suffix(".seg.nrrd"), [Segment(name, mask, terminology=terminology)], volume)


def _patient(scene: Any, volume: Any) -> str:
    """The patient that a volume is filed under, if it came from DICOM; else it is one by itself."""
    tree = next(iter(nodes_of_class(scene, "vtkMRMLSubjectHierarchyNode")), None)
    item = tree.GetItemByDataNode(volume) if tree is not None else 0
    while tree is not None and item not in (0, tree.GetSceneItemID()):
        if tree.GetItemLevel(item) == _PATIENT_LEVEL:
            return f"item {item}"
        item = tree.GetItemParent(item)
    return str(volume.GetID())
