"""The volume predictor: SAM2VideoPredictor's methods and meanings for slices of a volume, and a few more."""

from __future__ import annotations

import os
from collections.abc import Generator, Hashable
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors.inputs import as_box, as_clicks, as_mask, as_number, to_numpy
from EfficientMedSAM2Lib.predictors.network_methods import NetworkMethods
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import resize
from EfficientMedSAM2Lib.predictors.volume.frames import PropagationRun
from EfficientMedSAM2Lib.predictors.volume.prefetcher import FeaturePrefetcher
from EfficientMedSAM2Lib.predictors.volume.propagator import Propagator
from EfficientMedSAM2Lib.predictors.volume.session_calls import SessionCalls
from EfficientMedSAM2Lib.predictors.volume.state import (
    State,
    check_frame,
    check_prompts,
    open_state,
    register,
    renumber,
    slice_shape,
    video_logits,
    volume_of,
    without_overlap,
)
from EfficientMedSAM2Lib.predictors.volume.track import ObjectTrack, SliceOutcome, combine_prompts
from EfficientMedSAM2Lib.runtimes.network import Network

CACHE_BYTES = 32 * 2**20
"""Features kept at most per volume: about fifty viewports in half precision, which any propagation fills."""
Triple = tuple[int, list, Any]
"""Slice, objects, and logits: a torch tensor, or a numpy array where the network runs without torch."""


