"""Session processes: one for each browser, started when it comes, ended when it has been away for long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.web.connection import python_process
from EfficientMedSAM2Lib.web.session.config import SessionConfig

logger = logging.getLogger(__name__)

START_S, END_S = 120.0, 3.0
#: A new session whose page asks for nothing, and never opens its web socket, is ended after so long, in seconds.
CONNECT_S = 45.0
KEY_BYTES = 32


#: Folders of servers in the temporary folder, with the number of their process behind it.
PREFIX = "efficient-medsam2-web-"


def remove_leftovers() -> None:
    """Remove folders of servers of this user that were killed: nobody else does, and scans may be in them."""
    if os.name != "posix":  # a number of a process tells nothing there
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name[len(PREFIX) :].split("-")[0]
        with contextlib.suppress(OSError):
            if number.isdecimal() and folder.lstat().st_uid == os.getuid() and not _is_running(int(number)):
                shutil.rmtree(folder, ignore_errors=True)


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class TooManySessions(Exception):
    """As many sessions as are allowed are running."""


class Session:
    """A process and its folder.

    Attributes:
        base_url: Where it serves.
        secret: What its requests have to carry.
        connections: Open web sockets.
        was_connected: Whether there has been one.
        seen: When it was used last.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: str, secret: str, port: int) -> None:
        self.process, self.folder, self.secret = process, folder, secret
        self.base_url = f"http://127.0.0.1:{port}"
        self.connections, self.was_connected = 0, False
        self.seen = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.returncode is None

    async def end(self) -> None:
        """End the process, and remove its files whatever it did."""
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
            await asyncio.wait_for(self.process.wait(), END_S)
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
        options: ``max_bytes``, ``volume`` and ``network`` of every SessionConfig.
        most: Sessions at a time; each needs about 1 GB of memory besides its scan.
        idle_s: A session without a page is ended after so long.
    """

    def __init__(self, options: dict[str, Any], most: int, idle_s: float) -> None:
        self.options, self.most, self.idle_s = options, most, idle_s
        self._running: dict[str, Session] = {}
        self._starting = 0
        self._spare: asyncio.Task[Session] | None = None
        remove_leftovers()
        self._root = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")

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

    async def open(self) -> str:
        """A session for a new browser; returns its key.

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
        return key

    async def end(self, key: str) -> None:
        """End a browser's session and remove its data."""
        session = self._running.pop(key, None)
        if session is not None:
            await session.end()

    async def watch(self) -> None:
        """End sessions whose page has been closed for too long; until cancelled."""
        while True:
            await asyncio.sleep(min(max(min(self.idle_s, CONNECT_S) / 10, 0.2), 30.0))
            now = time.monotonic()
            for key, session in list(self._running.items()):
                patience = self.idle_s if session.was_connected else min(CONNECT_S, self.idle_s)
                if session.connections:
                    session.seen = now
                elif now - session.seen > patience:
                    logger.warning("A session was ended after %.0f seconds without its page.", patience)
                    await self.end(key)

    async def close(self) -> None:
        """End all sessions."""
        if self._spare is not None:
            self._spare.cancel()  # one that still starts is not waited for
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await (await self._spare).end()
        await asyncio.gather(*(self.end(key) for key in list(self._running)))
        shutil.rmtree(self._root, ignore_errors=True)

    async def _start(self) -> Session:
        folder, secret = tempfile.mkdtemp(prefix="session-", dir=self._root), secrets.token_urlsafe(KEY_BYTES)
        command, environment = python_process("EfficientMedSAM2Lib.web.session.process")
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
            config = SessionConfig(secret, folder, **self.options)
            process.stdin.write(f"{config.to_json()}\n".encode())
            await process.stdin.drain()
            line = await asyncio.wait_for(process.stdout.readline(), START_S)
            port = int(json.loads(line)["port"])
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, Exception):
                raise
            raise RuntimeError("A session could not be started; the log of the server tells why.") from error
        return Session(process, folder, secret, port)
