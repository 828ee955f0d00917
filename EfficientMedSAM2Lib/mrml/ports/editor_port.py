"""What the engine needs from a segment editor, whichever program hosts it. Undo and redo are the host's own business.

Two hosts exist: Slicer's ``scriptedEffect`` (adapter in ``EfficientMedSAM2/``) and ``vtkSlicerSegmentEditorLogic``
(:mod:`.segment_editor_logic_port`). Both keep their state in a ``vtkMRMLSegmentEditorNode``, so everything that is only
*read* is implemented once, in :class:`EditorPort`; an adapter adds the few calls that differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError


class ModificationMode(Enum):
    """How a labelmap changes the selected segment; the values are Slicer's names without ``ModificationMode``.

    ``SET`` replaces the *whole* segment: given an extent, Slicer first erases the segment everywhere and then writes
    inside the extent only, so voxels outside of it are lost. Its labelmap must hold the complete new segment.
    """

    SET = "Set"
    ADD = "Add"
    REMOVE = "Remove"


class EditorPort(ABC):
    """Seam between the interaction engine and a segment editor.

    Images are ``vtkOrientedImageData`` in the segmentation node's local frame. Extents are VTK's, inclusive
    ``(i0, i1, j0, j1, k0, k1)``. Masking and overwrite rules are the host's business and are never bypassed.
    """

    @abstractmethod
    def find_editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode, None when there is none; it may be exchanged at any time."""

    @property
    def editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode; UserError when there is none."""
        node = self.find_editor_node()
        if node is None:
            raise UserError("There is no segment editor node; open the Segment Editor first.")
        return node

    # Segments
    def segmentation_node(self) -> Any:
        """The vtkMRMLSegmentationNode that is edited; UserError when none is selected."""
        node = self.editor_node.GetSegmentationNode()
        if node is None:
            raise UserError("No segmentation is selected; choose or create one in the Segment Editor.")
        return node

    def source_volume_node(self) -> Any:
        """The vtkMRMLScalarVolumeNode (or vector volume) that is segmented; UserError when none is selected."""
        node = self.editor_node.GetSourceVolumeNode()
        if node is None:
            raise UserError("No source volume is selected; choose one in the Segment Editor.")
        return node

    def segment_ids(self) -> list[str]:
        """IDs of all segments, in order."""
        return list(self.segmentation_node().GetSegmentation().GetSegmentIDs())

    def segment(self, segment_id: str) -> Any:
        """The vtkSegment of an ID, None when there is none."""
        return self.segmentation_node().GetSegmentation().GetSegment(segment_id)

    def selected_segment_id(self) -> str:
        """ID of the segment that is edited; UserError when none is selected."""
        segment_id = self.editor_node.GetSelectedSegmentID() or ""
        if not segment_id or self.segment(segment_id) is None:
            raise UserError("No segment is selected; add or select one first.")
        return str(segment_id)

    @contextmanager
    def selecting(self, segment_id: str) -> Iterator[None]:
        """Select a segment for a while, to edit it; masking rules are relative to the selected segment."""
        selected = self.editor_node.GetSelectedSegmentID()
        self.editor_node.SetSelectedSegmentID(segment_id)
        try:
            yield
        finally:
            self.editor_node.SetSelectedSegmentID(selected)

    @abstractmethod
    def selected_segment_labelmap(self) -> Any:
        """The selected segment, values 0 and 1, on the reference geometry; its extent may be smaller or empty."""

    @abstractmethod
    def reference_geometry_image(self) -> Any:
        """Image without voxels whose matrix and extent are those of the grid that segments are edited on."""

    # Rules set by the user in the editor's *Masking* section
    def mask_mode(self) -> int:
        """Editable area, a ``vtkMRMLSegmentationNode.EditAllowed...`` value."""
        return int(self.editor_node.GetMaskMode())

    def mask_segment_id(self) -> str | None:
        """Segment that ``EditAllowedInsideSingleSegment`` means, if any."""
        return self.editor_node.GetMaskSegmentID() or None

    def overwrite_mode(self) -> int:
        """What happens to other segments, a ``vtkMRMLSegmentEditorNode.Overwrite...`` value."""
        return int(self.editor_node.GetOverwriteMode())

    def overwritable_segments(self, segment_id: str) -> list[str]:
        """IDs of the other segments that may lose voxels to a segment, by the overwrite mode."""
        # Values of vtkMRMLSegmentEditorNode: OverwriteAllSegments 0, OverwriteVisibleSegments 1, OverwriteNone 2
        mode, display = self.overwrite_mode(), self.segmentation_node().GetDisplayNode()
        others = [other for other in self.segment_ids() if other != segment_id]
        if mode == 1:
            return [other for other in others if display is not None and display.GetSegmentVisibility(other)]
        return others if mode == 0 else []

    # Editing
    @abstractmethod
    def confirm_selected_segment_visible(self) -> bool:
        """Let the host ask about editing a hidden segment; False means: do not edit."""

    @abstractmethod
    def save_state_for_undo(self) -> None:
        """Remember the segmentation; once per user action, before the change."""

    @abstractmethod
    def modify_selected_segment(self, labelmap: Any, mode: ModificationMode, extent: Sequence[int]) -> None:
        """Change the selected segment under the user's masking and overwrite rules."""
