"""What the effect's buttons and keys do."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import qt
import slicer
from EfficientMedSAM2ModuleLib.settings import TASK_FOLDER, EngineSettings, known_tasks
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.effect.progress import range_rule
from EfficientMedSAM2Lib.mrml.effect.view_geometry import (
    axis_of_markups,
    rotate_to_image,
    show_slice,
    tilt_hint,
    view_normal,
    view_slice,
)
from EfficientMedSAM2Lib.mrml.markups_reader import read_markups
from EfficientMedSAM2Lib.mrml.scene.prompt_store import is_new_segment, offered_markups
from SegmentEditorEfficientMedSAM2Lib.lesions.lesion_commands import LesionCommands
from SegmentEditorEfficientMedSAM2Lib.more_options import OTHER_TASK

#: Results are written at once by default, as by every other effect: one click, one undo step, and nothing that waits
#: can be forgotten when the reader goes on to the next structure. The preview is for those who want to look first.
DEFAULTS = {
    "Tool": "point",
    "Include": "1",
    "Direction": "both",
    "Range": "all",
    "RangeValue": "10",
    "StopWhenLost": "1",
    "Window": "",
    "AutoCommit": "1",
    "KeepOut": "1",
    "Each": "0",
    "Hover": "1",
}


class EffectCommands(LesionCommands):
    """Commands of the effect, which has the controller, the panel and the tools that they use."""

    if TYPE_CHECKING:
        _segment: tuple[Any, str]  # segmentation node and ID of the segment that was selected last
        _tilt: str
        _normals: dict[str, list[float]]  # of each view on show when that was found, by ID
        _tiltedPoint: Any  # where the last prompt was begun, world RAS in mm, None before one

        def __getattr__(self, name: str) -> Any:
            """What the effect itself has."""

    def commands(self):
        """Callable of each command, by the name that panel and shortcuts use."""
        return {
            "setup": lambda: slicer.util.selectModule("EfficientMedSAM2"),
            **self.lesionCommands(),
            "propagate": self.onPropagate,
            "commit": lambda: self._act(self._accept),
            "reject": self.onReject,
            "weakest": self.onWeakest,
            "useMarkups": lambda: self._act(lambda: self._useMarkups(self._markupsNode())),
            "useSegment": lambda: self._act(self.controller.use_segment),
            "task": self.onTask,
            "propose": lambda: self._act(self.controller.propose_structure),
            "rotateViews": self.onRotateViews,
            "lock": self.onLock,
            "next": self.onNext,
            "goToPrompt": self.onGoToPrompt,
            "deletePrompt": lambda: self._act(lambda: self.controller.delete_prompt(self.panel.chosenPrompt())),
            "clearSlice": lambda: self._act(self._clearSlice),
            "startOver": lambda: self._act(self.controller.start_over),
            "placeRoi": self.onPlaceRoi,
            "perTimePoint": lambda: self.controller.keep_one_per_time_point(slicer.modules.sequences.logic()),
            "include": lambda: self._set("Include", "0" if self.tools.include else "1"),
            "each": lambda: self._set("Each", "0" if self.controller.each else "1"),
            "point": lambda: self._set("Tool", "point"),
            "box": lambda: self._set("Tool", "box"),
            "line": lambda: self._set("Tool", "line"),
            "scribble": lambda: self._set("Tool", "scribble"),
            "lasso": lambda: self._set("Tool", "lasso"),
        }

    def onPropagate(self):
        """Propagate, or cancel what runs."""
        if self.controller.activity.is_propagation:
            self.controller.cancel()
            return
        self._act(self._requestPropagation)

    def _requestPropagation(self):
        value = self._parameter
        rule = range_rule(value("Range"), float(value("RangeValue")), self._markupsNode(), self._volumeNode())
        state = self.controller
        propagate = state.request_propagation_of_all if state.each else state.request_propagation
        propagate(value("Direction"), rule, value("StopWhenLost") == "1")

    def onReject(self):
        """Drop what is being drawn, or else cancel a propagation, or else drop the preview or the proposal."""
        if self.tools.dragging:
            self.tools.cancel()
        elif self.controller.activity.is_propagation:
            self.controller.cancel()
        elif self.controller.proposal is not None and not self.controller.has_preview:
            self.controller.drop_proposal()
        else:
            self._act(self.controller.reject)

    def _accept(self):
        """Write the preview, or else make a segment of the proposal."""
        if self.controller.proposal is not None and not self.controller.has_preview:
            self.controller.accept_proposal()
        else:
            self.controller.commit()

    def onTask(self):
        """Work with another task from now on, or with none."""
        path = self.panel.chosenTask()
        if path == OTHER_TASK:
            title, kinds = _("Choose a task"), _("Task (*.task)")
            folder = slicer.util.settingsValue(TASK_FOLDER, "", str)
            path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, folder, kinds)
            if not path:
                self.showTasks()
                return
        self._act(lambda: self.useTask(path))

    def showTasks(self):
        """Offer the tasks that there are, and show which one is used."""
        chosen = EngineSettings.load().task
        self.panel.setTasks(known_tasks(chosen), chosen)

    def onLock(self, *_checked):
        """Lock the selected segment, or unlock it."""
        self._act(lambda: self.controller.lock(not self.controller.is_locked))
        self._onChanged()  # the button shows what the segment is, not that it was pressed

    def onNext(self):
        """Select the next segment, or a new one after the last."""
        node = self.scriptedEffect.parameterSetNode()
        segmentation = node.GetSegmentationNode().GetSegmentation()
        segmentIDs = list(segmentation.GetSegmentIDs())
        following = segmentIDs[segmentIDs.index(node.GetSelectedSegmentID()) + 1 :]
        if not following:
            self.scriptedEffect.saveStateForUndo()
            following = [segmentation.AddEmptySegment()]
        node.SetSelectedSegmentID(following[0])

    def onGoToPrompt(self):
        """Show the chosen prompt in the views along its axis."""
        prompts, number, volumeNode = self.controller.prompts, self.panel.chosenPrompt(), self._volumeNode()
        if volumeNode is not None and 0 <= number < len(prompts):
            prompt = prompts[number]
            show_slice(prompt.axis, prompt.index, volumeNode, slicer.util.getNodesByClass("vtkMRMLSliceNode"))

    def movePrompt(self, worldPoint):
        """Put the chosen prompt where the user has clicked."""
        self.panel.moveButton.checked = False
        self._act(lambda: self.controller.move_prompt(self.panel.chosenPrompt(), worldPoint))

    def _clearSlice(self):
        """Clear the slice that is on view."""
        axis, index, volumeNode = self.controller.scores.axis, self.panel.strip.current, self._volumeNode()
        views = slicer.util.getNodesByClass("vtkMRMLSliceNode") if volumeNode is not None else []
        shown = [place[1] for place in (view_slice(view, volumeNode) for view in views) if place[0] == axis]
        if index not in shown:
            index = shown[0] if shown else -1
        if not 0 <= index < self.controller.scores.count:
            raise UserError(_("No view shows a slice of this volume along the segment's axis; go to the slice first."))
        self.controller.clear_slice(axis, index)

    def onWeakest(self):
        """Go to the slice with the lowest confidence."""
        if not self.panel.strip.goToWeakest():
            self._say(_("No slice has a confidence yet; give a prompt first."))

    def onRotateViews(self):
        """Rotate the views on show into the image's own planes, with the slice of the last prompt in a tilted view."""
        volumeNode = self._volumeNode()
        if volumeNode is not None:
            point, self._tiltedPoint, self._hint = self._tiltedPoint, None, ""
            rotate_to_image(self._shownViews(), volumeNode, point)
            self._checkTilt()

    def _shownViews(self):
        """Nodes of the slice views of the layout."""
        return [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]

    def _checkTilt(self):
        """Say whether a view on show is tilted. Not for each step through the slices, which views report as well."""
        volumeNode, views = self._volumeNode(), self._shownViews()
        self._tilt = "" if volumeNode is None else tilt_hint(views, volumeNode)
        self._normals = {view.GetID(): view_normal(view).tolist() for view in views}
        self._onChanged()

    def onJump(self, index):
        """Show an image slice in the views along its axis."""
        volumeNode = self._volumeNode()
        if volumeNode is not None:
            nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
            if not show_slice(self.controller.scores.axis, index, volumeNode, nodes):
                self._say(_("No view shows slices in this direction; choose another layout or orientation."))

    def _useMarkups(self, node):
        """Give all prompts of a markups node, along the axis of the view that it was drawn in."""
        views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
        self.controller.use_markups(node, axis_of_markups(node, self._volumeNode(), views))

    def _updateMarkups(self):
        nodes = [(node.GetID(), node.GetName()) for node in offered_markups(slicer.mrmlScene)]
        chosen = self._markupsNode()
        self.panel.setMarkups(nodes, chosen.GetID() if chosen is not None else "")

    def _markupsNode(self):
        return self.scriptedEffect.nodeReference("Markups")

    def onPlaceRoi(self, *_checked):
        """Let the user place an ROI with Slicer's own tool; pressed again, give it up."""
        self.tools.cancel()
        if self.roiPlacement.node is None:
            self.roiPlacement.start()
            self._say(_("Place the ROI around the structure in the views."))
        else:
            self.roiPlacement.stop()
            self._say("")
        self.panel.showPlacing(self.roiPlacement.node is not None)

    def usePlacedRoi(self, node):
        """A placed ROI becomes a prompt of the segment, with which it is shown, undone and removed; the node goes."""
        try:
            prompts = read_markups(node, self.controller.port.source_volume_node())
        finally:
            slicer.mrmlScene.RemoveNode(node)
        self.controller.use_prompts([replace(p, origin=replace(p.origin, node_id=None)) for p in prompts])

    def _beginSegment(self):
        """A new segment begins with Include, whatever the one before was corrected with last."""
        node = self.scriptedEffect.parameterSetNode()
        segmentationNode = node.GetSegmentationNode()
        segment = (segmentationNode, node.GetSelectedSegmentID())
        if segment == self._segment:
            return
        self._segment, self._hint = segment, ""
        if segmentationNode is not None and segment[1] and is_new_segment(*segment):
            self._set("Include", "1")

    def _wantsKeys(self):
        state = self.controller
        waits = state.has_preview or state.proposal is not None
        return self._isActive and (waits or self.tools.dragging or state.activity.is_propagation)

    def _parameter(self, name):
        """A parameter as text; defaults are not there while a scene is being closed."""
        return self.scriptedEffect.parameter(name) if self.scriptedEffect.parameterDefined(name) else DEFAULTS[name]

    def _say(self, text):
        self._hint = text
        self.panel.showMessage(text, False)

    def _act(self, action):
        """Do what a command means; what a user did wrong becomes a message, faults go to the error log."""
        self._hint = ""
        try:
            action()
        except UserError as error:
            self._say(str(error))

    def _set(self, name, value):
        self.scriptedEffect.setParameter(name, value)
        self.updateGUIFromMRML()
