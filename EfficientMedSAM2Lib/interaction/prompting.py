"""What each kind of prompt does to a segment. Each function returns a sentence for the user, or nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from ..imaging.geometry import union
from ..imaging.windows import NOTHING_TO_SEE
from . import checks
from .bits import slice_box
from .predictor import AxisStates
from .prompts import (
    BoxPrompt,
    LinePrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    box_xyxy,
    exclusions,
    in_plane_axes,
    line_to_prompts,
    overlap,
    point_xy,
)
from .segment import SegmentState, SliceKind, SliceRecord, with_correction

#: Slices of each connected stack of an initial mask that the predictor is told: its network remembers only a few.
MASK_SLICES_PER_STACK = 3
#: The same for the whole mask.
MAX_MASK_SLICES = 16
#: What the user paints is the truth.
USER_SCORE = 1.0


def apply_prompt(states: AxisStates, segment: SegmentState, prompt: Prompt) -> str:
    """Add a prompt to the segment and bring its slice up to date."""
    segment.prompts = (*segment.prompts, prompt)
    if isinstance(prompt, PointPrompt):
        return _apply_point(states, segment, prompt)
    if isinstance(prompt, BoxPrompt):
        return _apply_box(states, segment, prompt) if prompt.positive else _apply_exclusion(states, segment, prompt)
    if isinstance(prompt, LinePrompt):
        return _apply_line(states, segment, prompt)
    return (
        _apply_slice_mask(states, segment, prompt) if prompt.index is not None else _apply_mask(states, segment, prompt)
    )


def as_told(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> tuple[np.ndarray, str]:
    """A predicted slice mask (bool HxW) that contradicts no prompt, and what had to be done for that, if anything.

    Negative boxes in force are taken out. A click is heard by the predictor; where its mask goes past one all the same,
    the clicked voxel itself is put right. A mask that is empty stays so: nothing was found, and that is said elsewhere.
    """
    kept = without_exclusions(segment, axis, index, mask)
    row, column = in_plane_axes(axis)
    overruled = [box.box_kji for box in exclusions(segment.prompts)]
    clicks = {
        (p.index_kji[row], p.index_kji[column]): p.positive
        for p in segment.prompts
        if isinstance(p, PointPrompt) and p.index_kji[axis] == index
        if not (p.positive and any(_is_in(p.index_kji, box) for box in overruled))
    }
    wrong = [at for at, positive in clicks.items() if kept[at] != positive] if kept.any() else []
    if not wrong:
        return kept, ""
    kept = kept.copy()
    for at in wrong:
        kept[at] = clicks[at]
    several = f"{len(wrong)} clicks" if len(wrong) > 1 else "a click"
    return kept, (
        f"The mask of slice {index} went past {several}, of which only the clicked voxel was put right; "
        "click once more beside it, or use a box."
    )


def without_exclusions(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> np.ndarray:
    """Slice mask (bool HxW) less the negative boxes in force."""
    here = slice_box(segment.bits.shape, axis, index)
    for prompt in exclusions(segment.prompts):
        common = overlap(prompt.box_kji, here)
        if common is not None:
            rows, columns = (slice(*common[a]) for a in in_plane_axes(axis))
            mask = mask.copy()
            mask[rows, columns] = False
    return mask


def _apply_point(states: AxisStates, segment: SegmentState, prompt: PointPrompt) -> str:
    axis, index = prompt.axis, prompt.index
    record = segment.slice_records(axis).get(index)
    points = [prompt]
    if record is None or record.kind is not SliceKind.CONDITIONING:
        # The predictor has heard of none of this slice's points yet, and may not know the mask that the user sees and
        # corrects: a slice of an initial mask, or one that was propagated along another axis.
        points = _points_on(segment, axis, index)
        visible = segment.read_slice(axis, index)
        if visible.any():
            known, _ = states.result(axis, index, segment.obj_id)
            if known is None or not np.array_equal(known, visible):
                states.give_mask(axis, index, segment.obj_id, visible)
        elif not any(point.positive for point in points):
            return "A negative point alone marks nothing; it counts from the first positive point or box on its slice."
    coordinates = [point_xy(point.index_kji, axis) for point in points]
    states.give_prompts(axis, index, segment.obj_id, coordinates, [int(point.positive) for point in points])
    message = _take_result(states, segment, axis, index, coordinates)
    if (
        not prompt.positive and not segment.read_slice(axis, index).any()
    ):  # nothing was looked for, so that nothing found is what was wanted
        return "The slice is empty now; propagation takes it that the structure is not there."
    return message


def _apply_box(states: AxisStates, segment: SegmentState, prompt: BoxPrompt) -> str:
    return _start_slice(states, segment, prompt.axis, prompt.index, box_xyxy(prompt.box_kji, prompt.axis), [])


def _apply_line(states: AxisStates, segment: SegmentState, prompt: LinePrompt) -> str:
    row, column = in_plane_axes(prompt.axis)
    points, box = line_to_prompts(
        point_xy(prompt.start_kji, prompt.axis),
        point_xy(prompt.end_kji, prompt.axis),
        (states.spacing_kji[column], states.spacing_kji[row]),
    )
    return _start_slice(states, segment, prompt.axis, prompt.index, box, [(float(x), float(y)) for x, y in points])


def _start_slice(
    states: AxisStates,
    segment: SegmentState,
    axis: int,
    index: int,
    box: np.ndarray,
    inner_points: Sequence[tuple[float, float]],
) -> str:
    """A box says where the whole structure is: the slice is segmented anew from it and from the points it has."""
    earlier = _points_on(segment, axis, index)
    coordinates = [*inner_points, *(point_xy(point.index_kji, axis) for point in earlier)]
    labels = [1] * len(inner_points) + [int(point.positive) for point in earlier]
    states.give_prompts(axis, index, segment.obj_id, coordinates, labels, box)
    return _take_result(states, segment, axis, index, coordinates, box)


def _apply_exclusion(states: AxisStates, segment: SegmentState, prompt: BoxPrompt) -> str:
    axis, box = prompt.axis, [list(bounds) for bounds in prompt.box_kji]
    overruled = [p for p in segment.prompts if isinstance(p, PointPrompt) and p.positive and _is_in(p.index_kji, box)]
    old = segment.bits.read(box)
    if not old.any():
        return "The segment has no voxels in this box; propagation will keep out of it."
    segment.write(box, np.zeros_like(old))
    # the newer prompt counts
    note = f"Positive clicks in this box count no more ({len(overruled)})." if overruled else ""
    if segment.latest is not None and segment.latest[0] != axis:
        return note  # a cut across the slices that are propagated: kept by the exclusion, no slice to start from
    removed = old.sum(axis=in_plane_axes(axis))
    affected = [box[axis][0] + int(offset) for offset in np.flatnonzero(removed)]
    records = segment.slice_records(axis)
    told = [i for i in affected if i in records and records[i].kind is SliceKind.CONDITIONING]
    cut = {i: segment.read_slice(axis, i) for i in affected}
    # A slice that still shows the object is the better example; among those, the one where the cut says most.
    example = max(affected, key=lambda i: (bool(cut[i].any()), int(removed[i - box[axis][0]])))
    for index in sorted({*told, example}):
        states.give_mask(axis, index, segment.obj_id, cut[index])
        segment.records[axis] = with_correction(segment.slice_records(axis), index, USER_SCORE, not cut[index].any())
    segment.latest = (axis, example)
    return note


def _apply_slice_mask(states: AxisStates, segment: SegmentState, prompt: MaskPrompt) -> str:
    axis, index = prompt.axis, cast(int, prompt.index)
    here = slice_box(segment.bits.shape, axis, index)
    mask = np.zeros([high - low for low, high in here], dtype=bool)
    if prompt.mask.box is not None:
        moved = [slice(low - start, high - start) for (low, high), (start, _) in zip(prompt.mask.box, here)]
        mask[tuple(moved)] = prompt.mask.unpack()
    segment.write(here, mask)
    states.give_mask(axis, index, segment.obj_id, mask.squeeze(axis))
    segment.records[axis] = with_correction(segment.slice_records(axis), index, USER_SCORE, not mask.any())
    segment.latest = (axis, index)
    return ""


def _apply_mask(states: AxisStates, segment: SegmentState, prompt: MaskPrompt) -> str:
    """An initial mask starts the segment anew: earlier prompts and what was propagated from them no longer hold."""
    axis = prompt.axis
    states.forget(segment.obj_id)
    segment.prompts = (prompt,)
    segment.records = {}
    box = union(segment.bits.bounding_box(), prompt.mask.box)
    given = prompt.mask.box
    if box is None or given is None:
        return ""
    mask = np.zeros([high - low for low, high in box], dtype=bool)
    mask[tuple(slice(low - start, high - start) for (low, high), (start, _) in zip(given, box))] = prompt.mask.unpack()
    segment.write(box, mask)
    areas = mask.sum(axis=in_plane_axes(axis))
    by_slice = {box[axis][0] + int(offset): int(areas[offset]) for offset in np.flatnonzero(areas)}
    records = {index: SliceRecord(SliceKind.GIVEN, USER_SCORE) for index in by_slice}
    for index in mask_slices(by_slice):
        states.give_mask(axis, index, segment.obj_id, segment.read_slice(axis, index))
        records[index] = SliceRecord(SliceKind.CONDITIONING, USER_SCORE)
    segment.records[axis] = records
    segment.latest = (axis, max(by_slice, key=by_slice.__getitem__))
    return ""


def mask_slices(areas: dict[int, int]) -> list[int]:
    """Slices of an initial mask to tell the predictor: the largest of each third of every connected stack.

    Args:
        areas: Voxels set, by slice; slices without any are left out.
    """
    indices = np.array(sorted(areas))
    chosen: list[int] = []
    for stack in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1):
        parts = np.array_split(stack, min(MASK_SLICES_PER_STACK, len(stack)))
        chosen.extend(max((int(i) for i in part), key=areas.__getitem__) for part in parts)
    if len(chosen) > MAX_MASK_SLICES:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, MAX_MASK_SLICES).round().astype(int)]
    return chosen


def _take_result(
    states: AxisStates,
    segment: SegmentState,
    axis: int,
    index: int,
    points_xy: Sequence[tuple[float, float]],
    box: np.ndarray | None = None,
) -> str:
    predicted, score = states.result(axis, index, segment.obj_id)
    if predicted is None:
        predicted = np.zeros_like(segment.read_slice(axis, index))
    mask, note = as_told(segment, axis, index, predicted)
    segment.write_slice(axis, index, mask)
    segment.records[axis] = with_correction(segment.slice_records(axis), index, score, not mask.any())
    segment.latest = (axis, index)
    if mask.any():
        return note
    if predicted.any():
        return "All that was found lies in a negative box; click a positive point inside that box to lift it."
    if not states.has_contrast:
        return NOTHING_TO_SEE
    return checks.explain_empty(states.volume.take(index, axis), box, points_xy, states.window, score)


def _is_in(index_kji: Sequence[int], box: Sequence[Sequence[int]]) -> bool:
    return all(low <= index < high for index, (low, high) in zip(index_kji, box))


def unheard_points(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> list[PointPrompt]:
    """Clicks on a slice that its propagated mask goes past: negative ones that waited for a mask to take away from."""
    points = _points_on(segment, axis, index)
    row, column = in_plane_axes(axis)
    wrong = any(mask[p.index_kji[row], p.index_kji[column]] != p.positive for p in points)
    return points if wrong else []


def _points_on(segment: SegmentState, axis: int, index: int) -> list[PointPrompt]:
    return [p for p in segment.prompts if isinstance(p, PointPrompt) and p.axis == axis and p.index == index]
