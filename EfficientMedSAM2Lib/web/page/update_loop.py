"""The loop that updates scene, worker and page: what the reader waits for first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice
from EfficientMedSAM2Lib.web.page.commands import Commands
from EfficientMedSAM2Lib.web.page.state import read_state
from EfficientMedSAM2Lib.web.session.measurements import Measurements
from EfficientMedSAM2Lib.web.session.surfaces import Surfaces
from EfficientMedSAM2Lib.web.views.layout import SEVERAL
from EfficientMedSAM2Lib.web.views.outlines import Outlines
from EfficientMedSAM2Lib.web.views.prompt_style import style_prompts
from EfficientMedSAM2Lib.web.views.render_scheduler import RenderScheduler
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, THREE_D

logger = logging.getLogger(__name__)

#: Seconds between two polls of the worker: a cancelled propagation, or its progress, is shown so soon.
BUSY_S, IDLE_S = 0.02, 0.08
#: The page is brought up to date at most so often, in seconds; the second while the network propagates.
STATE_S, PROPAGATING_S = 0.12, 0.2
#: The strip of all slices is brought up to date so often during propagation: as a rule the browser draws it on this
#: machine.
STRIP_S = 0.5
#: Most answers come within so many seconds; until then page and views are not updated, which would delay the answer.
ANSWER_S = 0.3
#: Views other than the clicked one wait for the answer for at most so many seconds.
PATIENCE_S = 1.0
#: A slice that has been shown for so long, in seconds, is one that the reader studies.
DWELL_S = 0.2


class UpdateLoop:
    """Keeps a page up to date.

    Args:
        commands: The page's commands, with its viewer session and views.
        scheduler: Draws the views.
        measurements: Numbers of the segments.
        surfaces: Surfaces of the segments.
        publish: Shows state variables, and adds what only the page knows.
    """

    def __init__(
        self,
        commands: Commands,
        scheduler: RenderScheduler,
        measurements: Measurements,
        surfaces: Surfaces,
        publish: Callable[[dict[str, Any]], None],
    ) -> None:
        self._commands, self._scheduler = commands, scheduler
        self._measurements, self._surfaces, self._publish = measurements, surfaces, publish
        self._viewer, self._controller = commands.viewer, commands.viewer.controller
        self._outlines = Outlines(commands.effect, self._controller)
        self._activity, self._asked_at = Activity.IDLE, 0.0
        self._changed, self._wake = True, asyncio.Event()
        self._shown_at = self._strip_at = 0.0
        self._studied: tuple[Any, float] = (None, 0.0)  # slice, since when; in the future once it is expected

    def mark(self) -> None:
        """Something that is shown has changed."""
        self._changed = True
        self._wake.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        rendering = asyncio.ensure_future(self._scheduler.run())
        try:
            while True:
                busy = False
                try:
                    busy = self._work()
                except Exception:
                    logger.exception("The page could not be brought up to date.")
                self._wake.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), BUSY_S if busy else IDLE_S)
        finally:
            rendering.cancel()

    def _work(self) -> bool:
        """One round; returns whether the next is due soon."""
        now = time.monotonic()
        busy = self._controller.poll()
        before, self._activity = self._activity, self._controller.activity
        if self._activity is not before:
            self._asked_at, self._shown_at, self._changed = now, 0.0, True
            self._style_prompts()
        self._scheduler.only = self._drawable(now)
        if before is Activity.ANSWERING and self._activity is Activity.IDLE:
            return True  # the answer is drawn before all else
        if self._changed and self._is_time(now):
            self._changed = False
            self._shown_at = now
            self._show()
        # Other segments are looked for, and answers prepared, while the reader goes on.
        if self._activity is Activity.IDLE and self._measurements.update():
            self.mark()
        is_searching = self._controller.is_finding and self._activity is Activity.IDLE
        if (not busy or is_searching) and self._viewer.volume_node is not None:
            self._commands.views.update_sizes()
            self._surfaces.update()
            self._commands.effect.hover.update(self._commands.effect.gesture.include)
            self._expect(now)
        return busy

    def _is_time(self, now: float) -> bool:
        """Whether the page may be brought up to date: not often, and not while an answer comes as fast as it should."""
        if self._activity is Activity.ANSWERING and now - self._asked_at < ANSWER_S:
            return False
        return now - self._shown_at >= (PROPAGATING_S if self._activity.is_propagation else STATE_S)

    def _drawable(self, now: float) -> frozenset[str]:
        """Views that may be drawn: while the network answers, the one clicked in; while it propagates, slices."""
        layout, first = self._commands.layouts.layout_id, self._scheduler.first
        shown = set(SEVERAL.get(str(layout), [str(layout)]))
        if self._activity is Activity.ANSWERING and first in shown and now - self._asked_at < PATIENCE_S:
            return frozenset([first] if now - self._asked_at >= ANSWER_S else [])
        if self._activity.is_propagation and first != THREE_D:
            shown.discard(THREE_D)
        return frozenset(shown)

    def _expect(self, now: float) -> None:
        """Prepare an answer on the slice that the reader studies."""
        tag = self._scheduler.first if self._scheduler.first in ORIENTATIONS else next(iter(ORIENTATIONS))
        axis, index = view_slice(self._commands.views.node(tag), self._viewer.volume_node)
        shown = (self._viewer.volume_node.GetID(), axis, index)
        if self._studied[0] != shown:
            self._studied = shown, now
        elif now - self._studied[1] >= DWELL_S:
            try:
                is_done = self._controller.prefetch(axis, index)
            except ValueError:  # the image cannot be read; a prompt will say why
                is_done = True
            self._studied = shown, float("inf") if is_done else now

    def _style_prompts(self) -> None:
        if self._viewer.volume_node is not None:
            style_prompts(self._viewer.segmentation_node, self._commands.segments.selected)

    def _show(self) -> None:
        if self._viewer.volume_node is not None:
            self._commands.find.show_new()
            self._outlines.update()
            self._style_prompts()
        state = read_state(self._commands, self._measurements)
        if self._activity.is_propagation and self._shown_at - self._strip_at < STRIP_S:
            del state["strip"]
        else:
            self._strip_at = self._shown_at
        self._publish(state)
