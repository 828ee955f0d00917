"""The log of gateway and sessions: what users send stays within its line."""

from __future__ import annotations

import copy
import logging
from typing import Any

from EfficientMedSAM2Lib.imaging.formats.files import one_line


class OneLineFormatter(logging.Formatter):
    """A message is one line, whatever is in it; a traceback follows it indented, so that it cannot look like one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one; none for requests that are no HTTP: anybody can send them."""
        own = copy.copy(record)
        own.exc_text = None  # another formatter's
        if own.exc_info and type(own.exc_info[1]).__module__ == "aiohttp.http_exceptions":
            own.msg, own.exc_info = f"{own.msg} ({type(own.exc_info[1]).__name__})", None
        return super().format(own)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return "\n".join(f"    | {one_line(line)}" for line in super().formatException(ei).splitlines())


def set_up_log() -> None:
    """Warnings and errors of this process go to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
