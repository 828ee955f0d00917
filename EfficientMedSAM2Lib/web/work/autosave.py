"""Saves segments and prompts a few seconds after each change, in a thread; what was saved is opened again on demand."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, get_tag
from EfficientMedSAM2Lib.mrml.scene.segments import TERMINOLOGY_TAG
from EfficientMedSAM2Lib.mrml.scene.slice_store import SLICES_TAG
from EfficientMedSAM2Lib.mrml.segment_voxels import segment_stamp
from EfficientMedSAM2Lib.web.session.exports import saved_prompts
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.work.files import read_work, write_scan, write_work
from EfficientMedSAM2Lib.web.work.kept_scans import KeptScan, KeptScans
from EfficientMedSAM2Lib.web.work.scene import MeasuredDistances, SceneReader, open_work

logger = logging.getLogger(__name__)

#: Seconds between two checks of the scene.
CHECK_S = 0.5
#: It is saved when nothing has changed for so long, in seconds; at the latest so long after the first change.
REST_S, LATEST_S = 1.5, 10.0
#: A session that ends saves what is not saved yet, if that takes no longer, in seconds.
END_S = 6.0
#: The work on a scan is saved before another one is opened, if that takes no longer, in seconds.
ASIDE_S = 60.0
#: What the page says of the work: nothing to keep, everything is kept, will be soon, cannot be.
NOTHING, KEPT, SOON, FAILED = "", "kept", "soon", "failed"


class Autosave:
    """Keeps a session's work in a folder that outlives its process.

    Args:
        viewer: The scene.
        folder: The session's own; what is in it is opened at the start.
        opened: Called when a volume was opened.
        say: Shows a message; the second argument tells whether it is an error.
        changed: Called when ``describe`` tells something else.
        rulers: Distances that were measured.

    Attributes:
        earlier: Scans of this session that can be gone back to.
    """

    def __init__(
        self,
        viewer: ViewerSession,
        folder: Path,
        opened: Callable[[], None],
        say: Callable[[str, bool], None],
        changed: Callable[[], None],
        rulers: MeasuredDistances,
    ) -> None:
        self._viewer, self._opened, self._say, self._changed = viewer, opened, say, changed
        self._scans, self._reader = KeptScans(folder), SceneReader(viewer, rulers)
        self._rulers = rulers
        self._key = ""  # folder of the open scan, "" as long as nothing of it is saved
        self._scan: Volume | None = None  # whose voxels are in the folder
        self._saved: Any = None  # state of the scene that is in the folder
        self._seen: Any = None
        self._seen_at = self._changed_at = self._saved_at = 0.0
        self._has_begun = self._has_failed = False
        self._saving = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        self.earlier: list[KeptScan] = []

    def start(self) -> None:
        """Save from now on."""
        self._running = asyncio.ensure_future(self._run())

    def describe(self) -> dict[str, Any]:
        """For the page: whether all that is shown is kept, since when, and what can be gone back to."""
        self._notice_other_scan()
        kept = NOTHING
        if self._viewer.volume is not None:
            state = self._state()
            if state != self._saved and (self._key or self._is_worth_it()):
                kept = FAILED if self._has_failed else SOON
            elif self._key:
                kept = KEPT
        time_text = datetime.fromtimestamp(self._saved_at).strftime("%H:%M:%S") if self._saved_at else ""
        earlier = [[scan.key, scan.text] for scan in self.earlier]
        return {"kept": kept, "kept_at": time_text, "earlier": earlier}

    async def put_aside(self) -> None:
        """Save everything now: another scan is about to be opened, from which this one can be gone back to.

        Raises:
            UserError: it cannot be saved, and nothing was changed.
        """
        try:
            for _ in range(3):  # the reader may go on while it is written
                if self._viewer.volume is None or self._state() == self._saved:
                    break
                await asyncio.wait_for(self._save(), ASIDE_S)
            for scan in self._scans.to_drop(self._key):
                self._scans.remove(scan.key)
        except (OSError, RuntimeError, ValueError, asyncio.TimeoutError) as error:
            logger.exception("The work could not be put aside.")
            raise UserError(
                "The work on the open scan cannot be kept on the server. Save it to your computer and end the session."
            ) from error

    def to_drop(self) -> list[KeptScan]:
        """Earlier scans for which there is no room when another one is opened."""
        return self._scans.to_drop(self._key)

    async def go_back(self, key: str) -> str:
        """Open an earlier scan with its work, the open one put aside; returns what to tell the user.

        Raises:
            UserError: it is not kept any more, or the open one cannot be put aside.
        """
        if key not in [scan.key for scan in self.earlier]:
            raise UserError("This scan is not kept any more.")
        await self.put_aside()
        return await self._open(key)

    async def finish(self) -> None:
        """The session ends: save what is not saved yet, after what is being written."""
        try:
            if self._viewer.volume is not None and self._state() != self._saved and self._scans.root.is_dir():
                await asyncio.wait_for(self._save(), END_S)
        except Exception:  # whatever it is, the process ends, and what was saved before is whole
            logger.warning("The last changes could not be saved.")

    # --- inside

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            self._notice_other_scan()
            try:
                if not self._has_begun and (kept := self._scans.all()):
                    await self._recover(kept[0].key)
                elif self._is_time():
                    await self._save()
            except Exception:
                if not self._scans.root.is_dir():  # the session is being ended
                    return
                logger.exception("The work could not be saved.")
                self._has_failed, self._seen = True, self._state()
                self._say("Your work cannot be kept on the server; save it to your computer.", True)

    def _state(self) -> Any:
        """What differs whenever there is something new to save; without the voxels themselves."""
        viewer, segments = self._viewer, Segments(self._viewer)
        node = viewer.segmentation_node
        parts = []
        for segment_id in segments.ids:
            segment = segments.get(segment_id)
            tags = (get_tag(segment, tag) for tag in (PROMPTS_TAG, TERMINOLOGY_TAG, SLICES_TAG))
            parts.append((segment_id, segment.GetName(), segment.GetColor(), *tags, segment_stamp(node, segment_id)))
        return viewer.volume_node.GetID(), segments.selected, tuple(parts), self._rulers.ends

    def _notice_other_scan(self) -> None:
        """The scan that was open before is one of the earlier ones as soon as another one is open."""
        if self._key and self._viewer.volume is not self._scan:
            self._key, self._scan, self._saved_at = "", None, 0.0
            self._list()

    def _is_worth_it(self) -> bool:
        """Whether there is a segment with voxels, prompts or a name, or a ruler; an empty scan is not kept."""
        segments = Segments(self._viewer)
        return bool(self._rulers.ends) or any(
            not segments.is_unused(known) or saved_prompts(self._viewer, known) for known in segments.ids
        )

    def _is_time(self) -> bool:
        viewer = self._viewer
        if viewer.volume is None or viewer.controller.activity is not Activity.IDLE:
            return False
        now, state = time.monotonic(), self._state()
        if state == self._saved or (self._has_failed and state == self._seen):  # tried again after the next change
            return False
        if self._seen in (None, self._saved):
            self._changed_at = now
        if state != self._seen:
            self._seen, self._seen_at = state, now
        return now - self._seen_at >= REST_S or now - self._changed_at >= LATEST_S

    async def _save(self) -> None:
        async with self._saving:
            state, volume = self._state(), self._viewer.volume
            assert volume is not None
            self._notice_other_scan()
            if self._key or self._is_worth_it():
                work = self._reader.read(volume)
                key = self._key or self._scans.create()
                try:
                    if self._scan is None:
                        await asyncio.to_thread(write_scan, self._scans.folder(key), volume)
                    await asyncio.to_thread(write_work, self._scans.folder(key), work)
                    if not self._key:
                        self._scans.note_open(key)
                except Exception:
                    if not self._key:  # a disk that is full gets no second copy of the scan
                        self._scans.remove(key)
                    raise
                self._key, self._scan, self._has_begun, self._saved_at = key, volume, True, time.time()
            self._saved, self._has_failed = state, False
            self._list()

    async def _recover(self, key: str) -> None:
        """Open what was saved by a process that has ended."""
        try:
            self._say(await self._open(key), False)
        except UserError as error:
            self._scans.remove(key)
            self._say(str(error), True)
        except Exception:  # it is whole, and stays in the list
            logger.exception("Kept work could not be opened.")
            self._has_begun = True
            self._list()
            self._say("The work that is kept on the server could not be opened.", True)

    async def _open(self, key: str) -> str:
        work = await asyncio.to_thread(read_work, self._scans.folder(key))
        saved = next(scan.saved for scan in self._scans.all() if scan.key == key)
        self._viewer.open(work.volume)
        self._opened()
        open_work(self._viewer, work, self._rulers)
        self._scans.note_open(key)
        self._key, self._scan, self._has_begun, self._saved_at = key, work.volume, True, saved
        self._saved = self._seen = self._state()
        self._has_failed = False
        self._list()
        return f"Your work is open as it was at {datetime.fromtimestamp(saved):%H:%M:%S}. Undo begins anew."

    def _list(self) -> None:
        self.earlier = [scan for scan in self._scans.all() if scan.key != self._key]
        self._changed()
