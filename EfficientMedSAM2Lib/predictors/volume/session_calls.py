"""What a session asks of the volume predictor besides SAM2's calls: one object at a time, snapshots, prefetching."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.inputs import as_number
from EfficientMedSAM2Lib.predictors.slices.proposals import Proposal, SearchedSlice, search
from EfficientMedSAM2Lib.predictors.slices.similarity import SliceFeatures, join_features
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.volume.frames import PropagationRun
from EfficientMedSAM2Lib.predictors.volume.prefetcher import FeaturePrefetcher
from EfficientMedSAM2Lib.predictors.volume.propagator import Propagator
from EfficientMedSAM2Lib.predictors.volume.state import (
    State,
    check_frame,
    check_prompts,
    register,
    slice_image,
    slice_shape,
    track_of,
    volume_of,
)
from EfficientMedSAM2Lib.predictors.volume.track import ObjectSnapshot, ObjectTrack, SliceOutcome, SliceResult


class SessionCalls:
    """The methods, for a predictor that has the attributes and `remove_object`."""

    _slice_predictor: SlicePredictor
    _propagator: Propagator
    remove_object: Any

    def propagate_object(
        self,
        inference_state: State,
        obj_id: Hashable,
        start_frame_idx: int,
        frames: Iterable[int],
        reverse: bool = False,
    ) -> Iterator[tuple[int, np.ndarray, float]]:
        """Segment one object on chosen slices, from those with prompts.

        Args:
            inference_state: From `init_state`.
            obj_id: The object.
            start_frame_idx: Where the run starts, a slice with prompts as a rule; what lies behind it does not lead.
            frames: Slices in the order of the run; those with prompts are yielded as they are.
            reverse: Whether the run goes towards slice 0.

        Yields:
            frame_idx, mask bool (H,W), score 0...1.

        Raises:
            KeyError: No such object.
            RuntimeError: It has no prompts.
        """
        obj_id = as_number(obj_id)
        check_prompts(obj_id, track_of(inference_state, obj_id))
        run = PropagationRun(check_frame(inference_state, start_frame_idx), reverse)
        order = [check_frame(inference_state, frame_idx) for frame_idx in frames]
        with FeaturePrefetcher(self._slice_predictor, inference_state["cached_features"]) as prefetcher:
            for frame_idx, following in zip(order, [*order[1:], None]):
                result = self._segment_or_keep(inference_state, obj_id, frame_idx, following, run, prefetcher).result
                yield frame_idx, result.mask.full(slice_shape(inference_state)), result.score

    def propose_object(self, inference_state: State) -> Proposal | None:
        """Where the structure of the network's task is, without any prompt; None where nothing looks like it.

        Raises:
            UserError: The network has learnt no task.
        """
        proposal = None
        for step in self.search_object(inference_state):
            proposal = step.proposal
        return proposal

    def search_object(self, inference_state: State) -> Iterator[SearchedSlice]:
        """The same, a slice at a time; the last step holds the proposal."""
        task = self._slice_predictor.model.task
        if task is None:
            raise UserError("The network has learnt no structure that it could search; load a task, or give a prompt.")
        return search(self._slice_predictor, volume_of(inference_state), task.size_mm)

    def slice_mask(self, inference_state: State, obj_id: Hashable, frame_idx: int) -> np.ndarray | None:
        """An object's mask bool (H,W) on a slice, None if it was not segmented there."""
        result = _result(inference_state, obj_id, frame_idx)
        return None if result is None else result.mask.full(slice_shape(inference_state))

    def slice_score(self, inference_state: State, obj_id: Hashable, frame_idx: int) -> float | None:
        """How sure the mask of a slice is: predicted IoU times the probability that the object is there, 0...1."""
        result = _result(inference_state, obj_id, frame_idx)
        return None if result is None else result.score

    def slice_logits(self, inference_state: State, obj_id: Hashable, frame_idx: int) -> np.ndarray | None:
        """Logits (H,W) float32 of an object's mask on a slice, None where the network has made none."""
        result = _result(inference_state, obj_id, frame_idx)
        if result is None or result.certainty is None:
            return None
        logits: np.ndarray = result.certainty.placed().on_slice(slice_shape(inference_state))
        return logits

    def slice_features(self, inference_state: State, frame_idx: int) -> SliceFeatures:
        """What the encoder sees of a whole slice, for comparing places; see `similarity`."""
        image = slice_image(inference_state, frame_idx)
        predictor = self._slice_predictor
        viewport = viewport_choice.viewport_of_slice(image.shape, image.spacing, predictor.heuristics)
        (features,) = predictor.encode(image, [viewport], inference_state["cached_features"])
        known = predictor.arrays.to_numpy(features.embedding, features.stride8, features.stride4)
        cells = join_features([np.asarray(part)[0] for part in known])
        return SliceFeatures(cells, *viewport.cell_middles(cells.shape[1:]))

    def snapshot_object(self, inference_state: State, obj_id: Hashable) -> ObjectSnapshot | None:
        """All that is known of an object, for `restore_object`; None if there is no such object."""
        track = inference_state["tracks"].get(obj_id)
        return None if track is None else track.snapshot()

    def restore_object(self, inference_state: State, obj_id: Hashable, snapshot: ObjectSnapshot | None) -> None:
        """Bring an object back to a snapshot; None removes it."""
        if snapshot is None:
            self.remove_object(inference_state, obj_id, need_output=False)
        else:
            register(inference_state, obj_id, ObjectTrack(snapshot))

    def prefetch(self, inference_state: State, frame_idx: int, obj_id: Hashable | None = None) -> None:
        """Encode a slice before it is asked for, in the viewport it will probably be seen in; from any thread.

        Args:
            inference_state: From `init_state`.
            frame_idx: The slice.
            obj_id: The object whose mask on the nearest slice says where; None: the whole slice.
        """
        image = slice_image(inference_state, frame_idx)
        track = inference_state["tracks"].get(as_number(obj_id))
        viewport = self._propagator.expected_viewport(track, frame_idx, image) if track is not None else None
        viewport = viewport or viewport_choice.viewport_of_slice(
            image.shape, image.spacing, self._slice_predictor.heuristics
        )
        self._slice_predictor.encode(image, [viewport], inference_state["cached_features"])

    def _prefetch_next(
        self, prefetcher: FeaturePrefetcher, state: State, obj_id: Hashable, frame_idx: int, following: int | None
    ) -> None:
        """Start to encode the slice after this one, in this one's viewport: few slices change it."""
        track = state["tracks"][obj_id]
        if prefetcher.is_enabled and following is not None and following not in track.prompts:
            viewport = self._propagator.expected_viewport(track, frame_idx, slice_image(state, frame_idx))
            prefetcher.schedule_next(slice_image(state, following), viewport)

    def _segment_or_keep(
        self,
        state: State,
        obj_id: Hashable,
        frame_idx: int,
        following: int | None,
        run: PropagationRun,
        prefetcher: FeaturePrefetcher,
    ) -> SliceOutcome:
        """One slice of a run: a slice with prompts stays as it is."""
        prefetcher.wait()
        track = track_of(state, obj_id)
        self._prefetch_next(prefetcher, state, obj_id, frame_idx, following)
        if frame_idx in track.prompts:
            return SliceOutcome(track.results[frame_idx])
        check_prompts(obj_id, track)
        return self._propagator.segment_next_slice(track, frame_idx, run, volume_of(state))


def _result(state: State, obj_id: Hashable, frame_idx: int) -> SliceResult | None:
    track = state["tracks"].get(as_number(obj_id))
    return None if track is None else track.results.get(as_number(frame_idx))


__all__ = ["SessionCalls"]
