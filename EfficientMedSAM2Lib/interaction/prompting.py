"""What each kind of prompt does to a segment. Each function returns a sentence for the user, or nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_shape, in_plane_axes, slice_box, union
from EfficientMedSAM2Lib.core.windows import NOTHING_TO_SEE
from EfficientMedSAM2Lib.interaction import checks
from EfficientMedSAM2Lib.interaction.constraints import constrained, edited_voxels
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompts import (
    BoxPrompt,
    Click,
    LassoPrompt,
    LinePrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    box_xyxy,
    clicks_of,
    clicks_on,
    line_to_prompts,
    point_xy,
    prompted_slices,
)
from EfficientMedSAM2Lib.interaction.segment import SegmentState, SliceKind, SliceRecord, with_correction

#: Slices of each connected stack of an initial mask given to the predictor: its network remembers only a few.
MASK_SLICES_PER_STACK = 3
#: The same for the whole mask.
MAX_MASK_SLICES = 16
#: Slices of an initial mask that is not fixed make way for a correction up to this far from them.
REFINED_MM = 10.0
#: What the user paints is the truth.
USER_SCORE = 1.0

#: Said once prompts outside the structure have taken away all of a slice.
EMPTY_NOW = "The slice is empty now; propagation takes it that the structure is not there."


def apply_prompt(
    states: AxisStates, segment: SegmentState, prompt: PointPrompt | BoxPrompt | LinePrompt | MaskPrompt
) -> str:
    """Add a prompt that is not drawn to the segment and bring its slice up to date."""
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


def reconcile(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> tuple[np.ndarray, str]:
    """A predicted slice mask (bool HxW) that contradicts no prompt, and what had to be done for that, if anything.

    Constraints in force come first. The predictor knows the clicks; where its mask goes past one all the same, the
    clicked voxel itself is corrected. A mask that is empty stays so: nothing was found, and that is said elsewhere.
    """
    kept = constrained(segment, axis, index, mask)
    row, column = in_plane_axes(axis)
    clicks = {
        (p.index_kji[row], p.index_kji[column]): p.positive
        for p in segment.prompts
        if isinstance(p, PointPrompt) and p.index_kji[axis] == index
    }
    wrong = [at for at, positive in clicks.items() if kept[at] != positive] if kept.any() else []
    if wrong:
        # What a constraint says of a voxel holds whatever was predicted there, a click that it overrules included.
        full, empty = (constrained(segment, axis, index, np.full_like(mask, value)) for value in (True, False))
        wrong = [at for at in wrong if full[at] != empty[at]]
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


def _apply_point(states: AxisStates, segment: SegmentState, prompt: PointPrompt) -> str:
    axis, index = prompt.axis, prompt.index
    message = click_slice(states, segment, axis, index, clicks_of(prompt, axis, index))
    freed = edited_voxels(segment.prompts[:-1]).area - edited_voxels(segment.prompts).area
    note = f"The click takes back a manual edit ({freed} voxels)." if freed else ""
    return " ".join(text for text in (note, message) if text)


def click_slice(states: AxisStates, segment: SegmentState, axis: int, index: int, clicks: Sequence[Click]) -> str:
    """Correct a slice by the newest clicks on it, or look for what they mean; all are positive, or all are negative."""
    release(states, segment, axis, index)
    record = segment.slice_records(axis).get(index)
    positive = any(click.positive for click in clicks)
    if record is None or record.kind is not SliceKind.CONDITIONING:
        # The predictor has none of this slice's clicks yet, and may not know the mask that the user sees and
        # corrects: a slice of an initial mask, or one that was propagated along another axis.
        clicks = clicks_on(segment.prompts, axis, index)
        visible = segment.read_slice(axis, index)
        if visible.any():
            known, _ = states.result(axis, index, segment.obj_id)
            if known is None or not np.array_equal(known, visible):
                states.give_mask(axis, index, segment.obj_id, visible)
        elif not any(click.positive for click in clicks):
            return "A negative point alone marks nothing; it counts from the first positive point or box on its slice."
    coordinates = [click.xy for click in clicks]
    states.give_prompts(axis, index, segment.obj_id, coordinates, [int(click.positive) for click in clicks])
    message = take_result(states, segment, axis, index, coordinates)
    if not positive and not segment.read_slice(axis, index).any():
        # nothing was looked for, so that nothing found is what was wanted
        return EMPTY_NOW
    return message


def _apply_box(states: AxisStates, segment: SegmentState, prompt: BoxPrompt) -> str:
    return start_slice(states, segment, prompt.axis, prompt.index, box_xyxy(prompt.box_kji, prompt.axis), [])


def _apply_line(states: AxisStates, segment: SegmentState, prompt: LinePrompt) -> str:
    row, column = in_plane_axes(prompt.axis)
    points, box = line_to_prompts(
        point_xy(prompt.start_kji, prompt.axis),
        point_xy(prompt.end_kji, prompt.axis),
        (states.spacing_kji[column], states.spacing_kji[row]),
    )
    return start_slice(states, segment, prompt.axis, prompt.index, box, [(float(x), float(y)) for x, y in points])


def start_slice(
    states: AxisStates,
    segment: SegmentState,
    axis: int,
    index: int,
    box: np.ndarray,
    inner_points: Sequence[tuple[float, float]],
) -> str:
    """A box says where the whole structure is: the slice is segmented anew from it and from the points it has."""
    release(states, segment, axis, index)
    earlier = clicks_on(segment.prompts, axis, index)
    coordinates = [*inner_points, *(click.xy for click in earlier)]
    labels = [1] * len(inner_points) + [int(click.positive) for click in earlier]
    states.give_prompts(axis, index, segment.obj_id, coordinates, labels, box)
    return take_result(states, segment, axis, index, coordinates, box)


def _apply_exclusion(states: AxisStates, segment: SegmentState, prompt: BoxPrompt) -> str:
    box = [list(bounds) for bounds in prompt.box_kji]
    overruled = [p for p in segment.prompts if isinstance(p, PointPrompt) and p.positive and _is_in(p.index_kji, box)]
    message = cut(states, segment, prompt.axis, box, np.ones(box_shape(box), dtype=bool))
    # the newer prompt counts
    return message or (f"Positive clicks in this box count no more ({len(overruled)})." if overruled else "")


def cut(states: AxisStates, segment: SegmentState, axis: int, box: Box, region: np.ndarray) -> str:
    """Take voxels away: a region, bool of the size of a half-open box."""
    old = segment.bits.read(box) & region
    if not old.any():
        return "The segment has no voxels in it; propagation will keep out of it."
    segment.write(box, segment.bits.read(box) & ~region)
    if segment.latest is not None and segment.latest[0] != axis:
        return ""  # a cut across the slices that are propagated: kept by the exclusion, no slice to start from
    removed = old.sum(axis=in_plane_axes(axis))
    affected = [box[axis][0] + int(offset) for offset in np.flatnonzero(removed)]
    records = segment.slice_records(axis)
    conditioning = [i for i in affected if i in records and records[i].kind is SliceKind.CONDITIONING]
    cut = {i: segment.read_slice(axis, i) for i in affected}
    # A slice that still shows the object is the better example; among those, the one where the cut says most.
    example = max(affected, key=lambda i: (bool(cut[i].any()), int(removed[i - box[axis][0]])))
    for index in sorted({*conditioning, example}):
        states.give_mask(axis, index, segment.obj_id, cut[index])
        segment.records[axis] = with_correction(
            segment.slice_records(axis), index, USER_SCORE, not cut[index].any(), True
        )
    segment.latest = (axis, example)
    return ""


def _apply_slice_mask(states: AxisStates, segment: SegmentState, prompt: MaskPrompt) -> str:
    axis, index = prompt.axis, cast(int, prompt.index)
    extent = slice_box(segment.bits.shape, axis, index)
    take_mask(states, segment, axis, index, prompt.mask.window(extent).squeeze(axis))
    return ""


def take_mask(states: AxisStates, segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> None:
    """Write what the user says a slice is, bool (rows, columns), and give it to the predictor."""
    release(states, segment, axis, index)
    segment.write_slice(axis, index, mask)
    states.give_mask(axis, index, segment.obj_id, mask)
    segment.records[axis] = with_correction(segment.slice_records(axis), index, USER_SCORE, not mask.any(), True)
    segment.latest = (axis, index)


def _apply_mask(states: AxisStates, segment: SegmentState, prompt: MaskPrompt) -> str:
    """An initial mask starts the segment anew: earlier prompts and what was propagated from them no longer hold."""
    axis = prompt.axis
    states.forget(segment.obj_id)
    if prompt.edited is not None:  # earlier edits by hand are in the mask, and hold as well
        prompt = replace(prompt, edited=edited_voxels((*segment.prompts, prompt)))
    segment.prompts = (prompt,)
    segment.records = {}
    box = union(segment.bits.bounding_box(), prompt.mask.box)
    if box is None or prompt.mask.is_empty:
        return ""
    mask = prompt.mask.window(box)
    segment.write(box, mask)
    areas = mask.sum(axis=in_plane_axes(axis))
    by_slice = {box[axis][0] + int(offset): int(areas[offset]) for offset in np.flatnonzero(areas)}
    kind = SliceKind.GIVEN if prompt.fixed else SliceKind.PROPAGATED
    records = {index: SliceRecord(kind, USER_SCORE, given=True) for index in by_slice}
    if not prompt.fixed:  # the mask also says where the object ends, until a correction near its end
        others = set(range(segment.bits.shape[axis])) - by_slice.keys()
        records.update((index, SliceRecord(SliceKind.SKIPPED)) for index in others)
    known = prompt.records or {}
    records.update(known)
    for index in [i for i, r in known.items() if r.kind is SliceKind.CONDITIONING] or mask_slices(by_slice):
        states.give_mask(axis, index, segment.obj_id, segment.read_slice(axis, index))
        records[index] = replace(records[index], kind=SliceKind.CONDITIONING, stale=False)
    segment.records[axis] = records
    segment.latest = (axis, max(by_slice, key=by_slice.__getitem__))
    return ""


def mask_slices(areas: dict[int, int]) -> list[int]:
    """Slices of an initial mask to give to the predictor: the largest of each third of every connected stack.

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


