"""Prompts of the edited segmentation: those in force in the engine, those saved with it, those of each time point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from EfficientMedSAM2Lib.interaction import MarkupPrompt
from EfficientMedSAM2Lib.mrml.engine_steps import EngineSteps
from EfficientMedSAM2Lib.mrml.ports.editor_port import EditorPort
from EfficientMedSAM2Lib.mrml.scene import prompt_store
from EfficientMedSAM2Lib.mrml.scene.sequences import time_point


class SegmentationPrompts:
    """Saves prompts with their segments and shows them as markups.

    All prompts of a segment are kept in its tag. In force at one time are those that were given on the time point that
    the volume shows; for an ordinary volume that is all of them.

    Args:
        port: The editor.
        steps: Which prompts are in force; undo and redo change that.
    """

    def __init__(self, port: EditorPort, steps: EngineSteps) -> None:
        self.port = port
        self.steps = steps
        self._time_point = ""

    def begin(self, segment_id: str) -> None:
        """An action begins: prompts that came with the scene count as well. Main thread."""
        self._time_point = time_point(self.port.source_volume_node())
        self._adopt(segment_id)

    @property
    def are_of_another_time(self) -> bool:
        """Whether the volume shows another time point than at the last ``begin`` or ``show_time_point``."""
        return time_point(self.port.source_volume_node()) != self._time_point

    def show_time_point(self) -> None:
        """Show the prompts of the time point that the volume shows now."""
        self._time_point = time_point(self.port.source_volume_node())
        self.show()

    def mark(self, prompts: Iterable[MarkupPrompt]) -> list[MarkupPrompt]:
        """Prompts as given on the time point of ``begin``. Any thread."""
        return [replace(p, origin=replace(p.origin, time_point=self._time_point)) for p in prompts]

    def of(self, segment_id: str) -> list[MarkupPrompt]:
        """Prompts of a segment at the time point that is shown, oldest first."""
        self._adopt(segment_id)
        shown = time_point(self.port.source_volume_node())
        return [prompt for prompt in self.steps.prompts(segment_id) if prompt.origin.time_point == shown]

    def write(self, segment_id: str, state: str) -> None:
        """Save all prompts of a segment, and the number of the state that they belong to; show those of now."""
        prompt_store.write_prompts(self.port.segment(segment_id), self.steps.prompts(segment_id), state)
        self.show(segment_id)

    def show(self, *segment_ids: str) -> None:
        """Bring markups nodes up to date; of all segments if none is named."""
        for segment_id in segment_ids or self.port.segment_ids():
            nodes = self.port.segmentation_node(), self.port.source_volume_node()
            prompt_store.show_prompts(*nodes, segment_id, self.of(segment_id))

    def _adopt(self, segment_id: str) -> None:
        segment = self.port.segment(segment_id)
        if segment is not None:
            saved = prompt_store.get_tag(segment, prompt_store.PROMPTS_TAG)
            volume_node = self.port.source_volume_node()
            self.steps.adopt_prompts(segment_id, prompt_store.decode_prompts(saved, volume_node))
