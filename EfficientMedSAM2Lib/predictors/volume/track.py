"""What is known of one object in a volume: prompts, masks as bits, and a bounded number of memories."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.models.bundles import Array
from EfficientMedSAM2Lib.predictors.slices.slice_data import SINGLE_MASK, PackedLogits, PlacedLogits, SlicePrediction
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.volume.context import ContextPrior
from EfficientMedSAM2Lib.predictors.volume.orthogonal_prior import OrthogonalPrior


@dataclasses.dataclass(frozen=True)
class FramePrompts:
    """What the user gave on one slice; it is then a conditioning slice.

    Attributes:
        points: (N,2) clicks in pixels.
        labels: (N,) 1 inside, 0 outside.
        box: (4,) XYXY, or None.
        is_mask: Whether a mask was given, before any clicks, box or clicks that start anew.
        refines: Whether the slice had been segmented by propagation before.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    is_mask: bool = False
    refines: bool = False


@dataclasses.dataclass(frozen=True)
class SliceResult:
    """The mask of one slice.

    Attributes:
        mask: In bits.
        score: Predicted IoU times the probability that the object is there, 0...1.
        viewport: What the network saw of the slice.
        logits: (h,w) float16 in that viewport; kept of conditioning slices alone, which are few.
        certainty: How sure the network is of each place; None where the mask was given, or is empty.
        propagated: The mask before the memoryless pass, which the next slices follow; None where there was no such
            pass.
    """

    mask: PackedMask
    score: float
    viewport: Viewport
    logits: np.ndarray | None = None
    certainty: PackedLogits | None = None
    propagated: PackedMask | None = None

    def as_propagated(self) -> SliceResult:
        """The result as the next slices are shown it."""
        return self if self.propagated is None else dataclasses.replace(self, mask=self.propagated)

    def radius_mm(self, slice_spacing: tuple[float, float]) -> float:
        """Radius in mm of a disk as large as the mask; spacing in mm of rows and columns."""
        return math.sqrt(self.mask.area * slice_spacing[0] * slice_spacing[1] / math.pi)

    def placed(self) -> PlacedLogits | None:
        """The mask as logits for a next prompt, None when it is empty."""
        if self.mask.is_empty:
            return None
        if self.logits is not None:
            return PlacedLogits(self.logits, self.viewport)
        return self.from_bits()

    def from_bits(self) -> PlacedLogits:
        """The mask as bare logits; an empty one covers a pixel."""
        if self.mask.is_empty:
            return PlacedLogits.from_mask(np.zeros((1, 1), bool), (self.viewport.x0, self.viewport.y0))
        return PlacedLogits.from_packed(self.mask)


@dataclasses.dataclass(frozen=True)
class SliceOutcome:
    """A slice's result, and where at hand the whole prediction with the chosen mask."""

    result: SliceResult
    prediction: SlicePrediction | None = None
    choice: int = SINGLE_MASK


@dataclasses.dataclass(frozen=True)
class SliceMemory:
    """What the network remembers of one slice.

    Attributes:
        map: (memory_dim,S/16,S/16) in the viewport, in the network's precision.
        pointer: (embed_dim,).
        viewport: What the network saw of the slice.
        appearance: What the object looks like there, of conditioning slices.
    """

    map: Array
    pointer: Array
    viewport: Viewport
    appearance: AppearanceModel | None = None


@dataclasses.dataclass(frozen=True)
class ObjectSnapshot:
    """Everything of a track at one moment. Its parts never change, so that it costs little more than their names."""

    prompts: dict[int, FramePrompts]
    results: dict[int, SliceResult]
    memories: dict[int, SliceMemory]


