"""What the confidence strip shows: for each slice of a segment how sure its mask is, and whether it is out of date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from EfficientMedSAM2Lib.interaction import InteractiveSession


@dataclass(frozen=True)
class SliceScores:
    """Scores of a segment's slices along one axis.

    Attributes:
        axis: Slicing axis.
        count: Slices of the volume.
        scores: 0..1 by slice, for slices that have a mask or were looked at.
        stale: Slices whose mask is older than the correction that governs them.
        prompted: Slices with prompts.
        filled: Slices on which the segment has voxels.
    """

    axis: int = 0
    count: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)
    stale: frozenset[int] = frozenset()
    prompted: frozenset[int] = frozenset()
    filled: frozenset[int] = frozenset()

    @property
    def by_uncertainty(self) -> list[int]:
        """Filled slices, the lowest score first; slices with prompts come after all others."""
        slices = [i for i in self.scores if i in self.filled]
        return sorted(slices, key=lambda i: (i in self.prompted, self.scores[i], i))

    @property
    def weakest(self) -> int | None:
        """The first of these."""
        return next(iter(self.by_uncertainty), None)

    def shown_range(self, margin: int, least: int = 0) -> tuple[int, int]:
        """First and last slice that a strip shows: all, unless some have scores.

        Args:
            margin: Slices shown at least on each side of those that have a score.
            least: Slices shown at least in all, as far as the volume has them on both sides.
        """
        if not self.scores:
            return 0, self.count - 1
        first, last = min(self.scores), max(self.scores)
        more = max(margin, (least - (last - first + 1) + 1) // 2)
        return max(first - more, 0), min(last + more, self.count - 1)

    def with_slice(self, index: int, score: float, filled: bool) -> SliceScores:
        """These scores after propagation has computed one more slice."""
        return replace(
            self,
            scores={**self.scores, index: score},
            stale=self.stale - {index},
            filled=self.filled | {index} if filled else self.filled - {index},
        )

    def describe(self, index: int) -> str:
        """One slice in words, for a tool tip."""
        if index not in self.scores:
            return f"Slice {index}: not segmented"
        notes = [f"confidence {100 * self.scores[index]:.0f} %"]
        if index in self.prompted:
            notes.append("prompted")
        if index not in self.filled:
            notes.append("structure not seen")
        if index in self.stale:
            notes.append("out of date: press Propagate")
        return f"Slice {index}: {', '.join(notes)}"


def read_scores(engine: InteractiveSession, segment: str) -> SliceScores:
    """Scores of a segment as the engine has them; empty when it does not know the segment."""
    if segment not in engine.segments:
        return SliceScores(engine.default_axis, engine.shape_kji[engine.default_axis])
    axis = engine.slicing_axis(segment)
    box = engine.bounding_box(segment)
    filled: set[int] = set()
    if box is not None:
        seen = engine.mask(segment, box).any(axis=tuple(a for a in range(3) if a != axis))
        filled = {box[axis][0] + int(n) for n in np.flatnonzero(seen)}
    return SliceScores(
        axis,
        engine.shape_kji[axis],
        engine.scores(segment, axis),
        frozenset(engine.stale_slices(segment, axis)),
        frozenset(engine.conditioning_slices(segment, axis)),
        frozenset(filled),
    )
