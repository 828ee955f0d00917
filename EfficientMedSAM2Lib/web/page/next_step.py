"""What a reader probably does next, in a few words; said where there is nothing else to say."""

from __future__ import annotations

from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores

#: How an empty segment is begun with each tool.
_BEGIN = {
    "point": "Click on the structure.",
    "box": "Drag a box around the structure on one slice.",
    "roi": "Drag a rectangle around the structure, then shape it in all views.",
    "line": "Drag along the longest diameter.",
    "scribble": "Draw over the structure.",
    "lasso": "Draw a line around the structure.",
    "paint": "Paint the structure.",
}


def next_step(tool: str, is_empty: bool, scores: SliceScores) -> str:
    """A sentence on what there is to do with a segment.

    Args:
        tool: Name of the page's tool.
        is_empty: Whether the segment has no voxels.
        scores: What is known of its slices.
    """
    if is_empty:
        return _BEGIN.get(tool, "Choose a prompt, such as Point (P).")
    if scores.count == 1:
        return "Click again to correct it, or add the next segment (A)."
    if scores.stale:
        return "Propagate again (M)."
    if scores.prompted and scores.filled <= scores.prompted:
        return "Click again to correct it, or propagate it to the other slices (M)."
    if scores.weakest is not None:
        return "See the least sure slice (U), correct it, or add the next segment (A)."
    return ""
