"""The gateway: what listens on the network. It lets users in, and gives each browser a session process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.web.connection import MALFORMED, unless_gone
from EfficientMedSAM2Lib.web.gateway import pages
from EfficientMedSAM2Lib.web.gateway.access import Access, add_headers, is_loopback
from EfficientMedSAM2Lib.web.gateway.login_attempts import TooManyAttempts
from EfficientMedSAM2Lib.web.gateway.proxy import pass_request, pass_socket
from EfficientMedSAM2Lib.web.gateway.sessions import Sessions, TooManySessions
from EfficientMedSAM2Lib.web.gateway.works import KeptWork
from EfficientMedSAM2Lib.web.session.workspace import MEGABYTE

logger = logging.getLogger(__name__)

#: A session's process may say nothing for so long, in seconds, while it reads a large file.
SILENT_S = 1200.0


@dataclass(frozen=True)
class GatewayConfig:
    """How to serve.

    Attributes:
        host: Address to listen on.
        port: Port, 0 for a free one.
        token: What users have to know, None for nothing.
        max_bytes: Largest upload.
        sessions: Most sessions at a time.
        idle_s: Seconds after which a session without a page is ended.
        keep_s: Seconds for which the work of a session is kept that its user has not ended.
        volume: File or folder that every session opens at its start.
        network: Arguments of pipeline.engine.build_model, but for the task.
        tasks: Files of the tasks that users may choose from; the first is the one to begin with.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    max_bytes: int = 2048 * MEGABYTE
    sessions: int = 4
    idle_s: float = 1800.0
    keep_s: float = 12 * 3600.0
    volume: str | None = None
    network: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()


