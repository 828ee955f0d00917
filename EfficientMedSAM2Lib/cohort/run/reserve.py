"""Room on the disk that is set aside: SQLite needs some to write down why a case failed on a full disk."""

from __future__ import annotations

from pathlib import Path

SIZE = 4 << 20


class Reserve:
    """A file that takes room until it is needed. Use it as a context manager.

    Args:
        folder: Where; without enough room there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".reserve"
        try:
            self._path.write_bytes(b"\xa5" * SIZE)  # not zeros, which some file systems do not store
        except OSError:
            self.release()

    def release(self) -> None:
        """Give the room back."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Reserve:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
