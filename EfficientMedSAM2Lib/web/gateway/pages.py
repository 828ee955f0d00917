"""The few pages that the gateway shows itself: the button that starts, asking for the token, no room, session ended."""

from __future__ import annotations

import math
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from EfficientMedSAM2Lib.core.resources import resource_path

_TEMPLATE = Environment(loader=FileSystemLoader(resource_path("Web")), autoescape=True).get_template("gateway.html")


def _page(title: str, text: str = "", status: int = 200, **values: Any) -> web.Response:
    """A page of the template.

    Args:
        title: Its title and heading.
        text: Its paragraph.
        status: HTTP status.
        values: ``kind``, "token" for the form that asks for it, and whether the last one was ``wrong``; ``start``, the
            text of a button that starts a session; ``retry``, whether there is a link to try again; ``go_on``,
            JavaScript of when the browser goes to its session by itself.
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
    response = _page("Wait a little", text, 429, retry=True)
    response.headers["Retry-After"] = str(whole)
    return response


def first() -> web.Response:
    """Who has no session yet, or comes by a link of another site."""
    text = "Your scan, segments and prompts stay on this server until you end the session."
    return _page("Start a session", text, start="Start", go_on="answer.status === 200")


def no_room(most: int) -> web.Response:
    """As many sessions as are allowed are running."""
    users = f"{most} users are" if most > 1 else "Another user is"
    text = (
        f"{users} working here at the moment, and each has a process of their own. "
        "Try again when somebody has ended their session."
    )
    return _page("No free place", text, 503, retry=True)


def ended() -> web.Response:
    """The session is over."""
    text = (
        "It was ended here, by the server after a time without its page, or by a fault. Its scan, segments and "
        "prompts are not on the server any more."
    )
    return _page("The session has ended", text, start="Start a new session")


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
