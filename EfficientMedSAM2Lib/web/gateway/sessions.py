"""Session processes: one for each browser, started when it comes, ended when it has been away for long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.web.connection import python_process
from EfficientMedSAM2Lib.web.gateway.works import ROOT_PREFIX, Works
from EfficientMedSAM2Lib.web.session.config import SessionConfig

logger = logging.getLogger(__name__)

#: A process may take so long to start, to end, and to save what is new before it ends, in seconds.
START_S, END_S, SAVE_S = 120.0, 3.0, 8.0
#: A new session whose page asks for nothing, and never opens its web socket, is ended after so long, in seconds.
CONNECT_S = 45.0
KEY_BYTES = 32


class TooManySessions(Exception):
    """As many sessions as are allowed are running."""


class Session:
    """A process and its folder.

    Attributes:
        work: Name of its work folder.
        kept: Name of earlier work that its page will go on with, "" for none.
        base_url: Where it serves.
        secret: What its requests have to carry.
        connections: Open web sockets.
        was_connected: Whether there has been one.
        seen: When it was used last.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: str, work: str, secret: str, port: int) -> None:
        self.process, self.folder, self.work, self.secret = process, folder, work, secret
        self.base_url = f"http://127.0.0.1:{port}"
        self.kept = ""
        self.connections, self.was_connected = 0, False
        self.seen = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.returncode is None

    async def end(self, seconds: float = END_S) -> None:
        """End the process, and remove its files whatever it did; it may take so long to save what is new."""
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
            await asyncio.wait_for(self.process.wait(), seconds)
        except (asyncio.TimeoutError, OSError):
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            with contextlib.suppress(asyncio.TimeoutError):  # a busy system takes its time to free a gigabyte
                await asyncio.wait_for(self.process.wait(), END_S)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All sessions of a gateway.

    Args:
        options: ``max_bytes``, ``volume``, ``network`` and ``tasks`` of every SessionConfig.
        most: Sessions at a time; each needs about 1 GB of memory besides its scan.
        idle_s: A session without a page is ended after so long.
        keep_s: Its work is kept for so long after that, or after a crash.

    Attributes:
        kept: After ``close``: of how many sessions work is kept.
    """

    def __init__(self, options: dict[str, Any], most: int, idle_s: float, keep_s: float) -> None:
        self.options, self.most, self.idle_s = options, most, idle_s
        self._running: dict[str, Session] = {}
        self._starting = self.kept = 0
        self._spare: asyncio.Task[Session] | None = None
        self._root = tempfile.mkdtemp(prefix=ROOT_PREFIX)
        self.works = Works(Path(self._root), keep_s)
        self.works.adopt_leftovers()

    @property
    def count(self) -> int:
        """Sessions that run or start."""
        return len(self._running) + self._starting

    def get(self, key: str) -> Session | None:
        """A browser's session, if it still runs."""
        session = self._running.get(key)
        if session is not None and not session.is_alive:
            logger.warning("A session process has ended by itself with code %s.", session.process.returncode)
            del self._running[key]
            shutil.rmtree(session.folder, ignore_errors=True)
            self.works.release(session.work)
            return None
        return session

    def has_room(self) -> bool:
        """Whether another session may begin."""
        for key in list(self._running):
            self.get(key)
        return self.count < self.most

    def prepare(self) -> None:
        """Start a process for whoever comes first: that takes seconds."""
        if self._spare is None and self.count < self.most:
            self._spare = asyncio.ensure_future(self._start())

    async def open(self, kept: str = "") -> str:
        """A session for a new browser; returns its key.

        Args:
            kept: Name of kept work that it goes on with, which the browser owns.

        Raises:
            TooManySessions: as many as are allowed are running.
            RuntimeError: the process does not start.
        """
        if not self.has_room():
            raise TooManySessions
        self._starting += 1
        try:
            spare, self._spare = self._spare, None
            session = await (spare if spare is not None else self._start())
            if not session.is_alive:
                session = await self._start()
        finally:
            self._starting -= 1
        key = secrets.token_urlsafe(KEY_BYTES)
        session.seen = time.monotonic()
        self._running[key] = session
        self.works.own(session.work, key)
        session.kept = kept
        return key

    def connected(self, session: Session) -> None:
        """Its page is there: kept work becomes its own. An aborted load, before, loses nothing."""
        kept, session.kept = session.kept, ""
        if kept:
            self.works.move(kept, session.work)

    async def end(self, key: str, keep_work: bool = False) -> None:
        """End a browser's session and remove its data, or all but the saved work."""
        session = self._running.pop(key, None)
        if session is not None:
            if not keep_work:
                self.works.remove(session.work)
            await session.end(SAVE_S if keep_work else END_S)
            self.works.release(session.work)

    async def watch(self) -> None:
        """End sessions whose page has been closed for too long; until cancelled."""
        while True:
            await asyncio.sleep(min(max(min(self.idle_s, CONNECT_S) / 10, 0.2), 30.0))
            now = time.monotonic()
            for key, session in list(self._running.items()):
                patience = self.idle_s if session.was_connected else min(CONNECT_S, self.idle_s)
                if self.get(key) is None:
                    continue
                self.works.note_running(session.work)
                if session.connections:
                    session.seen = now
                elif now - session.seen > patience:
                    logger.warning("A session was ended after %.0f seconds without its page.", patience)
                    await self.end(key, keep_work=True)
            self.works.sweep()

    async def close(self) -> None:
        """End all sessions; what they have saved is kept for the next server."""
        if self._spare is not None:
            self._spare.cancel()  # one that still starts is not waited for
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await (await self._spare).end()
        await asyncio.gather(*(self.end(key, keep_work=True) for key in list(self._running)))
        self.kept = self.works.close()
        if not self.kept:
            shutil.rmtree(self._root, ignore_errors=True)

    async def _start(self) -> Session:
        folder, secret = tempfile.mkdtemp(prefix="session-", dir=self._root), secrets.token_urlsafe(KEY_BYTES)
        work = self.works.create()
        command, environment = python_process("EfficientMedSAM2Lib.web.session.process")
        scratch = Path(folder) / "scratch"  # of its libraries, which do not clean up when a process is ended
        scratch.mkdir()
        environment.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            config = SessionConfig(secret, folder, str(self.works.folder(work)), **self.options)
            process.stdin.write(f"{config.to_json()}\n".encode())
            await asyncio.wait_for(process.stdin.drain(), START_S)
            line = await asyncio.wait_for(process.stdout.readline(), START_S)
            port = int(json.loads(line)["port"])
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
            shutil.rmtree(folder, ignore_errors=True)
            self.works.remove(work)
            if not isinstance(error, Exception):
                raise
            raise RuntimeError("A session could not be started; the log of the server tells why.") from error
        return Session(process, folder, work, secret, port)