class EfficientMedSAM2VolumePredictor(NetworkMethods, SessionCalls):
    """Segments objects in a volume slice by slice, from prompts on any slices.

    Objects are independent of each other. Slices with prompts are conditioning slices: they stay as the user made them,
    and lead the others. All that is known of a volume is in the state (a dict) that `init_state` returns.

    Args:
        model: The network, from `build_efficient_medsam2_model`.
        feature_cache_bytes: Features of slices kept at most, per state.
        fill_hole_area: Holes up to this many pixels are filled; 0 leaves all.
        non_overlap_masks: Of objects that overlap on a slice, the returned logits leave each pixel to the surest one.
        memory_range_mm: Distance up to which slices without prompts are remembered; by default as the weights say.
        **kwargs: Ignored, for scripts written for SAM2.

    Example:
        >>> predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model())
        >>> state = predictor.init_state(volume, spacing=(5.0, 0.8, 0.8), modality="CT")
        >>> predictor.add_new_points_or_box(state, frame_idx=30, obj_id=1, box=[100, 120, 180, 200])
        >>> for frame_idx, obj_ids, logits in predictor.propagate_in_video(state):
        ...     masks = logits > 0
    """

    def __init__(
        self,
        model: Network,
        feature_cache_bytes: int = CACHE_BYTES,
        fill_hole_area: float = 0,
        non_overlap_masks: bool = False,
        memory_range_mm: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.feature_cache_bytes = feature_cache_bytes
        self.non_overlap_masks = non_overlap_masks
        self._slice_predictor = SlicePredictor(model)
        self._propagator = Propagator(self._slice_predictor, fill_hole_area, memory_range_mm)

    @property
    def fill_hole_area(self) -> float:
        """Holes up to this many pixels are filled; 0 leaves all."""
        return self._propagator.max_hole_area

    @fill_hole_area.setter
    def fill_hole_area(self, pixels: float) -> None:
        self._propagator.max_hole_area = pixels

    def init_state(
        self,
        volume: Any = None,
        spacing: Any = None,
        modality: Any = None,
        axis: int = 0,
        window: Any = None,
        *,
        images: Any = None,
        video_path: str | os.PathLike[str] | None = None,
        video_height: int | None = None,
        video_width: int | None = None,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,  # noqa: ARG002
    ) -> State:
        """Open a volume. Nothing is encoded, converted or copied yet.

        Args:
            volume: Array (D,H,W) or (D,H,W,3) of any real type. Also MedSAM2's form, a tensor [D,3,S,S] of prepared
                slices followed by video_height and video_width; or SAM2's, the path of a folder of JPEG frames or of
                a video file (with the package decord).
            spacing: mm along k, j and i; by default 1.
            modality: DICOM modality such as "CT", if known; helps to choose the window.
            axis: Slices are `volume.take(frame_idx, axis)`.
            window: Intensities to show the network: (low, high), `IntensityWindow` or a preset such as "lung"; by
                default chosen from modality and volume.
            images: MedSAM2's name of `volume`.
            video_path: SAM2's name of `volume`.
            video_height: Rows of the slices before they were made square.
            video_width: Columns of the slices before they were made square.
            offload_video_to_cpu: Accepted for SAM2's sake; slices always stay on the CPU.
            offload_state_to_cpu: Accepted for SAM2's sake; masks always stay on the CPU.
            async_loading_frames: Accepted for SAM2's sake; slices are always read when needed.

        Returns:
            The state.

        Raises:
            UserError: Not a volume, or spacing, axis or window make no sense.
        """
        source = next((given for given in (volume, images, video_path) if given is not None), None)
        cache = FeatureCache(self.feature_cache_bytes)
        state = open_state(source, spacing, modality, axis, window, video_height, video_width, cache, self.device)
        state["offload_video_to_cpu"] |= offload_video_to_cpu
        state["offload_state_to_cpu"] |= offload_state_to_cpu
        return state

    def add_new_points_or_box(
        self,
        inference_state: State,
        frame_idx: int,
        obj_id: Hashable,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
        *,
        need_output: bool = True,
    ) -> Triple:
        """Prompt an object on a slice; a new obj_id makes a new object, at any time.

        On a slice that has a mask already, clicks correct that mask; a new box starts anew.

        Args:
            inference_state: From `init_state`.
            frame_idx: The slice.
            obj_id: The object's name.
            points: (N,2) clicks (x, y).
            labels: (N,) 1 inside, 0 outside.
            clear_old_points: Forget earlier clicks and box of this slice; else add to them.
            normalize_coords: Coordinates are in pixels; False: in 0...1 of the slice's size, as in SAM2.
            box: (4,) XYXY.
            need_output: Whether the logits are wanted; else there is None in their place.

        Returns:
            frame_idx, all object ids, and mask logits (N,1,H,W) float32 of all objects on this slice.

        Raises:
            UserError: Prompts of the wrong shape, not numbers, or no such slice.
        """
        if points is None and labels is None and box is None:
            raise UserError("at least one of points or box must be provided as input")
        if box is not None and not clear_old_points:
            raise UserError(
                "a box replaces what was given before: call with clear_old_points=True, and click afterwards"
            )
        frame_idx, obj_id = check_frame(inference_state, frame_idx), as_number(obj_id)
        shape = slice_shape(inference_state)
        clicks = as_clicks(points, labels, shape, normalize_coords)
        track = inference_state["tracks"].get(obj_id) or ObjectTrack()
        given, is_fresh = combine_prompts(
            track, frame_idx, clicks, as_box(box, shape, normalize_coords), clear_old_points
        )
        outcome = self._propagator.segment_prompted_slice(track, frame_idx, given, is_fresh, volume_of(inference_state))
        register(inference_state, obj_id, track)
        return self._answer(inference_state, frame_idx, {obj_id: outcome}, need_output)

    def add_new_points(self, *args: Any, **kwargs: Any) -> Triple:
        """SAM2's older name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: State, frame_idx: int, obj_id: Hashable, mask: Any, *, need_output: bool = True
    ) -> Triple:
        """Give an object's mask on a slice: it is the result there, and leads the other slices.

        Args:
            inference_state: From `init_state`.
            frame_idx: The slice.
            obj_id: The object's name.
            mask: (H,W), inside where it is not 0, or above 0.5 of probabilities; of another size it is resized to the
                slice, as in SAM2.
            need_output: Whether the logits are wanted; else there is None in their place.

        Returns:
            As `add_new_points_or_box`.

        Raises:
            UserError: The mask has no two axes or is none (see `as_mask`), or there is no such slice.
        """
        frame_idx, obj_id = check_frame(inference_state, frame_idx), as_number(obj_id)
        shape = slice_shape(inference_state)
        array = to_numpy(mask)
        if array.ndim != 2 or array.size == 0:
            raise UserError(f"A mask must be (H,W), not of shape {array.shape}.")
        track = inference_state["tracks"].get(obj_id) or ObjectTrack()
        # As in SAM2 every label is inside; that several are given can be a slip only in a session, which refuses them.
        mask_bool = array != 0 if array.dtype.kind in "ui" else as_mask(array)
        if mask_bool.shape != shape:
            mask_bool = resize(mask_bool[None].astype(np.float32), shape)[0] >= 0.5
        outcome = self._propagator.accept_mask(track, frame_idx, mask_bool, volume_of(inference_state))
        register(inference_state, obj_id, track)
        return self._answer(inference_state, frame_idx, {obj_id: outcome}, need_output)

    def propagate_in_video_preflight(self, inference_state: State) -> None:
        """Check that every object has prompts.

        Raises:
            RuntimeError: There is no object, or one without prompts.
        """
        if not inference_state["tracks"]:
            raise RuntimeError("No input points or masks are provided for any object; please add inputs first.")
        for obj_id, track in inference_state["tracks"].items():
            check_prompts(obj_id, track)

    def propagate_in_video(
        self,
        inference_state: State,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Generator[Triple, None, None]:
        """Propagate all objects through the volume; one slice is segmented for each step of the generator.

        Args:
            inference_state: From `init_state`.
            start_frame_idx: First slice; by default the first one with prompts.
            max_frame_num_to_track: Slices after the first at most; by default all.
            reverse: Go towards slice 0.

        Yields:
            frame_idx, all object ids, and mask logits (N,1,H,W) float32.

        Raises:
            RuntimeError: There is nothing to propagate.
        """
        self.propagate_in_video_preflight(inference_state)
        obj_ids = list(inference_state["obj_ids"])
        count = inference_state["num_frames"]
        if start_frame_idx is None:
            start_frame_idx = min(f for track in inference_state["tracks"].values() for f in track.prompts)
        start_frame_idx = check_frame(inference_state, start_frame_idx)
        span = count if max_frame_num_to_track is None else int(max_frame_num_to_track)
        if reverse:
            # As in SAM2 there is nothing before slice 0, not even itself.
            frames = range(start_frame_idx, max(start_frame_idx - span, 0) - 1, -1) if start_frame_idx > 0 else range(0)
        else:
            frames = range(start_frame_idx, min(start_frame_idx + span, count - 1) + 1)
        run = PropagationRun(start_frame_idx, reverse)
        with FeaturePrefetcher(self._slice_predictor, inference_state["cached_features"]) as prefetcher:
            for frame_idx, following in zip(frames, [*frames[1:], None]):
                outcomes = {}
                for obj_id in obj_ids:
                    if obj_id in inference_state["tracks"]:
                        outcomes[obj_id] = self._segment_or_keep(
                            inference_state, obj_id, frame_idx, following, run, prefetcher
                        )
                yield self._answer(inference_state, frame_idx, outcomes)

    def clear_all_prompts_in_frame(
        self, inference_state: State, frame_idx: int, obj_id: Hashable, need_output: bool = True
    ) -> Triple | None:
        """Take an object's prompts on a slice back. A mask that they had corrected stays, as an ordinary one.

        Returns:
            As `add_new_points_or_box`; None if need_output is False.
        """
        frame_idx, obj_id = check_frame(inference_state, frame_idx), as_number(obj_id)
        track = inference_state["tracks"].get(obj_id) or ObjectTrack()
        before = track.prompts.pop(frame_idx, None)
        if before is not None and not before.refines:
            track.results.pop(frame_idx, None)
            track.memories.pop(frame_idx, None)
        register(inference_state, obj_id, track)
        if not need_output:
            return None
        return self._answer(inference_state, frame_idx, {})

    def reset_state(self, inference_state: State) -> None:
        """Forget all objects. Features of slices stay, for they do not depend on objects."""
        inference_state["tracks"].clear()
        renumber(inference_state)

    def remove_object(
        self, inference_state: State, obj_id: Hashable, strict: bool = False, need_output: bool = True
    ) -> tuple[list, list[tuple[int, Any]]]:
        """Forget an object.

        Args:
            inference_state: From `init_state`.
            obj_id: The object.
            strict: Whether it is an error if there is no such object.
            need_output: Whether the logits of the slices that it had prompts on are wanted.

        Returns:
            The ids that are left, and a list of (frame_idx, logits (N,1,H,W)).

        Raises:
            RuntimeError: There is no such object, and strict is True.
        """
        obj_id = as_number(obj_id)
        track = inference_state["tracks"].pop(obj_id, None)
        if track is None:
            if strict:
                raise RuntimeError(
                    f"Cannot remove object id {obj_id} as it doesn't exist; there are {inference_state['obj_ids']}."
                )
            return list(inference_state["obj_ids"]), []
        renumber(inference_state)
        ids = list(inference_state["obj_ids"])
        frames = sorted(track.prompts) if need_output and ids else []
        return ids, [(frame_idx, self._answer(inference_state, frame_idx, {})[2]) for frame_idx in frames]

    def _apply_non_overlapping_constraints(self, pred_masks: Any) -> Any:
        """Logits (N,1,H,W) of N objects that leave each pixel to the surest one; an array or a tensor, as given."""
        logits = without_overlap(to_numpy(pred_masks))
        # Back to where the caller's tensor is, without torch's name in this file.
        return pred_masks.new_tensor(logits) if hasattr(pred_masks, "new_tensor") else logits

    def _answer(
        self, state: State, frame_idx: int, outcomes: dict[Hashable, SliceOutcome], need_output: bool = True
    ) -> Triple:
        obj_ids = list(state["obj_ids"])
        if not need_output:
            return frame_idx, obj_ids, None
        logits = video_logits(state, frame_idx, outcomes, self.fill_hole_area > 0, self.non_overlap_masks)
        return frame_idx, obj_ids, self._slice_predictor.arrays.as_tensor(logits)
