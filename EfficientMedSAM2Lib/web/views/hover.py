"""A mouse that rests over a slice view shows what a click there would make, as in the effect."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from EfficientMedSAM2Lib.mrml.effect.prompt_gesture import distance
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_axis, xy_to_world
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

#: A mouse rests when it has not moved for so long, in seconds.
REST_S = 0.15
#: Pixels that a resting mouse may move.
NEAR = 3


class Hover:
    """Asks the controller for a preview, and takes it back when the mouse goes on.

    Args:
        viewer: The scene.

    Attributes:
        is_on: Whether the user wants it.
    """

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer, self.is_on = viewer, True
        self._place: tuple[Any, Sequence[float]] | None = None  # slice node and pixel
        self._since, self._is_asked = 0.0, False

    def move(self, slice_node: Any, xy: Sequence[float]) -> None:
        """The mouse has moved, with no button down."""
        if self._place is not None and self._place[0] is slice_node and distance(xy, self._place[1]) <= NEAR:
            return
        self.stop()
        if self.is_on:
            self._place, self._since = (slice_node, tuple(xy)), time.monotonic()

    def stop(self) -> None:
        """A button, another tool, or the mouse has left."""
        if self._is_asked:
            self.viewer.controller.unhover()
        self._place, self._is_asked = None, False

    def update(self, include: bool) -> None:
        """Ask, once the mouse rests and there is nothing else to be done."""
        if self._place is None or self._is_asked or time.monotonic() - self._since < REST_S:
            return
        (node, xy), volume_node = self._place, self.viewer.volume_node
        if volume_node is None:
            return
        world = xy_to_world([xy], node)[0].tolist()
        asked = self.viewer.controller.hover(world, include, view_axis(node, volume_node))
        self._is_asked = asked or not self.viewer.controller.is_busy
