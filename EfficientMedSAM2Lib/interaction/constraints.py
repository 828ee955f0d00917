"""What prompts say of single voxels, which results obey: negative boxes, scribbles, lassos and manual edits.

Later prompts win over earlier ones. Some lift earlier ones altogether: a click on a voxel that had been ruled out says
that the earlier prompt no longer holds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Union

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, in_plane_axes, intersection, slice_box
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompts import (
    BoxPrompt,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from EfficientMedSAM2Lib.interaction.segment import SegmentState

#: Of a mask prompt only the voxels that were edited by hand are a constraint.
Constraint = Union[BoxPrompt, ScribblePrompt, LassoPrompt, MaskPrompt]


def constraints(prompts: Iterable[Prompt]) -> list[Constraint]:
    """Negative boxes, scribbles, lassos and manual edits that are still in force, in the order they were given."""
    active: list[Constraint] = []
    for prompt in prompts:
        active = [left for left in (_left_of(earlier, prompt) for earlier in active) if left is not None]
        if isinstance(prompt, (ScribblePrompt, LassoPrompt)) or (isinstance(prompt, BoxPrompt) and not prompt.positive):
            active.append(prompt)
        if isinstance(prompt, MaskPrompt) and prompt.edited is not None and not prompt.edited.is_empty:
            active.append(prompt)
    return active


def edited_voxels(prompts: Iterable[Prompt]) -> PackedMask:
    """Voxels that were painted or erased by hand and keep that value."""
    edits = [c.edited for c in constraints(prompts) if isinstance(c, MaskPrompt) and c.edited is not None]
    return PackedMask.any_of(edits)


def certainty(states: AxisStates, segment: SegmentState, box: Box) -> np.ndarray:
    """How sure a segment is of its voxels in a half-open box, float32, as logits.

    Infinite is what the user has said: voxels that were clicked on, drawn over, edited by hand or given as a mask.
    Minus infinite is what does not belong to it.
    """
    mask = segment.bits.read(box)
    found = np.where(mask, np.float32(np.inf), np.float32(-np.inf))
    if segment.latest is None or not mask.any():
        return found
    axis = segment.latest[0]
    part = tuple(slice(*bounds) for n, bounds in enumerate(box) if n != axis)
    for offset in np.flatnonzero(mask.any(axis=in_plane_axes(axis))):
        logits = states.logits(axis, box[axis][0] + int(offset), segment.obj_id)
        if logits is not None:  # else the slice was given
            plane = np.moveaxis(found, axis, 0)[offset]
            plane[...] = np.where(np.isposinf(plane), logits[part].clip(0), plane)
    said = edited_voxels(segment.prompts).window(box)
    for prompt in segment.prompts:
        if isinstance(prompt, ScribblePrompt) and prompt.positive:
            said |= prompt.mask.window(box)
        elif isinstance(prompt, PointPrompt) and prompt.positive and _contains(box, _voxel(prompt)):
            said[tuple(v - low for v, (low, _high) in zip(prompt.index_kji, box))] = True
    found[said & mask] = np.inf
    return found


def constrained(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> np.ndarray:
    """Slice mask (bool HxW) as the segment's constraints allow it; a copy where they change it."""
    extent = slice_box(segment.bits.shape, axis, index)
    for constraint in constraints(segment.prompts):
        if isinstance(constraint, BoxPrompt):
            box: Sequence[Sequence[int]] = constraint.box_kji
        else:
            box = _said(constraint).bounds
        common = intersection(box, extent)
        if common is None:
            continue
        mask = mask.copy()
        part = mask[tuple(slice(*common[a]) for a in in_plane_axes(axis))]
        if isinstance(constraint, BoxPrompt):
            part[...] = False
            continue
        region = _said(constraint).window(common).squeeze(axis)
        if isinstance(constraint, MaskPrompt):
            part[region] = constraint.mask.window(common).squeeze(axis)[region]
        elif isinstance(constraint, LassoPrompt) and constraint.positive:
            if constraint.axis == axis and region.any():
                inside = part & region
                mask[...] = False
                part[...] = inside
        else:
            part[region] = constraint.positive
    return mask


def _said(constraint: ScribblePrompt | LassoPrompt | MaskPrompt) -> PackedMask:
    """Voxels that a constraint says something of."""
    edited = constraint.edited if isinstance(constraint, MaskPrompt) else None
    return constraint.mask if edited is None else edited