async def expect(request: web.Request) -> None:
    """Answer what a browser expects before it sends more; aiohttp's own answer fails at letters that are not UTF-8."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="This is not what can be expected here.")
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class Gateway:
    """Routes of the gateway; see the module."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.access = Access(config.token, is_loopback(config.host))
        options = {
            "max_bytes": config.max_bytes,
            "volume": config.volume,
            "network": config.network,
            "tasks": config.tasks,
        }
        self.sessions = Sessions(options, config.sessions, config.idle_s, config.keep_s)
        self._client: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard], client_max_size=MEGABYTE)
        app.add_routes(
            [
                web.get("/", self.index, expect_handler=expect),
                web.get("/alive", self.alive, expect_handler=expect),
                web.get("/ended", self._ended_page, expect_handler=expect),
                web.get("/elsewhere", self._elsewhere_page, expect_handler=expect),
                web.post("/end", self.end, expect_handler=expect),
                web.post("/start", self.start, expect_handler=expect),
                web.post("/token", self.token, expect_handler=expect),
                web.get("/ws", self.socket, expect_handler=expect),
                web.route("*", "/{path:.*}", self.other, expect_handler=expect),
            ]
        )
        app.on_response_prepare.append(add_headers)
        app.cleanup_ctx.append(self._life)
        return app

    # --- routes

    async def index(self, request: web.Request) -> web.StreamResponse:
        """The page of this browser's session; without one, a page with the button that starts it.

        A browser also comes here by a link of another site, by itself and in vain: nothing begins or ends by that.
        """
        given = request.query.get("token", "")
        if not self.access.knows_token(request):
            if not given:
                return pages.ask_token()
            if not self.access.check_token(given, request):
                return pages.ask_token(wrong=True)
            # not redirected: a browser that follows another site's link would not send the cookie that it gets here
            response = self._first(request)
            self.access.remember_token(response, request)
            return response
        if given:  # the token must not stay in the address
            return pages.go_on()
        if self._session(request) is not None:
            return await self._pass(request, "/index.html")
        return self._first(request) if self.sessions.has_room() else pages.no_room(self.config.sessions)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """A button of the first page: a session for this browser, new or with kept work; it keeps one that it has."""
        if not self.access.knows_token(request):
            return pages.ask_token()
        response = pages.go_on()
        if self._session(request) is None:
            try:
                wanted = (await request.post()).get("work", "")
            except MALFORMED:
                return pages.not_understood()
            kept = next((work.name for work in self._kept(request) if work.name == wanted), "")
            if wanted and not kept:
                return self._first(request, "This work is not kept any more.")
            try:
                key = await self.sessions.open(kept)
            except TooManySessions:
                return pages.no_room(self.config.sessions)
            except RuntimeError:
                logger.exception("A session process does not start.")
                return pages.failed()
            if request.transport is None or request.transport.is_closing():  # the browser did not wait
                await self.sessions.end(key)
            session = self.sessions.get(key)
            if session is not None:
                self.access.new_session(response, request, key, session.work)
                for name in self.access.work_keys(request):
                    if not self.sessions.works.folder(name).is_dir():
                        self.access.forget_work(response, name)
        return response

    async def token(self, request: web.Request) -> web.StreamResponse:
        """The form that asks for the token."""
        try:
            given = (await request.post()).get("token", "")
        except MALFORMED:
            given = ""
        if not isinstance(given, str) or not given:
            return pages.not_understood()
        if not self.access.check_token(given, request):
            return pages.ask_token(wrong=True)
        response = pages.go_on()
        self.access.remember_token(response, request)
        return response

    async def alive(self, request: web.Request) -> web.StreamResponse:
        """Whether the page's session can be gone on with: 200, or 410 when it has ended."""
        if not self.access.knows_token(request):
            return web.Response(status=401)
        return web.Response(status=200 if self._session(request) is not None else 410)

    async def end(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        if self.access.knows_token(request):
            await self.sessions.end(self.access.session_key(request))
        return web.Response(status=204)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The page's web socket."""
        session = self._session(request) if self.access.knows_token(request) else None
        if session is None:
            return web.Response(status=403)
        assert self._client is not None
        self.sessions.connected(session)
        return await pass_socket(self._client, session, request)

    async def other(self, request: web.Request) -> web.StreamResponse:
        """All else belongs to the session."""
        if not self.access.knows_token(request):
            return pages.ask_token()
        return await self._pass(request)

    # --- inside

    def _session(self, request: web.Request) -> Any:
        return self.sessions.get(self.access.session_key(request))

    async def _pass(self, request: web.Request, path: str = "") -> web.StreamResponse:
        session = self._session(request)
        if session is None:
            return web.json_response({"error": "The session has ended; load the page anew."}, status=410)
        assert self._client is not None
        if request.method not in ("GET", "HEAD", "POST"):
            return web.Response(status=405)
        if "Content-Encoding" in request.headers:  # small on the way, and without bounds here
            return web.json_response({"error": "Packed requests are not taken."}, status=415)
        try:
            return await pass_request(self._client, session, request.clone(rel_url=path) if path else request)
        except (web.RequestPayloadError, HttpProcessingError):
            return web.json_response({"error": "The request was cut off or is damaged; send it again."}, status=400)
        except aiohttp.ClientError:
            return web.json_response({"error": "The session does not answer; load the page anew."}, status=502)

    async def _ended_page(self, request: web.Request) -> web.StreamResponse:
        return pages.ended(self._kept(request), self.config.keep_s)

    async def _elsewhere_page(self, _request: web.Request) -> web.StreamResponse:
        return pages.elsewhere()

    def _first(self, request: web.Request, text: str = "") -> web.StreamResponse:
        return pages.first(self._kept(request), self.config.keep_s, text)

    def _kept(self, request: web.Request) -> list[KeptWork]:
        """Work of this browser, which knows the token, whose session has ended."""
        self.sessions.has_room()  # notices processes that have ended by themselves
        return self.sessions.works.of(self.access.work_keys(request)) if self.access.knows_token(request) else []

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.access.is_foreign(request):
            return pages.foreign()
        try:
            response: web.StreamResponse = await handler(request)
        except TooManyAttempts as error:
            return pages.wait(error.seconds)
        return response

    async def _life(self, _app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENT_S)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as self._client:
            watching = asyncio.ensure_future(self.sessions.watch())
            self.sessions.prepare()
            try:
                yield
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                await self.sessions.close()


async def serve(config: GatewayConfig, started: Any, ended: Any) -> None:
    """Serve until cancelled; ``started`` is called with the port, ``ended`` with the number of sessions with work left.

    Raises:
        UserError: the address cannot be listened on.
    """
    asyncio.get_running_loop().set_exception_handler(unless_gone)
    gateway = Gateway(config)
    runner = web.AppRunner(gateway.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"Cannot listen on {config.host} port {config.port} ({reason}); choose another.") from error
        started(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        ended(gateway.sessions.kept)
