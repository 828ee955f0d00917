"""Who may come in: the token, the session cookie, and no request that another site has made the browser send."""

from __future__ import annotations

import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from aiohttp import web

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.web.connection import is_same
from EfficientMedSAM2Lib.web.gateway.login_attempts import LoginAttempts

COOKIE_BYTES = 32
#: The cookie of work that is kept when its session or server has ended; its name goes on with that of the work.
WORK_COOKIE = "efficientmedsam2-work-"
WORK_NAME = re.compile(r"\w{4,32}", re.ASCII)
#: Pages that other sites may link to: they show what there is, and change nothing.
LINKED = ("/", "/ended")
#: Everything comes from this server. The page's templates are compiled in the browser, which counts as eval.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'; object-src 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, reached by nobody else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str, token: str | None) -> None:
    """UserError when others could come in without a token."""
    if not is_loopback(host) and not token:
        raise UserError(
            f"--host {host} lets other machines in, so a token is needed: add --token TOKEN, or leave --host out."
        )


class Access:
    """Cookies and checks of one gateway.

    Args:
        token: What users have to know; None lets everybody on this machine in.
        is_local: Whether the gateway listens on a loopback address only.
    """

    def __init__(self, token: str | None, is_local: bool) -> None:
        self.token = token
        self.is_local = is_local
        suffix = secrets.token_hex(4)  # cookies are shared between all ports of a host
        self._token_cookie, self._session_cookie = f"efficientmedsam2-token-{suffix}", f"efficientmedsam2-{suffix}"
        # the cookie proves that the token was known, and does not tell it
        self._proof = secrets.token_urlsafe(COOKIE_BYTES)
        self._attempts = LoginAttempts()

    def knows_token(self, request: web.Request) -> bool:
        """Whether this browser has shown the token."""
        return self.token is None or is_same(request.cookies.get(self._token_cookie, ""), self._proof)

    def check_token(self, given: str, request: web.Request) -> bool:
        """Whether a token is right.

        Raises:
            TooManyAttempts: this address has sent too many wrong ones.
        """
        return self._attempts.check(request.remote, lambda: self.token is not None and is_same(given, self.token))

    def remember_token(self, response: web.StreamResponse, request: web.Request) -> None:
        """Let this browser in from now on."""
        _set_cookie(response, request, self._token_cookie, self._proof)

    def session_key(self, request: web.Request) -> str:
        """Key of this browser's session, "" for none."""
        return request.cookies.get(self._session_cookie, "")

    def new_session(self, response: web.StreamResponse, request: web.Request, key: str, work: str) -> None:
        """Tie a session, and the work that it saves, to this browser."""
        _set_cookie(response, request, self._session_cookie, key)
        _set_cookie(response, request, f"{WORK_COOKIE}{work}", key)

    def work_keys(self, request: web.Request) -> dict[str, str]:
        """Keys of work that this browser has, by the name of the work."""
        start = len(WORK_COOKIE)
        found = {name[start:]: key for name, key in request.cookies.items() if name.startswith(WORK_COOKIE)}
        return {name: key for name, key in found.items() if WORK_NAME.fullmatch(name)}

    def forget_work(self, response: web.StreamResponse, name: str) -> None:
        """Work of this browser is not there any more."""
        response.del_cookie(f"{WORK_COOKIE}{name}", path="/")

    def is_foreign(self, request: web.Request) -> bool:
        """Whether another site has made the browser send this.

        Its pages may not talk to us (the Origin tells), nor under a name of theirs that they made point to this
        machine (the Host tells; where others may come in by any name, the token is what protects).
        """
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        try:
            if self.is_local and not is_loopback(urlsplit(f"//{host}").hostname or ""):
                return True
            if origin is not None and urlsplit(origin).netloc != host:
                return True
        except ValueError:  # no address at all
            return True
        if request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
            return False
        # a link to a page may be followed; everything else that begins elsewhere, in a frame or from another port of
        # this host, is not meant by the user
        is_link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in ("GET", "HEAD")
        whole = request.headers.get("Sec-Fetch-Dest", "document") == "document"
        return not (is_link and whole and request.path in LINKED)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Headers that keep the browser from doing more than it should, on every answer, one passed on as well."""
    response.headers.update(HEADERS)


def _set_cookie(response: web.StreamResponse, request: web.Request, name: str, value: str) -> None:
    response.set_cookie(name, value, httponly=True, samesite="Strict", path="/", secure=request.secure)
