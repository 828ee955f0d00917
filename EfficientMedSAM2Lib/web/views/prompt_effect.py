"""The effect in the slice views: mouse -> prompts, outlines of what is not written yet. An effect of trame-slicer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import vtk
from slicer import vtkMRMLSliceNode
from trame_slicer.segmentation import SegmentationEffect, SegmentationEffectPipeline

from EfficientMedSAM2Lib.mrml.effect.outline import SliceLines
from EfficientMedSAM2Lib.mrml.effect.prompt_gesture import POINT, PromptGesture
from EfficientMedSAM2Lib.mrml.effect.view_geometry import xy_to_world
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.views.brush import BRUSHES, PAINT, Brush
from EfficientMedSAM2Lib.web.views.hover import Hover
from EfficientMedSAM2Lib.web.views.rulers import RULER, Rulers

NAVIGATE, WINDOW, ROI = "navigate", "window", "roi"
#: Squared distance in pixels at which the crosshair gives way to handles of an ROI.
FAR = 1e6


class PromptPipeline(SegmentationEffectPipeline):
    """One slice view of the effect."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = SliceLines()
        self._mask: tuple[Any, Any] | None = None

    def OnRendererAdded(self, renderer: Any) -> None:
        """Show what there is to show."""
        for actor in self._lines.actors:
            if renderer is not None:
                renderer.AddViewProp(actor)

    def OnRendererRemoved(self, renderer: Any) -> None:
        """Leave nothing behind."""
        for actor in self._lines.actors:
            renderer.RemoveViewProp(actor)

    def OnUpdate(self, obj: Any, event_id: int, call_data: Any) -> None:
        """The view has moved: outlines are in its pixels."""
        super().OnUpdate(obj, event_id, call_data)
        if obj == self.GetViewNode() and self._mask is not None:
            self.show_mask(*self._mask)

    def show_mask(self, image: Any, volume_node: Any) -> None:
        """Outline a mask (vtkOrientedImageData in the volume's frame); None hides it."""
        self._mask = None if image is None else (image, volume_node)
        if self._lines.show_mask(image, volume_node, self.GetViewNode()):
            self.RequestRender()

    def show_band(self, points_xy: Sequence[Any], closed: bool, include: bool) -> None:
        """Draw a polygon or a line in pixels of the view; no points hide it."""
        if self._lines.show_band(points_xy, closed, include):
            self.RequestRender()

    def CanProcessInteractionEvent(self, event: Any) -> tuple[bool, float]:
        """The left button without modifier keys is the tool's; all else is Slicer's."""
        effect = self._effect
        if effect is None or not self.IsActive() or (effect.tool == WINDOW and effect.next_press is None):
            return False, FAR
        wanted = event.GetType() == vtk.vtkCommand.LeftButtonPressEvent and not event.GetModifiers()
        if effect.tool in BRUSHES and effect.pressed_view is None:
            self._show_brush(event, effect)
        dragging = effect.pressed_view is self and event.GetType() in (
            vtk.vtkCommand.MouseMoveEvent,
            vtk.vtkCommand.LeftButtonReleaseEvent,
        )
        self._hover(event, effect)
        gives_way = effect.tool == NAVIGATE and not dragging and effect.next_press is None
        return bool(wanted or dragging), FAR if gives_way else 0.0

    def ProcessInteractionEvent(self, event: Any) -> bool:
        """One event of the mouse."""
        return bool(
            self._effect is not None and self._effect.process(self, event.GetType(), event.GetDisplayPosition())
        )

    def _show_brush(self, event: Any, effect: PromptEffect) -> None:
        """How large the brush is, under the mouse that no button of is down."""
        if event.GetType() == vtk.vtkCommand.MouseMoveEvent:
            self.show_band(effect.brush.circle(self.GetViewNode(), event.GetDisplayPosition()), True, True)
        elif event.GetType() == vtk.vtkCommand.LeaveEvent:
            self.show_band([], True, True)

    def _hover(self, event: Any, effect: PromptEffect) -> None:
        """The mouse moves over the image, or does something else."""
        if event.GetType() == vtk.vtkCommand.MouseMoveEvent and effect.tool == POINT and effect.pressed_view is None:
            if not event.GetModifiers():
                effect.hover.move(self.GetViewNode(), event.GetDisplayPosition())
        else:
            effect.hover.stop()

    def LoseFocus(self, _event: Any) -> None:
        """Nothing: a drag that leaves the view goes on when it comes back."""