def _left_of(earlier: Constraint, later: Prompt) -> Constraint | None:
    """What of a constraint still holds after a later prompt; None for nothing of it."""
    if isinstance(earlier, MaskPrompt):
        return _left_of_edit(earlier, later)
    return None if _lifts(later, earlier) else earlier


def _left_of_edit(edit: MaskPrompt, later: Prompt) -> MaskPrompt | None:
    """A click that contradicts a manual edit takes back the stroke under it, and no other."""
    edited = edit.edited
    if not isinstance(later, PointPrompt) or edited is None or not covers(edited, later.index_kji):
        return edit
    if covers(edit.mask, later.index_kji) == later.positive:
        return edit
    from scipy import ndimage

    box = [list(pair) for pair in edited.bounds]
    held = edited.unpack()
    strokes, _count = ndimage.label(held & (edit.mask.window(box) != later.positive))
    clicked = strokes[tuple(v - low for v, (low, _high) in zip(later.index_kji, box))]
    left = PackedMask.pack(held & (strokes != clicked), edited.origin)
    return None if left.is_empty else replace(edit, edited=left)


def _lifts(later: Prompt, earlier: BoxPrompt | ScribblePrompt | LassoPrompt) -> bool:
    """Whether a prompt says that an earlier constraint no longer holds."""
    if isinstance(later, MaskPrompt):
        return later.index is not None and not isinstance(earlier, BoxPrompt) and _on_slice(earlier, later)
    if isinstance(earlier, LassoPrompt) and earlier.positive:
        return _goes_beyond(later, earlier)
    if isinstance(later, PointPrompt):
        if isinstance(earlier, ScribblePrompt):
            return later.positive != earlier.positive and covers(earlier.mask, later.index_kji)
        if isinstance(earlier, LassoPrompt):
            return later.positive and covers(earlier.mask, later.index_kji)
        return later.positive and _contains(earlier.box_kji, _voxel(later))
    if isinstance(earlier, ScribblePrompt):
        return False  # a later region wins where both say something, and only there
    extent = earlier.box_kji if isinstance(earlier, BoxPrompt) else earlier.mask.bounds
    box = _extent(later)
    return box is not None and _contains(extent, box)


def _goes_beyond(later: Prompt, lasso: LassoPrompt) -> bool:
    """Whether a positive prompt asks for something on a slice of a lasso that lies outside it, or asks anew."""
    if isinstance(later, PointPrompt):
        on_slice = _contains(_slab(lasso), _voxel(later))
        return later.positive and on_slice and not covers(lasso.mask, later.index_kji)
    if isinstance(later, ScribblePrompt):
        if not later.positive:
            return False
        common = intersection(later.mask.bounds, _slab(lasso))
        if common is None:
            return False
        return bool((later.mask.window(common) & ~lasso.mask.window(common)).any())
    box = _extent(later)
    return box is not None and intersection(box, _slab(lasso)) is not None


def _extent(prompt: Prompt) -> Sequence[Sequence[int]] | None:
    """Half-open box of a positive box, scribble or lasso; None for anything else."""
    if isinstance(prompt, BoxPrompt) and prompt.positive:
        return prompt.box_kji
    if isinstance(prompt, (ScribblePrompt, LassoPrompt)) and prompt.positive:
        return prompt.mask.bounds
    return None


def _slab(lasso: LassoPrompt) -> list[tuple[int, int]]:
    """The whole of the slices that a lasso was drawn on."""
    return [bounds if a == lasso.axis else (0, sys.maxsize) for a, bounds in enumerate(lasso.mask.bounds)]


def _on_slice(drawn: ScribblePrompt | LassoPrompt, painted: MaskPrompt) -> bool:
    """Whether a scribble or lasso lies wholly on the slice of a painted mask."""
    low, high = drawn.mask.bounds[painted.axis]
    return (low, high) == (painted.index, low + 1)


def _voxel(point: PointPrompt) -> list[tuple[int, int]]:
    return [(v, v + 1) for v in point.index_kji]


def covers(mask: PackedMask, index_kji: Sequence[int]) -> bool:
    """Whether a voxel is set."""
    return bool(mask.window([(v, v + 1) for v in index_kji]).any())


def _contains(outer: Sequence[Sequence[int]], inner: Sequence[Sequence[int]]) -> bool:
    return all(a[0] <= b[0] and b[1] <= a[1] for a, b in zip(outer, inner))


__all__ = ["Constraint", "certainty", "constrained", "constraints", "covers", "edited_voxels"]
