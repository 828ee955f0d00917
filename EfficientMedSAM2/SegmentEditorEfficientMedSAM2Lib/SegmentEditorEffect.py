"""Promptable segmentation as an effect of the Segment Editor: GUI and adapter to EfficientMedSAM2Lib."""

import os
import sys
from dataclasses import replace
from typing import Any

import qt
import slicer
import vtk
from SegmentEditorEffects.AbstractScriptedSegmentEditorEffect import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

_FOLDER = os.path.dirname(os.path.abspath(__file__))
if __name__ == os.path.basename(_FOLDER):
    __path__ = [_FOLDER]  # Slicer loads this file under its folder's name if the package was not imported before
for _root in (os.path.dirname(_FOLDER), os.path.dirname(os.path.dirname(_FOLDER))):
    # The engine lies beside the effect's folder when installed, and one folder up in the source tree.
    if os.path.isdir(os.path.join(_root, "EfficientMedSAM2Lib")) and _root not in sys.path:
        sys.path.append(_root)

from EfficientMedSAM2ModuleLib.settings import EngineSettings, choose_task

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.mrml.effect.controller import EffectController
from EfficientMedSAM2Lib.mrml.effect.predictor_loader import load_predictor, missing_packages
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_normal, view_slice, xy_to_world
from EfficientMedSAM2Lib.mrml.effect.worker import Worker
from EfficientMedSAM2Lib.mrml.scene.sequences import is_shared_by_time_points, time_point_label
from SegmentEditorEfficientMedSAM2Lib.effect_commands import DEFAULTS, EffectCommands
from SegmentEditorEfficientMedSAM2Lib.options_panel import OptionsPanel
from SegmentEditorEfficientMedSAM2Lib.preview_pipeline import PreviewPipelines
from SegmentEditorEfficientMedSAM2Lib.prompt_tools import HoverPreview, PromptTools, RoiPlacement, is_slicers_mouse
from SegmentEditorEfficientMedSAM2Lib.scripted_effect_port import EditorObserver, ScriptedEffectPort
from SegmentEditorEfficientMedSAM2Lib.shortcuts import Shortcuts, helpText

__all__ = ["SegmentEditorEffect"]

POLL_MS = 5
#: Leaving the effect waits at most so long for the slice that is being computed.
LEAVE_S = 2.0


