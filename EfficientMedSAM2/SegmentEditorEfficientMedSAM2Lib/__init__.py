"""The EfficientMedSAM2 effect of Slicer's Segment Editor."""

from SegmentEditorEfficientMedSAM2Lib.SegmentEditorEffect import SegmentEditorEffect

__all__ = ["SegmentEditorEffect"]
