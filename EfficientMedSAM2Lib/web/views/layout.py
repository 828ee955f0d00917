"""The views on the page: trame-slicer's remote views in frames that keyboards and screen readers can use."""

from __future__ import annotations

from functools import partial
from typing import Any

from trame_client.widgets.html import Div
from trame_rca.encoders import RcaImageEncoder
from trame_rca.widgets.rca import RemoteControlledArea
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view.rca_view_factory import RemoteSliceViewFactory, RemoteThreeDViewFactory
from trame_slicer.views import Layout, LayoutDirection, NoScheduleRendering, ViewLayoutDefinition

from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.web.views.render_scheduler import MOVING_QUALITY, STILL_QUALITY, RenderScheduler
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, THREE_D

FOUR = "four"
#: Layouts of several views, and which of them they show.
SEVERAL = {
    FOUR: ("Red", THREE_D, "Green", "Yellow"),
    "axial": ("Red", "Green", "Yellow", THREE_D),
    "volume": (THREE_D, "Red", "Green", "Yellow"),
    "slices": ("Red", "Green", "Yellow"),
}
#: Of a large view and of the three beside it.
LARGE, SMALL = "2", "1"
#: Frames a second when a view changes its size; all other pictures are the scheduler's.
FPS = 20.0
#: Seconds between two events of the mouse that are sent.
EVENT_S = 0.03


class _Frame:
    """The half that both kinds of view share: our scheduler, and our frame around the picture."""

    def __init__(self, server: Any, scheduler: RenderScheduler) -> None:
        self._view_ctor: Any
        super().__init__(server, rca_encoder=RcaImageEncoder.TURBO_JPEG, target_fps=FPS, blur_fps=FPS)  # type: ignore[call-arg]
        # By default each property of a new view is drawn at once: 244 pictures before the page was there, half of the
        # time that a session took to start.
        self._view_ctor = partial(self._view_ctor, scheduled_render_strategy=NoScheduleRendering())
        self._scheduler = scheduler
        self._window: Any = None

    def _create_view(self, view: Any, scene: Any, app_logic: Any) -> Any:
        created = super()._create_view(view, scene, app_logic)  # type: ignore[misc]
        window = created.slicer_view.render_window()
        window.SetMultiSamples(0)  # in software, three quarters of the time of a picture went into them
        created.slicer_view.first_renderer().SetUseFXAA(view.singleton_tag == THREE_D)
        self._scheduler.add(view.singleton_tag, created.slicer_view, created.view_adapter, self._window)
        return created

    def _create_vuetify_ui(self, view_id: str, slicer_view: Any, rca_scheduler: Any, **_: Any) -> None:
        self._window = rca_scheduler.rca
        rca_scheduler.update_quality(MOVING_QUALITY, STILL_QUALITY)
        tag = slicer_view.get_singleton_tag()
        kind = "3D" if tag == THREE_D else ORIENTATIONS[tag]
        template = resource_path("Web", "view3d.html" if tag == THREE_D else "slice.html").read_text(encoding="utf-8")
        head, tail = template.replace("{tag}", tag).replace("{kind}", kind).split("<!-- picture -->")
        frame = Div(classes=f"view view-{tag}")
        with frame:
            frame.add_child(head)
            RemoteControlledArea(
                name=view_id,
                display="image",
                classes="picture",
                send_mouse_move=True,
                event_throttle_ms=(f"{round(1000 * EVENT_S)}",),
                raw_attrs=[f'aria-label="{kind} view, picture"'],  # it can be reached by Tab, too
            )
            frame.add_child(tail)


class SliceFrameFactory(_Frame, RemoteSliceViewFactory):
    """Slice views."""


class ThreeDFrameFactory(_Frame, RemoteThreeDViewFactory):
    """3D views."""


def create_views(app: Any, server: Any, scheduler: RenderScheduler) -> LayoutManager:
    """Make all views, and the layouts: those of several views, and each view alone."""
    for factory in (SliceFrameFactory, ThreeDFrameFactory):
        app.view_manager.register_factory(factory(server, scheduler))
    views = {
        "Red": ViewLayoutDefinition.axial_view(),
        "Yellow": ViewLayoutDefinition.sagittal_view(),
        "Green": ViewLayoutDefinition.coronal_view(),
        THREE_D: ViewLayoutDefinition.threed_view(name=THREE_D, background_color=("#000000", "#1b2230")),
    }
    manager = LayoutManager(app.scene, app.view_manager, server)
    across, down = LayoutDirection.Horizontal, LayoutDirection.Vertical
    for name, tags in SEVERAL.items():
        first, *others = (views[tag] for tag in tags)
        if name == FOUR:
            layout = Layout(down, [Layout(across, [first, others[0]]), Layout(across, others[1:])])
        elif name == "axial":
            layout = Layout(across, [first, Layout(down, others)], [LARGE, SMALL])
        elif name == "volume":
            layout = Layout(down, [first, Layout(across, others)], [LARGE, SMALL])
        else:
            layout = Layout(across, [first, *others])
        manager.register_layout(name, layout)
    for tag, view in views.items():
        manager.register_layout(tag, Layout(LayoutDirection.Vertical, [view]))
    return manager
