"""Following an object from slice to slice: which neighbour leads, which memories count, where to look."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.models.config import MemoryBank
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import zoom
from EfficientMedSAM2Lib.predictors.fov import FieldOfView
from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import (
    MASK_LOGIT,
    SINGLE_MASK,
    PlacedLogits,
    SliceImage,
    SlicePrediction,
    SlicePrompts,
)
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import Meanwhile, SlicePredictor
from EfficientMedSAM2Lib.predictors.volume.context import ContextPrior, look_around
from EfficientMedSAM2Lib.predictors.volume.frames import Frames
from EfficientMedSAM2Lib.predictors.volume.orthogonal_prior import Sides, look_from_sides
from EfficientMedSAM2Lib.predictors.volume.track import FramePrompts, ObjectTrack, SliceMemory, SliceResult

ABSENT_LOGIT = -10.0
"""Memory of a slice without the object, as in training."""


class Pass(NamedTuple):
    """One run over slices.

    Attributes:
        start: Its first slice; None when a single slice is looked at from all sides.
        reverse: Whether it runs towards slice 0.
    """

    start: int | None
    reverse: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A slice's result, and where at hand the whole prediction with the chosen mask."""

    result: SliceResult
    prediction: SlicePrediction | None = None
    choice: int = SINGLE_MASK


