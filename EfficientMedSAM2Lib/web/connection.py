"""What gateway and session do alike with connections and processes."""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

#: What reading the body of a request raises when it is cut off, packed in a wrong way, or no form.
MALFORMED = (
    AssertionError,
    HttpProcessingError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    web.RequestPayloadError,
)


def python_process(module: str) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a process that runs ``main`` of a module of this program."""
    code = f"import sys; from {module} import main; sys.exit(main())"
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def unless_gone(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: a browser that was closed during a transfer is not logged."""
    if not isinstance(context.get("exception"), ConnectionResetError):
        loop.default_exception_handler(context)


def is_same(given: str, wanted: str) -> bool:
    """Whether a secret is right, in a time that tells nothing of it; what came by the network may be any bytes."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), wanted.encode())
