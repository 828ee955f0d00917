"""Press, drag and release in a slice view -> prompts. No GUI: a front end translates its events and draws the band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.mrml.effect.view_geometry import lasso_on_slice, rectangle_box, view_axis, xy_to_world

POINT, BOX, LINE, SCRIBBLE, LASSO = "point", "box", "line", "scribble", "lasso"
#: A drag shorter than this, in pixels, is a slip of the hand.
SHORTEST_DRAG = 4
#: Points of a line drawn by hand are so many pixels apart: finer is the hand's trembling, and a longer list to keep.
DRAWN_STEP = 3

XY = Sequence[float]


class PromptGesture:
    """One prompt at a time, drawn in one view.

    Args:
        view_node: Returns the vtkMRMLSliceNode of a view.
        show_band: Called with (view, points_xy, closed, include): draws a polygon or a line in the view, which is
            what is being dragged; no points remove it.

    Attributes:
        tool: What a press begins: POINT, BOX, LINE, SCRIBBLE or LASSO.
        include: Whether prompts are on the structure; a LINE always is.
    """

    def __init__(self, view_node: Callable[[Any], Any], show_band: Callable[..., None]) -> None:
        self.tool = POINT
        self.include = True
        self._view_node = view_node
        self._show_band = show_band
        self._dragged: Any = None
        self._start: XY = (0.0, 0.0)
        self._drawn: list[XY] = []
        self._is_pressed = False

    @property
    def dragging(self) -> bool:
        """Whether anything is being drawn."""
        return self._dragged is not None

    @property
    def is_pressed(self) -> bool:
        """Whether a press has not been released yet."""
        return self._is_pressed

    @property
    def middle(self) -> XY:
        """Middle of what was drawn last."""
        xs, ys = zip(*self._drawn)
        return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

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
            self._dragged, self._start, self._drawn = view, tuple(xy), [tuple(xy)]

    def drag(self, xy: XY) -> None:
        """Show what a release would give here."""
        if self._dragged is None:
            return
        (x0, y0), (x1, y1) = self._start, xy
        if self.tool in (SCRIBBLE, LASSO):
            if distance(xy, self._drawn[-1]) >= DRAWN_STEP:
                self._drawn.append(tuple(xy))
            self._show_band(self._dragged, [*self._drawn, tuple(xy)], self.tool == LASSO, self.include)
        elif self.tool == LINE:
            self._show_band(self._dragged, [(x0, y0), (x1, y1)], False, True)
        else:
            self._show_band(self._dragged, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], True, self.include)

    def release(self, xy: XY, controller: Any, volume_node: Any) -> bool:
        """Complete what is being drawn; returns whether there was anything to complete.

        Raises:
            UserError: what was drawn is not on the image.
        """
        view, start = self._dragged, self._start
        self._drawn = drawn = [*self._drawn, tuple(xy)]
        self.cancel()
        # a lasso ends where it was begun
        if view is None or max(distance(point, start) for point in drawn) < SHORTEST_DRAG:
            return False
        node = self._view_node(view)
        axis = view_axis(node, volume_node)
        if self.tool == SCRIBBLE:
            controller.draw_scribble(xy_to_world(drawn, node), self.include, axis)
        elif self.tool == LASSO:
            controller.draw_lasso(lasso_on_slice(drawn, node, volume_node), self.include, axis)
        elif self.tool == LINE:
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
