"""InteractiveSession: what a front end talks to. One volume, several segments, prompts in, masks out."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, union
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import check_matrix, kji_from_ijk, slice_axis, spacing_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.interaction import checks
from EfficientMedSAM2Lib.interaction.constraints import certainty
from EfficientMedSAM2Lib.interaction.history import MAX_BYTES, MAX_STEPS, History, SegmentStore
from EfficientMedSAM2Lib.interaction.predictor import AxisStates, VolumePredictor
from EfficientMedSAM2Lib.interaction.prompt_calls import PromptCalls
from EfficientMedSAM2Lib.interaction.prompts import BoxPrompt, Prompt
from EfficientMedSAM2Lib.interaction.propagation import Propagation, Run, StopRule, plan_runs, propagation_steps
from EfficientMedSAM2Lib.interaction.segment import Records, SegmentState, SliceKind, SliceRecord, stale_indices


class InteractiveSession(PromptCalls):
    """Interactive segmentation of one volume.

    Indices are voxels in (k, j, i) order, boxes half-open ``[[k0, k1], [j0, j1], [i0, i1]]``. ``axis`` is the array
    axis that slices are read along; by default the one with the largest spacing. Calls that change voxels return the
    box of the voxels that changed, or None; ``last_message`` says why nothing was found, when nothing was.

    Not thread-safe: one thread at a time. At most one propagation is open; any call that changes something closes it
    first, which cancels it and keeps what it wrote as one undo step.

    Args:
        predictor: EfficientMedSAM2VolumePredictor, or any object with the methods of VolumePredictor.
        max_undo_steps: Undo levels kept.
        max_undo_bytes: Memory for undo; the newest step is kept whatever its size.

    Example:
        >>> session = InteractiveSession(predictor)
        >>> session.set_image(volume, ijk_to_ras, modality="CT")
        >>> session.add_bbox_interaction([[40, 41], [100, 180], [90, 200]], True, segment="liver")
        >>> for update in session.propagate("liver"):
        ...     print(update.index, update.score)
        >>> session.mask("liver").sum()
    """

    def __init__(
        self, predictor: VolumePredictor, max_undo_steps: int = MAX_STEPS, max_undo_bytes: int = MAX_BYTES
    ) -> None:
        self.predictor = predictor
        self.last_message = ""
        self._history = History(max_undo_steps, max_undo_bytes)
        self._store: SegmentStore | None = None
        self._ijk_to_ras = np.eye(4)
        self._default_axis = 0
        self._propagation: weakref.ReferenceType[Propagation] | None = None

    # --- image ---------------------------------------------------------------------------------------------------

    def set_image(
        self,
        volume: np.ndarray,
        ijk_to_ras: np.ndarray | None = None,
        modality: str | None = None,
        window: IntensityWindow | tuple[float, float] | None = None,
    ) -> None:
        """Start anew on a volume. It is referred to, never copied or written.

        Args:
            volume: (D,H,W) or (D,H,W,3), any real dtype.
            ijk_to_ras: 4x4 matrix, mm; None for voxels of 1 mm.
            modality: DICOM modality ("CT", "MR", ...) or None.
            window: Intensities shown to the network; None chooses by modality and values.
        """
        view = checks.check_volume(volume)
        matrix = check_matrix(np.eye(4) if ijk_to_ras is None else ijk_to_ras)
        spacing_ijk = spacing_of(matrix)
        chosen = choose_window(view, modality) if window is None else checks.check_window(window)
        self._close_propagation()
        self._ijk_to_ras = matrix
        self._default_axis = slice_axis(spacing_ijk, view.shape[:3])
        spacing_k, spacing_j, spacing_i = (float(v) for v in kji_from_ijk(spacing_ijk))
        states = AxisStates(self.predictor, view, (spacing_k, spacing_j, spacing_i), modality, chosen)
        self._history.clear()
        self._store = SegmentStore(states, self._history)
        self.last_message = ""

    @property
    def window(self) -> IntensityWindow:
        """Intensities shown to the network."""
        return self._image().states.window

    @property
    def shape_kji(self) -> tuple[int, ...]:
        """Shape (D,H,W) of the volume and of every mask."""
        return self._image().shape_kji

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Distance between voxels in mm."""
        return self._image().states.spacing_kji

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 matrix of the volume, mm."""
        return self._ijk_to_ras

    @property
    def default_axis(self) -> int:
        """Slicing axis of prompts that name none."""
        return self._default_axis

    def prefetch(self, index: int, axis: int | None = None, segment: str | None = None) -> None:
        """Compute the features of a slice while the user thinks; slices outside the volume are ignored.

        With a segment, they are those that its propagation or correction would need there.
        """
        states = self._image().states
        axis = checks.check_axis(axis, self._default_axis)
        if 0 <= index < self.shape_kji[axis]:
            obj_id = self._segment(segment).obj_id if segment is not None else None
            states.predictor.prefetch(states[axis], int(index), obj_id)

    # --- propagation ---------------------------------------------------------------------------------------------

    def propagate(
        self,
        segment: str = "1",
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
        axis: int | None = None,
    ) -> Propagation:
        """Carry a segment from its prompted slices to the stale slices and to those never reached.

        Prompted slices are never changed. Nothing is computed before the first ``next``. When all is up to date the
        generator is empty, and ``last_message`` says so.

        Args:
            segment: Name of the segment.
            direction: "forward" (rising slice number), "backward" or "both".
            limits: Half-open range of slices; None is the extent of the segment's ROIs, or the volume.
            stop_when_lost: End a pass behind the structure's end; a StopRule sets when.
            axis: Slicing axis; None is that of the slice prompted last.

        Returns:
            Generator of SliceUpdate with ``total``, ``done``, ``bbox`` and ``close()``.
        """
        store = self._ready()
        rule = StopRule() if stop_when_lost is True else (stop_when_lost or None)
        axis, runs = self._plan(segment, direction, limits, rule is None, axis)
        total = sum(len(run.frames) for run in runs)
        self.last_message = "" if runs else "All slices in this range are up to date."
        steps = propagation_steps(store, segment, axis, runs, rule)
        propagation = Propagation(segment, steps, total, self._set_message)
        self._propagation = weakref.ref(propagation)
        return propagation

    def slices_to_propagate(
        self,
        segment: str = "1",
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        axis: int | None = None,
    ) -> list[int]:
        """Slices that ``propagate`` with the same arguments would visit, sorted."""
        _, runs = self._plan(segment, direction, limits, False, axis)
        return sorted(index for run in runs for index in run.frames)

    # --- history -------------------------------------------------------------------------------------------------

    def undo(self) -> Box | None:
        """Take back the last action, prompt and mask together. Returns the changed box; see also ``can_undo``."""
        self.last_message = ""
        step = self._ready().undo()
        return step.box if step is not None else None

    def redo(self) -> Box | None:
        """Do the action undone last again, exactly as it was. Returns the changed box."""
        self.last_message = ""
        step = self._ready().redo()
        return step.box if step is not None else None

    @property
    def can_undo(self) -> bool:
        """True when ``undo`` has something to take back; an open propagation that wrote something counts."""
        return self.next_undo is not None

    @property
    def can_redo(self) -> bool:
        """True when ``redo`` has something to do again."""
        return self.next_redo is not None

    @property
    def next_undo(self) -> tuple[str, str] | None:
        """(segment, what was done) of the step that ``undo`` takes back."""
        if (writing := self._writing_propagation()) is not None:
            return writing.segment, "propagate"
        step = self._history.next_undo
        return (step.segment, step.label) if step is not None else None

    @property
    def next_redo(self) -> tuple[str, str] | None:
        """(segment, what was done) of the step that ``redo`` does again."""
        if self._writing_propagation() is not None:
            return None  # closing it makes a step, after which nothing can be redone
        step = self._history.next_redo
        return (step.segment, step.label) if step is not None else None

    @property
    def depth(self) -> int:
        """Actions in force, those too old to be undone included; an open propagation counts once it wrote a slice."""
        return self._history.depth + int(self._writing_propagation() is not None)

    def remove_segment(self, segment: str) -> Box | None:
        """Remove a segment with its prompts; can be undone. Returns the box of the voxels it had."""
        self.last_message = ""
        return self._ready().remove(segment)

    def reset_interactions(self) -> Box | None:
        """Remove all segments, prompts and the history; cannot be undone. Returns the box of the voxels they had."""
        store = self._ready()
        changed = union(*(store.get(name).bits.bounding_box() for name in store.names))
        store.clear()
        self.last_message = ""
        return changed

    # --- results -------------------------------------------------------------------------------------------------

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments in order of first use. One whose making was undone is left out; it reads as empty."""
        return tuple(self._image().names)

    def mask(self, segment: str = "1", bbox_kji: Box | None = None) -> np.ndarray:
        """Copy of the mask, bool (D,H,W), or of a half-open box of it, such as the other calls return."""
        return self._segment(segment).bits.read(bbox_kji)

    def certainty(self, segment: str, bbox_kji: Box) -> np.ndarray:
        """Logits, float32, of a segment's voxels in a half-open box: infinite where the user has said that they belong
        to it, minus infinite where they do not. Of two segments that claim a voxel, the larger is the likelier."""
        return certainty(self._image().states, self._segment(segment), bbox_kji)

    def prompts(self, segment: str = "1") -> tuple[Prompt, ...]:
        """Prompts of a segment in the order they were given."""
        return self._segment(segment).prompts

    def scores(self, segment: str = "1", axis: int | None = None) -> dict[int, float]:
        """Score 0..1 by slice, for all slices that were prompted, given or propagated along the axis."""
        records = self._records(segment, axis)
        return {i: r.score for i, r in sorted(records.items()) if r.kind is not SliceKind.SKIPPED}

    def slicing_axis(self, segment: str = "1") -> int:
        """Array axis that the segment is propagated along: that of the slice prompted last."""
        return self._axis_of(self._segment(segment), None)

    def bounding_box(self, segment: str = "1") -> Box | None:
        """Half-open box of the segment's voxels, None when it has none."""
        return self._segment(segment).bits.bounding_box()

    def stale_slices(self, segment: str = "1", axis: int | None = None) -> list[int]:
        """Slices whose mask is older than the correction that governs them; ``propagate`` computes them anew."""
        return stale_indices(self._records(segment, axis))

    def conditioning_slices(self, segment: str = "1", axis: int | None = None) -> list[int]:
        """Slices that prompts gave the predictor; propagation starts from them and never changes them."""
        return sorted(i for i, r in self._records(segment, axis).items() if r.kind is SliceKind.CONDITIONING)

    def slice_records(self, segment: str = "1", axis: int | None = None) -> dict[int, SliceRecord]:
        """How each slice got its mask and what is known of it, for slices that were prompted, given or propagated."""
        return dict(self._records(segment, axis))

    # --- inside --------------------------------------------------------------------------------------------------

    def _image(self) -> SegmentStore:
        if self._store is None:
            raise UserError("No image is set; call set_image first.")
        return self._store

    def _ready(self) -> SegmentStore:
        """The store, with no propagation open."""
        store = self._image()
        self._close_propagation()
        return store

    def _segment(self, name: str) -> SegmentState:
        return self._image().peek(name)

    def _axis_of(self, state: SegmentState, axis: int | None) -> int:
        return checks.check_axis(axis, self._default_axis if state.latest is None else state.latest[0])

    def _records(self, segment: str, axis: int | None) -> Records:
        state = self._segment(segment)
        return state.records.get(self._axis_of(state, axis), {})

    def _open_propagation(self) -> Propagation | None:
        return self._propagation() if self._propagation is not None else None

    def _writing_propagation(self) -> Propagation | None:
        """The open propagation, once it has written a slice."""
        propagation = self._open_propagation()
        return propagation if propagation is not None and propagation.writing else None

    def _close_propagation(self) -> None:
        propagation = self._open_propagation()
        if propagation is not None:
            if propagation.running:
                raise ValueError("The session is computing a slice; wait until it is done, then close the propagation.")
            propagation.close()
        self._propagation = None

    def _set_message(self, message: str) -> None:
        self.last_message = message

    def _plan(
        self, name: str, direction: str, limits: Any, revisit_skipped: bool, axis: int | None
    ) -> tuple[int, list[Run]]:
        checks.check_direction(direction)
        state = self._segment(name)
        axis = self._axis_of(state, axis)
        records = state.slice_records(axis)
        conditioning = self.conditioning_slices(name, axis)
        if not conditioning:
            raise UserError(
                f"Segment {name!r} has no prompted slice along axis {axis}; add a positive point or a box first."
            )
        if limits is not None:
            bounds = checks.check_limits(limits, axis, self.shape_kji)
        else:
            bounds = self._default_limits(state, axis, conditioning)
        latest = state.latest[1] if state.latest is not None and state.latest[0] == axis else None
        return axis, plan_runs(records, direction, bounds, latest, revisit_skipped)

    def _default_limits(self, state: SegmentState, axis: int, conditioning: list[int]) -> tuple[int, int]:
        """Extent of the segment's ROIs, and of slices prompted outside them; the volume where there is no ROI."""
        rois = [p.box_kji[axis] for p in state.prompts if isinstance(p, BoxPrompt) and p.positive and p.is_roi]
        if not rois:
            return 0, self.shape_kji[axis]
        low = min(min(start for start, _ in rois), conditioning[0])
        high = max(max(stop for _, stop in rois), conditioning[-1] + 1)
        return low, high
