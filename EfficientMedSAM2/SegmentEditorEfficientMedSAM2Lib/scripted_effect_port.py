"""EditorPort on Slicer's ``scriptedEffect``. Undo, masking and overwrite rules are Slicer's own and never bypassed."""

import slicer

from EfficientMedSAM2Lib.mrml.ports.editor_port import SegmentEditorNodeReader


class ScriptedEffectPort(SegmentEditorNodeReader):
    """Adapter for an effect of the Segment Editor; the node is asked for at each call, since it may be exchanged."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    @property
    def editor_node(self):
        """The vtkMRMLSegmentEditorNode."""
        node = self.scriptedEffect.parameterSetNode()
        if node is None:
            raise ValueError("There is no segment editor node; open the Segment Editor first.")
        return node

    def selected_segment_labelmap(self):
        """The selected segment on the reference geometry."""
        self.selected_segment_id()
        labelmap = self.scriptedEffect.selectedSegmentLabelmap()
        if labelmap is None:
            raise ValueError("The selected segment has no labelmap; make it the segmentation's source representation.")
        return labelmap

    def reference_geometry_image(self):
        """The grid that is edited."""
        self.source_volume_node()
        image = self.scriptedEffect.referenceGeometryImage()
        if image is None:
            raise ValueError("The segmentation has no reference geometry; choose a source volume with an image.")
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
        have to tell its overloads (an extent or a flag that bypasses masking) apart by the type of a list.
        """
        if tuple(labelmap.GetExtent()) != tuple(extent):
            raise ValueError("The labelmap must hold the changed extent and no more.")
        self.scriptedEffect.modifySelectedSegmentByLabelmap(
            labelmap, getattr(slicer.qSlicerSegmentEditorAbstractEffect, f"ModificationMode{mode.value}")
        )

    def can_undo(self):
        """Undo belongs to the editor's own buttons; the session follows them."""
        return False

    def can_redo(self):
        """As can_undo."""
        return False

    def undo(self):
        """Left to the editor."""

    def redo(self):
        """Left to the editor."""
