"""Prompts of the selected segment one by one: gone to, moved, taken away. As in the effect's panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction import MarkupPrompt
from EfficientMedSAM2Lib.mrml.effect.view_geometry import slice_center_world, view_slice
from EfficientMedSAM2Lib.mrml.volume_reader import world_to_ijk
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.views.prompt_effect import PromptEffect
from EfficientMedSAM2Lib.web.views.slice_views import SliceViews


class PromptCommands:
    """Commands on the list of prompts.

    Args:
        viewer: The scene.
        views: Where a prompt is shown.
        effect: Gives away the press of the mouse that says where a prompt is moved to.
    """

    def __init__(self, viewer: ViewerSession, views: SliceViews, effect: PromptEffect) -> None:
        self.viewer, self.views, self.effect = viewer, views, effect
        self._chosen: tuple[str, int] = ("", -1)  # segment and number

    @property
    def by_name(self) -> dict[str, Callable[..., None]]:
        """The commands."""
        return {
            "go_to_prompt": self.go_to,
            "delete_prompt": self.delete,
            "move_prompt": self.move,
            "clear_slice": self.clear_slice,
            "start_over": self.viewer.controller.start_over,
        }

    @property
    def prompts(self) -> list[MarkupPrompt]:
        """Of the selected segment, oldest first."""
        return self.viewer.controller.prompts if self.viewer.volume_node is not None else []

    @property
    def texts(self) -> list[str]:
        """Each in words."""
        return [self.viewer.controller.describe_prompt(prompt) for prompt in self.prompts]

    @property
    def chosen(self) -> int:
        """Number of the chosen prompt, the only one if there is but one, -1 for none."""
        count = len(self.prompts)
        if count == 1:
            return 0
        segment, number = self._chosen
        return number if segment == self._segment and number < count else -1

    @property
    def is_moving(self) -> bool:
        """Whether the next press of the mouse says where the chosen prompt goes."""
        return self.effect.next_press is not None and self.chosen >= 0

    def go_to(self, number: int) -> None:
        """Choose a prompt, and show it in the views along its axis, with the crosshair on it."""
        prompts = self.prompts
        if not 0 <= number < len(prompts):
            raise UserError("Choose a prompt in the list first.")
        self._chosen = self._segment, number
        self.effect.next_press = None
        prompt = prompts[number]
        points = prompt.origin.points_ras
        middle = [sum(values) / len(points) for values in zip(*points)]
        near = world_to_ijk([middle], self.viewer.volume_node)[0][::-1]
        world = slice_center_world(prompt.axis, prompt.index, self.viewer.volume_node, near)
        self.views.point_at(world.tolist())

    def delete(self) -> None:
        """Take the chosen prompt away; its slice is as if it had never been given."""
        self.effect.next_press = None
        self.viewer.controller.delete_prompt(self.chosen)
        self._chosen = ("", -1)

    def move(self) -> None:
        """Let the next press of the mouse say where the middle of the chosen prompt goes; called again, not."""
        if self.chosen < 0:
            raise UserError("Choose a prompt in the list first.")
        self.effect.next_press = None if self.is_moving else self._move_to

    def clear_slice(self) -> None:
        """Take away what the slice on view shows, and its prompts; what was edited by hand stays."""
        axis = self.viewer.controller.scores.axis
        for node in self.views.nodes.values():
            shown, index = view_slice(node, self.viewer.volume_node)
            if shown == axis and 0 <= index < self.viewer.controller.scores.count:
                self.viewer.controller.clear_slice(axis, index)
                return
        raise UserError("No view shows a slice of this volume along the segment's axis; go to the slice first.")

    def _move_to(self, world: Sequence[float]) -> None:
        self.viewer.controller.move_prompt(self.chosen, world)

    @property
    def _segment(self) -> str:
        selected: Any = self.viewer.editor_node.GetSelectedSegmentID()
        return selected or ""
