"""The segments of a session, and actions on them that happen whole or not at all, undone and redone.

Undo and redo are two stacks of steps; a step holds what changed, never a whole volume. They are written by hand: PyPI's
py-undo-stack bounds the number of steps but not their bytes, and would be one more package to install inside Slicer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_shape, union
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.segment import SegmentSnapshot, SegmentState

#: Undo levels and bytes of packed changes that are kept; the oldest steps go first.
MAX_STEPS = 50
MAX_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Step:
    """One user action on one segment.

    Attributes:
        segment: Name of the segment.
        label: What the user did, for a menu entry.
        before: State before the action; None when the action made the segment.
        after: State after it; None when the action removed the segment.
        patches: Voxels that the action flipped. Flipping them again takes it back, and once more redoes it.
    """

    segment: str
    label: str
    before: SegmentSnapshot | None
    after: SegmentSnapshot | None
    patches: tuple[PackedMask, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed changes."""
        return sum(len(patch.data) for patch in self.patches)

    @property
    def box(self) -> Box | None:
        """Half-open bounding box of the voxels that changed, None when none did."""
        return union(*(patch.box for patch in self.patches))


class History:
    """Steps done and steps undone, bounded in number and in bytes.

    Attributes:
        depth: Steps in force, those that are too old to be undone included.
    """

    def __init__(self, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> None:
        self.max_steps = max_steps
        self.max_bytes = max_bytes
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self.depth = 0

    def push(self, step: Step) -> None:
        """Record a new action; what was undone before it can no longer be redone."""
        self._undone.clear()
        self._done.append(step)
        self.depth += 1
        # The newest step stays whatever its size: the last action can always be taken back.
        while len(self._done) > 1 and (len(self._done) > self.max_steps or self.nbytes > self.max_bytes):
            self._done.popleft()

    def undo(self) -> Step | None:
        """Step to take back, None at the beginning."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        self.depth -= 1
        return self._undone[-1]

    def redo(self) -> Step | None:
        """Step to do again, None at the end."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        self.depth += 1
        return self._done[-1]

    def clear(self) -> None:
        """Forget all steps."""
        self._done.clear()
        self._undone.clear()
        self.depth = 0

    @property
    def next_undo(self) -> Step | None:
        """Step that ``undo`` would take back."""
        return self._done[-1] if self._done else None

    @property
    def next_redo(self) -> Step | None:
        """Step that ``redo`` would do again."""
        return self._undone[-1] if self._undone else None

    @property
    def nbytes(self) -> int:
        """Bytes of packed changes held for undo."""
        return sum(step.nbytes for step in self._done)


@dataclass
class OpenStep:
    """An action under way: the segment it works on and the state to return to, None where there was no segment."""

    segment: SegmentState
    label: str
    before: SegmentSnapshot | None


class SegmentStore:
    """All segments of one volume with their history."""

    def __init__(self, states: AxisStates, history: History) -> None:
        self.states = states
        self.history = history
        self._segments: dict[str, SegmentState] = {}
        self._obj_ids: dict[str, int] = {}

    @property
    def shape_kji(self) -> tuple[int, ...]:
        """Shape of the masks."""
        return self.states.volume.shape[:3]

    @property
    def names(self) -> list[str]:
        """Names in order of first use."""
        return sorted(self._segments, key=self._obj_ids.__getitem__)

    def get(self, name: str) -> SegmentState:
        """Segment by name; UserError when there is none."""
        if name not in self._segments:
            known = ", ".join(repr(n) for n in self.names) or "none yet"
            raise UserError(f"There is no segment {name!r} (segments: {known}); add a prompt to it first.")
        return self._segments[name]

    def peek(self, name: str) -> SegmentState:
        """Segment by name, to read only; an empty one where all that made it has been undone."""
        if name in self._obj_ids and name not in self._segments:
            return SegmentState(name, self._obj_ids[name], self.shape_kji)
        return self.get(name)

    @contextmanager
    def change(self, name: str, label: str) -> Iterator[SegmentState]:
        """One user action on a segment, made if need be. An exception inside leaves everything as it was."""
        change = self.begin(name, label)
        try:
            yield change.segment
        except BaseException:
            self.roll_back(change)
            raise
        self.commit(change)

    def begin(self, name: str, label: str) -> OpenStep:
        """Start an action that ends with ``commit``."""
        before = self._snapshot(self._segments[name]) if name in self._segments else None
        if before is None:
            obj_id = self._obj_ids.setdefault(name, len(self._obj_ids) + 1)
            self._segments[name] = SegmentState(name, obj_id, self.shape_kji)
        return OpenStep(self._segments[name], label, before)

    def commit(self, change: OpenStep) -> None:
        """End an action: what it changed becomes one undo step."""
        segment = change.segment
        step = Step(
            segment.name, change.label, change.before, self._snapshot(segment), tuple(self._take_patches(segment))
        )
        self.history.push(step)

    def remove(self, name: str) -> Box | None:
        """Remove a segment as one undo step; returns the half-open box of the voxels it had."""
        segment = self.get(name)
        change = self.begin(name, "remove segment")
        box = segment.bits.bounding_box()
        if box is not None:
            segment.write(box, np.zeros(box_shape(box), dtype=bool))
        self.states.forget(segment.obj_id)
        del self._segments[name]
        self.history.push(Step(name, change.label, change.before, None, tuple(self._take_patches(segment))))
        return box

    def undo(self) -> Step | None:
        """Take back the last action; returns it, None when there is none."""
        step = self.history.undo()
        if step is not None:
            self._restore(step.segment, step.before, step.patches)
        return step

    def redo(self) -> Step | None:
        """Do the action undone last again; returns it, None when there is none."""
        step = self.history.redo()
        if step is not None:
            self._restore(step.segment, step.after, step.patches)
        return step

    def clear(self) -> None:
        """Remove all segments and the history."""
        self._segments.clear()
        self._obj_ids.clear()
        self.history.clear()
        self.states.reset()

    def _snapshot(self, segment: SegmentState) -> SegmentSnapshot:
        return SegmentSnapshot(
            segment.prompts,
            {axis: dict(records) for axis, records in segment.records.items()},
            segment.latest,
            self.states.snapshot(segment.obj_id),
        )

    def _restore(self, name: str, snapshot: SegmentSnapshot | None, patches: Sequence[PackedMask]) -> None:
        if snapshot is None:
            self.states.forget(self._segments.pop(name).obj_id)
            return
        if name not in self._segments:
            self._segments[name] = SegmentState(name, self._obj_ids[name], self.shape_kji)
        segment = self._segments[name]
        for patch in patches:
            segment.bits.flip(patch)
        segment.prompts = snapshot.prompts
        segment.records = {axis: dict(records) for axis, records in snapshot.records.items()}
        segment.latest = snapshot.latest
        self.states.restore(segment.obj_id, snapshot.memory)

    def roll_back(self, change: OpenStep) -> None:
        """End an action as if it had never begun."""
        segment = change.segment
        self._restore(segment.name, change.before, self._take_patches(segment))

    @staticmethod
    def _take_patches(segment: SegmentState) -> list[PackedMask]:
        patches, segment.patches = segment.patches, []
        return patches
