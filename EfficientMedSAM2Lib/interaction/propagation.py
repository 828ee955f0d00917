"""Propagation of one segment through the volume: planned ahead, computed a slice at a time, closed at any slice."""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, in_plane_axes, union
from EfficientMedSAM2Lib.interaction.history import SegmentStore
from EfficientMedSAM2Lib.interaction.prompting import reconcile, waiting_points
from EfficientMedSAM2Lib.interaction.prompts import point_xy
from EfficientMedSAM2Lib.interaction.segment import Records, SegmentState, SliceKind, SliceRecord


@dataclass(frozen=True, eq=False)
class SliceUpdate:
    """One slice that propagation has brought up to date.

    Attributes:
        index: Number of the slice along ``axis``.
        mask: Its mask as written, bool (rows, columns).
        score: Predicted IoU x probability that the object is there, 0..1.
        axis: Slicing axis (0 = k, 1 = j, 2 = i).
        bbox: Half-open kji box of the voxels that changed, None when none did.
        segment: Name of the segment.
        message: Why a run ended at this slice, else empty.
    """

    index: int
    mask: np.ndarray = field(repr=False)
    score: float
    axis: int
    bbox: Box | None
    segment: str
    message: str = ""


@dataclass(frozen=True)
class StopRule:
    """When an object counts as lost: empty or unsure slices in a row over a distance.

    Attributes:
        distance_mm: The distance; one slice further is not enough on thick slices, hence ``min_slices``.
        min_slices: Slices in a row that are needed whatever the distance.
        min_score: A slice that scores less is unsure.
    """

    distance_mm: float = 8.0
    min_slices: int = 2
    min_score: float = 0.15

    def slices_needed(self, spacing_mm: float) -> int:
        """Slices in a row after which a run ends."""
        return max(self.min_slices, ceil(self.distance_mm / spacing_mm - 1e-6))


@dataclass(frozen=True)
class Run:
    """One run of the predictor: from a fixed slice over ``frames`` in the order given."""

    start: int
    frames: tuple[int, ...]
    reverse: bool


def plan_runs(
    records: Records, direction: str, bounds: tuple[int, int], latest: int | None, revisit_skipped: bool
) -> list[Run]:
    """Runs that bring every slice of ``bounds`` up to date, those nearest to the latest correction first.

    Each slice is reached from the nearest fixed slice in the direction asked for; with "both", a gap between two fixed
    slices is filled from both ends to its middle, or all from one end when the other shows nothing. Slices already up
    to date are left out.

    Args:
        records: State of the slices along the axis; at least one must be CONDITIONING for anything to be planned.
        direction: "forward" (rising index), "backward" or "both".
        bounds: Half-open range of slices that may be changed.
        latest: Slice prompted last.
        revisit_skipped: Look again at slices behind the end of the object.
    """
    conditioning = sorted(i for i, record in records.items() if record.kind is SliceKind.CONDITIONING)
    fixed = sorted(i for i, record in records.items() if record.fixed)
    if not conditioning:
        return []
    todo = [i for i in range(*bounds) if _needs_work(records.get(i), revisit_skipped)]
    groups: dict[tuple[int, bool], list[int]] = {}
    for i in todo:
        at = bisect_right(fixed, i)
        before = fixed[at - 1] if at > 0 else None
        after = fixed[at] if at < len(fixed) else None
        if direction == "forward":
            after = None
        elif direction == "backward":
            before = None
        if before is not None and (after is None or _leads(records, before, after, i)):
            groups.setdefault((before, False), []).append(i)
        elif after is not None:
            groups.setdefault((after, True), []).append(i)
    runs = [Run(start, tuple(sorted(frames, reverse=reverse)), reverse) for (start, reverse), frames in groups.items()]
    center = conditioning[-1] if latest is None else latest
    # By where they start, not by what is left of them: a run that was cancelled is gone on with before the next one
    # begins, which would make the predictor forget the slices that it was led by.
    return sorted(runs, key=lambda run: (abs(run.start - center), run.reverse))


def _leads(records: Records, before: int, after: int, index: int) -> bool:
    """True when a slice between two fixed ones is better reached from the first: where the object is seen, else near.

    A slice that the user has emptied behind the object's end must not empty the last slices before it as well.
    """
    if records[before].empty != records[after].empty:
        return records[after].empty
    return index - before <= after - index


def _needs_work(record: SliceRecord | None, revisit_skipped: bool) -> bool:
    if record is None:
        return True
    return record.stale or (revisit_skipped and record.kind is SliceKind.SKIPPED)


