"""What a session sends over the connection to its browser: no tracebacks, and nothing once the browser is gone."""

from __future__ import annotations

import asyncio

import pytest
from web_user import run_async


def test_errors_have_no_traceback_and_nothing_is_sent_to_a_browser_that_is_gone(monkeypatch):
    """A real connection, which is cut off while the session wants to answer."""
    protocol = pytest.importorskip("wslink.protocol", reason="needs the extra web")
    aiohttp = pytest.importorskip("aiohttp")
    from aiohttp import web
    from wslink import websocket

    from EfficientMedSAM2Lib.web.session.process import send_quietly

    for name in ("sendWrappedMessage", "sendWrappedError"):  # as they were, when the test ends
        monkeypatch.setattr(protocol.WslinkHandler, name, getattr(protocol.WslinkHandler, name))
    send_quietly()

    async def main():
        ended = asyncio.get_running_loop().create_future()

        async def answer(request):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            handler = object.__new__(protocol.WslinkHandler)
            handler.connections, handler.authentified_client_ids = {"1": socket}, {"1"}
            # no whole handler, which needs a server of wslink
            handler.attachment_atomic, handler.network_monitor = asyncio.Lock(), websocket.NetworkMonitor()
            await handler.sendWrappedError("a", 1, "It did not work", {"trace": "/home/x"}, client_id="1")
            await socket.receive()
            request.transport.abort()
            try:
                with pytest.raises(ConnectionResetError):
                    await socket.send_bytes(b"as without it")
                await handler.sendWrappedMessage("b", "an answer", client_id="1")
                await handler.sendWrappedError("c", 1, "an error", None, "1")
                ended.set_result("well")
            except BaseException as error:
                ended.set_result(repr(error))
            return socket

        application = web.Application()
        application.add_routes([web.get("/", answer)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{host}:{port}/") as socket:
            first = await socket.receive_bytes()
            await socket.send_str("go on")
            result = await ended
        await runner.cleanup()
        return first, result

    sent, result = run_async(main())
    assert result == "well"
    assert b"It did not work" in sent
    assert b"/home/x" not in sent