class PromptEffect(SegmentationEffect):
    """What the tools do. ``connect`` has to be called once.

    Attributes:
        pressed_view: Pipeline in which the left button is down.
        prompted_at: Where the crosshair was, world RAS, when the last prompt was given.
        next_press: Gets the place, world RAS, where the left button is pressed next, instead of the tool.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pressed_view: PromptPipeline | None = None
        self.prompted_at: list[float] | None = None
        self.next_press: Callable[[Sequence[float]], None] | None = None
        self._tool = NAVIGATE

    def connect(
        self,
        viewer: ViewerSession,
        moved: Callable[[Any, Sequence[float]], None],
        say: Callable[[str], None],
        drawn: Callable[[Any, int], None],
        brush: Brush,
        rulers: Rulers,
    ) -> None:
        """Tie the effect to a viewer session.

        Args:
            viewer: Gets the prompts.
            moved: Called with (slice node, world RAS) where the user points.
            say: Called with what is wrong with a prompt.
            drawn: Called with (box kji, axis) of a rectangle drawn with the ROI tool.
            brush: Paints and erases.
            rulers: Get the lines that are drawn with their tool.
        """
        self.viewer, self._moved, self._say, self._drawn = viewer, moved, say, drawn
        self.brush, self.rulers = brush, rulers
        self.hover = Hover(viewer)
        self.gesture = _Gesture(self)

    @property
    def tool(self) -> str:
        """ "navigate", "window", "roi", "paint", "erase", "ruler", or a tool of the gesture."""
        return self._tool

    @tool.setter
    def tool(self, tool: str) -> None:
        self.gesture.cancel()
        self.hover.stop()
        self.pressed_view = self.next_press = None
        self._tool = tool
        self.gesture.tool = "line" if tool == RULER else "box" if tool in (NAVIGATE, WINDOW, ROI, *BRUSHES) else tool
        if tool in BRUSHES:
            self.brush.tool = tool
        for view in self.views:
            view.show_band([], True, True)

    @property
    def views(self) -> list[PromptPipeline]:
        """Pipelines of all slice views."""
        return [pipeline for pipeline in (weak() for weak in self.pipelines) if pipeline is not None]

    def view_of(self, slice_node: Any) -> PromptPipeline | None:
        """The pipeline in a view."""
        return next((view for view in self.views if view.GetViewNode() == slice_node), None)

    def process(self, view: PromptPipeline, event: int, xy: Sequence[float]) -> bool:
        """An event of the mouse in a view; returns whether it was used."""
        command, volume_node = vtk.vtkCommand, self.viewer.volume_node
        if volume_node is None:
            return False
        try:
            if self.tool in BRUSHES and self.next_press is None:
                self._stroke(view, event, xy)
            elif event == command.LeftButtonPressEvent:
                self.pressed_view = view if self.next_press is None else None
                self.press(view, xy)
            elif event == command.MouseMoveEvent and self.tool == NAVIGATE:
                self._point_at(view, xy)
            elif event == command.MouseMoveEvent:
                self.gesture.drag(xy)
            elif event == command.LeftButtonReleaseEvent:
                self.pressed_view = None
                self.release(view, xy)
        except ValueError as error:
            self._say(str(error))
        return True

    def _stroke(self, view: PromptPipeline, event: int, xy: Sequence[float]) -> None:
        """An event of the mouse while it is a brush."""
        node, command = view.GetViewNode(), vtk.vtkCommand
        view.show_band(self.brush.circle(node, xy), True, self.tool == PAINT)
        if event == command.LeftButtonPressEvent:
            self.brush.press(node, xy)
            self.pressed_view = view
        elif event == command.MouseMoveEvent:
            self.brush.move(node, xy)
        elif event == command.LeftButtonReleaseEvent:
            self.pressed_view = None
            self.brush.release()

    def press(self, view: PromptPipeline, xy: Sequence[float]) -> None:
        """Begin a prompt, or point at something."""
        if self.next_press is not None:
            wanted, self.next_press = self.next_press, None
            wanted(xy_to_world([xy], view.GetViewNode())[0].tolist())
            return
        if self.tool in (NAVIGATE, "point"):
            self._point_at(view, xy)
        if self.tool in BRUSHES:
            self.brush.press(view.GetViewNode(), xy)
            self.brush.release()
        elif self.tool != NAVIGATE:
            self._check()
            self.gesture.press(xy, view, self.viewer.controller, self.viewer.volume_node)

    def release(self, view: PromptPipeline, xy: Sequence[float]) -> None:
        """Complete a prompt that is being drawn."""
        if self.tool == RULER:
            self.gesture.release(xy, self.viewer.controller, self.viewer.volume_node)
        elif self.gesture.release(xy, self.viewer.controller, self.viewer.volume_node):
            self._point_at(view, self.gesture.middle)  # the other views show what was drawn around

    def show_mask(self, image: Any, views: Sequence[PromptPipeline] | None = None) -> None:
        """Outline a mask on slice views, by default on all."""
        for view in self.views if views is None else views:
            view.show_mask(image, self.viewer.volume_node)

    def _check(self) -> None:
        if self.tool == RULER:
            return
        self.viewer.port.selected_segment_id()
        if not self.viewer.controller.is_ready:
            self._say("The network is being loaded; the prompt waits for it.")

    def _point_at(self, view: PromptPipeline, xy: Sequence[float]) -> None:
        place = xy_to_world([xy], view.GetViewNode())[0].tolist()
        self._moved(view.GetViewNode(), place)
        if self.tool in ("point", "box", "line"):
            self.prompted_at = place

    def _create_pipeline(self, view_node: Any, parameter: Any) -> PromptPipeline | None:  # noqa: ARG002
        return PromptPipeline() if isinstance(view_node, vtkMRMLSliceNode) else None


class _Gesture(PromptGesture):
    """A gesture whose rectangles are ROIs, and whose lines are rulers, when that is the tool."""

    def __init__(self, effect: PromptEffect) -> None:
        super().__init__(lambda view: view.GetViewNode(), lambda view, *band: view.show_band(*band))
        self._effect = effect

    def draw_box(self, bbox_kji: Any, axis: int, controller: Any) -> None:
        """Hand a rectangle on."""
        if self._effect.tool == ROI:
            self._effect._drawn(bbox_kji, axis)
        else:
            super().draw_box(bbox_kji, axis, controller)

    def draw_line(self, first_ras: Any, second_ras: Any, axis: int, controller: Any) -> None:
        """Hand a line on."""
        if self._effect.tool == RULER:
            self._effect.rulers.add(first_ras, second_ras)
        else:
            super().draw_line(first_ras, second_ras, axis, controller)