class ObjectTrack:
    """One object. Slices with prompts are its conditioning slices.

    Attributes:
        prompts: By slice.
        results: By slice.
        memories: By slice; of other than conditioning slices only those nearest to where it was last propagated to.
        orthogonal_priors: By conditioning slice, its mask and what orthogonal slices through that say; None where they
            say nothing. Made in propagation, and anew when the mask is another.
        context: The masks by slice that the context network was given, and what it says. Made in the same way.
    """

    def __init__(self, snapshot: ObjectSnapshot | None = None) -> None:
        self.prompts: dict[int, FramePrompts] = dict(snapshot.prompts) if snapshot else {}
        self.results: dict[int, SliceResult] = dict(snapshot.results) if snapshot else {}
        self.memories: dict[int, SliceMemory] = dict(snapshot.memories) if snapshot else {}
        self.orthogonal_priors: dict[int, tuple[PackedMask, OrthogonalPrior | None]] = {}
        self.context: tuple[dict[int, PackedMask], ContextPrior | None] | None = None

    def known_masks(self) -> dict[int, PackedMask]:
        """The masks of conditioning slices, by slice."""
        return {f: self.results[f].mask for f in sorted(self.prompts) if f in self.results}

    def leading_prompt(self, frame_idx: int) -> int | None:
        """The nearest slice on which the user showed the object, None where there is none or the slice is between two:
        the masks of both then lead."""
        shown = [f for f in self.prompts if f in self.results and not self.results[f].mask.is_empty]
        if not shown or min(shown) < frame_idx < max(shown):
            return None
        return min(shown, key=lambda f: abs(f - frame_idx))

    def was_propagated(self, frame_idx: int) -> bool:
        """Whether a slice had been segmented by propagation before it was given prompts."""
        before = self.prompts.get(frame_idx)
        return before.refines if before is not None else frame_idx in self.results

    def snapshot(self) -> ObjectSnapshot:
        """A copy that later changes do not touch."""
        return ObjectSnapshot(dict(self.prompts), dict(self.results), dict(self.memories))

    def leading_slices(self, frame_idx: int, start: int | None, reverse: bool) -> list[int]:
        """Slices whose masks may lead to that of another, nearest first.

        Conditioning slices always; of the others those behind in the direction of travel, and, when travel starts at a
        conditioning slice, not behind that: what was made before it was corrected is out of date.

        Args:
            frame_idx: The slice to segment.
            start: Where this run starts; None lets every slice lead.
            reverse: Direction of the run.
        """
        sign = -1 if reverse else 1

        def counts(f: int) -> bool:
            if f == frame_idx:
                return False
            if f in self.prompts or start is None:
                return True
            return sign * f < sign * frame_idx and (start not in self.prompts or sign * f >= sign * start)

        # Of two equally near the conditioning one leads.
        known = [f for f in list(self.results) if counts(f)]
        return sorted(known, key=lambda f: (abs(f - frame_idx), f not in self.prompts, sign * f))

    def appearance(self, leading: list[int]) -> AppearanceModel | None:
        """What the object looks like on the nearest of some leading slices of which that is known."""
        known = (self.memories[f].appearance for f in leading if f in self.prompts and f in self.memories)
        return next((appearance for appearance in known if appearance is not None), None)

    def forget_memories(self, frame_idx: int, keep: int) -> None:
        """Drop the memories of other than conditioning slices but for the `keep` nearest."""
        others = sorted((f for f in self.memories if f not in self.prompts), key=lambda f: abs(f - frame_idx))
        for f in others[keep:]:
            del self.memories[f]


def combine_prompts(
    track: ObjectTrack,
    frame_idx: int,
    clicks: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    box: np.ndarray | None,
    clear_old: bool,
) -> tuple[FramePrompts, bool]:
    """New prompts on a slice together with those it has.

    Args:
        track: The object.
        frame_idx: The slice.
        clicks: Points (N,2), labels (N,), and a box if one was given as points.
        box: (4,) or None.
        clear_old: Whether earlier clicks and box are forgotten.

    Returns:
        The prompts that now hold, and whether they start the slice anew, as a new box does.
    """
    points, labels, corners = clicks
    box = corners if box is None else box
    before = track.prompts.get(frame_idx)
    old_box = before.box if before is not None else None
    is_fresh = box is not None and (old_box is None or not np.allclose(box, old_box))
    if before is not None and not clear_old:
        points, labels = np.concatenate([before.points, points]), np.concatenate([before.labels, labels])
        box = old_box if box is None else box
    is_mask = before is not None and before.is_mask and not is_fresh
    return FramePrompts(points, labels, box, is_mask, track.was_propagated(frame_idx)), is_fresh
