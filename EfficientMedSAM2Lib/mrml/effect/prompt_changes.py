"""Prompts as things: listed, moved and taken away one by one; a slice cleared; a segment started over. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import nearest_voxel, ras_to_ijk
from EfficientMedSAM2Lib.interaction import BoxPrompt, LassoPrompt, MarkupPrompt, Origin, PointPrompt, ScribblePrompt
from EfficientMedSAM2Lib.interaction.prompts import prompted_slices
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.effect_state import EffectState
from EfficientMedSAM2Lib.mrml.markups_reader import box_of, drawn_along, line_between, point_at
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, decode_prompts, get_tag
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix, volume_shape, world_to_local


class PromptChanges(EffectState):
    """The actions; each is one undo step."""

    @property
    def prompts(self) -> list[MarkupPrompt]:
        """Prompts of the selected segment, oldest first; none where nothing is selected."""
        try:
            segment_id, volume = self.port.selected_segment_id(), self.port.source_volume_node()
            if self.session is not None:
                return self.session.prompts(segment_id)
            return decode_prompts(get_tag(self.port.segment(segment_id), PROMPTS_TAG), volume)
        except UserError:
            return []

    def describe_prompt(self, prompt: MarkupPrompt) -> str:
        """A prompt in words, for a list."""
        kind = prompt.kind
        if isinstance(prompt, BoxPrompt) and prompt.is_roi:
            kind = "ROI"
        return f"{'+' if prompt.positive else chr(0x2212)} {kind}, {self.scores.position(prompt.index, prompt.axis)}"

    def delete_prompt(self, number: int) -> None:
        """Take a prompt of the selected segment away; its slice is as if it had never been given."""
        wanted = self._numbered(number)
        self._change(lambda session: self._changing(session, number, wanted, None))

    def move_prompt(self, number: int, point_world_ras: Sequence[float]) -> None:
        """Put the middle of a prompt elsewhere; its slices are answered anew."""
        wanted = self._numbered(number)
        moved = moved_prompt(wanted, point_world_ras, self.port.source_volume_node())
        self._change(lambda session: self._changing(session, number, wanted, moved))

    def clear_slice(self, axis: int, index: int) -> None:
        """Take away what a slice shows, and its prompts; voxels edited by hand stay."""

        def read(session: SegmentEditorSession) -> Callable[[Any], Any]:
            there = session.prompts(self.port.selected_segment_id())
            gone = [(p, None) for p in there if index in prompted_slices(p, axis)]
            return lambda _job: session.change_prompts(gone, axis, [index])

        self._change(read)

    def start_over(self) -> None:
        """Empty the selected segment, and drop its prompts."""
        self._change(lambda session: lambda _job: session.start_over())

    def _numbered(self, number: int) -> MarkupPrompt:
        prompts = self.prompts
        if not 0 <= number < len(prompts):
            raise UserError("Choose a prompt in the list first.")
        return prompts[number]

    def _changing(
        self, session: SegmentEditorSession, number: int, wanted: MarkupPrompt, new: MarkupPrompt | None
    ) -> Callable[[Any], Any]:
        there = session.prompts(self.port.selected_segment_id())
        if number >= len(there) or there[number] != wanted:
            raise UserError("The prompts have changed; choose one again.")
        old = there[number]
        if new is not None and new.axis != old.axis:
            raise UserError("A prompt is moved in a view that shows its own slices.")
        return lambda _job: session.change_prompts([(old, new)], old.axis)

    def _change(self, read: Callable[[SegmentEditorSession], Callable[[Any], Any]]) -> None:
        def prepare() -> Callable[[Any], Any]:
            session = self._session()
            session.begin()
            return read(session)

        self._queue.request(Activity.ANSWERING, prepare, lambda _box: self._end_answer(self._session()))


def moved_prompt(prompt: MarkupPrompt, point_world_ras: Sequence[float], volume_node: Any) -> MarkupPrompt:
    """A prompt with its middle at a world position, RAS mm, for slices of the same axis.

    Raises:
        UserError: the position, or a part of the prompt there, is outside of the volume.
    """
    if isinstance(prompt, PointPrompt):
        point = point_at(point_world_ras, volume_node, prompt.positive, prompt.axis)
        return replace(point, origin=_origin(point, prompt))
    shape, affine = volume_shape(volume_node), volume_matrix(volume_node)
    (target_ijk,) = ras_to_ijk(world_to_local(point_world_ras, volume_node), affine)
    target = np.array(nearest_voxel(target_ijk, shape))
    if isinstance(prompt, BoxPrompt):
        low, high = np.array(prompt.box_kji).T
        low, high = low + (shift := target - (low + high) // 2), high + shift
        if (low < 0).any() or (high > shape).any():
            raise UserError("The box would reach out of the volume there.")
        box = box_of(np.stack([low, high], axis=1).tolist(), volume_node, prompt.positive, prompt.axis)
        return replace(box, origin=_origin(box, prompt))
    ends = np.array(prompt.origin.points_ras)
    middle_ijk = ras_to_ijk(ends.mean(axis=0), affine).reshape(3)
    step = affine[:3, :3] @ (np.asarray(target_ijk) - middle_ijk)
    moved = local_to_world(ends + step, volume_node)
    if isinstance(prompt, (ScribblePrompt, LassoPrompt)):
        drawn = drawn_along(type(prompt), moved, volume_node, prompt.positive, prompt.axis)
        return replace(drawn, origin=_origin(drawn, prompt))
    start, end = moved.tolist()
    line = line_between(start, end, volume_node, prompt.axis)
    return replace(line, origin=_origin(line, prompt))


def _origin(moved: MarkupPrompt, prompt: MarkupPrompt) -> Origin:
    """Where a prompt is now; all else of it is as it was."""
    return replace(prompt.origin, points_ras=moved.origin.points_ras, warning=moved.origin.warning)
