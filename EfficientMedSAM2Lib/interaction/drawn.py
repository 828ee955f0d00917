"""What scribbles and lassos do to a segment.

The network was trained with clicks, boxes and masks. A scribble becomes clicks along its middle, and its own voxels are
inside (or outside) the result whatever the network says. A lasso becomes the box around what it encloses, and the
result keeps within it.
"""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompting import apply_prompt, click_slice, cut, start_slice, take_mask
from EfficientMedSAM2Lib.interaction.prompts import LassoPrompt, Prompt, ScribblePrompt, box_xyxy, clicks_of
from EfficientMedSAM2Lib.interaction.segment import SegmentState


def enclosed(mask: PackedMask, axis: int) -> PackedMask:
    """A lasso's outline with all that it encloses on each slice of an axis."""
    from scipy import ndimage

    drawn = np.moveaxis(mask.unpack(), axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(outline) for outline in drawn])
    return PackedMask.pack(np.moveaxis(filled, 0, axis), [low for low, _ in mask.bounds])


def apply_any_prompt(states: AxisStates, segment: SegmentState, prompt: Prompt) -> str:
    """Add any prompt to the segment and bring its slices up to date; returns a sentence for the user, or nothing."""
    if not isinstance(prompt, (ScribblePrompt, LassoPrompt)):
        return apply_prompt(states, segment, prompt)
    segment.prompts = (*segment.prompts, prompt)
    axis = prompt.axis
    low = prompt.mask.bounds[axis][0]
    region = np.moveaxis(prompt.mask.unpack(), axis, 0)
    slices = [low + int(offset) for offset in np.flatnonzero(region.any(axis=(1, 2)))]
    messages = []
    if isinstance(prompt, ScribblePrompt):
        messages = [click_slice(states, segment, axis, index, clicks_of(prompt, axis, index)) for index in slices]
    elif not prompt.positive:
        messages = [cut(states, segment, axis, [list(bounds) for bounds in prompt.mask.bounds], prompt.mask.unpack())]
    else:
        messages = [_enclose(states, segment, prompt, index) for index in slices]
    return next((message for message in messages if message), "")


def _enclose(states: AxisStates, segment: SegmentState, lasso: LassoPrompt, index: int) -> str:
    """Look for the object in a lasso on one slice; where there is none, the user's own outline counts."""
    axis = lasso.axis
    extent = list(lasso.mask.bounds)
    extent[axis] = (index, index + 1)
    region = lasso.mask.unpack().take([index - lasso.mask.bounds[axis][0]], axis)
    tight = PackedMask.pack(region, [low for low, _ in extent])
    start_slice(states, segment, axis, index, box_xyxy(tight.bounds, axis), [])
    if segment.read_slice(axis, index).any():
        return ""
    outline = tight.full(segment.bits.shape).take(index, axis)
    take_mask(states, segment, axis, index, outline)
    return f"Nothing was found in the lasso on slice {index}; what it encloses is taken as it is."


__all__ = ["apply_any_prompt", "enclosed"]
