"""What gateway and session do alike with connections."""

from __future__ import annotations

import asyncio
from typing import Any


def unless_gone(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: nothing is told of a browser that was closed with something on its way."""
    if not isinstance(context.get("exception"), ConnectionResetError):
        loop.default_exception_handler(context)
