"""Mouse in slice views -> prompts. One tool at a time; with Shift, Ctrl or Alt down the mouse is Slicer's."""

import slicer
import vtk

from EfficientMedSAM2Lib.mrml.effect.view_geometry import rectangle_box, view_axis, xy_to_world

POINT, BOX, LINE = "point", "box", "line"
#: A drag shorter than this, in pixels, is a slip of the hand.
SHORTEST_DRAG = 4


class PromptTools:
    """Turns events of slice views into calls of the controller.

    Args:
        scriptedEffect: For views and their nodes.
        pipelines: Draws what is being dragged.
    """

    def __init__(self, scriptedEffect, pipelines):
        self.scriptedEffect = scriptedEffect
        self.pipelines = pipelines
        self.tool = POINT
        self.include = True
        self._dragged = None
        self._start = None
        self._pressed = None
        self._last = None

    @property
    def dragging(self):
        """Whether a box or a line is being drawn."""
        return self._dragged is not None

    def process(self, interactor, eventId, sliceWidget, controller, volumeNode):
        """Handle one event; returns whether it was used up.

        Raises:
            ValueError: what was drawn is not on the image.
        """
        command = vtk.vtkCommand
        xy = interactor.GetEventPosition()
        if eventId in (command.LeftButtonPressEvent, command.LeftButtonDoubleClickEvent):
            if interactor.GetShiftKey() or interactor.GetControlKey() or interactor.GetAltKey():
                return False
            # Qt calls two quick clicks a double click; on one spot they mean one prompt, and never a larger view.
            isRepeated = eventId == command.LeftButtonDoubleClickEvent and _distance(xy, self._last) < SHORTEST_DRAG
            if not isRepeated:
                self._press(xy, sliceWidget, controller, volumeNode)
            self._last = tuple(xy)
            return True
        if eventId == command.MouseMoveEvent and self.dragging:
            self._drag(xy)
            return True
        if eventId == command.LeftButtonReleaseEvent and self._pressed is not None:
            self._pressed = None
            if self.dragging:
                self._release(xy, controller, volumeNode)
            return True
        if eventId == command.RightButtonPressEvent and self.dragging:
            self.cancel()
            return True
        return False

    def cancel(self):
        """Forget what is being drawn."""
        dragged, self._dragged, self._start, self._pressed = self._dragged, None, None, None
        if dragged is not None:
            self.pipelines.showBand(dragged, [])

    def _press(self, xy, sliceWidget, controller, volumeNode):
        self.cancel()
        self._pressed = sliceWidget
        if self.tool == POINT:
            sliceNode = self.scriptedEffect.viewNode(sliceWidget)
            world = xy_to_world([xy], sliceNode)[0].tolist()
            controller.click(world, self.include, view_axis(sliceNode, volumeNode))
        else:
            self._dragged, self._start = sliceWidget, tuple(xy)

    def _drag(self, xy):
        (x0, y0), (x1, y1) = self._start, xy
        if self.tool == BOX:
            self.pipelines.showBand(self._dragged, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], True, self.include)
        else:
            self.pipelines.showBand(self._dragged, [(x0, y0), (x1, y1)], False)

    def _release(self, xy, controller, volumeNode):
        sliceWidget, start = self._dragged, self._start
        self.cancel()
        if _distance(xy, start) < SHORTEST_DRAG:
            return
        sliceNode = self.scriptedEffect.viewNode(sliceWidget)
        axis = view_axis(sliceNode, volumeNode)
        if self.tool == BOX:
            controller.draw_box(rectangle_box(start, xy, sliceNode, volumeNode), self.include, axis)
        else:
            first, second = xy_to_world([start, xy], sliceNode).tolist()
            controller.draw_line(first, second, axis)


def _distance(xy, otherXY):
    """Larger of the two distances in pixels; infinite where there is no other point."""
    return float("inf") if otherXY is None else max(abs(a - b) for a, b in zip(xy, otherXY))


class RoiPlacement:
    """An ROI that the user is placing with Slicer's own tool; while it lasts, the mouse is Slicer's."""

    def __init__(self):
        self.node = None

    def start(self):
        """Make an ROI node and start placing it."""
        self.stop()
        scene = slicer.mrmlScene
        self.node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", scene.GenerateUniqueName("ROI"))
        self.node.CreateDefaultDisplayNodes()
        selectionNode = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        selectionNode.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsROINode")
        selectionNode.SetActivePlaceNodeID(self.node.GetID())
        interactionNode = self._interactionNode()
        interactionNode.SetPlaceModePersistence(0)
        interactionNode.SetCurrentInteractionMode(interactionNode.Place)

    def placed(self, interactionNode):
        """The node, once placing has ended; None while it lasts, or when it was given up."""
        if self.node is None or interactionNode.GetCurrentInteractionMode() == interactionNode.Place:
            return None
        node, self.node = self.node, None
        if node.GetScene() is None:
            return None
        if node.GetNumberOfDefinedControlPoints() == 0:
            slicer.mrmlScene.RemoveNode(node)
            return None
        return node

    def stop(self):
        """Give up."""
        if self.node is None:
            return
        interactionNode = self._interactionNode()
        node, self.node = self.node, None
        if node.GetScene() is not None and node.GetNumberOfDefinedControlPoints() == 0:
            slicer.mrmlScene.RemoveNode(node)
        if interactionNode.GetCurrentInteractionMode() == interactionNode.Place:
            interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)

    @staticmethod
    def _interactionNode():
        return slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
