"""Results of the engine -> segments in the editor, with all that is saved beside them; each is one undo step.

Each commit writes the number of the new state into a tag of the changed segment. Slicer's own history saves and
restores tags together with voxels, so the tags say at any time which state the editor is in, whoever pressed *Undo*,
and hence how many steps the engine has to go back or forth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_slices, box_start, union
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.mrml.engine_steps import EngineSteps
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.other_segments import changes_elsewhere, left_to_others, read_each_other_segment
from EfficientMedSAM2Lib.mrml.scene.prompt_store import STATE_TAG, get_tag
from EfficientMedSAM2Lib.mrml.scene.segmentation_prompts import SegmentationPrompts
from EfficientMedSAM2Lib.mrml.scene.slice_store import write_slices
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, WriteReport, read_segment, segment_stamp, write_change

Stamps = dict[str, tuple[int, int]]
#: States that are remembered; the engine and the editor forget old steps, too.
MAX_STATES = 64


@dataclass(frozen=True)
class EditorState:
    """The editor after a commit.

    Attributes:
        depth: Number of engine steps that led here.
        tags: State tag of each segment that has one.
        known: Voxels of each segment as the editor held them then, on the volume's grid. They differ from the engine's
            where masking refused a voxel or another segment took it.
    """

    depth: int
    tags: Mapping[str, str]
    known: Mapping[str, PackedMask] = field(default_factory=dict)


class EditorStates:
    """States of one segmentation, from the one it had when the session began."""

    def __init__(self, segmentation_node: Any) -> None:
        self.segmentation_node = segmentation_node
        self._next_number = 1
        self.restart()

    def restart(self) -> None:
        """Begin with the editor's present state."""
        tags = self._tags()
        numbers = [int(tag) for tag in tags.values() if tag.isdecimal()]
        self._next_number = max([*numbers, self._next_number - 1]) + 1
        self.current = EditorState(0, tags)
        self._states: deque[EditorState] = deque([self.current], MAX_STATES)

    def holds(self, port: EditorPort, segment_id: str) -> bool:
        """Whether the editor still has this segmentation, and that the segment: either may be exchanged at any time."""
        try:
            node = port.segmentation_node()
        except UserError:
            return False
        return bool(node == self.segmentation_node and node.GetSegmentation().GetSegment(segment_id) is not None)

    def next_tag(self) -> str:
        """Number for a new state."""
        self._next_number += 1
        return str(self._next_number - 1)

    def record(self, depth: int, known: Mapping[str, PackedMask]) -> None:
        """Remember the present state, just written and tagged; ``known`` holds the segments that changed."""
        while self._states and self._states[-1].depth >= depth:
            self._states.pop()  # was undone: the editor has dropped it, too
        self.current = EditorState(depth, self._tags(), {**self.current.known, **known})
        self._states.append(self.current)

    def branch(self) -> None:
        """The editor's state was saved and tagged anew; nothing else of it has changed."""
        while self._states and self._states[-1].depth > self.current.depth:
            self._states.pop()
        self.current = replace(self.current, tags=self._tags())
        self._states.append(self.current)

    def note_edit(self, depth: int, segment_id: str, known: PackedMask) -> None:
        """Another effect changed the present state, and the engine knows it now: same tags, new voxels."""
        old = self.current.depth
        alike = [state for state in self._states if state.depth == old and state is not self.current]
        while self._states and self._states[-1].depth >= old:
            self._states.pop()
        for state in (*alike, self.current):  # all that differ from it by their tags only
            self.current = replace(state, depth=depth, known={**state.known, segment_id: known})
            self._states.append(self.current)

    def find_present(self) -> EditorState | None:
        """The state that the editor is in now; None when it is one from before the session, or from elsewhere.

        Segments that do not exist at the moment are not compared: removing one must not lose the others' history.
        """
        for state in (self.current, *reversed(self._states)):
            if self.is_present(state):
                self.current = state
                return state
        return None

    def is_present(self, state: EditorState) -> bool:
        """Whether the editor is in this state."""
        tags = self._tags()
        return all(state.tags.get(s) == tags.get(s) for s in self.segmentation_node.GetSegmentation().GetSegmentIDs())

    def _tags(self) -> dict[str, str]:
        segmentation = self.segmentation_node.GetSegmentation()
        found = {s: get_tag(segmentation.GetSegment(s), STATE_TAG) for s in segmentation.GetSegmentIDs()}
        return {segment_id: tag for segment_id, tag in found.items() if tag}


