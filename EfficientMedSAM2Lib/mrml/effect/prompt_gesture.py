"""Press, drag and release in a slice view -> prompts. No GUI: a front end translates its events and draws the band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.mrml.effect.view_geometry import rectangle_box, view_axis, xy_to_world

POINT, BOX, LINE = "point", "box", "line"
#: A drag shorter than this, in pixels, is a slip of the hand.
SHORTEST_DRAG = 4

XY = Sequence[float]


class PromptGesture:
    """One prompt at a time, drawn in one view.

    Args:
        view_node: Returns the vtkMRMLSliceNode of a view.
        show_band: Called with (view, points_xy, closed, include): draws a polygon or a line in the view, which is
            what is being dragged; no points remove it.

    Attributes:
        tool: What a press begins: POINT, BOX or LINE.
        include: Whether points and boxes are on the structure.
    """

    def __init__(self, view_node: Callable[[Any], Any], show_band: Callable[..., None]) -> None:
        self.tool = POINT
        self.include = True
        self._view_node = view_node
        self._show_band = show_band
        self._dragged: Any = None
        self._start: XY = (0.0, 0.0)
        self._is_pressed = False

    @property
    def dragging(self) -> bool:
        """Whether a box or a line is being drawn."""
        return self._dragged is not None

    @property
    def is_pressed(self) -> bool:
        """Whether a press has not been released yet."""
        return self._is_pressed

    @property
    def start(self) -> XY:
        """Where the last box or line was begun."""
        return self._start

    def press(self, xy: XY, view: Any, controller: Any, volume_node: Any) -> None:
        """Begin a prompt; a point is complete with it.

        Raises:
            UserError: the point is not on the image.
        """
        self.cancel()
        self._is_pressed = True
        if self.tool == POINT:
            node = self._view_node(view)
            world = xy_to_world([xy], node)[0].tolist()
            controller.click(world, self.include, view_axis(node, volume_node))
        else:
            self._dragged, self._start = view, tuple(xy)

    def drag(self, xy: XY) -> None:
        """Show what a release would give here."""
        if self._dragged is None:
            return
        (x0, y0), (x1, y1) = self._start, xy
        if self.tool == LINE:
            self._show_band(self._dragged, [(x0, y0), (x1, y1)], False, True)
        else:
            self._show_band(self._dragged, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], True, self.include)

    def release(self, xy: XY, controller: Any, volume_node: Any) -> bool:
        """Complete a box or a line; returns whether there was anything to complete.

        Raises:
            UserError: what was drawn is not on the image.
        """
        view, start = self._dragged, self._start
        self.cancel()
        if view is None or distance(xy, start) < SHORTEST_DRAG:
            return False
        node = self._view_node(view)
        axis = view_axis(node, volume_node)
        if self.tool == LINE:
            first, second = xy_to_world([start, xy], node).tolist()
            self.draw_line(first, second, axis, controller)
        else:
            self.draw_box(rectangle_box(start, xy, node, volume_node), axis, controller)
        return True

    def draw_box(self, bbox_kji: Any, axis: int, controller: Any) -> None:
        """A rectangle is complete; a front end with other tools than this one's may use it otherwise."""
        controller.draw_box(bbox_kji, self.include, axis)

    def draw_line(self, first_ras: Any, second_ras: Any, axis: int, controller: Any) -> None:
        """A line is complete; as for a rectangle."""
        controller.draw_line(first_ras, second_ras, axis)

    def cancel(self) -> None:
        """Forget what is being drawn."""
        view, self._dragged, self._is_pressed = self._dragged, None, False
        if view is not None:
            self._show_band(view, [], True, True)


def distance(xy: XY, other_xy: XY | None) -> float:
    """Larger of the two distances in pixels; infinite where there is no other point."""
    return float("inf") if other_xy is None else max(abs(a - b) for a, b in zip(xy, other_xy))
