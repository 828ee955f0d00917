"""What a reader does to a case, and what is kept of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import slicer

MODULE = Path(__file__).resolve().parents[4] / "EfficientMedSAM2"


def paint(nodes, segment=0):
    """Fill slice 0 of the scan in a segment, as an effect would."""
    from EfficientMedSAM2Lib.mrml.labelmaps import oriented_image
    from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix, volume_shape

    mask = np.zeros(volume_shape(nodes.volume), bool)
    mask[0] = True
    segmentation = nodes.segmentation.GetSegmentation()
    segment_id = segmentation.GetNthSegmentID(segment)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(nodes.volume.GetScene())
    editor = nodes.volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    logic.SetSegmentEditorNode(editor)
    logic.SetSegmentationNode(nodes.segmentation)
    logic.SetSourceVolumeNode(nodes.volume)
    logic.SetCurrentSegmentID(segment_id)
    logic.UpdateReferenceGeometryImage()
    image = oriented_image(mask, (0, 0, 0), volume_matrix(nodes.volume))
    mode, extent = logic.ModificationModeAdd, list(image.GetExtent())
    logic.ModifySegmentByLabelmap(nodes.segmentation, segment_id, image, mode, extent, True, True)
    nodes.volume.GetScene().RemoveNode(editor)


def rows(output):
    with (output / "measurements.csv").open() as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def record_of(output, name):
    return json.loads((output / "cases" / name / "provenance.json").read_text())