class ResultWriter:
    """Writes results; knows which states of the editor are the engine's, and which voxels the engine has seen.

    Args:
        port: The segment editor.
        engine: The interaction engine.
        steps: Its steps.
        prompts: The prompts of the segmentation.

    Attributes:
        states: The editor's states that belong to steps of the engine.
        seen: Stamps of labelmaps whose voxels the engine knows.
        message: What the last write did beside what was wanted, "" for nothing.
    """

    def __init__(
        self, port: EditorPort, engine: InteractiveSession, steps: EngineSteps, prompts: SegmentationPrompts
    ) -> None:
        self.port = port
        self.engine = engine
        self._steps = steps
        self._prompts = prompts
        self.restart()

    def restart(self) -> None:
        """The engine has started anew: the present state is the first one."""
        self.states = EditorStates(self.port.segmentation_node())
        self.seen: Stamps = {}
        self.message = ""
        self._saved: Stamps | None = None

    def open_step(self, segment_id: str) -> None:
        """Save the editor's state now, for a result that will come later: *Undo* until then takes back nothing else.

        Nothing but the tag of the segment changes, so that the state is known by it.
        """
        self._save_state()
        self.port.segment(segment_id).SetTag(STATE_TAG, self.states.next_tag())
        self.states.branch()
        self._saved = self._stamps()

    def write(self, segment_id: str, box: Box | None, keeps_out: bool) -> WriteReport:
        """Write the engine's mask to the segment, which is selected.

        Args:
            segment_id: The segment.
            box: Half-open box of the voxels that may differ; None when none does.
            keeps_out: Leave all other segments their voxels, and not only locked ones.
        """
        notes: list[str] = []
        report = WriteReport()
        self._save_state()
        if box is not None:
            after, changed = self._steps.unwritten(segment_id, box)
            left, notes = left_to_others(self.port, self.engine, segment_id, box, after, changed & after, keeps_out)
            before = self._read_each(segment_id, box)
            unseen = self._unseen()
            report = write_change(self.port, Change(after, changed & ~left, (box[0][0], box[1][0], box[2][0])))
            notes += changes_elsewhere(self.port, segment_id, box, before)
            self._steps.mark_written(segment_id, box)
            known = self._known_after(segment_id, box, before, unseen)
        else:
            known = {segment_id: self.states.current.known.get(segment_id, PackedMask.empty(3))}
        self._prompts.write(segment_id, self.states.next_tag())
        nodes = self.port.segment(segment_id), self.port.source_volume_node()
        write_slices(*nodes, self.engine, segment_id, known[segment_id])
        self.states.record(self._steps.depth, known)
        if report.refused:
            notes.append(f"{report.refused} voxels were kept as they are by the editor's masking settings.")
        self.message = " ".join(notes)
        return report

    def _save_state(self) -> None:
        """One undo step of the editor; none where ``open_step`` has made it, and nothing has happened since."""
        if self._saved is None or self._saved != self._stamps():
            self.port.save_state_for_undo()
        self._saved = None

    def _stamps(self) -> Stamps:
        node = self.port.segmentation_node()
        return {segment_id: segment_stamp(node, segment_id) for segment_id in self.port.segment_ids()}

    def _read_each(self, segment_id: str, box: Box) -> dict[str, np.ndarray]:
        """Voxels of all segments in a half-open box of the volume's grid, bool, by segment ID; one is selected."""
        own = read_segment(self.port.segmentation_node(), segment_id, self.port.source_volume_node(), box)
        return {**read_each_other_segment(self.port, segment_id, box), segment_id: own}

    def _unseen(self) -> set[str]:
        """Segments that have changed since the engine looked at them: what was edited there is still to be imported."""
        return {segment_id for segment_id, stamp in self._stamps().items() if self.seen.get(segment_id) != stamp}

    def _known_after(
        self, written: str, box: Box, before: Mapping[str, np.ndarray], unseen: Container[str]
    ) -> dict[str, PackedMask]:
        """What the engine knows that the editor holds: as it knew it, but for the voxels that this write has changed.

        A segment that another effect has edited in between is read anew when the next action begins on it.
        """
        node, old = self.port.segmentation_node(), dict(self.states.current.known)
        old.setdefault(written, PackedMask.empty(3))
        known = {}
        for segment_id, now in self._read_each(written, box).items():
            if segment_id not in old:
                continue
            whole = union(old[segment_id].box, box)
            assert whole is not None
            mask = old[segment_id].window(whole)
            part = mask[box_slices(box, whole)]
            changed = now ^ before[segment_id]
            part[changed] = now[changed]
            known[segment_id] = PackedMask.pack(mask, box_start(whole))
            if segment_id not in unseen:
                self.seen[segment_id] = segment_stamp(node, segment_id)
        return known
