"""Teacher targets on disk: one safetensors file each, under a limit of bytes."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from EfficientMedSAM2Lib.core.files import replacing

logger = logging.getLogger(__name__)


class TargetCache:
    """Tensors by key in a folder that never outgrows its limit; several processes and runs may share it.

    When it is full, files go that nobody has used since this run began, those longest unused first. If all were used,
    nothing more is kept: views come round again and again, and to drop the oldest would be to drop the next one wanted.

    Args:
        folder: Where the files lie; made when missing.
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
        # File systems round times down.
        self._began = time.time() - 0.1
        self._said = False

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, None when they are not there or not whole."""
        path = self._path(key)
        try:
            tensors = load_file(path)
            os.utime(path)  # the time of use
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            path.unlink(missing_ok=True)
            return None
        return tensors

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors, if there is room or room can be made."""
        content = save({name: value.contiguous() for name, value in tensors.items()})
        if not self._make_room(len(content)):
            if not self._said:
                logger.warning("%s is full; further answers of the teacher are not kept.", self.folder)
            self._said = True
            return
        with replacing(self._path(key)) as temporary:
            temporary.write_bytes(content)

    def _make_room(self, needed: int) -> bool:
        """Remove files until so many bytes fit; whether they do."""
        # Counted anew each time, for others write too: milliseconds for thousands of files, a teacher takes a second.
        files = []
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):
                status = entry.stat()
                files.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        for used, size, path in sorted(files):
            if total + needed <= self.limit_bytes or used >= self._began:
                break
            Path(path).unlink(missing_ok=True)
            total -= size
        return total + needed <= self.limit_bytes

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
