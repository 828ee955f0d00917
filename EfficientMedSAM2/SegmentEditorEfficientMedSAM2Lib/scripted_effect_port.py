"""EditorPort on Slicer's ``scriptedEffect``, and the observers of what the editor does by itself."""

import slicer
import vtk

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort


class ScriptedEffectPort(EditorPort):
    """Adapter for an effect of the Segment Editor; the node is asked for at each call, since it may be exchanged.

    Undo, masking and overwrite rules are Slicer's own and never bypassed.
    """

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def find_editor_node(self):
        """The effect's parameter node."""
        return self.scriptedEffect.parameterSetNode()

    def image_node(self):
        """The source volume, None unless there is one with an image."""
        node = self.find_editor_node()
        volumeNode = node.GetSourceVolumeNode() if node is not None else None
        return volumeNode if volumeNode is not None and volumeNode.GetImageData() is not None else None

    def selected_segment_labelmap(self):
        """The selected segment on the reference geometry."""
        self.selected_segment_id()
        labelmap = self.scriptedEffect.selectedSegmentLabelmap()
        if labelmap is None:
            raise UserError("The selected segment has no labelmap; make it the segmentation's source representation.")
        return labelmap

    def reference_geometry_image(self):
        """The grid that is edited."""
        self.source_volume_node()
        image = self.scriptedEffect.referenceGeometryImage()
        if image is None:
            raise UserError("The segmentation has no reference geometry; choose a source volume with an image.")
        return image

    def confirm_selected_segment_visible(self):
        """Slicer asks the user before a hidden segment is edited; False when the answer is no."""
        return bool(self.scriptedEffect.confirmCurrentSegmentVisible())

    def save_state_for_undo(self):
        """Remember the segmentation."""
        self.scriptedEffect.saveStateForUndo()

    def modify_selected_segment(self, labelmap, mode, extent):
        """Change the selected segment.

        The labelmap's own extent is the changed extent, so that Slicer's call without one is enough. PythonQt would
        have to keep its overloads (an extent or a flag that bypasses masking) apart by the type of a list.
        """
        if tuple(labelmap.GetExtent()) != tuple(extent):
            raise ValueError("The labelmap must hold the changed extent and no more.")
        self.scriptedEffect.modifySelectedSegmentByLabelmap(
            labelmap, getattr(slicer.qSlicerSegmentEditorAbstractEffect, f"ModificationMode{mode.value}")
        )


class EditorObserver:
    """Observers of scene, editor, segmentation and volume: an effect hears of no selection, undo or time point.

    Args:
        port: The editor.
        selected: Called when another segmentation, segment or volume may have been selected, or the volume may show
            another image, as a sequence does.
        edited: Called when the segmentation may have changed, by undo or redo, too.
        nodesChanged: Called when nodes were added or removed.
        closing: Called before the scene is closed.
    """

    EVENTS = (
        "SegmentModified",
        "SegmentAdded",
        "SegmentRemoved",
        "SourceRepresentationModified",
        "MasterRepresentationModified",
    )

    def __init__(self, port, selected, edited, nodesChanged, closing):
        self.port = port
        self.selected = selected
        self.edited = edited
        self.nodesChanged = nodesChanged
        self.closing = closing
        self._observations = []
        self._observed = {}

    def start(self):
        """Add the observers."""
        scene, modified = slicer.mrmlScene, vtk.vtkCommand.ModifiedEvent
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self._observe(scene, event, self.nodesChanged)
        self._observe(scene, scene.StartCloseEvent, self.closing)
        self._observe(self.port.editor_node, modified, self._onEditorModified)
        self._observeSelection()

    def stop(self):
        """Remove them all."""
        observations, self._observations, self._observed = self._observations, [], {}
        for subject, tag in observations:
            subject.RemoveObserver(tag)

    def _onEditorModified(self):
        self._observeSelection()
        self.selected()

    def _observeSelection(self):
        """Observe what is selected now."""
        node, volumeNode = self.port.editor_node.GetSegmentationNode(), self.port.image_node()
        segmentation = node.GetSegmentation() if node is not None else None
        events = {getattr(segmentation, name) for name in self.EVENTS if hasattr(segmentation, name)}
        self._replace("segmentation", segmentation, events, self.edited)
        self._replace("volume", volumeNode, [slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent], self.selected)

    def _replace(self, role, subject, events, callback):
        """Observe a node or object instead of the one that had its role before."""
        old = self._observed.get(role)
        if subject is old:
            return
        for observed, tag in [entry for entry in self._observations if entry[0] is old]:
            observed.RemoveObserver(tag)
        self._observations = [entry for entry in self._observations if entry[0] is not old]
        self._observed[role] = subject
        for event in events if subject is not None else ():
            self._observe(subject, event, callback)

    def _observe(self, subject, event, callback):
        def tell(_caller, _event):
            if self._observations and (callback is self.closing or not slicer.mrmlScene.IsClosing()):
                callback()

        self._observations.append((subject, subject.AddObserver(event, tell)))
