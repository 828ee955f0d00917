"""The loop that keeps scene, worker and page together, and gives the processor first to what the reader waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice
from EfficientMedSAM2Lib.web.page.state import read_state
from EfficientMedSAM2Lib.web.views.layout import FOUR
from EfficientMedSAM2Lib.web.views.outlines import Outlines
from EfficientMedSAM2Lib.web.views.prompt_looks import dress
from EfficientMedSAM2Lib.web.views.slice_views import ORIENTATIONS, THREE_D

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.web.page.application import Page

logger = logging.getLogger(__name__)

#: Seconds between two looks at the worker: a cancelled propagation, or its progress, is seen so fast.
BUSY_S, IDLE_S = 0.02, 0.08
#: The page is brought up to date at most so often, in seconds, and while the network follows a structure.
STATE_S, FOLLOWING_S = 0.12, 0.2
#: The strip of all slices is brought up to date so often meanwhile: the browser draws it on this machine, as a rule.
STRIP_S = 0.5
#: An answer comes within so many seconds as a rule; until then neither page nor views change, for it would come later.
ANSWER_S = 0.3
#: Other views than the one that was clicked in wait for it longer.
PATIENCE_S = 1.0
#: A slice is taken for one that the reader looks at after so long, in seconds.
LOOK_S = 0.2


class Upkeep:
    """Keeps a page up to date.

    Args:
        page: The page.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._outlines = Outlines(page.effect, page.desk.controller)
        self._activity, self._asked_at = Activity.IDLE, 0.0
        self._changed, self._wake = True, asyncio.Event()
        self._shown_at = self._strip_at = 0.0
        self._looked_at: tuple[Any, float] = (None, 0.0)  # slice, since when; in the future once it is expected

    def mark(self) -> None:
        """Something that is shown has changed."""
        self._changed = True
        self._wake.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        painting = asyncio.ensure_future(self._page.painter.run())
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
            painting.cancel()

    def _work(self) -> bool:
        """One look at everything; returns whether the next is due soon."""
        page, now = self._page, time.monotonic()
        busy = page.desk.controller.poll()
        before, self._activity = self._activity, page.desk.controller.activity
        if self._activity is not before:
            self._asked_at, self._shown_at, self._changed = now, 0.0, True
            self._dress()
        page.painter.only = self._drawable(now)
        if before is Activity.ANSWERING and self._activity is Activity.IDLE:
            return True  # the answer is drawn before all else
        if self._changed and self._is_time(now):
            self._changed = False
            self._shown_at = now
            self._show()
        if not busy and page.desk.volume_node is not None:
            page.surfaces.update()
            if page.measurements.update():
                self.mark()
            self._expect(now)
        return busy

    def _is_time(self, now: float) -> bool:
        """Whether the page may be brought up to date: not often, and not while an answer comes as fast as it should."""
        if self._activity is Activity.ANSWERING and now - self._asked_at < ANSWER_S:
            return False
        return now - self._shown_at >= (FOLLOWING_S if self._activity.is_propagation else STATE_S)

    def _drawable(self, now: float) -> frozenset[str]:
        """Views that may be drawn: while the network answers, the one clicked in; while it follows, slices."""
        layout, first = self._page.commands.layouts.layout_id, self._page.painter.first
        shown = {*ORIENTATIONS, THREE_D} if layout == FOUR else {str(layout)}
        if self._activity is Activity.ANSWERING and first in shown and now - self._asked_at < PATIENCE_S:
            return frozenset([first] if now - self._asked_at >= ANSWER_S else [])
        if self._activity.is_propagation and first != THREE_D:
            shown.discard(THREE_D)
        return frozenset(shown)

    def _expect(self, now: float) -> None:
        """Prepare an answer on the slice that the reader looks at."""
        page = self._page
        tag = page.painter.first if page.painter.first in ORIENTATIONS else next(iter(ORIENTATIONS))
        axis, index = view_slice(page.views.node(tag), page.desk.volume_node)
        shown = (page.desk.volume_node.GetID(), axis, index)
        if self._looked_at[0] != shown:
            self._looked_at = shown, now
        elif now - self._looked_at[1] >= LOOK_S:
            try:
                is_done = page.desk.controller.prefetch(axis, index)
            except ValueError:  # the image cannot be read; a prompt will say why
                is_done = True
            self._looked_at = shown, float("inf") if is_done else now

    def _dress(self) -> None:
        if self._page.desk.volume_node is not None:
            dress(self._page.desk.segmentation_node, self._page.commands.segments.selected)

    def _show(self) -> None:
        page = self._page
        if page.desk.volume_node is not None:
            self._outlines.update()
            self._dress()
        state = read_state(page.commands, page.measurements)
        text, is_error = page.message
        state.update(message=text, is_error=is_error, upload_limit=page.workspace.limit_text)
        if self._activity.is_propagation and self._shown_at - self._strip_at < STRIP_S:
            del state["strip"]
        else:
            self._strip_at = self._shown_at
        with page.server.state as shown:
            shown.update(state)