class Follower:
    """Segments slices of one object with what is known of its other slices. Holds no state.

    Args:
        slices: The core that asks the network.
        max_hole_area: Holes up to this many pixels are filled.
        memory_range_mm: Distance up to which memories count; None: as the network's heuristics say.
    """

    def __init__(
        self, slices: SlicePredictor, max_hole_area: float = 0.0, memory_range_mm: float | None = None
    ) -> None:
        self.slices = slices
        self.max_hole_area = max_hole_area
        self.memory_range_mm = memory_range_mm
        self.max_memories = slices.model.config.max_memories

    @property
    def heuristics(self) -> HeuristicsConfig:
        """Rules and numbers that come with the network's weights."""
        return self.slices.heuristics

    def propagate(
        self,
        track: ObjectTrack,
        frame_idx: int,
        run: Pass,
        frames: Frames,
        image: SliceImage,
        slice_mm: float,
        cache: FeatureCache,
        meanwhile: Meanwhile | None = None,
    ) -> Outcome:
        """Segment a slice without prompts, and remember it.

        Args:
            track: The object; result and memory are added.
            frame_idx: The slice.
            run: The pass that this belongs to.
            frames: The volume.
            image: The slice.
            slice_mm: Distance between slices.
            cache: Feature cache.
            meanwhile: As for `SlicePredictor.predict`.
        """
        trusted = track.trusted(frame_idx, run.start, run.reverse)
        neighbour = track.results[trusted[0]]
        view = self._view_after(neighbour, image)
        prompts = SlicePrompts(appearance=self._appearance(track, trusted))
        if self.heuristics.neighbour_mask:
            away = (frame_idx - trusted[0]) * slice_mm
            if self.heuristics.neighbour_distance:
                # Told the true distance, the network copied the mask, and errors grew from slice to slice.
                away = float(np.copysign(max(abs(away), self.heuristics.neighbour_distance_mm), away))
            mask = self._context_mask(track, frame_idx, frames, image, slice_mm, view) or neighbour.from_bits()
            prompts = dataclasses.replace(prompts, neighbour=mask, neighbour_mm=away)
        prediction, choice = self.slices.predict(
            image,
            prompts,
            cache,
            view,
            lambda v: self.bank(track, frame_idx, trusted, v, slice_mm),
            meanwhile=meanwhile,
        )
        prior, presence = self._extent(track, frame_idx, frames, image, slice_mm, prediction.view)
        if prior is not None:
            logits = prediction.logits.copy()
            logits[choice] += prior
            prediction = dataclasses.replace(prediction, logits=logits)
        prediction = self._with_object_logit(prediction, prediction.object_logit + presence)
        result = self._result(prediction, choice, prediction.object_logit > 0, image, keep_logits=False)
        track.results[frame_idx] = result
        track.memories[frame_idx] = self._memory(prediction, choice, result)
        track.forget_memories(frame_idx, self.max_memories)
        return Outcome(result, prediction, choice)

    def prompted(
        self,
        track: ObjectTrack,
        frame_idx: int,
        given: FramePrompts,
        fresh: bool,
        image: SliceImage,
        slice_mm: float,
        cache: FeatureCache,
    ) -> Outcome:
        """Segment a slice with prompts, which makes it a conditioning slice, and remember it.

        Args:
            track: The object; prompts, result and memory are added.
            frame_idx: The slice.
            given: All prompts that now hold on it.
            fresh: Whether the slice's earlier mask is to be left out, as for a new box.
            image: The slice.
            slice_mm: Distance between slices.
            cache: Feature cache.
        """
        before = track.results.get(frame_idx)
        earlier = before.placed() if before is not None and not fresh else None
        prompts = SlicePrompts(given.points, given.labels, given.box, earlier, given.is_mask or given.refines)
        trusted: list[int] = []
        if given.box is None:
            around = track.trusted(frame_idx, None, False)
            near = around and abs(around[0] - frame_idx) * slice_mm <= self.heuristics.click_context_mm
            if around and (given.refines or (self.heuristics.click_context and near)):
                trusted = around
                prompts = dataclasses.replace(
                    prompts,
                    neighbour=track.results[around[0]].from_bits(),
                    neighbour_mm=(frame_idx - around[0]) * slice_mm,
                )
        view = None
        if earlier is not None and given.box is None and before is not None and before.mask.box_xyxy is not None:
            # The features at hand will do while the mask sits well in their view.
            kept = zoom.keeps_view(before.view, before.mask.box_xyxy, image.shape, self.heuristics)
            view = before.view if kept and zoom.shows(before.view, given.points) else None
        prediction, choice = self.slices.predict(
            image,
            prompts,
            cache,
            view,
            bank_for=(lambda v: self.bank(track, frame_idx, trusted, v, slice_mm)) if trusted else None,
            choices=self.slices.single_mask_choices(prompts),
        )
        present = prompts.asserts_presence or prediction.object_logit > 0
        result = self._result(prediction, choice, present, image, True, given.points, given.labels)
        track.prompts[frame_idx] = given
        track.results[frame_idx] = result
        memory = self._memory(prediction, choice, result)
        appearance = self.slices.appearance(image, prediction.view, prediction.logits[choice])
        track.memories[frame_idx] = dataclasses.replace(memory, appearance=appearance)
        return Outcome(result, prediction, choice)

    def with_mask(
        self,
        track: ObjectTrack,
        frame_idx: int,
        mask: np.ndarray,
        image: SliceImage,
        cache: FeatureCache,
    ) -> Outcome:
        """Take a mask bool (H,W) as it is, which makes the slice a conditioning slice, and remember it."""
        packed = PackedMask.pack(mask)
        before = track.results.get(frame_idx)
        if packed.box_xyxy is not None:
            view = zoom.view_for_mask(packed.box_xyxy, np.zeros((0, 2)), image.shape, image.spacing, self.heuristics)
            placed = PlacedLogits.from_packed(packed)
        else:
            near = track.trusted(frame_idx, None, False)
            known = before or (track.results[near[0]] if near else None)
            view = known.view if known else zoom.view_of_slice(image.shape, image.spacing, self.heuristics)
            placed = PlacedLogits.from_mask(np.zeros((1, 1), bool), (view.x0, view.y0))
        prediction, _ = self.slices.predict(image, SlicePrompts(earlier=placed), cache, view)
        # Believed, whatever the network thinks of it: only its pointer is taken from the network.
        logits = placed.seen_in(view, self.slices.low_res)
        certain = ABSENT_LOGIT if packed.is_empty else MASK_LOGIT
        prediction = self._with_object_logit(prediction, certain)
        track.prompts[frame_idx] = FramePrompts(
            np.zeros((0, 2)), np.zeros(0, np.int64), None, True, track.was_followed(frame_idx)
        )
        result = SliceResult(packed, 1.0, view)
        track.results[frame_idx] = result
        memory, pointer = self.slices.memorise(prediction, SINGLE_MASK, logits)
        track.memories[frame_idx] = SliceMemory(memory, pointer, view, self.slices.appearance(image, view, logits))
        return Outcome(result)

    def expected_view(self, track: ObjectTrack, frame_idx: int, image: SliceImage) -> FieldOfView | None:
        """Where a slice will be looked at, as far as the nearest known slice tells; None when nothing is known."""
        if frame_idx in track.results:
            return track.results[frame_idx].view
        near = track.trusted(frame_idx, None, False)
        return self._view_after(track.results[near[0]], image) if near else None

    @staticmethod
    def _appearance(track: ObjectTrack, trusted: list[int]) -> AppearanceModel | None:
        """What the object looks like on the nearest of trusted slices of which that is known."""
        known = (track.memories[f].appearance for f in trusted if f in track.prompts and f in track.memories)
        return next((appearance for appearance in known if appearance is not None), None)

    def _view_after(self, neighbour: SliceResult, image: SliceImage) -> FieldOfView:
        box = neighbour.mask.box_xyxy
        if box is None or zoom.keeps_view(neighbour.view, box, image.shape, self.heuristics):
            return neighbour.view
        return zoom.view_for_mask(box, np.zeros((0, 2)), image.shape, image.spacing, self.heuristics)

    def _extent(
        self, track: ObjectTrack, frame_idx: int, frames: Frames, image: SliceImage, slice_mm: float, view: FieldOfView
    ) -> tuple[np.ndarray | None, float]:
        """What the volume around says of a slice without prompts: by the context network, else by cuts from the side.

        Returns:
            Logits (h,w) in a view, to be added to those of the mask, or None; and what is added to the object logit.
        """
        heuristics, size = self.heuristics, self.slices.low_res
        threshold = self._presence_threshold(track, frame_idx, image, slice_mm)
        context = self._context(track, frames, image, slice_mm)
        if context is None:
            sides = self._sides(track, frame_idx, frames, image, slice_mm)
            return None if sides is None else sides.prior(frame_idx, view, size, heuristics), -threshold
        prior = context.prior(frame_idx, view, size, heuristics.context_logit)
        # Between two slices on which the user showed the object it is there.
        if not heuristics.context_presence or track.leading_prompt(frame_idx) is None:
            return prior, -threshold
        return prior, context.presence(frame_idx, heuristics.context_presence_logit)

    def _context_mask(
        self, track: ObjectTrack, frame_idx: int, frames: Frames, image: SliceImage, slice_mm: float, view: FieldOfView
    ) -> PlacedLogits | None:
        """What the context network finds on a slice, as a prompt in place of the neighbouring slice's mask."""
        context = self._context(track, frames, image, slice_mm)
        if context is None or not self.heuristics.context_prompt:
            return None
        logits = context.prior(frame_idx, view, self.slices.low_res, MASK_LOGIT)
        return PlacedLogits(logits, view) if (logits > 0).any() else None

    def _context(self, track: ObjectTrack, frames: Frames, image: SliceImage, slice_mm: float) -> ContextPrior | None:
        """What the context network says of an object; asked once for the masks on conditioning slices."""
        volume = frames.volume
        if self.slices.model.config.context is None or not self.heuristics.context or volume is None:
            return None
        known = track.known_masks()
        if track.context is None or track.context[0] != known:
            track.context = known, look_around(self.slices, volume, known, image, slice_mm)
        return track.context[1]

    def _presence_threshold(self, track: ObjectTrack, frame_idx: int, image: SliceImage, slice_mm: float) -> float:
        """How much clearer than 0 the object logit of a slice without prompts has to be.

        Most objects are about as deep as they are wide, so the further away from prompts, the more it takes to believe
        that the object is still there. Between two slices on which the user showed it there is no doubt.
        """
        nearest = track.leading_prompt(frame_idx)
        if nearest is None or not self.heuristics.presence_threshold:
            return 0.0
        area_mm2 = track.results[nearest].mask.area * image.spacing[0] * image.spacing[1]
        radius_mm = math.sqrt(area_mm2 / math.pi)
        return min(abs(nearest - frame_idx) * slice_mm / radius_mm, self.heuristics.presence_threshold_limit)

    def _sides(
        self, track: ObjectTrack, frame_idx: int, frames: Frames, image: SliceImage, slice_mm: float
    ) -> Sides | None:
        """The object seen from the side of its mask on the leading slice; looked at once for each mask."""
        leading = track.leading_prompt(frame_idx)
        if leading is None or not self.heuristics.orthogonal_prior:
            return None
        mask = track.results[leading].mask
        known = track.sides.get(leading)
        if known is None or known[0] != mask:
            known = mask, look_from_sides(self.slices, frames, mask, leading, image, slice_mm)
            track.sides[leading] = known
        return known[1]

    def _with_object_logit(self, prediction: SlicePrediction, object_logit: float) -> SlicePrediction:
        """The same prediction with another belief in the object's presence."""
        told = self.slices.arrays.put(np.full((1, 1), object_logit, np.float32))
        return dataclasses.replace(
            prediction, decoded=prediction.decoded._replace(object_logit=told), object_logit=object_logit
        )

    def bank(
        self, track: ObjectTrack, frame_idx: int, trusted: list[int], view: FieldOfView, slice_mm: float
    ) -> MemoryBank | None:
        """Memories of trusted slices (nearest first), as seen in a view; None when there are none."""
        known = [f for f in trusted if f in track.memories]
        conditioning = [f for f in known if f in track.prompts][: self.heuristics.memory_conditioning]
        reach = self._memory_range_mm() / slice_mm
        others = [f for f in known if f not in track.prompts and abs(f - frame_idx) <= reach]
        counted = {*conditioning, *others[: self.max_memories - len(conditioning)]}
        chosen = [f for f in known if f in counted]
        if not chosen:
            return None
        arrays = self.slices.arrays
        memories = [track.memories[f] for f in chosen]
        maps = [arrays.resample_map(arrays.here(memory.map), memory.view, view) for memory in memories]
        pointers = [arrays.here(memory.pointer) for memory in memories]
        return MemoryBank(
            maps=arrays.stack(maps)[None],
            pointers=arrays.stack(pointers)[None],
            distance_mm=arrays.put(np.array([[(f - frame_idx) * slice_mm for f in chosen]], np.float32)),
            conditioning=arrays.put(np.array([[f in track.prompts for f in chosen]], np.float32)),
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
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> SliceResult:
        packed = PackedMask.empty(2)
        if present:
            part, rectangle = prediction.mask_part(choice, image.shape)
            if self.max_hole_area > 0:
                outside = None if points is None else points[labels == 0] - (rectangle.x0, rectangle.y0)
                part = clean_mask(part, self.max_hole_area, 0, outside_xy=outside)
            packed = PackedMask.pack(part, (rectangle.y0, rectangle.x0))
        logits = prediction.logits[choice].astype(np.float16) if keep_logits and not packed.is_empty else None
        return SliceResult(packed, float(prediction.iou[choice]) * prediction.presence, prediction.view, logits)

    def _memory(self, prediction: SlicePrediction, choice: int, result: SliceResult) -> SliceMemory:
        logits = prediction.logits[choice]
        if result.mask.is_empty:
            logits = np.full_like(logits, ABSENT_LOGIT)
        memory, pointer = self.slices.memorise(prediction, choice, logits)
        return SliceMemory(memory, pointer, prediction.view)
