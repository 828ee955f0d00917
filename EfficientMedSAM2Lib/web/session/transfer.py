"""HTTP routes of a session for files: what is uploaded is opened, what is asked for is written and sent."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from aiohttp import BodyPartReader, web

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.dicom.kept_series import with_headers
from EfficientMedSAM2Lib.imaging.formats.files import one_line
from EfficientMedSAM2Lib.imaging.markups import read_markups, segment_name
from EfficientMedSAM2Lib.imaging.sample import sample_scan
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume
from EfficientMedSAM2Lib.mrml.effect.action_queue import Activity
from EfficientMedSAM2Lib.mrml.markups_reader import prompts_of_file
from EfficientMedSAM2Lib.web.connection import MALFORMED
from EfficientMedSAM2Lib.web.session.exports import KINDS, prepare
from EfficientMedSAM2Lib.web.session.imports import add_prompts, add_segments, note_answered
from EfficientMedSAM2Lib.web.session.reader import UploadContent, read_upload
from EfficientMedSAM2Lib.web.session.segments import Segments
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import MEGABYTE, TooLarge, Workspace

logger = logging.getLogger(__name__)

CHUNK = MEGABYTE
#: Seconds between two checks whether prompts have been answered.
POLL_S = 0.03
#: The network may take so long to load or to answer prompts of files, in seconds.
ANSWERED_S = 300.0


class EarlierScan(Protocol):
    """A scan of this session that can be gone back to."""

    @property
    def text(self) -> str:
        """Its name and what it holds."""


class EarlierWork(Protocol):
    """Keeps the work on a scan when another one is opened."""

    async def put_aside(self) -> None:
        """Save the work on the open scan; UserError when that cannot be done."""

    def to_drop(self) -> Sequence[EarlierScan]:
        """What there is no room for any more then."""

    async def go_back(self, key: str) -> str:
        """Open an earlier scan; returns what to tell the user."""


@dataclass(frozen=True)
class UploadAnswers:
    """What the user has said of an upload, by the names of the questions.

    Attributes:
        replace: Whether segments of the open scan may be lost.
        kind: "segments" or "scan" for what may be either, empty where nothing was said.
        time_point: Of a time series, None where nothing was said.
        series: Of several DICOM series, from 1, None where nothing was said.
    """

    replace: bool = False
    kind: str = ""
    time_point: int | None = None
    series: int | None = None

    @classmethod
    def of(cls, request: web.Request) -> UploadAnswers:
        """From the address of a request.

        Raises:
            UserError: A time point or a series that is no number.
        """
        numbers = {
            "time_point": "A time point is a whole number from 0 on.",
            "series": "A series is a number from 1 on.",
        }
        found: dict[str, int] = {}
        for name, text in numbers.items():
            given = request.query.get(name, "")
            if given and not (given.isdecimal() and given.isascii() and len(given) < 8):
                raise UserError(text)
            if given:
                found[name] = int(given)
        return cls(request.query.get("replace") == "yes", request.query.get("kind", ""), **found)


class Transfer:
    """Uploads and downloads of one session.

    Args:
        viewer: The scene.
        workspace: The session's files.
        opened: Called when a volume was opened.
        earlier: Keeps what was open before.
    """

    def __init__(
        self, viewer: ViewerSession, workspace: Workspace, opened: Callable[[], None], earlier: EarlierWork
    ) -> None:
        self.viewer, self.workspace, self._opened, self._earlier = viewer, workspace, opened, earlier
        self._lock = asyncio.Lock()

    def routes(self) -> list[Any]:
        """Routes for the session's web application."""
        return [
            web.post("/upload", self.upload),
            web.post("/sample", self.sample),
            web.post("/earlier", self.earlier),
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
                answers = UploadAnswers.of(request)
                files = await self._receive(request)
                volume = self.viewer.volume
                read = await read_upload(
                    self.workspace,
                    files,
                    volume,
                    time_point=answers.time_point,
                    as_segments=answers.kind == "segments",
                    series=answers.series,
                )
                if read.segments and self.viewer.volume is not volume:
                    raise UserError("Another volume was opened in the meantime; open the segmentation again.")
                question = self._question(read, answers)
                if question is not None:
                    return web.json_response(question)
                text = await self._open(read)
            except TooLarge as error:
                return _refusal(413, self.workspace.without_paths(str(error)))
            except ValueError as error:
                return _refusal(415, self.workspace.without_paths(str(error)))
            except (MemoryError, OSError, RuntimeError) as error:  # of this machine, not of the file
                logger.exception("An upload could not be opened.")
                return _refusal(
                    503, f"The server could not open the file ({type(error).__name__}); its log tells more."
                )
            finally:
                self.workspace.clear()
        return web.json_response({"message": text})

    async def sample(self, request: web.Request) -> web.Response:
        """Open the sample scan."""
        question = self._loss("The sample", UploadAnswers(replace=request.query.get("replace") == "yes"))
        if question is not None:
            return web.json_response(question)
        async with self._lock:
            try:
                await self.open_path(sample_scan())
            except UserError as error:
                return _refusal(503, str(error))
        return web.json_response({"message": "The sample scan is open."})

    async def earlier(self, request: web.Request) -> web.Response:
        """Go back to a scan that was open before."""
        if self._lock.locked():
            return _refusal(409, "Another file is being opened; wait until it is shown.")
        async with self._lock:
            try:
                text = await self._earlier.go_back(request.query.get("key", ""))
            except UserError as error:
                return _refusal(409, str(error))
        return web.json_response({"message": text})

    async def open_path(self, path: Path) -> None:
        """Open a file of this machine that the command line, not the browser, has named."""
        await self._show(await asyncio.to_thread(lambda: with_headers(read_volume(path))))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Write a file and send it."""
        kind = request.match_info["kind"]
        if kind not in KINDS:
            return _refusal(404, "There is no such download.")
        try:
            name, write = prepare(self.viewer, kind)
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
            return _refusal(503, self.workspace.without_paths(str(error)))
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
            raise UserError("Files have to be sent as a form, as the page does.") from error
        if not inbox.files:
            raise UserError("Nothing was sent; choose a file, or the files of a DICOM series.")
        return inbox.files

    def _question(self, read: UploadContent, answers: UploadAnswers) -> dict[str, Any] | None:
        """What the user has to say before a file is opened; the page sends it again with the answer. None for nothing.

        What a file states is not guessed, and nothing that was made is thrown away unasked.
        """
        if read.series:
            lines = [f"{number}: {text}" for number, text in enumerate(read.series, start=1)]
            text = "\n".join([f"{read.name} holds {len(lines)} series. Which one, from 1 to {len(lines)}?", *lines])
            return {"question": "series", "text": text}
        if read.time_points:
            last = read.time_points - 1
            text = f"{read.name} holds {read.time_points} volumes. Which one, from 0 to {last}?"
            return {"question": "time_point", "text": text}
        if read.is_labelmap and not answers.kind:
            text = (
                f"{read.name} looks like labels on the open scan. Add them as segments? Otherwise it opens as a scan."
            )
            return {"question": "kind", "text": text}
        return self._loss(read.name, answers) if read.volume is not None else None

    def _loss(self, name: str, answers: UploadAnswers) -> dict[str, Any] | None:
        """The question before another scan takes the place of segments, which are kept to be gone back to."""
        segments = Segments(self.viewer) if self.viewer.volume is not None else None
        made = [] if segments is None else [name for name in segments.ids if not segments.is_unused(name)]
        if not made or answers.replace:
            return None
        count = f"{len(made)} segments" if len(made) > 1 else "1 segment"
        text = f"{name} takes the place of the open scan, whose {count} and prompts are kept: Earlier scans leads back."
        dropped = ", ".join(scan.text for scan in self._earlier.to_drop())
        if dropped:
            text += f" There is no room to keep this one any longer: {dropped}."
        return {"question": "replace", "text": f"{text} Open it?"}

    async def _open(self, read: UploadContent) -> str:
        texts = []
        if read.volume is not None:
            await self._show(read.volume)
            texts += [f"{read.name} is open.", *read.volume.notes]
        if read.segments:
            await self._settled()
            count = add_segments(self.viewer, read.segments)
            source = "" if read.volume is not None else f" from {read.name}"
            texts.append(f"{count} segment{'s were' if count > 1 else ' was'} added{source}.")
        if read.markups:
            texts.append(await self._use_markups(read.markups))
        return " ".join(texts)

    async def _use_markups(self, files: Sequence[Path]) -> str:
        """Files of prompts, each for the segment of its name; all are read before the first is used."""
        volume, controller = self.viewer.volume, self.viewer.controller
        if volume is None:
            raise UserError("Prompts need their volume; open the volume first.")
        read = [(path, await asyncio.to_thread(read_markups, path)) for path in files]
        named = [(segment_name(path, markups), markups) for path, markups in read]
        for _name, markups in named:
            prompts_of_file(markups, self.viewer.volume_node)
        asked: list[str] = []
        for name, markups in named:
            await self._settled()
            if self.viewer.volume is not volume:
                raise UserError("Another volume was opened in the meantime; open the prompts again.")
            if add_prompts(self.viewer, name, markups):
                asked.append(name)
                await self._settled()
                if controller.is_error:
                    raise UserError(controller.message)
                note_answered(self.viewer)
        texts = [f"The prompts for {', '.join(asked)} were used."] if asked else []
        kept = [name for name, _markups in named if name not in asked]
        if kept:
            texts.append(f"The prompts for {', '.join(kept)} were added; its voxels stay as they are.")
        return " ".join(texts)

    async def _settled(self) -> None:
        """Until the network is loaded and has answered what was asked; UserError when that takes too long."""
        until = time.monotonic() + ANSWERED_S
        while self.viewer.controller.activity is not Activity.IDLE:
            if time.monotonic() > until:
                raise UserError("The network is still busy; open the prompts again when it is idle.")
            await asyncio.sleep(POLL_S)

    async def _show(self, volume: Volume) -> None:
        await self._earlier.put_aside()
        self.viewer.open(volume)
        self._opened()


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": one_line(text)}, status=status)


def _attachment(name: str, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
    }