def take_result(
    states: AxisStates,
    segment: SegmentState,
    axis: int,
    index: int,
    points_xy: Sequence[tuple[float, float]],
    box: np.ndarray | None = None,
) -> str:
    """Write what the predictor found on a slice, as the constraints allow it; returns a sentence for the user."""
    predicted, score = states.result(axis, index, segment.obj_id)
    if predicted is None:
        predicted = np.zeros_like(segment.read_slice(axis, index))
    mask, note = reconcile(segment, axis, index, predicted)
    segment.write_slice(axis, index, mask)
    if not np.array_equal(mask, predicted) and drawn_on(segment, axis, index):
        # What is propagated from here starts from what the user sees.
        states.give_mask(axis, index, segment.obj_id, mask)
    segment.records[axis] = with_correction(segment.slice_records(axis), index, score, not mask.any())
    segment.latest = (axis, index)
    if mask.any():
        return note
    if predicted.any():
        return "All that was found lies in a negative box or lasso; click a positive point inside it to lift it."
    if not states.has_contrast:
        return NOTHING_TO_SEE
    return checks.explain_empty(states.volume.take(index, axis), box, points_xy, states.window, score)


def _is_in(index_kji: Sequence[int], box: Sequence[Sequence[int]]) -> bool:
    return all(low <= index < high for index, (low, high) in zip(index_kji, box))


