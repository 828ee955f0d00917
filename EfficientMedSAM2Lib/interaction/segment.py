"""One segment: its voxels, its prompts, and how far each of its slices can be trusted.

Words
    * A *fixed* slice is never changed by propagation: a CONDITIONING slice (it has prompts, and the predictor knows
      them) or a GIVEN one (part of an initial mask).
    * A correction on slice c governs the slices up to the next fixed slice on each side. Propagated slices there are
      *stale*: they are shown as they are until propagated anew.
    * A SKIPPED slice was passed over because the object had ended before it; a correction that governs it forgets that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_start, slice_box
from EfficientMedSAM2Lib.core.masks import BitVolume, PackedMask
from EfficientMedSAM2Lib.interaction.prompts import Prompt


class SliceKind(Enum):
    """How a slice got its mask."""

    CONDITIONING = "conditioning"
    GIVEN = "given"
    PROPAGATED = "propagated"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class SliceRecord:
    """State of one slice along one axis; a slice without a record was never reached.

    Attributes:
        kind: How it got its mask.
        score: 0..1, the predictor's, or 1 for what the user painted.
        stale: The mask is older than the correction that governs it.
        empty: A fixed slice on which the structure is not.
        given: The user gave the mask, so that the score is nobody's judgement.
    """

    kind: SliceKind
    score: float = 0.0
    stale: bool = False
    empty: bool = False
    given: bool = False

    @property
    def fixed(self) -> bool:
        """True when propagation must not change the slice."""
        return self.kind in (SliceKind.CONDITIONING, SliceKind.GIVEN)


Records = Mapping[int, SliceRecord]


def with_correction(
    records: Records, index: int, score: float, empty: bool = False, given: bool = False
) -> dict[int, SliceRecord]:
    """Records after a prompt on slice ``index``: it is conditioning, what it governs is stale or forgotten."""
    fixed = sorted(i for i, record in records.items() if record.fixed and i != index)
    at = bisect_left(fixed, index)
    low = fixed[at - 1] if at > 0 else None
    high = fixed[at] if at < len(fixed) else None
    changed: dict[int, SliceRecord] = {}
    for i, record in records.items():
        governed = (low is None or i > low) and (high is None or i < high)
        if governed and record.kind is SliceKind.PROPAGATED:
            changed[i] = replace(record, stale=True)
        elif not (governed and record.kind is SliceKind.SKIPPED):
            changed[i] = record
    changed[index] = SliceRecord(SliceKind.CONDITIONING, score, empty=empty, given=given)
    return changed


def stale_indices(records: Records) -> list[int]:
    """Numbers of the slices whose mask is older than the correction that governs them."""
    return sorted(i for i, record in records.items() if record.stale)


@dataclass(frozen=True)
class SegmentSnapshot:
    """Everything about a segment but its voxels, at one moment.

    Attributes:
        prompts: In the order they were given.
        records: Slice records by axis, then by slice.
        latest: (axis, index) of the slice prompted last.
        memory: The predictor's own snapshot of the object, by axis.
    """

    prompts: tuple[Prompt, ...] = ()
    records: Mapping[int, dict[int, SliceRecord]] = field(default_factory=dict)
    latest: tuple[int, int] | None = None
    memory: Mapping[int, Any] = field(default_factory=dict)


class SegmentState:
    """Voxels, prompts and slice records of one segment. Writes are noted as patches until the change is committed."""

    def __init__(self, name: str, obj_id: int, shape_kji: Sequence[int]) -> None:
        self.name = name
        self.obj_id = obj_id
        self.bits = BitVolume(shape_kji)
        self.prompts: tuple[Prompt, ...] = ()
        self.records: dict[int, dict[int, SliceRecord]] = {}
        self.latest: tuple[int, int] | None = None
        self.patches: list[PackedMask] = []

    def slice_records(self, axis: int) -> dict[int, SliceRecord]:
        """Records of the slices along ``axis``, by index."""
        return self.records.setdefault(axis, {})

    def read_slice(self, axis: int, index: int) -> np.ndarray:
        """Bool copy (rows, columns) of one slice."""
        return self.bits.read(slice_box(self.bits.shape, axis, index)).squeeze(axis)

    def write_slice(self, axis: int, index: int, mask: np.ndarray) -> Box | None:
        """Replace one slice; returns the changed half-open box, None when nothing changed."""
        return self.write(slice_box(self.bits.shape, axis, index), np.expand_dims(mask, axis))

    def write(self, box: Box, values: np.ndarray) -> Box | None:
        """Replace a half-open box; returns the changed part of it, None when nothing changed."""
        difference = PackedMask.pack(self.bits.read(box) ^ values, box_start(box))
        if difference.box is not None:
            self.bits.write(box, values)
            self.patches.append(difference)
        return difference.box
