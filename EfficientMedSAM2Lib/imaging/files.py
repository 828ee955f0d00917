"""Writing files whole or not at all, and keeping the imaging libraries' own messages off the terminal."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name in the folder of ``path``; what was written there becomes ``path`` when the block succeeds.

    The temporary name ends as ``path`` does, since writers tell the format from it. It is removed when the block fails,
    and what was at ``path`` before is then still there.

    Raises:
        ValueError: the folder does not exist or cannot be written to, or the writer failed.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"Cannot write {target}: it is a folder; give the name of a file.")
    if not target.parent.is_dir():
        raise ValueError(f"Cannot write {target}: there is no folder {target.parent}; create it first.")
    temporary = target.with_name(f".partial-{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise ValueError(f"Cannot write {target}: {error.strerror or error}; choose another place.") from error
    except RuntimeError as error:  # SimpleITK's only kind
        raise ValueError(f"Cannot write {target}: {last_line(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def quiet_libraries() -> Iterator[list[str]]:
    """Collect what C and C++ libraries print to stderr inside the block; the list is filled when the block ends.

    ITK, GDCM, libpng and the NIfTI reader write to the file descriptor itself, so it is the descriptor that is turned
    away. Where there is none (a Windows program without console) nothing is collected.
    """
    lines: list[str] = []
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):
        yield lines
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            text = caught.read().decode("utf-8", errors="replace")
            lines.extend(line for line in text.splitlines() if line.strip())
            for line in lines:
                logger.debug("library message: %s", line)


def last_line(error: BaseException) -> str:
    """The last line of an exception's text: ITK puts the source position first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
