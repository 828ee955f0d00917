"""Standard streams of a command that may be pipes, closed, or of an encoding that not every name fits in."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class _Pipe(io.FileIO):
    """A stream whose reader may go away, as `| head` does: what is written after that is dropped, the work goes on.

    Any other error, such as a full disk, is raised once; what is left over is dropped too.
    """

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise
            return super().write(data)


def prepare_streams() -> None:
    """Make standard output and error of this process accept everything, for as long as the process lives.

    A result that was computed must not be lost because a name of it cannot be printed, because a pipe was closed, or
    because there is no stderr at all. Streams that somebody has put in their place stay as they are.
    """
    _open_closed_descriptors()
    for name in ("stdout", "stderr"):
        given, own = getattr(sys, name), getattr(sys, f"__{name}__")
        if given is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open for as long as the process)
        elif given is own and isinstance(given, io.TextIOWrapper) and not isinstance(_raw(given), _Pipe):
            given.flush()
            stream = io.TextIOWrapper(
                io.BufferedWriter(_Pipe(given.fileno(), "w", closefd=False)),
                encoding=given.encoding,
                errors="backslashreplace",
                line_buffering=given.line_buffering or name == "stderr",
            )
        else:
            continue
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _raw(stream: io.TextIOWrapper) -> Any:
    return getattr(stream.buffer, "raw", None)


def _open_closed_descriptors() -> None:
    """Where 0, 1 or 2 is closed (`2>&-`), the next file would get its number, and libraries' messages."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
