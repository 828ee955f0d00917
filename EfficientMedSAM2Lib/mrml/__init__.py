"""MRML nodes <-> InteractiveSession, through an EditorPort. No Qt; runs on PyPI's slicer-core and inside Slicer."""
