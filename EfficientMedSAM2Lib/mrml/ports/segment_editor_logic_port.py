"""EditorPort on ``vtkSlicerSegmentEditorLogic``: Slicer's own undo, masking and overwrite code without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort, ModificationMode


class SegmentEditorLogicPort(EditorPort):
    """Adapter for Slicer 5.10 or later and for PyPI's slicer-core.

    Args:
        logic: A ``vtkSlicerSegmentEditorLogic`` with scene and segment editor node set. Segmentation, volume and
            segment may be chosen before or after; they are read from the node at each call.
    """

    def __init__(self, logic: Any) -> None:
        self.logic = logic

    def find_editor_node(self) -> Any:
        """The logic's node."""
        return self.logic.GetSegmentEditorNode()

    def selected_segment_labelmap(self) -> Any:
        """The selected segment on the reference geometry."""
        self.selected_segment_id()
        if not self.logic.UpdateSelectedSegmentLabelmap():
            raise UserError("The selected segment has no labelmap; make it the segmentation's master representation.")
        return self.logic.GetSelectedSegmentLabelmap()

    def reference_geometry_image(self) -> Any:
        """The grid that is edited."""
        self.source_volume_node()
        if not self.logic.UpdateReferenceGeometryImage():
            raise UserError("The segmentation has no reference geometry; choose a source volume with an image.")
        return self.logic.GetReferenceGeometryImage()

    def confirm_selected_segment_visible(self) -> bool:
        """Without a screen there is nobody to ask."""
        return True

    def save_state_for_undo(self) -> None:
        """Remember the segmentation."""
        self.logic.SaveStateForUndo()

    def modify_selected_segment(self, labelmap: Any, mode: ModificationMode, extent: Sequence[int]) -> None:
        """Change the selected segment; masking is never bypassed."""
        self.logic.ModifySegmentByLabelmap(
            self.segmentation_node(),
            self.selected_segment_id(),
            labelmap,
            getattr(self.logic, f"ModificationMode{mode.value}"),
            [int(value) for value in extent],
            True,  # isPerSegment
            False,  # bypassMasking
        )

    # --- the editor's own history, which a host with buttons of its own keeps to itself

    def can_undo(self) -> bool:
        """Whether a state was saved."""
        return bool(self.logic.CanUndo())

    def can_redo(self) -> bool:
        """Whether an undone state exists."""
        return bool(self.logic.CanRedo())

    def undo(self) -> None:
        """Restore the state before the last user action."""
        self.logic.Undo()

    def redo(self) -> None:
        """Repeat the action that was undone last."""
        self.logic.Redo()
