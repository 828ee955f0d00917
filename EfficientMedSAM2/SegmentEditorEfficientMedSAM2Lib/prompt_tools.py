"""Mouse in slice views -> prompts. One tool at a time; with Shift, Ctrl or Alt down the mouse is Slicer's."""

import slicer
import vtk

from EfficientMedSAM2Lib.mrml.effect.prompt_gesture import SHORTEST_DRAG, PromptGesture, distance


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
