"""The session's temporary folder: uploads arrive here in bounds, and leave no path behind; names for downloads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from EfficientMedSAM2Lib.core.errors import UserError

MEGABYTE = 2**20
#: A DICOM study of whole-body CT has about 2000 files.
MAX_FILES = 10_000
_ABSOLUTE_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^/\\\s'\":;,()]+){2,}")
#: Folders made here; what is uploaded keeps no folder of its own.
_FOLDER = r"[\w-]+"
#: A file's name has at most 255 bytes on most disks, and is given endings and numbers here.
MAX_NAME = 200
_STRANGE = re.compile(r"[^\w.\- ]+")


class TooLarge(UserError):
    """More was sent than is allowed."""


class Workspace:
    """Files of one session.

    Args:
        folder: An empty folder of this session only; ``clear`` empties it.
        max_bytes: Most that one upload may hold.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    @property
    def limit_text(self) -> str:
        """The limit for the user."""
        return f"{self.max_bytes / MEGABYTE:.0f} MB"

    def inbox(self) -> Inbox:
        """A place for the files of one upload."""
        self.clear()
        return Inbox(self)

    def clear(self) -> None:
        """Remove what was uploaded or made for a download."""
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def without_paths(self, text: str) -> str:
        """A message without any path of this machine."""
        text = re.sub(rf"{re.escape(str(self.folder))}/(?:{_FOLDER}/)*", "", text)
        text = text.replace(str(self.folder), "the upload")
        return _ABSOLUTE_PATH.sub(lambda found: PurePosixPath(found[0].replace("\\", "/")).name, text)


class Inbox:
    """Takes files chunk by chunk and refuses what is too much while it comes in.

    Args:
        workspace: The session's files.
        folder: Where the files go; created.

    Attributes:
        names: Files that have come in.
    """

    def __init__(self, workspace: Workspace, folder: str = "upload") -> None:
        self.workspace = workspace
        self.folder = workspace.folder / folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names: list[str] = []
        self.received = 0

    @property
    def files(self) -> list[Path]:
        """What has come in."""
        return [self.folder / name for name in self.names]

    def create(self, name: str) -> Path:
        """A path for the next file; only the last part of its name is used, cleaned of what is no letter or digit."""
        if len(self.names) >= MAX_FILES:
            raise TooLarge(f"More than {MAX_FILES} files were sent; send one series at a time.")
        clean = _STRANGE.sub("_", PurePosixPath(str(name).replace("\\", "/")).name).strip(" .") or "file"
        clean = _shortened(clean, from_end=True)
        if (self.folder / clean).exists():  # files of the same name from different folders of a study
            clean = f"{len(self.names):05d}-{clean}"
        self.names.append(clean)
        return self.folder / clean

    def count(self, size: int) -> None:
        """More bytes have come in; TooLarge when they are too many."""
        self.received += size
        if self.received > self.workspace.max_bytes:
            raise TooLarge(f"The upload is larger than {self.workspace.limit_text}, which is the limit here.")


def file_name(text: str, ending: str) -> str:
    """A name for a download."""
    return _shortened(_STRANGE.sub("_", text).strip(" .") or "volume") + ending


def _shortened(name: str, from_end: bool = False) -> str:
    while len(name.encode()) > MAX_NAME:
        name = name[1:] if from_end else name[:-1]
    return name


def unique(names: Iterable[str], make: Callable[[str, int], str]) -> list[str]:
    """Names that differ: a name that has come up before is made anew with a number."""
    taken: list[str] = []
    for name in names:
        wanted, number = name, 2
        while wanted.lower() in (other.lower() for other in taken):
            wanted, number = make(name, number), number + 1
        taken.append(wanted)
    return taken
