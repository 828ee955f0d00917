"""Scribbles and lassos: checked, applied to a segment, and the session's calls for them.

The network was trained with clicks, boxes and masks. A scribble is told it as clicks along its middle, and its own
voxels are inside (or outside) the result whatever the network says. A lasso is told it as the box around what it
encloses, and the result keeps within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction.clicks import clicks_of
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompting import apply_prompt, click_slice, cut, start_slice, take_mask
from EfficientMedSAM2Lib.interaction.prompts import LassoPrompt, Prompt, ScribblePrompt, box_xyxy
from EfficientMedSAM2Lib.interaction.segment import SegmentState


def drawn_mask(
    mask: Any, axis: int | None, default_axis: int, shape_kji: Sequence[int], what: str
) -> tuple[PackedMask, int]:
    """What was drawn, packed, and the axis whose slices it was drawn on.

    Raises:
        ValueError: Not of the volume's shape, or empty.
    """
    array = np.asarray(mask)
    if array.shape != tuple(shape_kji):
        message = f"{what} must be drawn in an array of the volume's shape {tuple(shape_kji)}, not {array.shape}."
        raise ValueError(message)
    packed = PackedMask.pack(array if array.dtype == bool else array != 0)
    if packed.box is None:
        message = f"{what} is empty; draw it over at least one voxel."
        raise ValueError(message)
    flat = [a for a in range(3) if packed.shape[a] == 1]
    if axis is None:
        axis = default_axis if default_axis in flat or not flat else flat[0]
    return packed, axis


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
    here = list(lasso.mask.bounds)
    here[axis] = (index, index + 1)
    region = lasso.mask.unpack().take([index - lasso.mask.bounds[axis][0]], axis)
    tight = PackedMask.pack(region, [low for low, _ in here])
    start_slice(states, segment, axis, index, box_xyxy(tight.bounds, axis), [])
    if segment.read_slice(axis, index).any():
        return ""
    outline = tight.full(segment.bits.shape).take(index, axis)
    take_mask(states, segment, axis, index, outline)
    return f"Nothing was found in the lasso on slice {index}; what it encloses is taken as it is."


class _Session(Protocol):
    @property
    def shape_kji(self) -> tuple[int, ...]: ...

    @property
    def default_axis(self) -> int: ...

    def add_prompt(self, prompt: Prompt, segment: str = "1") -> Box | None: ...


class DrawnPrompts:
    """The calls for scribbles and lassos, for a session."""

    def add_scribble_interaction(
        self: _Session, mask: np.ndarray, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Draw over voxels of the object, or of what is not the object. Returns the changed box.

        What was drawn over is in the result, or outside it, on every slice and after propagation, until a later click
        on it says the opposite.

        Args:
            mask: (D,H,W), not zero where it was drawn, on one slice or on several.
            include_interaction: Whether the object was drawn over; else the background.
            segment: Name of the segment.
            axis: Slicing axis; None takes the one along which the scribble is flat.

        Raises:
            ValueError: `mask` is empty or not of the volume's shape.
        """
        packed, axis = drawn_mask(mask, axis, self.default_axis, self.shape_kji, "A scribble")
        return self.add_prompt(ScribblePrompt(packed, bool(include_interaction), axis), segment)

    def add_lasso_interaction(
        self: _Session, mask: np.ndarray, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Draw a line around the object, or around what is not the object. Returns the changed box.

        On its slices the result keeps within the lasso, until a later prompt goes beyond it. A negative one takes away
        what it encloses, and propagation keeps out of that.

        Args:
            mask: (D,H,W), not zero on the closed line, or on all that it encloses; on one slice or on several.
            include_interaction: Whether the object is in the lasso; else nothing of it is.
            segment: Name of the segment.
            axis: Slicing axis; None takes the one along which the lasso is flat.

        Raises:
            ValueError: `mask` is empty or not of the volume's shape.
        """
        packed, axis = drawn_mask(mask, axis, self.default_axis, self.shape_kji, "A lasso")
        return self.add_prompt(LassoPrompt(enclosed(packed, axis), bool(include_interaction), axis), segment)


__all__ = ["DrawnPrompts", "apply_any_prompt"]