class SegmentEditorEffect(EffectCommands, AbstractScriptedSegmentEditorEffect):
    """EfficientMedSAM2 effect."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "EfficientMedSAM2"  # not translated: modules find effects by name
        scriptedEffect.title = "EfficientMedSAM2"
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.controller: Any = None  # an EffectController from setupOptionsFrame to cleanup
        self._isActive = False
        self._settings = None
        self._hint = self._tilt = ""
        self._normals, self._tiltedPoint = {}, None
        self._windowOf = None
        self._segment = (None, "")
        self._markupsChanged = False

    def clone(self):
        """A new instance for another editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(__file__.replace("\\", "/"))
        return clonedEffect

    def icon(self):
        """Icon of the effect's button."""
        path = os.path.join(_FOLDER, "SegmentEditorEffect.png")
        return qt.QIcon(path) if os.path.exists(path) else qt.QIcon()

    def helpText(self):
        """Gestures and keys."""
        return helpText()

    # --- life

    def setupOptionsFrame(self):
        """Make widgets and what is behind them."""
        scriptedEffect = self.scriptedEffect
        port = ScriptedEffectPort(scriptedEffect)
        self._volumeNode = port.image_node
        self.controller = EffectController(port, Worker(), self._noNetwork, self._onChanged)
        self.observer = EditorObserver(
            port, self._onEditorChanged, self._sceneChanged, self._onNodesChanged, self._onSceneClosing
        )
        self.setupLesions()
        self.roiPlacement = RoiPlacement()
        self.pipelines = PreviewPipelines(scriptedEffect)
        self.tools = PromptTools(scriptedEffect, self.pipelines)
        self.hover = HoverPreview(scriptedEffect, self.tools, lambda: self.controller, lambda: self._volumeNode())
        commands = self.commands()
        self.panel = OptionsPanel(scriptedEffect, commands, self.updateMRMLFromGUI, self.onJump)
        self.shortcuts = Shortcuts(commands, self._wantsKeys)
        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MS)
        self.timer.connect("timeout()", self._onTimer)

    def activate(self):
        """Load the network, install keys and observers."""
        self._isActive = True
        self._hint = ""
        self.shortcuts.install()
        self.observer.start()
        self.controller.shows_prompts = True
        self._start()
        self.updateGUIFromMRML()
        self.panel.bringIntoView()

    def deactivate(self):
        """End what is under way, remove all that was put into views, window and scene."""
        if not self._isActive:
            return
        self._isActive = False
        self.roiPlacement.stop()
        self.shortcuts.remove()
        self.tools.cancel()
        self.hover.stop()
        self.observer.stop()
        self.timer.stop()
        if not slicer.mrmlScene.IsClosing():
            self.controller.settle(LEAVE_S)
            self.controller.show_prompts(False)
        self.pipelines.clear()

    def cleanup(self):
        """Disconnect everything (Slicer 5.10 and later call this)."""
        if self.controller is None:
            return
        self.deactivate()
        self.timer.stop()
        self.timer.disconnect("timeout()", self._onTimer)
        self.panel.cleanup()
        self.hover.cleanup()
        self.controller.close()
        self.controller = None

    # --- parameters

    def setMRMLDefaults(self):
        """Defaults of the parameters that are kept with the scene."""
        for name, value in DEFAULTS.items():
            self.scriptedEffect.setParameterDefault(name, value)

    def updateGUIFromMRML(self):
        """Parameters, selected nodes or segment may have changed."""
        if self.controller is None or self.scriptedEffect.parameterSetNode() is None or slicer.mrmlScene.IsClosing():
            return
        values = {name: self._parameter(name) for name in DEFAULTS}
        self.panel.setValues(values)
        self.tools.include = values["Include"] == "1"
        if self.tools.tool != values["Tool"]:
            self.tools.cancel()
            self.tools.tool = values["Tool"]
        self.controller.auto_commit = values["AutoCommit"] == "1"
        self.controller.keep_out = values["KeepOut"] == "1"
        self.controller.each = values["Each"] == "1"
        self.hover.enabled = values["Hover"] == "1"
        if self._isActive:
            self._updateMarkups()
            self._onEditorChanged()

    def updateMRMLFromGUI(self):
        """The user has changed a setting."""
        node = self.scriptedEffect.parameterSetNode()
        if node is None:
            return
        values, markupsID = self.panel.values(), self.panel.chosenMarkupsID()
        wasModifying = node.StartModify()
        for name, value in values.items():
            if self._parameter(name) != value:
                self.scriptedEffect.setParameter(name, value)
        self.scriptedEffect.setNodeReference("Markups", slicer.mrmlScene.GetNodeByID(markupsID) if markupsID else None)
        node.EndModify(wasModifying)
        self.updateGUIFromMRML()

    def sourceVolumeNodeChanged(self):
        """Another volume: what belongs to the old one ends."""
        self._onEditorChanged()

    def referenceGeometryChanged(self):
        """The editor's grid changed."""
        self._sceneChanged()

    def layoutChanged(self):
        """Other views: outlines are drawn where they are now."""
        if self._isActive:
            self._checkTilt()

    def interactionNodeModified(self, interactionNode):
        """Placing markups must not end the effect; a placed ROI becomes a prompt."""
        node = self.roiPlacement.placed(interactionNode)
        if node is not None:
            self._act(lambda: self.usePlacedRoi(node))
        self.panel.showPlacing(self.roiPlacement.node is not None)

    # --- views

    def createCursor(self, viewWidget):
        """The usual cursor."""
        return slicer.util.mainWindow().cursor

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """Mouse and keys in a view."""
        if not self._isActive or viewWidget.className() != "qMRMLSliceWidget":
            return False
        if eventId == vtk.vtkCommand.KeyPressEvent:
            return self.shortcuts.fromView(callerInteractor.GetKeySym())
        if is_slicers_mouse():
            return False
        volumeNode = self._volumeNode()
        if volumeNode is None:
            return False
        if eventId == vtk.vtkCommand.LeftButtonPressEvent and not self.controller.is_ready:
            self._start()  # what was missing may have been installed since
        self.hover.process(callerInteractor, eventId, viewWidget)
        if eventId == vtk.vtkCommand.LeftButtonPressEvent and self.panel.moveButton.checked:
            sliceNode = self.scriptedEffect.viewNode(viewWidget)
            self.movePrompt(xy_to_world([callerInteractor.GetEventPosition()], sliceNode)[0].tolist())
            return True
        try:
            used = self.tools.process(callerInteractor, eventId, viewWidget, self.controller, volumeNode)
        except UserError as error:
            self._say(str(error))
            return True
        if used and eventId == vtk.vtkCommand.LeftButtonPressEvent:
            self._hint = ""
            viewNode = self.scriptedEffect.viewNode(viewWidget)
            self._tiltedPoint = xy_to_world([callerInteractor.GetEventPosition()], viewNode)[0].tolist()
            self._checkTilt()
        return bool(used)

    def processViewNodeEvents(self, callerViewNode, eventId, viewWidget):
        """A slice view has moved."""
        if self._isActive and callerViewNode is not None and callerViewNode.IsA("vtkMRMLSliceNode"):
            self._showPreview([viewWidget])
            self._showStrip(callerViewNode)
            if self._normals.get(callerViewNode.GetID()) != view_normal(callerViewNode).tolist():
                self._checkTilt()

    # --- inside

    def _start(self):
        """Load the network, or explain why that cannot be."""
        settings = EngineSettings.load()
        if self._settings is not None and self._settings != settings:
            self.controller.unload()
        self._settings, self._windowOf = settings, None
        self.showTasks()
        try:
            arguments = settings.build_arguments()
        except UserError as error:
            self.panel.showSetup(str(error))
            return
        missing = [] if self.controller.is_ready else missing_packages(arguments)
        if missing:
            text = _("EfficientMedSAM2 needs {packages}, which are not installed yet.")
            self.panel.showSetup(text.format(packages=", ".join(missing)))
            return
        self.panel.showSetup("")
        self.controller.load = lambda: load_predictor(**arguments)
        self.controller.start()

    def useTask(self, path):
        """Work with another task, "" for any structure; UserError where it is none."""
        try:
            choose_task(path)
            self.controller.settle(LEAVE_S)
            self._start()
        finally:
            self.showTasks()

    @staticmethod
    def _noNetwork():
        raise UserError("The network was not chosen; activate the effect again.")

    def _updateWindow(self):
        """Intensities for the network. What is displayed is looked at when it is chosen, not at each brightening."""
        name, volumeNode = self._parameter("Window"), self._volumeNode()
        if (name, volumeNode) == self._windowOf or self._settings is None or volumeNode is None:
            return
        self._windowOf = (name, volumeNode)
        settings = replace(self._settings, window=name) if name else self._settings
        bounds = settings.window_bounds(volumeNode)
        self.controller.window = IntensityWindow(bounds[0], bounds[1], settings.window) if bounds is not None else None

    def _onTimer(self):
        if self._markupsChanged and not slicer.mrmlScene.IsBatchProcessing():
            self._markupsChanged = False
            self._updateMarkups()
        if self.controller is None or not self.controller.poll():
            self.timer.stop()

    def _onChanged(self):
        """The controller has something new to show."""
        if not self._isActive:
            return
        self.timer.start()
        self.panel.showState(self.controller, self._hint, self._tilt)
        self.showLesions()
        if not self.controller.activity.is_propagation:
            self.pipelines.raiseMarkers()
        self._showStrip()
        self._showPreview()

    def _showPreview(self, sliceWidgets=None):
        volumeNode = self._volumeNode()
        image = self.controller.preview_image() if volumeNode is not None else None
        self.pipelines.showMask(image, volumeNode, sliceWidgets)

    def _showStrip(self, sliceNode=None):
        scores, volumeNode = self.controller.scores, self._volumeNode()
        current = self.panel.strip.current
        if volumeNode is not None and sliceNode is not None:
            axis, index = view_slice(sliceNode, volumeNode)
            current = index if axis == scores.axis else current
        self.panel.strip.show(scores, current)

    # --- called when the scene changes

    def _onEditorChanged(self):
        """Another segmentation, segment or volume may have been selected."""
        if self._isActive and not slicer.mrmlScene.IsClosing():
            self._updateWindow()
            self._beginSegment()
            node, volumeNode = self.scriptedEffect.parameterSetNode(), self._volumeNode()
            isShared = is_shared_by_time_points(node.GetSegmentationNode(), volumeNode)
            self.panel.showSequence(time_point_label(volumeNode), isShared)
            self.controller.scene_changed()
            self._checkTilt()

    def _onNodesChanged(self):
        self._markupsChanged = True  # looked at later: a node that is being added has no name and no attributes yet
        self.timer.start()

    def _onSceneClosing(self):
        self.roiPlacement.node = None
        self.panel.showPlacing(False)
        self.controller.forget()
        self.pipelines.clear()

    def _sceneChanged(self):
        if self._isActive and not slicer.mrmlScene.IsClosing():
            self.controller.scene_changed()
            self.timer.start()
