"""The few pages that the gateway shows itself: the button that starts, asking for the token, no room, session ended."""

from __future__ import annotations

import math

from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - EfficientMedSAM2</title><style>
:root {{ color-scheme: dark; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #0b0e13; color: #e6ebf2;
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }}
main {{ max-width: 440px; padding: 32px; background: #141a22; border: 1px solid #6d7b8d; border-radius: 10px; }}
h1 {{ font-size: 20px; margin: 0 0 12px; }}
input, button, a.button {{ font: inherit; padding: 6px 12px; border-radius: 4px; border: 1px solid #6d7b8d;
  background: #212a36; color: #e6ebf2; }}
button, a.button {{ background: #4fc3f7; color: #06222f; border-color: #4fc3f7; font-weight: 600;
  text-decoration: none; display: inline-block; }}
label {{ margin-right: 8px; }}
input + button {{ margin-left: 8px; }}
:focus-visible {{ outline: 2px solid #fff; outline-offset: 2px; }}
.error {{ color: #ff9a8f; }}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>
"""
_START = """<form method="post" action="start"
  onsubmit="this.hidden = true; document.getElementById('wait').hidden = false">
<button autofocus>Start</button></form>
<p id="wait" role="status" hidden>The session is starting. This takes some seconds, longer on a busy machine.</p>"""
#: A link of another site does not bring this browser's cookies along; asking from here does, and tells what it has.
_GO_ON = """<script>
history.replaceState(null, "", "./");
fetch("alive", {{cache: "no-store"}}).then(answer => {{ if ({condition}) location.replace("./"); }}, () => {{}});
</script>"""
_TOKEN = """<p>Enter the token that was given with the address of this page.</p>{error}
<form method="post" action="token"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open</button></form>"""
_ERROR = '<p class="error" role="alert">{}</p>'


def page(title: str, body: str, status: int = 200) -> web.Response:
    """A page of our own."""
    text = _PAGE.format(title=title, body=body)
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def go_on() -> web.Response:
    """To the page of the session."""
    return web.Response(status=303, headers={"Location": "/", "Cache-Control": "no-store"})


def ask_token(wrong: bool = False) -> web.Response:
    """Who has not shown the token."""
    error = _ERROR.format("This token is wrong.") if wrong else ""
    return page("Token needed", _TOKEN.format(error=error) + _GO_ON.format(condition="answer.status !== 401"), 401)


def wait(seconds: float) -> web.Response:
    """Too many wrong tokens have come from this address."""
    whole = math.ceil(seconds)
    text = f"<p>Too many wrong tokens came from your address. Try again in {whole} s.</p>"
    response = page("Wait a little", f'{text}<p><a class="button" href="./">Try again</a></p>', 429)
    response.headers["Retry-After"] = str(whole)
    return response


def first() -> web.Response:
    """Who has no session yet, or comes by a link of another site."""
    text = "<p>Your scan, segments and prompts stay on this server until you end the session.</p>"
    return page("Start a session", text + _START + _GO_ON.format(condition="answer.status === 200"))


def no_room(most: int) -> web.Response:
    """As many sessions as are allowed are running."""
    users = f"{most} users are" if most > 1 else "Another user is"
    return page(
        "No free place",
        f"<p>{users} working here at the moment, and each has a process of their own. "
        'Try again when somebody has ended their session.</p><p><a class="button" href="./">Try again</a></p>',
        503,
    )


def ended() -> web.Response:
    """The session is over."""
    return page(
        "The session has ended",
        "<p>It was ended here, by the server after a time without its page, or by a fault. Its scan, segments and "
        "prompts are not on the server any more.</p>" + _START.replace("Start<", "Start a new session<"),
    )


def failed() -> web.Response:
    """A session process does not start."""
    return page(
        "This did not work", "<p>A session could not be started. Please tell whoever runs this server.</p>", 500
    )


def not_understood() -> web.Response:
    """A request that is not as a browser sends it."""
    return page("Not understood", "<p>This request cannot be understood. Load the page anew.</p>", 400)


def foreign() -> web.Response:
    """A request that another site has made the browser send."""
    return page("Refused", "<p>This request came from another site. Open this page by its own address.</p>", 403)
