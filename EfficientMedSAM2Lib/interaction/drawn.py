"""What scribbles and lassos do to a segment, and how slices are answered anew when their prompts have changed.

The network was trained with clicks, boxes and masks. A scribble becomes clicks along its middle, and its own voxels are
inside (or outside) the result whatever the network says. A lasso becomes the box around what it encloses, and the
result keeps within it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_shape, box_slices, box_start, slice_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction.constraints import constrained
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompting import (
    EMPTY_NOW,
    apply_prompt,
    click_slice,
    cut,
    drawn_on,
    start_slice,
    take_mask,
)
from EfficientMedSAM2Lib.interaction.prompts import (
    LassoPrompt,
    MaskPrompt,
    Prompt,
    ScribblePrompt,
    box_xyxy,
    clicks_of,
    prompted_slices,
)
from EfficientMedSAM2Lib.interaction.segment import SegmentState, SliceKind, SliceRecord, with_correction
from EfficientMedSAM2Lib.predictors.inputs import to_numpy


def enclosed(mask: PackedMask, axis: int) -> PackedMask:
    """A lasso's outline with all that it encloses on each slice of an axis."""
    from scipy import ndimage

    drawn = np.moveaxis(mask.unpack(), axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(outline) for outline in drawn])
    return PackedMask.pack(np.moveaxis(filled, 0, axis), box_start(mask.bounds))


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
        filled = [index for index in slices if segment.read_slice(axis, index).any()]
        messages = [cut(states, segment, axis, [list(bounds) for bounds in prompt.mask.bounds], prompt.mask.unpack())]
        if len(filled) == 1 and not segment.read_slice(axis, filled[0]).any():
            messages.append(EMPTY_NOW)
    else:
        messages = [_enclose(states, segment, prompt, index) for index in slices]
    return next((message for message in messages if message), "")


def _enclose(states: AxisStates, segment: SegmentState, lasso: LassoPrompt, index: int) -> str:
    """Look for the object in a lasso on one slice; where there is none, the user's own outline counts."""
    axis = lasso.axis
    extent = list(lasso.mask.bounds)
    extent[axis] = (index, index + 1)
    region = lasso.mask.unpack().take([index - lasso.mask.bounds[axis][0]], axis)
    tight = PackedMask.pack(region, box_start(extent))
    start_slice(states, segment, axis, index, box_xyxy(tight.bounds, axis), [])
    if segment.read_slice(axis, index).any():
        return ""
    outline = tight.full(segment.bits.shape).take(index, axis)
    take_mask(states, segment, axis, index, outline)
    return f"Nothing was found in the lasso on slice {index}; what it encloses is taken as it is."


def answer_anew(
    states: AxisStates, segment: SegmentState, axis: int, indices: Sequence[int], prompts: Sequence[Prompt]
) -> str:
    """Answer slices of an axis from these prompts, oldest first, in place of those that they had.

    Voxels edited by hand stay. A slice without a prompt is as it was given, or else empty until propagation reaches it.
    """
    there = set(indices)
    gone = [p for p in segment.prompts if not isinstance(p, MaskPrompt) and there & set(prompted_slices(p, axis))]
    segment.prompts = tuple(p for p in segment.prompts if all(p is not other for other in gone))
    for index in sorted(there | {i for p in gone for i in prompted_slices(p, axis)}):
        _begin_anew(states, segment, axis, index)
    messages = [apply_any_prompt(states, segment, prompt) for prompt in prompts]
    sources = [i for i, r in segment.slice_records(axis).items() if r.kind is SliceKind.CONDITIONING]
    if not prompts and segment.latest is not None and segment.latest[0] == axis and segment.latest[1] not in sources:
        last = segment.latest[1]
        segment.latest = (axis, min(sources, key=lambda i: abs(i - last))) if sources else None
    return next((message for message in messages if message), "")


def _begin_anew(states: AxisStates, segment: SegmentState, axis: int, index: int) -> None:
    """A slice as it was before its prompts."""
    states.forget_prompts(axis, index, segment.obj_id)
    records = with_correction(segment.slice_records(axis), index, 0.0)  # what it governed is out of date
    del records[index]
    segment.records[axis] = records
    given = _given(segment, axis, index)
    empty = np.zeros_like(segment.read_slice(axis, index))
    mask = constrained(segment, axis, index, empty if given is None else given)
    if given is not None or (mask.any() and drawn_on(segment, axis, index)):
        take_mask(states, segment, axis, index, mask)
        return
    segment.write_slice(axis, index, mask)
    if any(record.fixed for record in records.values()):
        segment.records[axis][index] = SliceRecord(SliceKind.PROPAGATED, stale=True)


def _given(segment: SegmentState, axis: int, index: int) -> np.ndarray | None:
    """The mask, bool (rows, columns), that a user gave a slice, apart from prompts; None where there is none."""
    for prompt in reversed(segment.prompts):
        if not isinstance(prompt, MaskPrompt) or prompt.index not in (None, index):
            continue
        if prompt.index is None:
            record = (prompt.records or {}).get(index)
            if record is not None and not record.given:  # the answer to prompts of an earlier session
                return None
        elif prompt.axis != axis or prompt.edited is not None:
            continue  # of a slice edited by hand only the edited voxels are given
        mask = prompt.mask.window(slice_box(segment.bits.shape, axis, index)).squeeze(axis)
        return mask if prompt.index is not None or mask.any() else None
    return None


__all__ = ["answer_anew", "apply_any_prompt", "enclosed"]


def whole_drawing(drawn: Any, bbox: Sequence[Sequence[int]] | None, shape_kji: Sequence[int]) -> np.ndarray:
    """What was drawn, bool of the volume's shape.

    Args:
        drawn: (D,H,W), not zero where it was drawn; or only the part of it that is in `bbox`.
        bbox: Half-open box of that part.
        shape_kji: Of the volume.

    Raises:
        UserError: The part does not fit into the box, or the box not into the volume.
    """
    part = to_numpy(drawn) != 0
    if bbox is None:
        return part
    fits = box_shape(bbox) == part.shape
    if not fits or any(low < 0 or high > size for (low, high), size in zip(bbox, shape_kji)):
        raise UserError(
            f"interaction_bbox {bbox} must lie in the image of shape {tuple(shape_kji)}, and be of the drawing's size."
        )
    whole = np.zeros(shape_kji, bool)
    whole[box_slices(bbox)] = part
    return whole
