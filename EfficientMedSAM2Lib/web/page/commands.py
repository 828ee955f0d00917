"""What the page can ask for: every button and every key is one command by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import PRESETS, IntensityWindow, parse_window
from EfficientMedSAM2Lib.mrml.editing import largest_island_change, smoothing_change
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.progress import RangeRule
from EfficientMedSAM2Lib.web.page.find_commands import FindCommands
from EfficientMedSAM2Lib.web.page.prompt_commands import PromptCommands
from EfficientMedSAM2Lib.web.page.settings import DEFAULTS, SETTINGS, finite
from EfficientMedSAM2Lib.web.page.task_commands import TaskChoice, TaskCommands
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.views.brush import BRUSHES, edit
from EfficientMedSAM2Lib.web.views.layout import FOUR, SEVERAL
from EfficientMedSAM2Lib.web.views.prompt_effect import NAVIGATE, ROI, WINDOW, PromptEffect
from EfficientMedSAM2Lib.web.views.roi import RoiDraft
from EfficientMedSAM2Lib.web.views.rulers import RULER
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, SliceViews

TOOLS = (NAVIGATE, WINDOW, "point", "box", ROI, "line", "scribble", "lasso", *BRUSHES, RULER)

#: Commands that need no volume.
WITHOUT_VOLUME = ("tool", "setting", "layout", "toggle_include", "toggle_each", "task")


class Commands:
    """Commands by name, on a viewer session. Bad input raises UserError with one sentence for the user.

    Attributes:
        settings: Values of SETTINGS.
        layout: A name of SEVERAL, or the tag of the view that is enlarged.
        masks_shown: Whether segments are shown at all.
    """

    def __init__(
        self,
        viewer: ViewerSession,
        views: SliceViews,
        effect: PromptEffect,
        roi: RoiDraft,
        layouts: Any,
        choice: TaskChoice,
    ) -> None:
        self.viewer, self.views, self.effect, self.roi, self.layouts = viewer, views, effect, roi, layouts
        self.segments = Segments(viewer)
        self.prompts, self.find = PromptCommands(viewer, views, effect), FindCommands(viewer, views)
        self.tasks = TaskCommands(viewer, choice)
        self.settings: dict[str, Any] = dict(DEFAULTS)
        self.masks_shown, self._several = True, FOUR
        self._commands: dict[str, Callable[..., None]] = {
            "tool": self.tool,
            "setting": self.setting,
            "toggle_include": self.toggle_include,
            "toggle_each": self.toggle_each,
            "propagate": self.propagate,
            "cancel": self.cancel,
            "commit": self.commit,
            "discard": self.discard,
            "undo": viewer.undo,
            "redo": viewer.redo,
            "use_segment": viewer.controller.use_segment,
            "add_segment": self.add_segment,
            "rename_segment": self.segments.rename,
            "recolor_segment": self.segments.recolor,
            "select_segment": self.segments.select,
            "show_segment": self.segments.show,
            "lock_segment": self.segments.lock,
            "remove_segment": self.remove_segment,
            "next_segment": self.next_segment,
            "toggle_masks": self.toggle_masks,
            "window": self.window,
            "window_preset": self.window_preset,
            "fit": self.views.fit,
            "layout": self.layout,
            "slice": self.views.go_to_slice,
            "step": self.step,
            "place": self.place,
            "jump": self.jump,
            "weakest": self.weakest,
            "largest_island": self.largest_island,
            "smooth": self.smooth,
            "clear_rulers": self.effect.rulers.clear,
            "use_roi": self.use_roi,
            "drop_roi": self.roi.drop,
            **self.prompts.by_name,
            **self.find.by_name,
            **self.tasks.by_name,
        }

    def run(self, name: str, arguments: list[Any]) -> None:
        """Do a command.

        Raises:
            UserError: there is no such command or nothing it could be done on, or it was used in a wrong way.
        """
        if name not in self._commands:
            raise UserError("This page is older than the program; load it anew.")
        if self.viewer.volume_node is None and name not in WITHOUT_VOLUME:
            raise UserError("Open a volume first.")
        try:
            if any(isinstance(argument, float) and not math.isfinite(argument) for argument in arguments):
                raise TypeError("no number")
            self._commands[name](*arguments)
        except (TypeError, LookupError, AttributeError, OverflowError) as error:
            raise UserError("The page sent something that cannot be done; load it anew.") from error

    # --- tools and prompts

    def tool(self, tool: str) -> None:
        """Choose what the mouse does."""
        if tool not in TOOLS:
            raise UserError(f"There is no tool {tool!r}.")
        self.effect.tool = tool
        node = self.viewer.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        node.SetCurrentInteractionMode(node.AdjustWindowLevel if tool == WINDOW else node.ViewTransform)

    def setting(self, name: str, value: Any) -> None:
        """Change a setting."""
        value = SETTINGS[name](value)
        if name == "network_window":
            self.viewer.controller.window = self._network_window(value)
        self.settings[name] = value
        self.viewer.controller.auto_commit = self.settings["auto_commit"]
        self.viewer.controller.keep_out = self.settings["keep_out"]
        self.viewer.controller.each = self.settings["each"]
        self.effect.gesture.include = self.settings["include"]
        self.effect.brush.diameter_mm = self.settings["brush_mm"]
        self.effect.hover.is_on = self.settings["hover"]
        self.effect.hover.stop()
        self._show_as_set()

    def toggle_include(self) -> None:
        """Include <-> exclude."""
        self.setting("include", not self.settings["include"])

    def toggle_each(self) -> None:
        """One segment for each prompt, or one for all."""
        self.setting("each", not self.settings["each"])

    def place(self, tag: str) -> None:
        """The keyboard's press of the mouse: at the crosshair; for boxes and lines once for each corner or end."""
        self._tag(tag)
        if self._uses_what_waits():
            self.commit()
            return
        if self.effect.tool in (NAVIGATE, WINDOW) and not self.prompts.is_moving:
            raise UserError("Choose a tool first: P point, X box, L line, D scribble, E lasso, O region of interest.")
        view = self.effect.view_of(self.views.node(tag))
        if view is None:
            raise UserError("This view is not shown.")
        xy = self.views.pixel(tag)
        if not self.effect.gesture.dragging:
            self.effect.press(view, xy)
            if self.effect.gesture.dragging:
                self.effect.gesture.drag(xy)
        else:
            self.effect.release(view, xy)

    def _uses_what_waits(self) -> bool:
        """Whether Enter in a view uses what waits, rather than placing something at the crosshair."""
        if self.prompts.is_moving or self.effect.gesture.dragging:
            return False
        if self.roi.is_open or self.find.is_offered:  # a prompt on a proposal would go to the segment that is selected
            return True
        hands_free = self.effect.tool in (NAVIGATE, WINDOW) or self._is_prompted()
        return hands_free and self.viewer.controller.has_preview

    def _is_prompted(self) -> bool:
        """Whether the crosshair is where the last prompt was given: Enter then applies what came of it."""
        place = self.effect.prompted_at
        return place is not None and np.allclose(place, self.views.world, atol=1e-3)

    def step(self, tag: str, right: int, up: int, slices: int) -> None:
        """Move the crosshair by voxels, as seen in a view; what is being drawn follows."""
        self.views.step(self._tag(tag), *(min(max(int(count), -1000), 1000) for count in (right, up, slices)))
        if self.effect.gesture.dragging:
            self.effect.gesture.drag(self.views.pixel(tag))

    def commit(self) -> None:
        """Use the ROI, or write the preview, or make a segment of the proposal; the first that there is."""
        if self.roi.is_open:
            self.use_roi()
        elif self.find.is_offered:
            self.viewer.controller.accept_proposal()
        else:
            self.viewer.controller.commit()

    def use_roi(self) -> None:
        """Use the ROI, and show the slice whose mask comes from it."""
        self.views.jump(*self.roi.use())

    def discard(self) -> None:
        """Forget what is being drawn or moved, the ROI, the preview, or the proposal; the first that there is."""
        if self.effect.next_press is not None:
            self.effect.next_press = None
        elif self.effect.gesture.dragging:
            self.effect.gesture.cancel()
            self.effect.pressed_view = None
        elif self.roi.is_open:
            self.roi.drop()
        elif self.viewer.controller.activity is Activity.PROPAGATING:
            self.cancel()
        elif self.find.is_offered:
            self.viewer.controller.drop_proposal()
        elif self.viewer.controller.has_preview:
            self.viewer.controller.reject()

    # --- propagation

    def propagate(self) -> None:
        """Propagate, or cancel what runs."""
        if self.viewer.controller.activity.is_propagation:
            self.cancel()
            return
        self.viewer.port.selected_segment_id()
        rule = RangeRule(self.settings["range_kind"], self.settings["range_value"])
        controller = self.viewer.controller
        propagate = controller.request_propagation_of_all if controller.each else controller.request_propagation
        propagate(self.settings["direction"], rule, self.settings["stop_when_lost"])

    def cancel(self) -> None:
        """End at the next slice."""
        self.viewer.controller.cancel()

    def jump(self, index: int) -> None:
        """Show a slice of the confidence strip."""
        scores = self.viewer.controller.scores
        if 0 <= int(index) < scores.count:
            self.views.jump(scores.axis, int(index))

    def weakest(self) -> None:
        """Show the slice with the lowest confidence."""
        index = self.viewer.controller.scores.weakest
        if index is None:
            raise UserError("No slice has a confidence yet; give a prompt first.")
        self.jump(index)

    # --- segments

    def add_segment(self) -> None:
        """A new segment."""
        self.segments.add()

    def remove_segment(self, segment_id: str = "") -> None:
        """Remove a segment, by default the selected one."""
        self.segments.remove(segment_id or self.segments.selected)

    def next_segment(self) -> None:
        """Select the next segment."""
        ids = self.segments.ids
        if ids:
            selected = self.segments.selected
            self.segments.select(ids[(ids.index(selected) + 1) % len(ids) if selected in ids else 0])

    def toggle_masks(self) -> None:
        """Show or hide all segments."""
        self.masks_shown = not self.masks_shown
        self.viewer.segmentation_node.GetDisplayNode().SetVisibility(self.masks_shown)

    def largest_island(self) -> None:
        """Keep the largest part of the selected segment."""
        edit(self.viewer, largest_island_change(self.viewer.port, self.viewer.volume_node))

    def smooth(self) -> None:
        """Smooth the selected segment."""
        edit(self.viewer, smoothing_change(self.viewer.port, self.viewer.volume_node, self.settings["smooth_mm"]))

    # --- display

    def _show_as_set(self) -> None:
        """How segments look in the slices, and whether slices are shown in 3D."""
        if self.viewer.segmentation_node is None:
            return
        display = self.viewer.segmentation_node.GetDisplayNode()
        display.SetOpacity2DFill(self.settings["fill"] / 100)
        display.SetVisibility2DFill(self.settings["fill"] > 0)
        display.SetVisibility2DOutline(self.settings["outline"])
        for node in self.views.nodes.values():
            node.SetSliceVisible(self.settings["slices_in_3d"])

    def window(self, width: Any, level: Any) -> None:
        """Grey values on the screen."""
        self.viewer.set_display_window(IntensityWindow.from_width_level(finite(width), finite(level)))

    def window_preset(self, name: str) -> None:
        """A preset, "auto", or "file" and the number of one of the file's own."""
        volume = self.viewer.volume
        own = {f"file{n}": window for n, window in enumerate(volume.file_windows)} if volume is not None else {}
        self.viewer.set_display_window({**PRESETS, **own}.get(name, self.viewer.display_window))

    def layout(self, tag: str) -> None:
        """Show several views in another way; or enlarge one, or go back from it."""
        tag = str(tag)
        back = tag == self.layouts.layout_id or tag not in self.layouts.get_layout_ids()
        if tag in SEVERAL and self.layouts.layout_id in SEVERAL:
            self.views.expect_other_sizes()
        self._several = tag if tag in SEVERAL else self._several
        self.layouts.set_layout(self._several if back else tag)

    def _network_window(self, name: str) -> IntensityWindow | None:
        if name == "display":
            shown = self.viewer.shown_window()
            return IntensityWindow.from_width_level(*shown) if shown is not None else None
        return parse_window(name) if name else None

    def _tag(self, tag: str) -> str:
        if tag not in ORIENTATIONS:
            raise UserError("Put the keyboard's focus on a slice view first.")
        return tag
