"""Decides when views are drawn: one at a time, the view in use first, and those that can wait when the network is idle.

The processor draws, and holds the interpreter's lock while it does, so that each picture delays the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from trame_rca.encoders import RcaImageEncoder
from trame_slicer.views import ScheduledRenderStrategy

logger = logging.getLogger(__name__)

#: Seconds between two pictures of a view at least.
FRAME_S = 0.04
#: Pause before a picture, in seconds: what the reader has asked for starts first. It runs in another thread, and needs
#: this one only briefly.
BEFORE_S = 0.001
#: Events that make a view the one in use.
TOUCHES = (
    "LeftButtonPressEvent",
    "MiddleButtonPressEvent",
    "RightButtonPressEvent",
    "MouseWheelForwardEvent",
    "MouseWheelBackwardEvent",
)
#: JPEG quality while something moves and at rest; at 95 no block is seen at any window.
MOVING_QUALITY, STILL_QUALITY = 75, 95
#: A view is at rest after so long without a new picture.
REST_S = 0.3


class RenderScheduler:
    """Draws the views of a page and sends the pictures.

    Attributes:
        first: Tag of the view that is drawn before others: the view in use, which got the last event.
        only: Tags of the views that may be drawn now; None for all. The others are drawn when that changes.
    """

    def __init__(self) -> None:
        self.first = ""
        self._only: frozenset[str] | None = None
        self._canvases: dict[str, _Canvas] = {}
        self._wake = asyncio.Event()

    def add(self, tag: str, slicer_view: Any, adapter: Any, window: Any) -> None:
        """Draw a view from now on.

        Args:
            tag: Its name.
            slicer_view: trame-slicer's view.
            adapter: Sends its pictures: ``push``.
            window: Has them: ``img_cols_rows``.
        """
        self._canvases[tag] = _Canvas(window, adapter)
        for event in TOUCHES:
            slicer_view.interactor().AddObserver(event, lambda *_: self._touched(tag), 100.0)
        slicer_view.set_scheduled_render(_Requests(lambda: self.request(tag)))

    @property
    def only(self) -> frozenset[str] | None:
        """See the class."""
        return self._only

    @only.setter
    def only(self, tags: frozenset[str] | None) -> None:
        if tags != self._only:
            self._only = tags
            self._wake.set()

    def request(self, tag: str) -> None:
        """A view has changed."""
        self._canvases[tag].is_wanted = True
        self._wake.set()

    def _touched(self, tag: str) -> None:
        self.first = tag

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            tag, wait_s = self._next(time.monotonic())
            if tag is None:
                self._wake.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait_s)
                await asyncio.sleep(BEFORE_S)
                continue
            try:
                self._canvases[tag].draw()
            except Exception:
                logger.exception("A view could not be drawn.")
            await asyncio.sleep(0)  # the reader's events come before the next picture

    def _next(self, now: float) -> tuple[str | None, float | None]:
        """The view to be drawn now, or how long to wait for one."""
        tags = sorted(self._canvases, key=lambda tag: (tag != self.first, self._canvases[tag].drawn_at))
        allowed = [tag for tag in tags if self._only is None or tag in self._only]
        waits = {tag: self._canvases[tag].wait_s(now) for tag in allowed}
        due = [tag for tag in allowed if waits[tag] <= 0]
        moving = [tag for tag in due if self._canvases[tag].is_wanted]
        if due:
            return (moving or due)[0], 0.0
        finite = [wait for wait in waits.values() if wait != float("inf")]
        return None, min(finite, default=None)


class _Requests(ScheduledRenderStrategy):
    """trame-slicer calls this when a view has changed."""

    def __init__(self, request: Callable[[], None]) -> None:
        super().__init__()
        self._request = request

    def schedule_render(self) -> None:
        """Draw it soon."""
        self._request()


class _Canvas:
    """One view: what was drawn last, and what is due."""

    def __init__(self, window: Any, adapter: Any) -> None:
        self.is_wanted = False
        self.drawn_at = 0.0
        self._window, self._adapter = window, adapter
        self._image: tuple[Any, int, int] | None = None  # drawn, but not yet sent as at rest
        self._sending: asyncio.Task[None] | None = None

    def wait_s(self, now: float) -> float:
        """Seconds until there is something to be done."""
        if self.is_wanted:
            return self.drawn_at + FRAME_S - now
        return self.drawn_at + REST_S - now if self._image is not None else float("inf")

    def draw(self) -> None:
        """Draw it anew if it has changed, else send the picture once more as it is at rest."""
        if self.is_wanted:
            self.is_wanted = False
            self._image = self._window.img_cols_rows
            self.drawn_at = time.monotonic()
            self._send(self._image, MOVING_QUALITY)
        elif self._image is not None:
            image, self._image = self._image, None
            self._send(image, STILL_QUALITY)

    def _send(self, image: tuple[Any, int, int], quality: int) -> None:
        self._sending = asyncio.ensure_future(self._encode(image, quality, self._sending))

    async def _encode(self, image: tuple[Any, int, int], quality: int, before: asyncio.Task[None] | None) -> None:
        loop = asyncio.get_running_loop()
        content, meta, _time = await loop.run_in_executor(None, RcaImageEncoder.TURBO_JPEG.encode, *image, quality)
        if before is not None:
            await asyncio.wait([before])  # pictures arrive in their order
        self._adapter.push(content, meta)
