"""The session's calls for prompts, by nnInteractive's names, and for many objects, each prompt a numbered segment."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import kji_from_ijk, ras_to_ijk
from EfficientMedSAM2Lib.interaction import checks
from EfficientMedSAM2Lib.interaction.drawn import answer_anew, apply_any_prompt, enclosed
from EfficientMedSAM2Lib.interaction.history import SegmentStore
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompts import (
    BoxPrompt,
    LassoPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    prompted_slices,
)
from EfficientMedSAM2Lib.interaction.propagation import Propagation, SliceUpdate, StopRule
from EfficientMedSAM2Lib.interaction.segment import SegmentState
from EfficientMedSAM2Lib.predictors.slices.proposals import SearchedSlice
from EfficientMedSAM2Lib.predictors.slices.similarity import SliceFeatures

#: What objects are called unless somebody says otherwise.
LESION = "Lesion"
_NUMBERED = re.compile(r"(.*\S)\s+\d+")


def base_name(name: str) -> str:
    """ "Lesion" for "Lesion 3"; a name without a number as it is."""
    found = _NUMBERED.fullmatch(name.strip())
    return found[1] if found else name.strip()


def numbered_name(base: str, taken: Iterable[str]) -> str:
    """ "Lesion 1", or with the first number that is free; ``base`` may be a numbered name itself, as "Lesion 3" is."""
    base, known = base_name(base) or LESION, set(taken)
    return next(name for name in (f"{base} {n}" for n in range(1, len(known) + 2)) if name not in known)


class PromptCalls(ABC):
    """The `add_..._interaction` methods of a session, which adds the prompts that they make."""

    last_message: str

    @property
    @abstractmethod
    def shape_kji(self) -> tuple[int, ...]:
        """Shape (D,H,W) of the volume and of every mask."""

    @property
    @abstractmethod
    def spacing_kji(self) -> tuple[float, float, float]:
        """Distance between voxels in mm."""

    @property
    @abstractmethod
    def default_axis(self) -> int:
        """Slicing axis of prompts that name none."""

    @property
    @abstractmethod
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 matrix of the volume, mm."""

    @property
    @abstractmethod
    def segments(self) -> tuple[str, ...]:
        """Names of the segments in order of first use."""

    @abstractmethod
    def propagate(
        self,
        segment: str = "1",
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
        axis: int | None = None,
    ) -> Propagation:
        """Carry a segment from its prompted slices to the others."""

    @abstractmethod
    def _ready(self) -> SegmentStore:
        """The segments, with no propagation open."""

    def add_prompt(self, prompt: Prompt, segment: str = "1") -> Box | None:
        """Add a prompt record, such as ``prompts`` lists. Returns the changed box."""
        return self._change(
            segment, f"add {prompt.kind}", lambda states, state: apply_any_prompt(states, state, prompt)
        )

    def answer_anew(
        self, axis: int, indices: Sequence[int], prompts: Sequence[Prompt], segment: str = "1"
    ) -> Box | None:
        """Answer slices from these prompts, in place of those that they had, as one undo step. Returns the changed box.

        Voxels edited by hand stay. A slice without a prompt is as it was given, or else empty until it is propagated.

        Args:
            axis: Slicing axis.
            indices: Slices; prompts that were given on one of them are dropped.
            prompts: All prompts that hold on these slices now, oldest first; none clears the slices.
            segment: Name of the segment.
        """
        axis = checks.check_axis(axis, self.default_axis)
        return self._change(
            segment, "change prompts", lambda states, state: answer_anew(states, state, axis, indices, prompts)
        )

    def try_prompt(self, prompt: PointPrompt | BoxPrompt, segment: str = "1") -> tuple[np.ndarray, float]:
        """The mask, bool (rows, columns), that a prompt would make of its slice, and its score; nothing is changed."""
        store = self._ready()
        trial = store.begin(segment, "try")
        try:
            apply_any_prompt(store.states, trial.segment, prompt)
            record = trial.segment.slice_records(prompt.axis).get(prompt.index)
            return trial.segment.read_slice(prompt.axis, prompt.index), 0.0 if record is None else record.score
        finally:
            store.roll_back(trial)

    def _change(self, segment: str, label: str, action: Callable[[AxisStates, SegmentState], str]) -> Box | None:
        store = self._ready()
        with store.change(segment, label) as state:
            message = action(store.states, state)
        self.last_message = message
        step = store.history.next_undo
        return step.box if step is not None else None

    def add_point_interaction(
        self, index_kji: Any, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Click on a voxel; clicks on one slice add up. Returns the changed box.

        On a slice that shows a mask, whatever made it, the click corrects that mask.
        """
        shape = self.shape_kji
        axis = checks.check_axis(axis, self.default_axis)
        return self.add_prompt(checks.point_prompt(index_kji, include_interaction, axis, shape), segment)

    def add_bbox_interaction(
        self, bbox_kji: Any, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Box on one slice (one axis of size 1), or a 3D ROI. Returns the changed box.

        An ROI prompts its middle slice, and its extent limits propagation. A newer box on a slice replaces the older
        one, points stay. A negative box takes its voxels away and keeps propagation out of it, until a later positive
        point or box inside it lifts it.
        """
        shape = self.shape_kji
        if axis is not None:
            checks.check_axis(axis, 0)
        prompt = checks.box_prompt(bbox_kji, include_interaction, axis, self.default_axis, shape)
        return self.add_prompt(prompt, segment)

    def add_line_interaction(
        self, start_kji: Any, end_kji: Any, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Longest diameter of a lesion (RECIST), on the slice through its middle. Returns the changed box."""
        shape = self.shape_kji
        if axis is not None:
            checks.check_axis(axis, 0)
        prompt, hint = checks.line_prompt(start_kji, end_kji, axis, self.default_axis, shape, self.spacing_kji)
        changed = self.add_prompt(prompt, segment)
        self.last_message = f"{hint} {self.last_message}".strip()
        return changed

    def add_initial_seg_interaction(
        self,
        mask: np.ndarray,
        segment: str = "1",
        axis: int | None = None,
        index: int | None = None,
        fixed: bool = True,
    ) -> Box | None:
        """Start from a mask, written as it is. Returns the changed box.

        Args:
            mask: (D,H,W): replaces the segment, earlier prompts included; or, with ``index``, one slice of it.
            segment: Name of the segment.
            axis: Slicing axis.
            index: Slice that a 2D mask belongs to; an empty one says that the structure is not there.
            fixed: Propagation never changes the mask; else it is an earlier result, into which later corrections are
                propagated. A slice by itself is always fixed.
        """
        shape = self.shape_kji
        axis = checks.check_axis(axis, self.default_axis)
        return self.add_prompt(checks.mask_prompt(mask, axis, index, shape, fixed), segment)

    def add_scribble_interaction(
        self, mask: np.ndarray, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Draw over voxels of the object, or of what is not the object. Returns the changed box.

        What was drawn over is in the result, or outside it, on every slice and after propagation, until a later click
        on it says the opposite.

        Args:
            mask: (D,H,W), not zero where it was drawn, on one slice or on several. Or the
                points (N,3) of a line, RAS mm.
            include_interaction: Whether the object was drawn over; else the background.
            segment: Name of the segment.
            axis: Slicing axis; None takes the one along which the scribble is flat.

        Raises:
            UserError: `mask` is empty or not of the volume's shape, or a point is outside of the volume.
        """
        if _is_line(mask):
            packed, axis = checks.scribble_line(self._to_kji(mask), axis, self.default_axis, self.shape_kji)
        else:
            packed, axis = checks.drawn_mask(mask, axis, self.default_axis, self.shape_kji, "A scribble")
        return self.add_prompt(ScribblePrompt(packed, bool(include_interaction), axis), segment)

    def add_lasso_interaction(
        self, mask: np.ndarray, include_interaction: bool = True, segment: str = "1", axis: int | None = None
    ) -> Box | None:
        """Draw a line around the object, or around what is not the object. Returns the changed box.

        On its slices the result keeps within the lasso, until a later prompt goes beyond it. A negative one takes away
        what it encloses, and propagation keeps out of that.

        Args:
            mask: (D,H,W), not zero on the closed line, or on all that it encloses; on one slice or on several. Or the
                points (N,3) of the line, RAS mm, on one slice; the last is joined to the first.
            include_interaction: Whether the object is in the lasso; else nothing of it is.
            segment: Name of the segment.
            axis: Slicing axis; None takes the one along which the lasso is flat.

        Raises:
            UserError: `mask` is empty or not of the volume's shape, or the points lie on no slice.
        """
        if _is_line(mask):
            packed, axis = checks.lasso_line(self._to_kji(mask), axis, self.default_axis, self.shape_kji)
            return self.add_prompt(LassoPrompt(packed, bool(include_interaction), axis), segment)
        packed, axis = checks.drawn_mask(mask, axis, self.default_axis, self.shape_kji, "A lasso")
        return self.add_prompt(LassoPrompt(enclosed(packed, axis), bool(include_interaction), axis), segment)

    def add_each_interaction(self, prompts: Sequence[Prompt], name: str = LESION) -> list[str]:
        """Give each prompt a new segment of its own, which is one undo step each.

        Prompts of one slice are answered one after the other, so that what the network sees of the whole slice is
        encoded once.

        Args:
            prompts: Prompts that include, such as the points of a list.
            name: What the segments are called, followed by a number.

        Returns:
            Names of the new segments, in the order of the prompts.

        Raises:
            UserError: There are none, or one of them excludes, which says nothing of any one object.
        """
        check_each(prompts, name)
        names: list[str] = []
        for _prompt in prompts:
            names.append(numbered_name(name, [*self.segments, *names]))
        for n in sorted(range(len(prompts)), key=lambda n: _place(prompts[n])):
            self.add_prompt(prompts[n], names[n])
        return names

    def propagate_each(
        self,
        segments: Sequence[str] | None = None,
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
    ) -> Generator[SliceUpdate, None, None]:
        """Propagate several segments, one after the other, each one undo step; closing it cancels, as for one.

        Args:
            segments: Their names; None for all.
            direction: As for `propagate`.
            limits: As for `propagate`.
            stop_when_lost: As for `propagate`.
        """
        for name in self.segments if segments is None else segments:
            with closing(self.propagate(name, direction, limits, stop_when_lost)) as updates:
                yield from updates

    def slice_features(self, index: int, axis: int | None = None) -> SliceFeatures:
        """What the encoder sees of a slice, for finding places that look alike."""
        states, axis = self._ready().states, checks.check_axis(axis, self.default_axis)
        return states.predictor.slice_features(states[axis], checks.check_slice(index, axis, self.shape_kji))

    def search_object(self) -> Iterator[SearchedSlice]:
        """Look for the structure of the network's task along the default axis, a slice at a time; changes nothing.

        Raises:
            UserError: The network has learnt no task.
        """
        states = self._ready().states
        return states.predictor.search_object(states[self.default_axis])

    def _to_kji(self, points_ras: Any) -> np.ndarray:
        return kji_from_ijk(ras_to_ijk(points_ras, self.ijk_to_ras))


def _is_line(drawn: Any) -> bool:
    """Whether something drawn is given by the points of a line rather than by its voxels."""
    shape = np.shape(drawn)
    return len(shape) == 2 and shape[1] == 3


def check_each(prompts: Sequence[Prompt], name: str) -> None:
    """Whether each of some prompts can stand for an object; UserError where one cannot."""
    if not prompts:
        raise UserError(f"There is no prompt to make a segment of; place a point on each {name.lower()}.")
    excluding = sum(not getattr(prompt, "positive", True) for prompt in prompts)
    if excluding:
        raise UserError(
            f"{excluding} of {len(prompts)} prompts exclude, and none of several segments in particular; leave them "
            "out, and correct the segments one by one."
        )


def _place(prompt: Prompt) -> tuple[int, int]:
    """Axis and first slice that a prompt was given on."""
    slices = prompted_slices(prompt, prompt.axis)
    return prompt.axis, slices.start
