"""What the engine needs from a segment editor, whichever program hosts it. Undo and redo are the host's own business.

Two hosts exist: Slicer's ``scriptedEffect`` (adapter in ``EfficientMedSAM2/``) and ``vtkSlicerSegmentEditorLogic``
(:mod:`.segment_editor_logic_port`). Both keep their state in a ``vtkMRMLSegmentEditorNode``, so everything that is only
*read* is implemented once, in :class:`SegmentEditorNodeReader`; an adapter adds the few calls that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any, Protocol, runtime_checkable


class ModificationMode(Enum):
    """How a labelmap changes the selected segment; the values are Slicer's names without ``ModificationMode``.

    ``SET`` replaces the *whole* segment: given an extent, Slicer first erases the segment everywhere and then writes
    inside the extent only, so voxels outside of it are lost. Its labelmap must hold the complete new segment.
    """

    SET = "Set"
    ADD = "Add"
    REMOVE = "Remove"


@runtime_checkable
class EditorPort(Protocol):
    """Seam between the interaction engine and a segment editor.

    Images are ``vtkOrientedImageData`` in the segmentation node's local frame. Extents are VTK's, inclusive
    ``(i0, i1, j0, j1, k0, k1)``. Masking and overwrite rules are the host's business and are never bypassed.
    """

    # The scene
    def segmentation_node(self) -> Any:
        """The vtkMRMLSegmentationNode that is edited; ValueError when none is selected."""

    def source_volume_node(self) -> Any:
        """The vtkMRMLScalarVolumeNode (or vector volume) that is segmented; ValueError when none is selected."""

    # Segments
    def segment_ids(self) -> list[str]:
        """IDs of all segments, in order."""

    def selected_segment_id(self) -> str:
        """ID of the segment that is edited; ValueError when none is selected."""

    def selected_segment_labelmap(self) -> Any:
        """The selected segment, values 0 and 1, on the reference geometry; its extent may be smaller or empty."""

    def reference_geometry_image(self) -> Any:
        """Image without voxels whose matrix and extent are those of the grid that segments are edited on."""

    # Rules set by the user in the editor's *Masking* section
    def mask_mode(self) -> int:
        """Editable area, a ``vtkMRMLSegmentationNode.EditAllowed...`` value."""

    def mask_segment_id(self) -> str | None:
        """Segment that ``EditAllowedInsideSingleSegment`` means, if any."""

    def overwrite_mode(self) -> int:
        """What happens to other segments, a ``vtkMRMLSegmentEditorNode.Overwrite...`` value."""

    # Editing
    def confirm_selected_segment_visible(self) -> bool:
        """Let the host ask about editing a hidden segment; False means: do not edit."""

    def save_state_for_undo(self) -> None:
        """Remember the segmentation; once per user action, before the change."""

    def selecting(self, segment_id: str) -> AbstractContextManager[None]:
        """Select a segment for a while, to edit it; masking rules are relative to the selected segment."""

    def modify_selected_segment(self, labelmap: Any, mode: ModificationMode, extent: Sequence[int]) -> None:
        """Change the selected segment under the user's masking and overwrite rules."""


class SegmentEditorNodeReader:
    """The reading half of an EditorPort, for any host that has a vtkMRMLSegmentEditorNode.

    Slicer's adapter constructs it with ``scriptedEffect.parameterSetNode()``.
    """

    def __init__(self, editor_node: Any) -> None:
        if editor_node is None:
            msg = "There is no segment editor node; open the Segment Editor first."
            raise ValueError(msg)
        self.editor_node = editor_node

    def segmentation_node(self) -> Any:
        """The edited segmentation."""
        node = self.editor_node.GetSegmentationNode()
        if node is None:
            msg = "No segmentation is selected; choose or create one in the Segment Editor."
            raise ValueError(msg)
        return node

    def source_volume_node(self) -> Any:
        """The segmented volume."""
        node = self.editor_node.GetSourceVolumeNode()
        if node is None:
            msg = "No source volume is selected; choose one in the Segment Editor."
            raise ValueError(msg)
        return node

    def segment_ids(self) -> list[str]:
        """IDs of all segments."""
        return list(self.segmentation_node().GetSegmentation().GetSegmentIDs())

    def selected_segment_id(self) -> str:
        """ID of the edited segment."""
        segment_id = self.editor_node.GetSelectedSegmentID() or ""
        if not segment_id or self.segmentation_node().GetSegmentation().GetSegment(segment_id) is None:
            msg = "No segment is selected; add or select one in the Segment Editor."
            raise ValueError(msg)
        return str(segment_id)

    @contextmanager
    def selecting(self, segment_id: str) -> Iterator[None]:
        """Another selection for a while."""
        selected = self.editor_node.GetSelectedSegmentID()
        self.editor_node.SetSelectedSegmentID(segment_id)
        try:
            yield
        finally:
            self.editor_node.SetSelectedSegmentID(selected)

    def mask_mode(self) -> int:
        """Editable area."""
        return int(self.editor_node.GetMaskMode())

    def mask_segment_id(self) -> str | None:
        """Mask segment."""
        return self.editor_node.GetMaskSegmentID() or None

    def overwrite_mode(self) -> int:
        """Fate of other segments."""
        return int(self.editor_node.GetOverwriteMode())
