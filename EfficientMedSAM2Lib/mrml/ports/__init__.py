"""The seam to a segment editor, and the adapter on Slicer's segment editor logic."""
