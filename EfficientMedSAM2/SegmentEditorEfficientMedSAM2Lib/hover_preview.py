"""A mouse that rests over the image shows what a click there would make."""

import qt
import vtk

from EfficientMedSAM2Lib.mrml.effect.prompt_gesture import POINT, distance
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_axis, xy_to_world

#: A mouse rests when it has not moved for so long.
REST_MS = 120
#: Pixels that a resting mouse may move.
NEAR = 3


class HoverPreview:
    """Asks the controller for a preview, and takes it back when the mouse goes on.

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
