"""Surfaces of segments for the 3D view, as models made in a moment when nothing else is to be done.

The segmentation's own closed surface would be made anew inside every change of a segment, before the slice views show
it. So it is left off.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, to_vtk_matrix
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

#: Voxels that are looked at; larger segments are thinned out first.
MAX_VOXELS = 1_000_000
#: A segment is left alone for so long after a change, in seconds: the next click may come at once.
REST_S = 0.4
SMOOTHING_STEPS = 12


class Surfaces:
    """One vtkMRMLModelNode for each segment that has voxels."""

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self._shown: dict[str, tuple[Any, Any]] = {}  # segment: (stamp, node)
        self._seen: dict[str, tuple[Any, float]] = {}  # segment: (stamp, when it was first seen)

    def clear(self) -> None:
        """Another volume; its scene has removed the nodes."""
        self._shown, self._seen = {}, {}

    def update(self, rest_s: float = REST_S) -> None:
        """Make at most one surface; colours and visibility follow at once.

        Args:
            rest_s: Leave a segment alone for so long after a change.
        """
        node = self.viewer.segmentation_node
        if node is None:
            return
        ids, now = self.viewer.port.segment_ids(), time.monotonic()
        for segment_id in [known for known in self._shown if known not in ids]:
            self._remove(segment_id)
        made = False
        for segment_id in ids:
            stamp = segment_stamp(node, segment_id)
            if self._seen.get(segment_id, (None, 0.0))[0] != stamp:
                self._seen[segment_id] = stamp, now
            rested = now - self._seen[segment_id][1] >= rest_s
            if rested and not made and self._shown.get(segment_id, (None, None))[0] != stamp:
                self._make(segment_id, stamp)
                made = True
            self._style(segment_id)

    def _make(self, segment_id: str, stamp: Any) -> None:
        node, volume_node = self.viewer.segmentation_node, self.viewer.volume_node
        box = segment_box(node, segment_id, volume_node)
        if box is None:
            self._remove(segment_id)
            self._shown[segment_id] = stamp, None
            return
        assert self.viewer.volume is not None
        surface = make_surface(read_segment(node, segment_id, volume_node, box), box, self.viewer.volume.ijk_to_ras)
        model = self._shown.get(segment_id, (None, None))[1]
        if model is None:
            model = self.viewer.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{segment_id} surface")
            model.CreateDefaultDisplayNodes()
            model.GetDisplayNode().SetVisibility2D(False)
        model.SetAndObservePolyData(surface)
        self._shown[segment_id] = stamp, model

    def _style(self, segment_id: str) -> None:
        model = self._shown.get(segment_id, (None, None))[1]
        if model is None:
            return
        node, display = self.viewer.segmentation_node, model.GetDisplayNode()
        color = node.GetSegmentation().GetSegment(segment_id).GetColor()
        visible = int(node.GetDisplayNode().GetSegmentVisibility(segment_id) and node.GetDisplayNode().GetVisibility())
        if tuple(display.GetColor()) != tuple(color):
            display.SetColor(*color)
        if display.GetVisibility() != visible:
            display.SetVisibility(visible)

    def _remove(self, segment_id: str) -> None:
        model = self._shown.pop(segment_id, (None, None))[1]
        if model is not None:
            self.viewer.scene.RemoveNode(model)


def make_surface(mask: np.ndarray, box_kji: Box, ijk_to_ras: np.ndarray) -> Any:
    """Smoothed closed surface (vtkPolyData, RAS mm) of a mask (d, h, w) that lies in a box of a volume's grid."""
    import vtk

    step = max(int(np.ceil((mask.size / MAX_VOXELS) ** (1 / 3))), 1)
    thinned = np.pad(mask[::step, ::step, ::step].astype(np.uint8), 1)
    image = vtk.vtkImageData()
    image.SetDimensions(*thinned.shape[::-1])
    image.SetSpacing(step, step, step)
    image.SetOrigin(*(low - step for low, _high in reversed(box_kji)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    array_view(image)[...] = thinned
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(SMOOTHING_STEPS)
    smooth.SetPassBand(0.08)
    smooth.BoundarySmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    transform = vtk.vtkTransform()
    transform.SetMatrix(to_vtk_matrix(ijk_to_ras))
    place = vtk.vtkTransformPolyDataFilter()
    place.SetInputConnection(smooth.GetOutputPort())
    place.SetTransform(transform)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(place.GetOutputPort())
    normals.SplittingOff()
    normals.SetFlipNormals(bool(np.linalg.det(np.asarray(ijk_to_ras)[:3, :3]) < 0))
    normals.Update()
    return normals.GetOutput()
