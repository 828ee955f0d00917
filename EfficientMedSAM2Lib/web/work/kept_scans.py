"""The scans that a session has worked on, each in a folder of its own; the one that was open last is known."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.web.work.files import INDEX

PREFIX = "scan-"
OPEN = "open"
#: Scans that are kept beside the open one; of a whole-body CT each takes half a gigabyte on the disk.
MOST_EARLIER = 10


@dataclass(frozen=True)
class KeptScan:
    """A scan whose work is on disk.

    Attributes:
        key: Name of its folder.
        name: Of the scan.
        segments: How many.
        saved: When, in seconds since 1970.
    """

    key: str
    name: str
    segments: int
    saved: float

    @property
    def text(self) -> str:
        """For a list."""
        count = f"{self.segments} segment{'s' if self.segments != 1 else ''}"
        return f"{self.name}, {count}, {datetime.fromtimestamp(self.saved):%H:%M}"


class KeptScans:
    """Folders of scans in a session's work folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder

    def folder(self, key: str) -> Path:
        """Where a scan is."""
        return self.root / key

    def create(self) -> str:
        """A folder for another scan; returns its key."""
        key = f"{PREFIX}{uuid.uuid4().hex[:8]}"
        self.folder(key).mkdir(mode=0o700)
        return key

    def remove(self, key: str) -> None:
        """Forget a scan; the index goes first, without which nothing is offered."""
        (self.folder(key) / INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def all(self) -> list[KeptScan]:
        """Those whose files are complete; the one that was open last first, then the one saved last."""
        found = [scan for folder in self.root.glob(f"{PREFIX}*") if (scan := _describe(folder)) is not None]
        try:
            last = (self.root / OPEN).read_text(encoding="utf-8")
        except OSError:
            last = ""
        return sorted(found, key=lambda scan: (scan.key != last, -scan.saved))

    def note_open(self, key: str) -> None:
        """This scan is the open one from now on."""
        with replacing(self.root / OPEN) as temporary:
            temporary.write_text(key, encoding="utf-8")

    def to_drop(self, key: str) -> list[KeptScan]:
        """What has to go before a scan is opened beside the one of ``key``: the oldest of too many."""
        earlier = sorted((scan for scan in self.all() if scan.key != key), key=lambda scan: scan.saved)
        return earlier[: max(len(earlier) + bool(key) - MOST_EARLIER, 0)]


def describe_work(folder: Path) -> tuple[str, float] | None:
    """What a session's work folder holds, for the user, and when it was saved; None where there is nothing."""
    scans = KeptScans(folder).all()
    if not scans:
        return None
    first, saved = scans[0], max(scan.saved for scan in scans)
    count = f"{first.segments} segment{'s' if first.segments != 1 else ''}"
    others = f", and {len(scans) - 1} earlier scan{'s' if len(scans) > 2 else ''}" if scans[1:] else ""
    return f"{first.name}, {count}, saved {datetime.fromtimestamp(first.saved):%Y-%m-%d %H:%M:%S}{others}", saved


def _describe(folder: Path) -> KeptScan | None:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return KeptScan(folder.name, str(index["scan"]["name"]), len(index["segments"]), float(index["saved"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
