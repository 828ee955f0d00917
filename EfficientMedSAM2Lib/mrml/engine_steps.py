"""The engine's steps, back and forth, with the prompts and voxels that belong to them; a manual edit is one of them.

A manual edit is a change of a segment by other means than prompts: Paint, Erase, another effect, an older session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_shape, box_start, moved, slice_box, union, whole_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction import InteractiveSession, MarkupPrompt, checks
from EfficientMedSAM2Lib.interaction.constraints import edited_voxels
from EfficientMedSAM2Lib.interaction.prompts import prompted_slices
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene.prompt_store import STATE_TAG, get_tag
from EfficientMedSAM2Lib.mrml.scene.slice_store import SavedSlices, read_slices, still_true
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box

#: A prompt in force, and what takes its place, if anything.
PromptChange = tuple[MarkupPrompt, Optional[MarkupPrompt]]
#: A manual edit of at most so many slices corrects these slices; a larger one replaces the segment.
MAX_EDITED_SLICES = 5


@dataclass(frozen=True)
class ManualEdit:
    """A segment that was edited, read on the main thread; any thread may send it to the engine.

    Attributes:
        stamp: Its labelmap's stamp when it was read.
        mask: The segment as it is now, (D, H, W) bool; None when no voxel differs from what the engine knows.
        box: Half-open box of the edited voxels.
        by_hand: Voxels in it that were painted or erased, which later results have to keep.
        saved: What is known of the slices of a segment that came with the scene.
    """

    stamp: tuple[int, int]
    mask: np.ndarray | None
    box: Box
    by_hand: PackedMask
    saved: SavedSlices | None = None


def read_manual_edit(
    port: EditorPort, segment_id: str, stamp: tuple[int, int], known: PackedMask | None, whole: bool
) -> ManualEdit:
    """Compare a segment with what the engine knows of it.

    Args:
        port: The editor.
        segment_id: The segment.
        stamp: Its labelmap's present stamp.
        known: Voxels that the engine knows.
        whole: Ignore these, and take all of the segment for edited.

    Raises:
        UserError: ``whole``, and the segment is empty.
    """
    segmentation, volume = port.segmentation_node(), port.source_volume_node()
    known = None if whole else known
    box = union(segment_box(segmentation, segment_id, volume), known.box if known is not None else None)
    edited, by_hand = None, PackedMask.empty(3)
    if box is not None:
        difference = read_segment(segmentation, segment_id, volume, box) ^ (known or PackedMask.empty(3)).window(box)
        edited, by_hand = bounding_box(difference), PackedMask.pack(difference, box_start(box))
    if edited is None and whole:
        raise UserError("The segment is empty; paint the structure on at least one slice, or give a prompt.")
    if box is None or edited is None:
        return ManualEdit(stamp, None, [], by_hand)
    mask = read_segment(segmentation, segment_id, volume)
    edited = moved(edited, box_start(box))
    # A whole segment is a starting point, to be corrected; so is one that came with the scene and was made by prompts.
    segment = port.segment(segment_id)
    saved = None if whole or known is not None else read_slices(segment, volume)
    if saved is not None:
        saved, held = still_true(saved, mask)
        by_hand = PackedMask.pack(held)
    elif whole or (known is None and get_tag(segment, STATE_TAG) is not None):
        by_hand = PackedMask.empty(3)
    return ManualEdit(stamp, mask, whole_box(mask.shape) if whole else edited, by_hand, saved)


class EngineSteps:
    """Goes through the engine's steps and knows which prompts and voxels belong to them. No MRML: any thread."""

    def __init__(self, engine: InteractiveSession) -> None:
        self.engine = engine
        self.restart()

    def restart(self) -> None:
        """The engine has just been given an image, or was reset."""
        self._prompts: dict[str, list[_Given]] = {}
        self._written: dict[str, PackedMask] = {}

    @property
    def depth(self) -> int:
        """Steps in force."""
        return self.engine.depth

    def mask(self, segment: str, box: Box) -> np.ndarray:
        """The engine's mask in a half-open box, bool; empty for a segment that it does not have."""
        if segment not in self.engine.segments:
            return np.zeros(box_shape(box), dtype=bool)
        return self.engine.mask(segment, box)

    def run(self, segment: str, prompts: Iterable[MarkupPrompt]) -> tuple[Box | None, str]:
        """Answer all prompts or, on an error, none. Returns the changed box and what the user should know."""
        start, changed = self.depth, None
        messages: list[str] = []
        try:
            for prompt in prompts:
                changed = union(changed, self.engine.add_prompt(prompt, segment))
                self._prompts.setdefault(segment, []).append(_Given(prompt, self.depth))
                messages += [text for text in (prompt.origin.warning, self.engine.last_message) if text]
        except Exception:
            self.take_back(self.depth - start)
            raise
        return changed, " ".join(dict.fromkeys(messages))

    def take_back(self, steps: int) -> None:
        """Undo the newest steps, as if they had never been."""
        for _step in range(steps):
            self.engine.undo()
        if steps:
            self.forget_undone()

    def rewind(self, depth: int) -> bool:
        """Go to a depth by undo and redo; False when the engine has forgotten the steps in between."""
        while self.depth != depth:
            forth = self.depth < depth
            step = self.engine.next_redo if forth else self.engine.next_undo
            if step is None:
                return False
            box = self.engine.redo() if forth else self.engine.undo()
            self.mark_written(step[0], box)
        return True

    def unwritten(self, segment: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """(wanted mask, voxels that differ from what was written last) in a half-open box."""
        after = self.mask(segment, box)
        return after, after ^ self._written.get(segment, PackedMask.empty(3)).window(box)

    def mark_written(self, segment: str, box: Box | None) -> None:
        """The editor has the engine's mask; it can have changed in ``box`` only."""
        old = self._written.get(segment)
        whole = union(old.box if old is not None else None, box)
        if whole is not None:
            self._written[segment] = PackedMask.pack(self.mask(segment, whole), box_start(whole))

    def import_mask(
        self, segment: str, mask: np.ndarray, box: Box, by_hand: PackedMask, saved: SavedSlices | None = None
    ) -> None:
        """Make a manual edit of a segment one of the engine's steps.

        Args:
            segment: Segment ID.
            mask: (D, H, W) bool, the segment as it is now.
            box: Half-open box of the edited voxels.
            by_hand: Voxels that later results have to keep.
            saved: What is known of the slices of a segment that came with the scene.
        """
        axis = self.engine.default_axis if saved is None else saved.axis
        if not mask.any():
            if segment in self.engine.segments:
                self.engine.remove_segment(segment)
        elif segment in self.engine.segments and box[axis][1] - box[axis][0] <= MAX_EDITED_SLICES:
            for index in range(*box[axis]):
                self._give_mask(segment, mask.take(index, axis), axis, index, by_hand)
        else:
            self._give_mask(segment, mask, axis, None, by_hand, saved)
        self.mark_written(segment, union(box, bounding_box(mask)))

    def _give_mask(
        self,
        segment: str,
        mask: np.ndarray,
        axis: int,
        index: int | None,
        by_hand: PackedMask,
        saved: SavedSlices | None = None,
    ) -> None:
        shape = self.engine.shape_kji
        edited = by_hand
        if index is not None:
            box = slice_box(shape, axis, index)
            edited = PackedMask.pack(by_hand.window(box), box_start(box))
            if edited.is_empty and not by_hand.is_empty:
                return  # a slice between two that were edited
        prompt = checks.mask_prompt(mask, axis, index, shape, True)
        records = None if saved is None else saved.records
        self.engine.add_prompt(replace(prompt, edited=edited, records=records), segment)

    def prompts(self, segment: str) -> list[MarkupPrompt]:
        """Prompts in force, oldest first; those of undone steps are not."""
        return [given.prompt for given in self._prompts.get(segment, []) if given.holds(self.depth)]

    def adopt_prompts(self, segment: str, prompts: Iterable[MarkupPrompt]) -> None:
        """Prompts of a segment that came with the scene: kept and shown, but not asked again."""
        if segment not in self._prompts:
            self._prompts[segment] = [_Given(prompt, 0) for prompt in prompts]

    def change_prompts(
        self, segment: str, changes: Sequence[PromptChange], axis: int, clear: Sequence[int]
    ) -> tuple[Box | None, str]:
        """Replace prompts, or take them away, and answer their slices anew: one step.

        Args:
            segment: Segment ID.
            changes: (prompt in force, what takes its place or None).
            axis: Slicing axis of them all.
            clear: Further slices to be answered from the prompts that they have left.

        Returns:
            The changed box and what the user should know.
        """
        instead = {id(old): new for old, new in changes}
        before = self.prompts(segment)
        after = [new for new in (instead.get(id(p), p) for p in before) if new is not None]
        there = set(clear)
        for old, new in changes:
            there |= {i for p in (old, new) if p is not None for i in prompted_slices(p, axis)}
        left = [p for p in after if there & set(prompted_slices(p, axis))]
        changed = self.engine.answer_anew(axis, sorted(there), left, segment)
        self.retire(segment, instead)
        return changed, self.engine.last_message

    def retire(self, segment: str, instead: Mapping[int, MarkupPrompt | None]) -> None:
        """From the newest step on, prompts, by their ``id``, do not hold any more; others may take their places."""
        listed: list[_Given] = []
        for given in self._prompts.get(segment, []):
            is_gone = id(given.prompt) in instead and given.holds(self.depth)
            listed.append(replace(given, until=self.depth) if is_gone else given)
            new = instead.get(id(given.prompt)) if is_gone else None
            listed += [_Given(new, self.depth)] if new is not None else []
        self._prompts[segment] = listed

    def start_over(self, segment: str) -> tuple[Box | None, str]:
        """Empty a segment and drop its prompts, as one step; returns as ``run``.

        Raises:
            UserError: there is nothing to drop.
        """
        if segment not in self.engine.segments:
            raise UserError("The segment is empty; there is nothing to start over from.")
        dropped = self.prompts(segment)
        edited = edited_voxels(self.engine.prompts(segment)).area
        changed = self.engine.remove_segment(segment)
        self.retire(segment, {id(prompt): None for prompt in dropped})
        also = f", {edited} voxels edited by hand with them" if edited else ""
        return changed, f"The segment is empty again{also}; Undo brings it back."

    def forget_undone(self) -> None:
        """A new action begins: steps that were undone cannot come back."""
        for segment, listed in self._prompts.items():
            self._prompts[segment] = [given.at(self.depth) for given in listed if given.since <= self.depth]


@dataclass(frozen=True)
class _Given:
    """A prompt, the step that brought it, and the one that took it away, if any."""

    prompt: MarkupPrompt
    since: int
    until: int | None = None

    def holds(self, depth: int) -> bool:
        return self.since <= depth and (self.until is None or depth < self.until)

    def at(self, depth: int) -> _Given:
        """The same where all steps behind this one are forgotten."""
        return replace(self, until=None) if self.until is not None and self.until > depth else self
