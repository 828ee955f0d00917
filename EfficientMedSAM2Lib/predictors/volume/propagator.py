"""Propagation from slice to slice: which neighbour leads, which memories count, which viewport shows the object."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.models.bundles import MemoryBank
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask
from EfficientMedSAM2Lib.predictors.slices.second_pass import with_memoryless_mask
from EfficientMedSAM2Lib.predictors.slices.slice_data import (
    MASK_LOGIT,
    SINGLE_MASK,
    PackedLogits,
    PlacedLogits,
    SliceImage,
    SlicePrediction,
    SlicePrompts,
)
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.volume.context import ContextPrior, predict_context
from EfficientMedSAM2Lib.predictors.volume.frames import PropagationRun, VolumeContext
from EfficientMedSAM2Lib.predictors.volume.orthogonal_prior import OrthogonalPrior, segment_orthogonal_slices
from EfficientMedSAM2Lib.predictors.volume.track import (
    FramePrompts,
    ObjectTrack,
    SliceMemory,
    SliceOutcome,
    SliceResult,
)

ABSENT_LOGIT = -10.0
"""Memory of a slice without the object, as in training."""
_NO_POINTS = np.zeros((0, 2))


class Propagator:
    """Segments slices of one object with what is known of its other slices. Holds no state.

    Args:
        predictor: Asks the network.
        max_hole_area: Holes up to this many pixels are filled.
        memory_range_mm: Distance up to which memories count; None: as the network's heuristics say.
    """

    def __init__(
        self, predictor: SlicePredictor, max_hole_area: float = 0.0, memory_range_mm: float | None = None
    ) -> None:
        self.predictor = predictor
        self.max_hole_area = max_hole_area
        self.memory_range_mm = memory_range_mm
        self.max_memories = predictor.model.config.max_memories

    @property
    def heuristics(self) -> HeuristicsConfig:
        """Rules and numbers that come with the network's weights."""
        return self.predictor.heuristics

    def segment_next_slice(
        self, track: ObjectTrack, frame_idx: int, run: PropagationRun, volume: VolumeContext
    ) -> SliceOutcome:
        """Segment a slice without prompts, and remember it.

        Args:
            track: The object; result and memory are added.
            frame_idx: The slice.
            run: The run that this belongs to.
            volume: The volume.
        """
        image = volume.image(frame_idx)
        leading = track.leading_slices(frame_idx, run.start, run.reverse)
        neighbour = track.results[leading[0]].as_propagated()
        viewport = self._viewport_after(neighbour, image)
        prompts = SlicePrompts(appearance=track.appearance(leading))
        if self.heuristics.neighbour_mask:
            away = (frame_idx - leading[0]) * volume.slice_mm
            if self.heuristics.neighbour_distance:
                # Given the true distance, the network copied the mask, and errors grew from slice to slice.
                least = self.heuristics.neighbour_distance_radii * neighbour.radius_mm(volume.slice_spacing)
                least = min(least, self.heuristics.neighbour_distance_mm)
                away = float(np.copysign(max(abs(away), least), away))
            mask = self._context_mask(track, frame_idx, volume, viewport) or neighbour.from_bits()
            prompts = dataclasses.replace(prompts, neighbour=mask, neighbour_mm=away)
        prediction, choice = self.predictor.predict(
            image, prompts, volume.cache, viewport, lambda v: self.bank(track, frame_idx, leading, v, volume.slice_mm)
        )
        prior, presence = self._extent(track, frame_idx, volume, prediction.viewport)
        if prior is not None:
            logits = prediction.logits.copy()
            logits[choice] += prior
            prediction = dataclasses.replace(prediction, logits=logits)
        prediction = self._with_object_logit(prediction, prediction.object_logit + presence)
        result = self._result(prediction, choice, prediction.object_logit > 0, image, keep_logits=False)
        if self.heuristics.distance_uncertainty:
            uncertainty = self._radii_from_prompts(track, frame_idx, volume, self.heuristics.distance_uncertainty_limit)
            result = dataclasses.replace(result, score=prediction.score(choice, uncertainty))
        track.memories[frame_idx] = self._memory(prediction, choice, result)
        if prediction.memoryless is not None and not result.mask.is_empty:
            prediction = with_memoryless_mask(prediction, choice, self.heuristics.memoryless_pass_overlap)
            shown = self._result(prediction, choice, True, image, keep_logits=False)
            result = dataclasses.replace(shown, score=result.score, propagated=result.mask)
        track.results[frame_idx] = result
        track.forget_memories(frame_idx, self.max_memories)
        return SliceOutcome(result, prediction, choice)

    def segment_prompted_slice(
        self, track: ObjectTrack, frame_idx: int, given: FramePrompts, fresh: bool, volume: VolumeContext
    ) -> SliceOutcome:
        """Segment a slice with prompts, which makes it a conditioning slice, and remember it.

        Args:
            track: The object; prompts, result and memory are added.
            frame_idx: The slice.
            given: All prompts that now hold on it.
            fresh: Whether the slice's earlier mask is to be left out, as for a new box.
            volume: The volume.
        """
        image, slice_mm = volume.image(frame_idx), volume.slice_mm
        before = track.results.get(frame_idx)
        earlier = before.placed() if before is not None and not fresh else None
        prompts = SlicePrompts(given.points, given.labels, given.box, earlier, given.is_mask or given.refines)
        leading: list[int] = []
        if given.box is None:
            around = track.leading_slices(frame_idx, None, False)
            near = around and abs(around[0] - frame_idx) * slice_mm <= self.heuristics.click_context_mm
            if around and (given.refines or (self.heuristics.click_context and near)):
                leading = around
                prompts = dataclasses.replace(
                    prompts,
                    neighbour=track.results[around[0]].from_bits(),
                    neighbour_mm=(frame_idx - around[0]) * slice_mm,
                )
        viewport = None
        if earlier is not None and given.box is None and before is not None and before.mask.box_xyxy is not None:
            # The features at hand will do while the mask sits well in their viewport.
            kept = viewport_choice.keeps_viewport(before.viewport, before.mask.box_xyxy, image.shape, self.heuristics)
            viewport = before.viewport if kept and viewport_choice.shows(before.viewport, given.points) else None
        prediction, choice = self.predictor.predict(
            image,
            prompts,
            volume.cache,
            viewport,
            bank_for=(lambda v: self.bank(track, frame_idx, leading, v, slice_mm)) if leading else None,
            choices=self.predictor.single_mask_choices(prompts),
        )
        present = prompts.asserts_presence or prediction.object_logit > 0
        result = self._result(prediction, choice, present, image, True, given.points, given.labels)
        track.prompts[frame_idx] = given
        track.results[frame_idx] = result
        memory = self._memory(prediction, choice, result)
        appearance = self.predictor.appearance(image, prediction.viewport, prediction.logits[choice], volume.cache)
        track.memories[frame_idx] = dataclasses.replace(memory, appearance=appearance)
        return SliceOutcome(result, prediction, choice)

    def accept_mask(self, track: ObjectTrack, frame_idx: int, mask: np.ndarray, volume: VolumeContext) -> SliceOutcome:
        """Take a mask bool (H,W) as it is, which makes the slice a conditioning slice, and remember it."""
        image, packed = volume.image(frame_idx), PackedMask.pack(mask)
        before = track.results.get(frame_idx)
        if packed.box_xyxy is not None:
            viewport = viewport_choice.viewport_for_mask(
                packed.box_xyxy, _NO_POINTS, image.shape, image.spacing, self.heuristics
            )
            placed = PlacedLogits.from_packed(packed)
        else:
            near = track.leading_slices(frame_idx, None, False)
            known = before or (track.results[near[0]] if near else None)
            viewport = (
                known.viewport
                if known
                else viewport_choice.viewport_of_slice(image.shape, image.spacing, self.heuristics)
            )
            placed = PlacedLogits.from_mask(np.zeros((1, 1), bool), (viewport.x0, viewport.y0))
        prediction, _ = self.predictor.predict(image, SlicePrompts(earlier=placed), volume.cache, viewport)
        # Believed, whatever the network thinks of it: only its pointer is taken from the network.
        logits = placed.seen_in(viewport, self.predictor.low_res)
        prediction = self._with_object_logit(prediction, ABSENT_LOGIT if packed.is_empty else MASK_LOGIT)
        track.prompts[frame_idx] = FramePrompts(
            _NO_POINTS, np.zeros(0, np.int64), None, True, track.was_propagated(frame_idx)
        )
        result = SliceResult(packed, 1.0, viewport)
        track.results[frame_idx] = result
        memory, pointer = self.predictor.memorise(prediction, SINGLE_MASK, logits)
        appearance = self.predictor.appearance(image, viewport, logits, volume.cache)
        track.memories[frame_idx] = SliceMemory(memory, pointer, viewport, appearance)
        return SliceOutcome(result)

    def expected_viewport(self, track: ObjectTrack, frame_idx: int, image: SliceImage) -> Viewport | None:
        """Where a slice will be seen, as far as the nearest known slice says; None when nothing is known."""
        if frame_idx in track.results:
            return track.results[frame_idx].viewport
        near = track.leading_slices(frame_idx, None, False)
        return self._viewport_after(track.results[near[0]].as_propagated(), image) if near else None

    def _viewport_after(self, neighbour: SliceResult, image: SliceImage) -> Viewport:
        box = neighbour.mask.box_xyxy
        if box is None or viewport_choice.keeps_viewport(neighbour.viewport, box, image.shape, self.heuristics):
            return neighbour.viewport
        return viewport_choice.viewport_for_mask(box, _NO_POINTS, image.shape, image.spacing, self.heuristics)

    def _extent(
        self, track: ObjectTrack, frame_idx: int, volume: VolumeContext, viewport: Viewport
    ) -> tuple[np.ndarray | None, float]:
        """What the volume around says of a slice without prompts: by the context network, else by orthogonal slices.

        Returns:
            Logits (h,w) in a viewport, to be added to those of the mask, or None; and what is added to the object
            logit.
        """
        heuristics, size = self.heuristics, self.predictor.low_res
        threshold = self._presence_threshold(track, frame_idx, volume)
        context = self._context(track, volume)
        if context is None:
            orthogonal = self._orthogonal_prior(track, frame_idx, volume)
            return (None if orthogonal is None else orthogonal.prior(frame_idx, viewport, size, heuristics)), -threshold
        prior = context.prior(frame_idx, viewport, size, heuristics.context_logit)
        # Between two slices on which the user showed the object it is there.
        if not heuristics.context_presence or track.leading_prompt(frame_idx) is None:
            return prior, -threshold
        return prior, context.presence(frame_idx, heuristics.context_presence_logit)

    def _presence_threshold(self, track: ObjectTrack, frame_idx: int, volume: VolumeContext) -> float:
        """What the object logit has to exceed; 0 behind a given mask, which may be of the object's smallest slice."""
        leading = track.leading_prompt(frame_idx)
        shown = leading is not None and track.prompts[leading].is_mask and not track.results[leading].mask.is_empty
        limit = 0.0 if shown or not self.heuristics.presence_threshold else self.heuristics.presence_threshold_limit
        return self._radii_from_prompts(track, frame_idx, volume, limit)

    def _context_mask(
        self, track: ObjectTrack, frame_idx: int, volume: VolumeContext, viewport: Viewport
    ) -> PlacedLogits | None:
        """What the context network finds on a slice, as a prompt in place of the neighbouring slice's mask."""
        context = self._context(track, volume)
        if context is None or not self.heuristics.context_prompt:
            return None
        logits = context.prior(frame_idx, viewport, self.predictor.low_res, MASK_LOGIT)
        return PlacedLogits(logits, viewport) if (logits > 0).any() else None

    def _context(self, track: ObjectTrack, volume: VolumeContext) -> ContextPrior | None:
        """What the context network says of an object; asked once for the masks on conditioning slices."""
        if self.predictor.model.config.context is None or not self.heuristics.context or volume.frames.volume is None:
            return None
        known = track.known_masks()
        if track.context is None or track.context[0] != known:
            track.context = known, predict_context(self.predictor, volume, known)
        return track.context[1]

    def _radii_from_prompts(self, track: ObjectTrack, frame_idx: int, volume: VolumeContext, limit: float) -> float:
        """How far a slice is from the prompted one that leads it, in radii of the object there, up to a limit.

        Most objects are about as deep as they are wide, so the further away from prompts, the less sure it is that the
        object is still there. Between two slices on which the user showed it, it is: 0.
        """
        nearest = track.leading_prompt(frame_idx)
        if nearest is None:
            return 0.0
        distance_mm = abs(nearest - frame_idx) * volume.slice_mm
        radius_mm = track.results[nearest].radius_mm(volume.slice_spacing)
        return limit if distance_mm >= limit * radius_mm else distance_mm / radius_mm

    def _orthogonal_prior(self, track: ObjectTrack, frame_idx: int, volume: VolumeContext) -> OrthogonalPrior | None:
        """What orthogonal slices through the mask on the leading slice say; segmented once for each mask."""
        leading = track.leading_prompt(frame_idx)
        if leading is None or not self.heuristics.orthogonal_prior:
            return None
        mask = track.results[leading].mask
        known = track.orthogonal_priors.get(leading)
        if known is None or known[0] != mask:
            known = mask, segment_orthogonal_slices(self.predictor, volume, mask, leading)
            track.orthogonal_priors[leading] = known
        return known[1]

    def _with_object_logit(self, prediction: SlicePrediction, object_logit: float) -> SlicePrediction:
        """The same prediction with another belief in the object's presence."""
        array = self.predictor.arrays.to_device(np.full((1, 1), object_logit, np.float32))
        return dataclasses.replace(
            prediction, decoded=prediction.decoded._replace(object_logit=array), object_logit=object_logit
        )

    def bank(
        self, track: ObjectTrack, frame_idx: int, leading: list[int], viewport: Viewport, slice_mm: float
    ) -> MemoryBank | None:
        """Memories of leading slices (nearest first), as seen in a viewport; None when there are none."""
        known = [f for f in leading if f in track.memories]
        conditioning = [f for f in known if f in track.prompts][: self.heuristics.memory_conditioning]
        reach = self._memory_range_mm() / slice_mm
        others = [f for f in known if f not in track.prompts and abs(f - frame_idx) <= reach]
        counted = {*conditioning, *others[: self.max_memories - len(conditioning)]}
        chosen = [f for f in known if f in counted]
        if not chosen:
            return None
        arrays = self.predictor.arrays
        memories = [track.memories[f] for f in chosen]
        maps = [arrays.resample_map(arrays.to_device(memory.map), memory.viewport, viewport) for memory in memories]
        pointers = [arrays.to_device(memory.pointer) for memory in memories]
        return MemoryBank(
            maps=arrays.stack(maps)[None],
            pointers=arrays.stack(pointers)[None],
            distance_mm=arrays.to_device(np.array([[(f - frame_idx) * slice_mm for f in chosen]], np.float32)),
            conditioning=arrays.to_device(np.array([[f in track.prompts for f in chosen]], np.float32)),
        )

    def _memory_range_mm(self) -> float:
        if self.memory_range_mm is not None:
            return self.memory_range_mm
        return self.heuristics.memory_range_mm if self.heuristics.memory_range else math.inf

    def _result(
        self,
        prediction: SlicePrediction,
        choice: int,
        present: bool,
        image: SliceImage,
        keep_logits: bool,
        points: np.ndarray = _NO_POINTS,
        labels: np.ndarray = _NO_POINTS[:, 0],
    ) -> SliceResult:
        packed = PackedMask.empty(2)
        if present:
            part, rectangle = prediction.mask_part(choice, image.shape)
            if self.max_hole_area > 0:
                outside = points[labels == 0] - (rectangle.x0, rectangle.y0)
                part = clean_mask(part, self.max_hole_area, 0, outside_xy=outside)
            packed = PackedMask.pack(part, (rectangle.y0, rectangle.x0))
        logits = prediction.logits[choice].astype(np.float16) if keep_logits and not packed.is_empty else None
        certainty = None if packed.is_empty else PackedLogits.pack(prediction.logits[choice], prediction.viewport)
        return SliceResult(packed, prediction.score(choice), prediction.viewport, logits, certainty)

    def _memory(self, prediction: SlicePrediction, choice: int, result: SliceResult) -> SliceMemory:
        logits = prediction.logits[choice]
        if result.mask.is_empty:
            logits = np.full_like(logits, ABSENT_LOGIT)
        memory, pointer = self.predictor.memorise(prediction, choice, logits)
        return SliceMemory(memory, pointer, prediction.viewport)
