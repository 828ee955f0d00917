"""Saves segments and prompts a few seconds after each change, in a thread, and opens again what was saved."""

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
from EfficientMedSAM2Lib.mrml.scene.prompt_store import PROMPTS_TAG, encode_prompts, get_tag
from EfficientMedSAM2Lib.mrml.scene.segments import TERMINOLOGY_TAG
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.web.session.exports import add_voxels, saved_prompts, to_markups
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.work.files import (
    Work,
    WorkSegment,
    describe_work,
    read_work,
    remove_work,
    write_scan,
    write_work,
)

logger = logging.getLogger(__name__)

#: Seconds between two looks at the scene.
CHECK_S = 0.5
#: It is saved when nothing has changed for so long, in seconds; at the latest so long after the first change.
REST_S, LATEST_S = 1.5, 10.0
#: A session that ends saves what is not saved yet, if that takes no longer, in seconds.
END_S = 2.0


class Autosave:
    """Keeps a session's work in a folder that outlives its process.

    Args:
        viewer: The scene.
        folder: The session's own; what is in it is opened at the start.
        opened: Called when a volume was opened.
        say: Shows a message; the second argument tells whether it is an error.
    """

    def __init__(
        self, viewer: ViewerSession, folder: Path, opened: Callable[[], None], say: Callable[[str, bool], None]
    ) -> None:
        self._viewer, self._folder, self._opened, self._say = viewer, folder, opened, say
        self._scan: Volume | None = None  # whose voxels are in the folder
        self._saved: Any = None  # state of the scene that is in the folder
        self._seen: Any = None
        self._seen_at = self._changed_at = 0.0
        self._masks: dict[str, tuple[Any, Any, Any]] = {}  # stamp, box and voxels of each segment
        self._saving = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                if self._scan is None and describe_work(self._folder) is not None:
                    await self._recover()
                elif self._is_time():
                    await self._save()
            except Exception:
                if not self._folder.is_dir():  # the session is being ended
                    return
                logger.exception("The work could not be saved.")
                self._saved = self._seen  # tried again after the next change
                self._say("Your work cannot be saved on the server; save it to your computer.", True)

    def start(self) -> None:
        """Save from now on."""
        self._running = asyncio.ensure_future(self._run())

    async def finish(self) -> None:
        """The session ends: save what is not saved yet, after what is being written."""
        try:
            if self._viewer.volume is not None and self._state() != self._saved and self._folder.is_dir():
                await asyncio.wait_for(self._save(), END_S)
        except Exception:  # whatever it is, the process ends, and what was saved before is whole
            logger.warning("The last changes could not be saved.")

    def _state(self) -> Any:
        """What differs whenever there is something new to save; without the voxels themselves."""
        viewer, segments = self._viewer, Segments(self._viewer)
        node = viewer.segmentation_node
        parts = []
        for segment_id in segments.ids:
            segment = segments.get(segment_id)
            tags = get_tag(segment, PROMPTS_TAG), get_tag(segment, TERMINOLOGY_TAG)
            parts.append((segment_id, segment.GetName(), segment.GetColor(), *tags, segment_stamp(node, segment_id)))
        return viewer.volume_node.GetID(), segments.selected, tuple(parts)

    def _is_time(self) -> bool:
        viewer = self._viewer
        if viewer.volume is None or viewer.controller.activity is not Activity.IDLE:
            return False
        now, state = time.monotonic(), self._state()
        if state == self._saved:
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
            work = self._work(volume)
            if volume is not self._scan:
                remove_work(self._folder)  # the user has agreed to lose it
                self._scan = None
            if any(s.mask is not None or s.markups for s in work.segments) or self._scan is not None:
                if self._scan is None:
                    await asyncio.to_thread(write_scan, self._folder, volume)
                    self._scan = volume
                await asyncio.to_thread(write_work, self._folder, work)
            self._saved = self._seen = state

    def _work(self, volume: Volume) -> Work:
        """The scene as it is now; only voxels of segments that have changed are copied."""
        viewer, segments = self._viewer, Segments(self._viewer)
        node, masks, found = viewer.segmentation_node, {}, []
        for segment_id in segments.ids:
            segment, stamp = segments.get(segment_id), (id(volume), segment_stamp(node, segment_id))
            if self._masks.get(segment_id, (None,))[0] == stamp:
                _stamp, box, mask = masks[segment_id] = self._masks[segment_id]
            else:
                box = segment_box(node, segment_id, viewer.volume_node)
                mask = None if box is None else read_segment(node, segment_id, viewer.volume_node, box)
                box, mask = (box, mask) if mask is not None and mask.any() else (None, None)
                masks[segment_id] = stamp, box, mask
            red, green, blue = map(float, segment.GetColor())
            color, terminology = (red, green, blue), get_tag(segment, TERMINOLOGY_TAG)
            markups = tuple(to_markups(saved_prompts(viewer, segment_id), volume.ijk_to_ras))
            found.append(WorkSegment(segment_id, segment.GetName(), color, terminology, box, mask, markups))
        self._masks = masks
        return Work(volume, tuple(found), segments.selected)

    async def _recover(self) -> None:
        """Open what was saved by a process that has ended."""
        about = describe_work(self._folder)
        assert about is not None
        try:
            work = await asyncio.to_thread(read_work, self._folder)
        except UserError as error:
            remove_work(self._folder)
            self._say(str(error), True)
            return
        self._viewer.open(work.volume)
        self._opened()
        open_work(self._viewer, work)
        self._scan = work.volume
        self._saved = self._seen = self._state()
        saved = datetime.fromtimestamp(about["saved"]).strftime("%H:%M:%S")
        self._say(f"Your work is open as it was at {saved}. Undo begins anew.", False)


def open_work(viewer: ViewerSession, work: Work) -> None:
    """Make the segments of the open scan those of saved work, with their prompts, which are not asked again."""
    from EfficientMedSAM2Lib.mrml.markups_reader import prompts_of_file
    from EfficientMedSAM2Lib.mrml.scene.prompt_store import show_prompts

    node, segments = viewer.segmentation_node, Segments(viewer)
    for segment_id in segments.ids:
        node.GetSegmentation().RemoveSegment(segment_id)
    for saved in work.segments:
        segment_id = node.GetSegmentation().AddEmptySegment(saved.segment_id, saved.name)
        segment = segments.get(segment_id)
        segment.SetColor(*saved.color)
        if saved.terminology:
            segment.SetTag(TERMINOLOGY_TAG, saved.terminology)
        if saved.mask is not None:
            add_voxels(viewer, segment_id, saved.mask)
        prompts = prompts_of_file(saved.markups, viewer.volume_node)
        segment.SetTag(PROMPTS_TAG, encode_prompts(prompts))
        show_prompts(node, viewer.volume_node, segment_id, prompts)
    if work.selected in segments.ids:
        segments.select(work.selected)
    viewer.port.clear()
    viewer.controller.scene_changed()
