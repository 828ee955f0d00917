"""The few pages that the gateway shows itself: the button that starts, asking for the token, no room, session ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.web.gateway.works import KeptWork

_TEMPLATE = Environment(loader=FileSystemLoader(resource_path("Web")), autoescape=True).get_template("gateway.html")


def _page(title: str, text: str = "", status: int = 200, **values: Any) -> web.Response:
    """A page of the template.

    Args:
        title: Its title and heading.
        text: Its paragraph.
        status: HTTP status.
        values: ``kind``, "token" for the form that asks for it, and whether the last one was ``wrong``; ``start``, the
            text of a button that starts a session; ``kept``, work to go on with, for a ``time`` in words; ``link``,
            the text of a link to the page of the session; ``go_on``, JavaScript of when the browser goes to its session
            by itself.
    """
    page = _TEMPLATE.render(title=title, text=text, **values)
    return web.Response(text=page, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def go_on() -> web.Response:
    """To the page of the session."""
    return web.Response(status=303, headers={"Location": "/", "Cache-Control": "no-store"})


def ask_token(wrong: bool = False) -> web.Response:
    """Who has not shown the token."""
    return _page("Token needed", status=401, kind="token", wrong=wrong, go_on="answer.status !== 401")


def wait(seconds: float) -> web.Response:
    """Too many wrong tokens have come from this address."""
    whole = math.ceil(seconds)
    text = f"Too many wrong tokens came from your address. Try again in {whole} s."
    response = _page("Wait a little", text, 429, link="Try again")
    response.headers["Retry-After"] = str(whole)
    return response


def first(kept: Sequence[KeptWork] = (), keep_s: float = 0.0, text: str = "") -> web.Response:
    """Who has no session yet, or comes by a link of another site.

    Args:
        kept: Work of earlier sessions of this browser.
        keep_s: How long it is kept, in seconds.
        text: What to say first.
    """
    text = f"{text} Your scan, segments and prompts stay on this server until you end the session.".strip()
    return _page("Start a session", text, start="Start", go_on="answer.status === 200", kept=kept, time=_time(keep_s))


def no_room(most: int) -> web.Response:
    """As many sessions as are allowed are running."""
    users = f"{most} users are" if most > 1 else "Another user is"
    text = (
        f"{users} working here at the moment, and each has a process of their own. "
        "Try again when somebody has ended their session."
    )
    return _page("No free place", text, 503, link="Try again")


def ended(kept: Sequence[KeptWork] = (), keep_s: float = 0.0) -> web.Response:
    """The session is over; ``kept`` and ``keep_s`` as for ``first``."""
    if kept:
        text = (
            "It has ended by a fault, its server was stopped, or its page was closed for long. "
            "What was saved until then is still on the server."
        )
    else:
        text = (
            "It was ended here, or before there was anything to save. "
            "No scan, segments or prompts of it are on the server any more."
        )
    return _page("The session has ended", text, start="Start a new session", kept=kept, time=_time(keep_s))


def _time(seconds: float) -> str:
    for size, word in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"


def elsewhere() -> web.Response:
    """Another window of this browser has taken the session over."""
    text = (
        "This session is open in another window or tab. It is used in one at a time, whose size its views have. "
        "Nothing is lost: all segments and prompts are there."
    )
    return _page("Open in another window", text, link="Use it here")


def failed() -> web.Response:
    """A session process does not start."""
    text = "A session could not be started. Please tell whoever runs this server."
    return _page("This did not work", text, 500)


def not_understood() -> web.Response:
    """A request that is not as a browser sends it."""
    return _page("Not understood", "This request cannot be understood. Load the page anew.", 400)


def foreign() -> web.Response:
    """A request that another site has made the browser send."""
    return _page("Refused", "This request came from another site. Open this page by its own address.", 403)
