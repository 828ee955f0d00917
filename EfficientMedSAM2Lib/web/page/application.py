"""The page of one session on a trame server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.web.page.commands import Commands
from EfficientMedSAM2Lib.web.page.state import INITIAL
from EfficientMedSAM2Lib.web.page.task_commands import TaskChoice
from EfficientMedSAM2Lib.web.page.update_loop import UpdateLoop
from EfficientMedSAM2Lib.web.page.warm_up import warm_up
from EfficientMedSAM2Lib.web.session.measurements import Measurements
from EfficientMedSAM2Lib.web.session.surfaces import Surfaces
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import Workspace
from EfficientMedSAM2Lib.web.views.brush import Brush
from EfficientMedSAM2Lib.web.views.layout import FOUR, create_views
from EfficientMedSAM2Lib.web.views.prompt_effect import PromptEffect
from EfficientMedSAM2Lib.web.views.render_scheduler import RenderScheduler
from EfficientMedSAM2Lib.web.views.roi import RoiDraft
from EfficientMedSAM2Lib.web.views.rulers import Rulers
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, SliceViews

TITLE = "EfficientMedSAM2"
#: Shown by trame's client in place of the page; session.js asks for the session until it answers, then loads it anew,
#: and says what of the work is kept.
LOST = '<div class="lost" role="alert"><p>Connecting again…</p></div>'


class Page:
    """The page.

    Args:
        server: The trame server.
        load: Returns the volume predictor for a task's file, None for any structure; called in the worker thread.
        workspace: Files of the session; its messages are shown without paths.
        tasks: Files of the tasks that the reader may choose from; the first is the one to begin with.

    Attributes:
        describe_kept: Tells by state variables what of the work is kept on the server.
    """

    def __init__(
        self, server: Any, load: Callable[[str | None], Any], workspace: Workspace, tasks: Sequence[str] = ()
    ) -> None:
        self.server = server
        server.state.trame__template_error = LOST
        self.workspace = workspace
        self._message, self._is_error = "", False
        self._is_flat = False  # whether the open scan has one slice
        self._update_loop: UpdateLoop | None = None
        self.describe_kept: Callable[[], dict[str, Any]] = dict
        choice = TaskChoice(tasks)
        self.viewer = ViewerSession(lambda: load(choice.path), self.mark)
        self.scheduler = RenderScheduler()
        layouts = create_views(self.viewer.app, server, self.scheduler)
        self.views = SliceViews(self.viewer)
        editor = self.viewer.app.segmentation_editor
        self.effect = editor.get_effect(PromptEffect)
        self.roi = RoiDraft(self.viewer)
        brush, rulers = Brush(self.viewer), Rulers(self.viewer, self.mark)
        self.effect.connect(self.viewer, self._pointed, self.say, self._drawn, brush, rulers)
        self.commands = Commands(self.viewer, self.views, self.effect, self.roi, layouts, choice)
        self.measurements, self.surfaces = Measurements(self.viewer), Surfaces(self.viewer)
        for view in self.viewer.app.view_manager.get_views():
            view.modified.connect(lambda *_: self.mark())
        state = {
            **INITIAL,
            "upload_bytes": workspace.max_bytes,
            "upload_limit": workspace.limit_text,
            "trame__title": TITLE,
            "window_id": "",
            "more_open": False,
        }
        server.state.update(state)
        server.trigger("command")(self._command)
        server.trigger("take_over")(self._take_over)
        server.trigger("beat")(lambda: server.state.window_id)
        self._build(layouts)
        layouts.set_layout(FOUR)
        warm_up(self.commands, self.measurements, self.surfaces, self.opened)
        parts = self.commands, self.scheduler, self.measurements, self.surfaces
        self._update_loop = UpdateLoop(*parts, self._publish)

    # --- what others ask for

    def opened(self) -> None:
        """A volume was opened: show it, with one segment to begin with."""
        self.roi.node = None
        self.measurements.clear()
        self.surfaces.clear()
        self.commands.masks_shown = True
        self.views.show()
        self.commands.segments.add(undoable=False)
        editor = self.viewer.app.segmentation_editor
        editor.set_active_segment_id(self.commands.segments.selected)
        editor.set_active_effect_type(PromptEffect)
        self.commands.tool("point")
        for name, value in self.commands.settings.items():
            if name != "network_window":
                self.commands.setting(name, value)
        self.commands.setting("network_window", "")
        self.viewer.controller.start()
        assert self.viewer.volume is not None
        is_flat = self.viewer.volume.shape_kji[0] == 1
        if is_flat or self._is_flat:  # one large view for one slice, all four for a scan; else as the reader left it
            self.commands.layouts.set_layout(next(iter(ORIENTATIONS)) if is_flat else FOUR)
        self._is_flat = is_flat
        self.say("")

    def say(self, text: str, error: bool = False) -> None:
        """Show a message until the next one."""
        self._message, self._is_error = self.workspace.without_paths(text), error
        self.mark()

    @property
    def message(self) -> tuple[str, bool]:
        """What is shown, and whether it is an error: a message of the page, else one of the controller."""
        if self._message:
            return self._message, self._is_error
        return self.workspace.without_paths(self.viewer.controller.message), self.viewer.controller.is_error

    async def run(self) -> None:
        """Keep everything up to date until cancelled."""
        assert self._update_loop is not None
        await self._update_loop.run()

    # --- inside

    def _command(self, name: str, *arguments: Any) -> None:
        """A button or a key."""
        self._message, self._is_error = "", False
        if arguments and arguments[0] in ORIENTATIONS:
            self.scheduler.first = arguments[0]
        try:
            self.commands.run(str(name), list(arguments))
        except ValueError as error:
            self.say(str(error), error=True)
        self.mark()

    def _take_over(self, window_id: str) -> None:
        """A window of the browser shows the page from now on, in its own size; any other one goes."""
        self.server.state.window_id = str(window_id)[:64]

    def _pointed(self, slice_node: Any, world_ras: Sequence[float]) -> None:
        self.scheduler.first = slice_node.GetSingletonTag()
        self.views.point_at(world_ras, slice_node)
        self._message, self._is_error = "", False
        self.mark()

    def _drawn(self, bbox_kji: Any, axis: int) -> None:
        """An ROI was drawn: from now on the mouse shapes it."""
        first = self.commands.settings["roi_depth"] or None
        self.roi.draw(bbox_kji, axis, first)
        self.commands.tool("navigate")
        self.say("Shape the region with its handles in any view, then press Enter to use it.")

    def _publish(self, state: dict[str, Any]) -> None:
        """Show state variables, with the page's own message."""
        text, is_error = self.message
        with self.server.state as shown:
            own = {"message": text, "is_error": is_error, "upload_limit": self.workspace.limit_text}
            shown.update({**state, **own, **self.describe_kept()})

    def mark(self) -> None:
        """Something that is shown has changed."""
        if self._update_loop is not None:
            self._update_loop.mark()

    def _build(self, layouts: Any) -> None:
        from trame_client.ui.html import DivLayout
        from trame_client.widgets.html import Div, Main

        web = resource_path("Web")
        address = "efficient-medsam2"
        self.server.enable_module(
            {
                "serve": {address: str(web)},
                "scripts": [f"{address}/page.js", f"{address}/session.js"],
                "styles": [f"{address}/page.css"],
            }
        )
        self.server.state.trame__favicon = f"{address}/icon.svg"
        with DivLayout(self.server, classes="page") as layout:
            layout.root.add_child(_text(web / "header.html"))
            with Div(classes="work"):
                panel = Div(classes="panel")
                panel.add_child(_text(web / "panel.html"))
                with Main(classes="views", aria_label="Views"):
                    layouts.initialize_layout_grid(layout)
            layout.root.add_child(_text(web / "footer.html"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