def waiting_points(segment: SegmentState, axis: int, index: int, mask: np.ndarray) -> list[PointPrompt]:
    """Clicks on a slice that its propagated mask goes past: negative ones that waited for a mask to take away from."""
    points = [p for p in segment.prompts if isinstance(p, PointPrompt) and p.axis == axis and p.index == index]
    row, column = in_plane_axes(axis)
    wrong = any(mask[p.index_kji[row], p.index_kji[column]] != p.positive for p in points)
    return points if wrong else []


def drawn_on(segment: SegmentState, axis: int, index: int) -> bool:
    """Whether there is a scribble, a lasso or a manual edit on a slice."""
    drawn = [p.mask for p in segment.prompts if isinstance(p, (ScribblePrompt, LassoPrompt))]
    drawn += [p.edited for p in segment.prompts if isinstance(p, MaskPrompt) and p.edited is not None]
    return any(low <= index < high for low, high in (mask.bounds[axis] for mask in drawn))


def release(states: AxisStates, segment: SegmentState, axis: int, index: int) -> None:
    """Let a correction on a slice spread into an initial mask that is not fixed: slices of it that the predictor
    was given, and that are near, no longer hold."""
    first = segment.prompts[0]
    if not isinstance(first, MaskPrompt) or first.fixed or first.index is not None or first.axis != axis:
        return
    prompted = {i for prompt in segment.prompts[1:] for i in prompted_slices(prompt, axis)}
    reach = REFINED_MM / states.spacing_kji[axis]
    for i, record in list(segment.slice_records(axis).items()):
        given = record.kind is SliceKind.CONDITIONING and i not in prompted
        if given and i != index and abs(i - index) <= reach:
            states.forget_prompts(axis, i, segment.obj_id)
            segment.slice_records(axis)[i] = replace(record, kind=SliceKind.PROPAGATED)
