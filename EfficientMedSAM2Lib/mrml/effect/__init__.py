"""What the Segment Editor effect does, without Qt: actions, geometry of slice views, outlines, scores by slice."""
