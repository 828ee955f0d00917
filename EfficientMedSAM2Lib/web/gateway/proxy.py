"""Requests and web sockets of a browser, passed on to its session process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from EfficientMedSAM2Lib.web.gateway.sessions import Session
from EfficientMedSAM2Lib.web.session.config import SECRET_HEADER

#: Headers of one connection, not of what it carries; cookies are the gateway's business.
_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "cookie",
    "origin",
    "set-cookie",
    "server",
    SECRET_HEADER.lower(),
}
CHUNK = 1 << 16
#: A session's process answers a new web socket within so many seconds.
CONNECT_S = 30.0
#: A browser that is gone does not answer when its web socket is closed; it is waited for so long, in seconds.
CLOSE_S = 3.0
MAX_MESSAGE = 32 * 2**20


async def pass_request(client: aiohttp.ClientSession, session: Session, request: web.Request) -> web.StreamResponse:
    """Pass on a request with its body, and the answer, as they come; nothing is kept."""
    session.seen = time.monotonic()
    headers = _headers(request.headers)
    headers[SECRET_HEADER] = session.secret
    body = request.content.iter_chunked(CHUNK) if request.can_read_body else None
    url = _address(session.base_url, request)
    async with client.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        response = web.StreamResponse(status=answer.status, headers=_headers(answer.headers))
        if not request.path.startswith("/download"):
            # Static files are few, and a page must never be older than its program.
            response.headers["Cache-Control"] = "no-cache"
        else:
            response.headers["Cache-Control"] = "no-store"
        await response.prepare(request)
        async for chunk in answer.content.iter_chunked(CHUNK):
            await response.write(chunk)
        await response.write_eof()
        return response


async def pass_socket(client: aiohttp.ClientSession, session: Session, request: web.Request) -> web.StreamResponse:
    """Pass on a web socket until either side closes it."""
    browser = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, heartbeat=20.0, timeout=CLOSE_S)
    await browser.prepare(request)
    session.connections, session.was_connected = session.connections + 1, True
    try:
        url = _address(session.base_url.replace("http", "ws", 1), request)
        connecting = client.ws_connect(
            url, headers={SECRET_HEADER: session.secret}, max_msg_size=MAX_MESSAGE, compress=0
        )
        process = await asyncio.wait_for(connecting, CONNECT_S)
        try:
            tasks = [
                asyncio.ensure_future(_pump(browser, process)),
                asyncio.ensure_future(_pump(process, browser)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await process.close()
    except (aiohttp.ClientError, asyncio.TimeoutError):
        pass  # the process has ended, or hangs: the page notices by its socket
    finally:
        session.connections -= 1
        session.seen = time.monotonic()
        await browser.close()
    return browser


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _address(base_url: str, request: web.Request) -> URL:
    """The session's address; a request may name another host, which is of no interest."""
    return URL(f"{base_url}/{request.rel_url.raw_path_qs.lstrip('/')}", encoded=True)


def _headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """What is passed on; nothing that we need has other letters than those of ASCII."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP and value.isascii())