class Propagation(Generator[SliceUpdate, None, None]):
    """Generator of SliceUpdate. Closing it, or dropping it, cancels: what was written stays as one undo step.

    Attributes:
        segment: Name of the segment.
        total: Slices planned; early stops may leave some undone.
        done: Slices computed so far; when it is 0 at the end, there is no undo step.
        bbox: Half-open kji box of all voxels changed so far, None when none did.
    """

    def __init__(
        self, segment: str, steps: Generator[SliceUpdate, None, None], total: int, report: Callable[[str], None]
    ) -> None:
        self._steps = steps
        self._report = report
        self.segment = segment
        self.total = total
        self.done = 0
        self.bbox: Box | None = None

    @property
    def running(self) -> bool:
        """True while a slice is being computed."""
        return inspect.getgeneratorstate(self._steps) == inspect.GEN_RUNNING

    @property
    def writing(self) -> bool:
        """True when slices were written that are not yet an undo step."""
        return self.done > 0 and inspect.getgeneratorstate(self._steps) != inspect.GEN_CLOSED

    def send(self, value: None) -> SliceUpdate:
        """Compute the next slice."""
        update = self._steps.send(value)
        self.done += 1
        self.bbox = union(self.bbox, update.bbox)
        if update.message:
            self._report(update.message)
        return update

    def throw(self, *error: Any) -> Any:
        """Raise an exception where the generator waits."""
        return self._steps.throw(*error)

    def close(self) -> None:
        """Cancel. What was written stays; safe to call twice."""
        self._steps.close()


def propagation_steps(
    store: SegmentStore, name: str, axis: int, runs: Sequence[Run], rule: StopRule | None
) -> Generator[SliceUpdate, None, None]:
    """Work through the runs. Whatever ends it, the slices written become one undo step."""
    change = store.begin(name, "propagate")
    done = False
    try:
        for run in runs:
            # closed before the commit, so that the predictor has ended its run when it is asked for a snapshot
            with closing(_run_steps(store, change.segment, axis, run, rule)) as updates:
                for update in updates:
                    done = True
                    yield update
    finally:
        if done:
            store.commit(change)
        else:
            store.roll_back(change)


def _run_steps(
    store: SegmentStore, segment: SegmentState, axis: int, run: Run, rule: StopRule | None
) -> Generator[SliceUpdate, None, None]:
    states = store.states
    records = segment.slice_records(axis)
    # Stale slices are always computed anew, even behind the object's end: they show what an older prompt had led to.
    last_stale = max((at for at, i in enumerate(run.frames) if i in records and records[i].stale), default=-1)
    spacing_mm = states.spacing_kji[axis]
    lost: list[int] = []
    if records[run.start].kind is SliceKind.GIVEN:
        # Of an initial mask the predictor was given a few slices only; this run starts from this one.
        states.give_mask(axis, run.start, segment.obj_id, segment.read_slice(axis, run.start))
        records[run.start] = replace(records[run.start], kind=SliceKind.CONDITIONING)
    source = states.predictor.propagate_object(
        states[axis], segment.obj_id, run.start, list(run.frames), reverse=run.reverse
    )
    try:
        for at, (index, predicted, score) in enumerate(source):
            predicted, kind = np.asarray(predicted, dtype=bool), SliceKind.PROPAGATED
            waiting = waiting_points(segment, axis, index, predicted)
            if waiting:  # a negative click made before there was a mask: it corrects the one that has come
                where, signs = [point_xy(p.index_kji, axis) for p in waiting], [int(p.positive) for p in waiting]
                states.give_prompts(axis, index, segment.obj_id, where, signs)
                corrected, score = states.result(axis, index, segment.obj_id)
                predicted = np.zeros_like(predicted) if corrected is None else corrected
                kind = SliceKind.CONDITIONING
            mask, box, message = _write(segment, axis, index, predicted)
            records[index] = SliceRecord(kind, float(score), empty=kind is SliceKind.CONDITIONING and not mask.any())
            if rule is None or (mask.any() and score >= rule.min_score):
                lost = []
            else:
                lost = [*lost, index] if lost and abs(index - lost[-1]) == 1 else [index]
            stop = rule is not None and len(lost) >= rule.slices_needed(spacing_mm) and at >= last_stale
            if stop and at + 1 < len(run.frames):
                records.update((i, SliceRecord(SliceKind.SKIPPED)) for i in run.frames[at + 1 :])
                message = (
                    f"Stopped at slice {index}: no sure trace of the structure over {len(lost) * spacing_mm:.0f} mm."
                )
            yield SliceUpdate(int(index), mask, float(score), axis, box, segment.name, message)
            if stop:
                return
    finally:
        if isinstance(source, Generator):
            source.close()


def _write(segment: SegmentState, axis: int, index: int, predicted: np.ndarray) -> tuple[np.ndarray, Box | None, str]:
    """Write a propagated slice, except where a prompt forbids it or the user prompted a slice across it."""
    old = segment.read_slice(axis, index)
    allowed, message = reconcile(segment, axis, index, predicted)
    mask = allowed.copy()
    for position, other in enumerate(in_plane_axes(axis)):
        fixed = [i for i, record in segment.slice_records(other).items() if record.fixed]
        if fixed and position == 0:
            mask[fixed, :] = old[fixed, :]
        elif fixed:
            mask[:, fixed] = old[:, fixed]
    return mask, segment.write_slice(axis, index, mask), message
