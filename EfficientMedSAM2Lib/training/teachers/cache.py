"""Lessons on disk: one safetensors file each, under a limit of bytes."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

logger = logging.getLogger(__name__)


class LessonCache:
    """Tensors by key in a folder that never outgrows its limit.

    When it is full, files that this run has not used go, those longest unused first. If all were used, nothing more is
    kept: views come round again and again, and to drop the oldest would be to drop the next one wanted.

    Args:
        folder: Where the files lie; made when missing. Several runs may share it.
        limit_bytes: Bytes that all files together may have.

    Raises:
        ValueError: The folder cannot be made.
    """

    def __init__(self, folder: Path, limit_bytes: int = 10 * 2**30) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"The folder {folder} for the teacher's answers cannot be made: {error}") from error
        found = {path: path.stat() for path in self.folder.glob("*.safetensors")}
        self.bytes = sum(status.st_size for status in found.values())
        self._unused = sorted(found, key=lambda path: found[path].st_mtime)
        self._used: set[Path] = set()
        self._said = False

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, None when they are not there or not whole."""
        path = self._path(key)
        try:
            tensors = load_file(path)
            os.utime(path, (time.time(), time.time()))
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            self._remove(path)
            return None
        self._used.add(path)
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors, if there is room or room can be made."""
        path = self._path(key)
        need = sum(value.numel() * value.element_size() for value in tensors.values()) + 4096
        while self.bytes + need > self.limit_bytes and self._unused:
            oldest = self._unused.pop(0)
            if oldest not in self._used:
                self._remove(oldest)
        if self.bytes + need > self.limit_bytes:
            if not self._said:
                logger.warning("%s is full; further answers of the teacher are not kept.", self.folder)
            self._said = True
            return
        temporary = path.with_suffix(f".{os.getpid()}.part")
        try:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
            self.bytes += temporary.stat().st_size - (path.stat().st_size if path.exists() else 0)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self._used.add(path)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:
            return  # another run was faster
        self.bytes -= size
