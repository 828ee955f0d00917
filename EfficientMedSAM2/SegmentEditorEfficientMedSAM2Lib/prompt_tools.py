"""Mouse in slice views -> prompts, and previews of them. One tool at a time; with Shift, Ctrl or Alt down the mouse is
Slicer's.
"""

import qt
import slicer
import vtk

from EfficientMedSAM2Lib.mrml.effect.prompt_gesture import POINT, SHORTEST_DRAG, PromptGesture, distance
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_axis, xy_to_world

#: A mouse rests when it has not moved for so long.
REST_MS = 120
#: Pixels that a resting mouse may move.
NEAR = 3


def is_slicers_mouse():
    """Whether the mouse places markups or adjusts the display now. The effect gets events before those tools."""
    interactionNode = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    return interactionNode.GetCurrentInteractionMode() != interactionNode.ViewTransform


class PromptTools(PromptGesture):
    """Turns events of slice views into calls of the controller.

    Args:
        scriptedEffect: For views and their nodes.
        pipelines: Draws what is being dragged.
    """

    def __init__(self, scriptedEffect, pipelines):
        PromptGesture.__init__(self, lambda view: scriptedEffect.viewNode(view), pipelines.showBand)
        self._last = None

    def process(self, interactor, eventId, sliceWidget, controller, volumeNode):
        """Handle one event; returns whether it was used up.

        Raises:
            UserError: what was drawn is not on the image.
        """
        command = vtk.vtkCommand
        xy = interactor.GetEventPosition()
        if eventId in (command.LeftButtonPressEvent, command.LeftButtonDoubleClickEvent):
            if interactor.GetShiftKey() or interactor.GetControlKey() or interactor.GetAltKey():
                return False
            # Qt calls two quick clicks a double click; on one spot they mean one prompt, and never a larger view.
            isRepeated = eventId == command.LeftButtonDoubleClickEvent and distance(xy, self._last) < SHORTEST_DRAG
            if not isRepeated:
                self.press(xy, sliceWidget, controller, volumeNode)
            self._last = tuple(xy)
            return True
        if eventId == command.MouseMoveEvent and self.dragging:
            self.drag(xy)
            return True
        if eventId == command.LeftButtonReleaseEvent and self.is_pressed:
            self.release(xy, controller, volumeNode)
            return True
        if eventId == command.RightButtonPressEvent and self.dragging:
            self.cancel()
            return True
        return False


class HoverPreview:
    """A mouse that rests over the image shows what a click there would make, until it goes on.

    Args:
        scriptedEffect: For views and their nodes.
        tools: The tool and whether it includes.
        controller: Returns the controller.
        volumeNode: Returns the source volume, None for none.
    """

    def __init__(self, scriptedEffect, tools, controller, volumeNode):
        self.scriptedEffect = scriptedEffect
        self.tools = tools
        self.enabled = True
        self._controller = controller
        self._volumeNode = volumeNode
        self._place = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.connect("timeout()", self._onRest)

    def process(self, interactor, eventId, viewWidget):
        """An event of a slice view."""
        if eventId == vtk.vtkCommand.MouseMoveEvent and self.enabled and self.tools.tool == POINT:
            xy = tuple(interactor.GetEventPosition())
            if self._place is None or self._place[1] is not viewWidget or distance(xy, self._place[0]) > NEAR:
                self.stop()
                self._place = (xy, viewWidget)
            self._timer.start()
        elif self._place is not None:  # another tool, a button, a wheel, or the mouse has left
            self.stop()

    def stop(self):
        """Show nothing until the mouse rests again."""
        self._timer.stop()
        self._place = None
        controller = self._controller()
        if controller is not None:
            controller.unhover()

    def cleanup(self):
        """Let go of the timer."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._onRest)

    def _onRest(self):
        controller, volumeNode = self._controller(), self._volumeNode()
        if self._place is None or controller is None or volumeNode is None or self.tools.dragging:
            return
        xy, viewWidget = self._place
        sliceNode = self.scriptedEffect.viewNode(viewWidget)
        world = xy_to_world([xy], sliceNode)[0].tolist()
        if not controller.hover(world, self.tools.include, view_axis(sliceNode, volumeNode)) and controller.is_busy:
            self._timer.start()  # later


class RoiPlacement:
    """An ROI that the user is placing with Slicer's own tool; while it lasts, the mouse is Slicer's."""

    def __init__(self):
        self.node = None

    def start(self):
        """Make an ROI node and start placing it."""
        self.stop()
        scene, interactionNode = slicer.mrmlScene, self._interactionNode()
        interactionNode.SetPlaceModePersistence(0)  # before there is a node: the editor reports this change, too
        self.node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", scene.GenerateUniqueName("ROI"))
        self.node.CreateDefaultDisplayNodes()
        self.node.GetDisplayNode().SetFillVisibility(False)  # what it is placed around must be seen
        selectionNode = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        selectionNode.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsROINode")
        selectionNode.SetActivePlaceNodeID(self.node.GetID())
        interactionNode.SetCurrentInteractionMode(interactionNode.Place)

    def placed(self, interactionNode):
        """The node, once placing has ended; None while it lasts, or when it was given up."""
        if self.node is None or interactionNode.GetCurrentInteractionMode() == interactionNode.Place:
            return None
        node, self.node = self.node, None
        if node.GetScene() is None:
            return None
        return None if self._removeUnfinished(node) else node

    def stop(self):
        """Give up."""
        if self.node is None:
            return
        interactionNode = self._interactionNode()
        node, self.node = self.node, None
        if node.GetScene() is not None:
            self._removeUnfinished(node)
        if interactionNode.GetCurrentInteractionMode() == interactionNode.Place:
            interactionNode.SetCurrentInteractionMode(interactionNode.ViewTransform)

    @staticmethod
    def _removeUnfinished(node):
        """Remove an ROI that was given up; after the first of its two clicks it has a point, but no size."""
        unfinished = node.GetNumberOfDefinedControlPoints() < node.GetRequiredNumberOfControlPoints()
        if unfinished:
            slicer.mrmlScene.RemoveNode(node)
        return unfinished

    @staticmethod
    def _interactionNode():
        return slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
