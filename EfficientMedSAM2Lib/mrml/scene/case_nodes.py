"""A case in the scene: loaded from a scene file, read back, written, and removed without a trace.

Only nodes that came with the case are ever touched. They bear an attribute, by which they are known.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_start
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import transform_points
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.mrml.labelmaps import box_of_extent, image_matrix, mask_in_box
from EfficientMedSAM2Lib.mrml.scene.prompt_store import prompt_nodes
from EfficientMedSAM2Lib.mrml.scene.segments import read_segments
from EfficientMedSAM2Lib.mrml.segment_voxels import segment_layer
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world

CASE_ATTRIBUTE = "EfficientMedSAM2.Case"


class CaseNodes:
    """The nodes of a case.

    Attributes:
        volume: The scan's node.
        segmentation: The vtkMRMLSegmentationNode.
        markups: Prompts.
    """

    def __init__(self, volume: Any, segmentation: Any, markups: list[Any]) -> None:
        self.volume = volume
        self.segmentation = segmentation
        self.markups = markups

    @property
    def are_there(self) -> bool:
        """Whether scan and segmentation are still in the scene."""
        return self.volume.GetScene() is not None and self.segmentation.GetScene() is not None

    def segments(self) -> list[Segment]:
        """All segments as they are now."""
        return read_segments(self.segmentation, self.volume)

    def digest(self) -> str:
        """Changes when a segment is added, removed, renamed or edited, and not by looking at it."""
        result = hashlib.sha256()
        for segment in self.segments():
            result.update(f"{segment.name}\0".encode())
            result.update(np.packbits(segment.mask).tobytes())
        return result.hexdigest()

    def write_segmentation(self, path: Path) -> None:
        """Write a ``.seg.nrrd`` as Slicer does; what the segmentation node knows of its file does not change.

        Raises:
            UserError: it cannot be written.
        """
        scene = self.segmentation.GetScene()
        storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        try:
            storage.SetFileName(str(path))
            if not storage.WriteData(self.segmentation):
                raise UserError(f"Cannot write {path}; see Slicer's error log.")
        finally:
            scene.RemoveNode(storage)

    def place(self, segment_name: str, axis: int, index: int) -> list[float] | None:
        """World RAS of the middle of a segment on a slice of the grid that its file has; None where it is not there.

        Slicer may have turned the slices of a scan round when it read it. The segmentation's file was written on the
        scan's own grid, so that slice numbers mean that.
        """
        segment_id = self.segmentation.GetSegmentation().GetSegmentIdBySegmentName(segment_name)
        if not segment_id:
            return None
        labelmap, label = segment_layer(self.segmentation, segment_id)
        box = box_of_extent(labelmap.GetExtent())
        if box is None or not box[axis][0] <= index < box[axis][1]:
            return None
        box[axis] = [index, index + 1]
        mask = mask_in_box(labelmap, box, label)
        if not mask.any():
            return None
        middle_kji = np.argwhere(mask).mean(axis=0) + box_start(box)
        local = transform_points(middle_kji[None, ::-1], image_matrix(labelmap))
        world: list[float] = local_to_world(local, self.segmentation)[0].tolist()
        return world


def open_case(scene: Any, scene_file: Path, case: str) -> CaseNodes:
    """Add the nodes of a scene file (scan, segmentation, prompts) to a scene, which stays as it is otherwise.

    Raises:
        UserError: scan or segmentation cannot be loaded; then nothing was added.
    """
    before = {node.GetID() for node in _nodes(scene)}
    url, root = scene.GetURL(), scene.GetRootDirectory()
    scene.SetURL(str(scene_file))
    scene.SetRootDirectory(str(scene_file.parent))
    try:
        scene.Import()
        added = [node for node in _nodes(scene) if node.GetID() not in before]
        for node in added:
            node.SetAttribute(CASE_ATTRIBUTE, case)
            if node.IsA("vtkMRMLStorageNode") and node.GetFileName():
                _make_absolute(node)
    finally:
        scene.SetURL(url or "")
        scene.SetRootDirectory(root or "")
    volume = next((node for node in added if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None), None)
    segmentation = next((node for node in added if node.IsA("vtkMRMLSegmentationNode")), None)
    if volume is None or segmentation is None or segmentation.GetSegmentation().GetNumberOfSegments() == 0:
        close_cases(scene)
        what = "The scan" if volume is None else "The segmentation"
        raise UserError(f"{what} of case '{case}' cannot be loaded from {scene_file}; see Slicer's error log.")
    return CaseNodes(volume, segmentation, [node for node in added if node.IsA("vtkMRMLMarkupsNode")])


def close_cases(scene: Any) -> None:
    """Remove all nodes that came with cases, and the prompts that the effect shows for them."""
    added = [node for node in _nodes(scene) if node.GetAttribute(CASE_ATTRIBUTE)]
    for node in list(added):
        if node.IsA("vtkMRMLSegmentationNode"):
            added += prompt_nodes(node)
    # Data nodes go first: they let go of their storage and display nodes by themselves.
    for node in sorted(added, key=lambda node: not node.IsA("vtkMRMLDisplayableNode")):
        if node.GetScene() is not None:
            scene.RemoveNode(node)


def _make_absolute(storage: Any) -> None:
    """Name files by whole paths: the scene's folder is that of the case only while it is read."""
    files = [storage.GetNthFileName(n) for n in range(storage.GetNumberOfFileNames())]
    absolute = [storage.GetFullNameFromNthFileName(n) for n in range(len(files))]
    storage.SetFileName(storage.GetFullNameFromFileName())
    if files:
        storage.ResetFileNameList()
        for name in absolute:
            storage.AddFileName(name)


def _nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
