"""Folders with the work of sessions, kept for the browser that it belongs to after a process or server has ended.

The browser shows that it is the owner by the key of its session, of which the folder holds the hash only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from EfficientMedSAM2Lib.web.connection import is_same
from EfficientMedSAM2Lib.web.work.kept_scans import describe_work

logger = logging.getLogger(__name__)

#: Folders of servers in the temporary folder; each has a file that its server holds a lock on as long as it runs.
ROOT_PREFIX = "efficient-medsam2-web-"
PREFIX, LOCK = "work-", "lock"
#: Hash of the owner's key. Its time says when the session was last known to run.
OWNER = "owner"


@dataclass(frozen=True)
class KeptWork:
    """Work that can be gone on with.

    Attributes:
        name: Of its folder, without the prefix.
        text: What it is, for the user.
    """

    name: str
    text: str


class Works:
    """Work folders of a gateway.

    Args:
        root: The gateway's own folder.
        keep_s: Work is kept for so long after its session was known to run.
    """

    def __init__(self, root: Path, keep_s: float) -> None:
        self.root, self.keep_s = root, keep_s
        self._in_use: set[str] = set()
        self._lock = _locked(root)  # given back by the system, however this process ends

    def create(self) -> str:
        """A folder for a new session; returns its name."""
        name = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.root)).name[len(PREFIX) :]
        self._in_use.add(name)
        return name

    def folder(self, name: str) -> Path:
        """Where the work is."""
        return self.root / f"{PREFIX}{name}"

    def own(self, name: str, key: str) -> None:
        """The browser with this key owns it from now on."""
        (self.folder(name) / OWNER).write_text(_hash(key), encoding="utf-8")

    def note_running(self, name: str) -> None:
        """Its session runs."""
        with contextlib.suppress(OSError):
            os.utime(self.folder(name) / OWNER)

    def release(self, name: str) -> None:
        """Its session was not ended by its user: what is saved can be gone on with; an empty folder goes."""
        self._in_use.discard(name)
        if describe_work(self.folder(name)) is None:
            shutil.rmtree(self.folder(name), ignore_errors=True)

    def remove(self, name: str) -> None:
        """The session was ended on purpose."""
        self._in_use.discard(name)
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def of(self, keys: dict[str, str]) -> list[KeptWork]:
        """Work whose session has ended, of a browser that has these keys by name; the newest first."""
        found = []
        for name, key in keys.items():
            if name in self._in_use or not self._is_owner(name, key):
                continue
            about = describe_work(self.folder(name))
            if about is not None:
                text, saved = about
                found.append((saved, KeptWork(name, text)))
        return [work for _saved, work in sorted(found, key=lambda item: -item[0])]

    def move(self, name: str, target: str) -> None:
        """Work becomes that of a new session, whose owner stays."""
        source, folder = self.folder(name), self.folder(target)
        if not source.is_dir():  # its time was over
            return
        os.replace(folder / OWNER, source / OWNER)
        shutil.rmtree(folder)  # nothing is in it: nobody has worked there yet
        os.rename(source, folder)

    def sweep(self) -> None:
        """Remove work whose time is over."""
        for folder in self.root.glob(f"{PREFIX}*"):
            name = folder.name[len(PREFIX) :]
            try:
                age = time.time() - (folder / OWNER).stat().st_mtime
            except OSError:
                age = 0.0 if name in self._in_use else self.keep_s + 1
            if name not in self._in_use and age > self.keep_s:
                logger.warning("Saved work of a session that had ended was removed after %.0f seconds.", age)
                shutil.rmtree(folder, ignore_errors=True)

    def adopt_leftovers(self) -> None:
        """Take over the work in folders of servers of this user that have ended, and remove all else in them."""
        if os.name == "posix":
            for folder in Path(tempfile.gettempdir()).glob(f"{ROOT_PREFIX}*"):
                with contextlib.suppress(OSError):
                    is_own = not folder.is_symlink() and folder.lstat().st_uid == os.getuid() and folder != self.root
                    lock = _locked(folder) if is_own and (folder / LOCK).is_file() else None  # else it just starts
                    if lock is not None:
                        self._adopt(folder)
                        lock.close()
        self.sweep()

    def close(self) -> int:
        """The server ends: remove what is empty; returns how much work is kept."""
        self._in_use = set()
        for folder in self.root.glob(f"{PREFIX}*"):
            self.release(folder.name[len(PREFIX) :])
        return len(list(self.root.glob(f"{PREFIX}*")))

    def _adopt(self, folder: Path) -> None:
        for work in folder.glob(f"{PREFIX}*"):
            if not work.is_symlink() and describe_work(work) is not None:
                os.rename(work, self.root / work.name)
        shutil.rmtree(folder, ignore_errors=True)

    def _is_owner(self, name: str, key: str) -> bool:
        try:
            owner = (self.folder(name) / OWNER).read_text(encoding="utf-8")
        except OSError:
            return False
        return is_same(_hash(key), owner)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _locked(folder: Path) -> IO[bytes] | None:
    """A file of the folder that is open and locked; None when another process has locked it, or the system cannot."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    stream = (folder / LOCK).open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream
