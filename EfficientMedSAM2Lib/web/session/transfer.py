"""HTTP routes of a session for files: what is uploaded is opened, what is asked for is written and sent."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import BodyPartReader, web

from ...imaging.files import one_line
from ...imaging.markups import markup_name, read_markups
from ...imaging.volumes import Volume, read_volume
from ...mrml.effect.action_queue import Activity
from ...mrml.markups_reader import prompts_of_file
from ...resources import sample_scan
from ..connection import MALFORMED
from .desk import Desk
from .exports import KINDS, add_prompts, add_segments, prepare
from .reader import Read, read_upload
from .workspace import MEGABYTE, TooLarge, Workspace

logger = logging.getLogger(__name__)

CHUNK = MEGABYTE
#: Seconds between two looks whether prompts have been answered.
LOOK_S = 0.03


class Transfer:
    """Uploads and downloads of one session.

    Args:
        desk: The scene.
        workspace: The session's files.
        opened: Called when a volume was opened.
    """

    def __init__(self, desk: Desk, workspace: Workspace, opened: Callable[[], None]) -> None:
        self.desk, self.workspace, self._opened = desk, workspace, opened
        self._lock = asyncio.Lock()

    def routes(self) -> list[Any]:
        """Routes for the session's web application."""
        return [
            web.post("/upload", self.upload),
            web.post("/sample", self.sample),
            web.get("/download/{kind}", self.download),
        ]

    async def upload(self, request: web.Request) -> web.Response:
        """Open the files of a multipart form."""
        if self._lock.locked():
            return _refusal(409, "Another file is being opened; wait until it is shown.")
        async with self._lock:
            if (request.content_length or 0) > self.workspace.max_bytes + MEGABYTE:
                return _refusal(413, f"The upload is larger than {self.workspace.limit_text}, which is the limit here.")
            try:
                files = await self._receive(request)
                volume = self.desk.volume
                read = await read_upload(self.workspace, files, volume)
                if read.segments and self.desk.volume is not volume:
                    raise ValueError("Another volume was opened meanwhile; open the segmentation again.")
                text = await self._open(read)
            except TooLarge as error:
                return _refusal(413, self.workspace.public(str(error)))
            except ValueError as error:
                return _refusal(415, self.workspace.public(str(error)))
            except (MemoryError, OSError, RuntimeError) as error:  # of this machine, not of the file
                logger.exception("An upload could not be opened.")
                return _refusal(
                    503, f"The server could not open the file ({type(error).__name__}); its log tells more."
                )
            finally:
                self.workspace.clear()
        return web.json_response({"message": text})

    async def sample(self, _request: web.Request) -> web.Response:
        """Open the sample scan."""
        async with self._lock:
            await self.open_path(sample_scan())
        return web.json_response({"message": "The sample scan is open."})

    async def open_path(self, path: Path) -> None:
        """Open a file of this machine that the command line, not the browser, has named."""
        self._show(await asyncio.to_thread(read_volume, path))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Write a file and send it."""
        kind = request.match_info["kind"]
        if kind not in KINDS:
            return _refusal(404, "There is no such download.")
        try:
            name, write = prepare(self.desk, kind)
        except ValueError as error:
            return _refusal(409, str(error))
        folder = self.workspace.folder / f"download-{id(request)}"
        folder.mkdir()
        path = folder / name
        try:
            await asyncio.to_thread(write, path)
            response = web.StreamResponse(headers=_attachment(name, path.stat().st_size))
            await response.prepare(request)
            with path.open("rb") as stream:
                while chunk := await asyncio.to_thread(stream.read, CHUNK):
                    await response.write(chunk)
            await response.write_eof()
            return response
        except (OSError, RuntimeError, ValueError) as error:
            return _refusal(503, self.workspace.public(str(error)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _receive(self, request: web.Request) -> list[Path]:
        inbox = self.workspace.inbox()
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader) or not part.filename:
                    continue
                with inbox.create(part.filename).open("wb") as stream:
                    while chunk := await part.read_chunk(CHUNK):
                        inbox.count(len(chunk))
                        stream.write(chunk)
        except TooLarge:
            raise
        except MALFORMED as error:
            raise ValueError("Files have to be sent as a form, as the page does.") from error
        if not inbox.files:
            raise ValueError("Nothing was sent; choose a file, or the files of a DICOM series.")
        return inbox.files

    async def _open(self, read: Read) -> str:
        if read.markups:
            return await self._use_markups(read.markups)
        if read.volume is not None:
            self._show(read.volume)
            return " ".join([f"{read.name} is open.", *read.volume.notes])
        count = add_segments(self.desk, list(read.segments))
        return f"{count} segment{'s were' if count > 1 else ' was'} added from {read.name}."

    async def _use_markups(self, files: Sequence[Path]) -> str:
        """Files of prompts, each for the segment of its name; all are read before the first is used."""
        volume, controller = self.desk.volume, self.desk.controller
        if volume is None:
            raise ValueError("Prompts need their volume; open the volume first.")
        named = [(markup_name(path), await asyncio.to_thread(read_markups, path)) for path in files]
        for _name, markups in named:
            prompts_of_file(markups, self.desk.volume_node)
        for name, markups in named:
            await self._settled()
            if self.desk.volume is not volume:
                raise ValueError("Another volume was opened meanwhile; open the prompts again.")
            add_prompts(self.desk, name, markups)
        await self._settled()
        if controller.is_error:
            raise ValueError(controller.message)
        names = ", ".join(name for name, _markups in named)
        return f"The prompts for {names} were used."

    async def _settled(self) -> None:
        """Until the network is loaded and has answered what was asked."""
        while self.desk.controller.activity is not Activity.IDLE:
            await asyncio.sleep(LOOK_S)

    def _show(self, volume: Volume) -> None:
        self.desk.open(volume)
        self._opened()


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": one_line(text)}, status=status)


def _attachment(name: str, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
    }
