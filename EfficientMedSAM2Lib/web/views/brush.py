"""Brush and eraser in the slice views: what is under them changes at once, and a stroke is one undo step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.editing import brush_change
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_axis, xy_to_world
from EfficientMedSAM2Lib.mrml.labelmaps import from_vtk_matrix
from EfficientMedSAM2Lib.mrml.scene.segment_lock import require_unlocked
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

PAINT, ERASE = "paint", "erase"
BRUSHES = (PAINT, ERASE)
#: Corners of the circle that shows how large the brush is.
CORNERS = 32


class Brush:
    """One brush for all views.

    Attributes:
        tool: PAINT or ERASE.
        diameter_mm: How wide it is.
    """

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self.tool, self.diameter_mm = PAINT, 10.0
        self._last: np.ndarray | None = None

    def press(self, slice_node: Any, xy: Sequence[float]) -> None:
        """Begin a stroke.

        Raises:
            UserError: No segment is selected, or a result waits to be applied.
        """
        start_edit(self.viewer)
        self._last = None
        self.move(slice_node, xy)

    def move(self, slice_node: Any, xy: Sequence[float]) -> None:
        """Go on with a stroke."""
        world = xy_to_world([xy], slice_node)[0]
        before = world if self._last is None else self._last
        self._last = world
        volume_node = self.viewer.volume_node
        axis, radius_mm = view_axis(slice_node, volume_node), self.diameter_mm / 2
        change = brush_change(before.tolist(), world.tolist(), radius_mm, axis, volume_node, self.tool == PAINT)
        if change is not None:
            write_change(self.viewer.port, change)

    def release(self) -> None:
        """The stroke is complete."""
        self._last = None
        self.viewer.controller.scene_changed()

    def circle(self, slice_node: Any, xy: Sequence[float]) -> list[tuple[float, float]]:
        """Its rim in pixels of a view."""
        millimetres = float(np.linalg.norm(from_vtk_matrix(slice_node.GetXYToRAS())[:3, 0]))
        radius = self.diameter_mm / 2 / millimetres
        angles = np.linspace(0.0, 2 * np.pi, CORNERS, endpoint=False)
        return [(float(xy[0] + radius * np.cos(a)), float(xy[1] + radius * np.sin(a))) for a in angles]


def start_edit(viewer: ViewerSession) -> None:
    """Remember the state before a correction by hand.

    Raises:
        UserError: No segment is selected, it is locked, or a result waits to be applied.
    """
    require_unlocked(viewer.port.segmentation_node(), viewer.port.selected_segment_id())
    if viewer.controller.has_preview or viewer.controller.activity not in (Activity.IDLE, Activity.LOADING):
        raise UserError(
            "Wait until the segment is ready, and apply or discard the preview, before you change it by hand."
        )
    viewer.port.save_state_for_undo()


def edit(viewer: ViewerSession, change: Change) -> int:
    """Apply a correction as one undo step; returns how many voxels it has changed."""
    start_edit(viewer)
    report = write_change(viewer.port, change)
    viewer.controller.scene_changed()
    return report.added + report.removed - report.refused
