"""A 3D ROI that is drawn as a rectangle, shaped with Slicer's own handles, and then used as a prompt."""

from __future__ import annotations

from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import box_to_roi, spacing_of
from EfficientMedSAM2Lib.mrml.labelmaps import to_vtk_matrix
from EfficientMedSAM2Lib.mrml.markups_reader import read_roi
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix, volume_shape
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession


class RoiDraft:
    """One ROI at a time; nothing is asked of the network before ``use``."""

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self.node: Any = None
        self._axis = 0

    @property
    def is_open(self) -> bool:
        """Whether there is an ROI to shape."""
        return self.node is not None and self.node.GetScene() is not None

    def draw(self, bbox_kji: Box, axis: int, depth_mm: float | None) -> None:
        """Begin with a rectangle on a slice, or a box; a flat one is given a depth, by default that of a cube."""
        self.drop()
        matrix = volume_matrix(self.viewer.volume_node)
        spacing = spacing_of(matrix)[::-1]
        box = [list(bounds) for bounds in bbox_kji]
        if box[axis][1] - box[axis][0] == 1:
            edges = [(high - low) * spacing[n] for n, (low, high) in enumerate(box) if n != axis]
            half = max(round((depth_mm or float(np.mean(edges))) / spacing[axis] / 2), 1)
            count = volume_shape(self.viewer.volume_node)[axis]
            box[axis] = [max(box[axis][0] - half, 0), min(box[axis][1] + half, count)]
        object_to_world, size = box_to_roi(box, matrix)
        node = self.viewer.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
        node.CreateDefaultDisplayNodes()
        node.SetSize(*(float(value) for value in size))
        node.SetAndObserveObjectToNodeMatrix(to_vtk_matrix(np.asarray(object_to_world)))
        display = node.GetDisplayNode()
        display.SetHandlesInteractive(True)
        display.SetSelectedColor(1.0, 0.85, 0.1)
        display.SetFillOpacity(0.08)
        display.SetPropertiesLabelVisibility(False)
        self.node, self._axis = node, axis

    def text(self) -> str:
        """Its size in words."""
        size = self.node.GetSize()
        return "\N{THIN SPACE}×\N{THIN SPACE}".join(f"{value:.0f}" for value in size) + f" {self.viewer.unit}"

    def use(self) -> tuple[int, int]:
        """Use it as a prompt, and as the limits of propagation; returns axis and index of the slice that it prompts."""
        if not self.is_open:
            raise UserError("Draw an ROI first.")
        box = [list(bounds) for bounds in read_roi(self.node, self.viewer.volume_node).box_kji]
        self.drop()
        self.viewer.controller.draw_box(box, True, self._axis)
        low, high = box[self._axis]
        return self._axis, (low + high) // 2

    def drop(self) -> None:
        """Forget it."""
        node, self.node = self.node, None
        if node is not None and node.GetScene() is not None:
            self.viewer.scene.RemoveNode(node)
