"""Distances that are measured in a slice view: Slicer's own lines, whose ends can be moved, with their length in mm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.work.files import Place, Ruler

RULER = "ruler"
COLOR = (1.0, 0.85, 0.1)
#: Digits of places in mm.
DECIMALS = 3
#: Size of the letters in percent of the view, as Slicer counts it, and of the marks at the ends.
TEXT_SCALE, GLYPH_PERCENT = 2.6, 1.6


class Rulers:
    """All rulers of a scan; another scan takes them away.

    Args:
        viewer: The scene.
        changed: Called when a ruler was made or moved.
    """

    def __init__(self, viewer: ViewerSession, changed: Callable[[], None]) -> None:
        self.viewer, self._changed = viewer, changed
        self._made: list[Any] = []

    @property
    def nodes(self) -> list[Any]:
        """vtkMRMLMarkupsLineNode of each, in their order."""
        self._made = [node for node in self._made if node.GetScene() is not None]
        return self._made

    def add(self, first_world: Sequence[float], second_world: Sequence[float]) -> None:
        """Measure from one place to another, world RAS in mm.

        Raises:
            UserError: The scan does not say how large a voxel is.
        """
        import vtk

        if self.viewer.unit != "mm":
            raise UserError("This picture does not say how large a pixel is; a length in mm cannot be measured.")
        node = self.viewer.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", f"Ruler {len(self.nodes) + 1}")
        node.CreateDefaultDisplayNodes()
        for place in (first_world, second_world):
            node.AddControlPointWorld(vtk.vtkVector3d(*(float(value) for value in place)))
        display = node.GetDisplayNode()
        display.SetSelectedColor(*COLOR)
        display.SetActiveColor(*COLOR)
        display.SetPropertiesLabelVisibility(True)
        display.SetPointLabelsVisibility(False)
        display.SetTextScale(TEXT_SCALE)
        display.SetUseGlyphScale(True)
        display.SetGlyphScale(GLYPH_PERCENT)
        display.SetSliceProjection(False)
        display.SetVisibility3D(False)
        for event in (node.PointModifiedEvent, node.PointEndInteractionEvent):
            node.AddObserver(event, lambda *_: self._changed())
        self._made.append(node)
        self._changed()

    @property
    def ends(self) -> tuple[Ruler, ...]:
        """Both ends of each, world RAS in mm."""
        return tuple((_end(node, 0), _end(node, 1)) for node in self.nodes)

    def lengths_mm(self) -> list[float]:
        """Length of each."""
        return [float(node.GetLineLengthWorld()) for node in self.nodes]

    def clear(self) -> None:
        """Remove all."""
        for node in self.nodes:
            self.viewer.scene.RemoveNode(node)
        self._made = []


def _end(node: Any, number: int) -> Place:
    r, a, s = node.GetNthControlPointPositionWorld(number)
    return round(r, DECIMALS), round(a, DECIMALS), round(s, DECIMALS)
