"""A session process: one user's page on a port of this machine that only the gateway may use.

The gateway writes one line of JSON to stdin (see config.py) and reads one from stdout: {"port": ...}. The process
ends when its stdin is closed, so that none is left when the gateway is gone, however that came about.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.web.connection import is_same
from EfficientMedSAM2Lib.web.log import set_up_log
from EfficientMedSAM2Lib.web.session.config import SECRET_HEADER, SessionConfig

logger = logging.getLogger(__name__)

#: The process ends at the latest so many seconds after its stdin was closed.
LAST_S = 12.0


def main() -> int:
    """Serve until stdin is closed."""
    config = SessionConfig.from_json(sys.stdin.readline())
    set_up_log()
    sys.argv = sys.argv[:1]  # trame reads options from there
    os.environ["WSLINK_READY_MSG"] = ""  # wslink would write it to stdout
    os.environ["TRAME_DEFAULT_HOST"] = "127.0.0.1"
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not be taken for our answer
    try:
        asyncio.run(_serve(config, answers))
    except asyncio.CancelledError:
        pass
    finally:
        shutil.rmtree(config.folder, ignore_errors=True)
    return 0


async def _serve(config: SessionConfig, answers: Any) -> None:
    from trame.app import get_server

    from EfficientMedSAM2Lib.web.connection import unless_gone
    from EfficientMedSAM2Lib.web.page.application import Page
    from EfficientMedSAM2Lib.web.session.transfer import Transfer
    from EfficientMedSAM2Lib.web.session.workspace import Workspace
    from EfficientMedSAM2Lib.web.work.autosave import Autosave

    _quiet_vtk()
    send_quietly()
    asyncio.get_running_loop().set_exception_handler(unless_gone)
    server = get_server(f"session-{os.getpid()}", client_type="vue3")
    files = Path(config.folder) / "files"
    files.mkdir()
    workspace = Workspace(files, config.max_bytes)
    page = Page(server, lambda task: _load({**config.network, "task": task}), workspace, config.tasks)
    autosave = Autosave(page.viewer, Path(config.work), page.opened, page.say, page.mark, page.effect.rulers)
    page.describe_kept = autosave.describe
    transfer = Transfer(page.viewer, workspace, page.opened, autosave)

    def bind(wslink_server: Any) -> None:
        wslink_server.app.middlewares.append(_only_gateway(config.secret))
        wslink_server.app.add_routes(transfer.routes())

    def ready(**_: Any) -> None:
        answers.write(json.dumps({"port": server.port}) + "\n")
        answers.flush()

    server.controller.on_server_bind.add(bind)
    server.controller.on_server_ready.add(ready)
    serving = asyncio.ensure_future(
        server.start(
            port=0,
            host="127.0.0.1",
            exec_mode="coroutine",
            open_browser=False,
            show_connection_info=False,
            timeout=0,
            disable_logging=True,
            thread=True,
        )
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    threading.Thread(target=_wait_for_end, args=(loop, ended), daemon=True).start()
    updating = asyncio.ensure_future(page.run())
    page.viewer.controller.start()
    if config.volume is not None:
        with contextlib.suppress(asyncio.CancelledError):
            await _open_first(page, transfer, Path(config.volume))
    autosave.start()
    await asyncio.wait([asyncio.ensure_future(ended.wait()), serving], return_when=asyncio.FIRST_COMPLETED)
    updating.cancel()
    await autosave.finish()
    page.viewer.controller.forget()
    shutil.rmtree(config.folder, ignore_errors=True)
    os._exit(0)  # a slice that is being computed is waited for by nobody


def _load(network: dict[str, Any]) -> Any:
    """The volume predictor on the network that the gateway was started with, warmed up; for the worker thread."""
    from EfficientMedSAM2Lib.mrml.effect.predictor_loader import warm_up
    from EfficientMedSAM2Lib.pipeline.engine import build_model
    from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

    predictor = EfficientMedSAM2VolumePredictor(build_model(**network))
    warm_up(predictor)
    return predictor


async def _open_first(page: Any, transfer: Any, path: Path) -> None:
    try:
        await transfer.open_path(path)
    except (ValueError, MemoryError, OSError, RuntimeError) as error:
        page.say(str(error), error=True)


def _wait_for_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.read()
    with contextlib.suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(ended.set)
    time.sleep(LAST_S)
    os._exit(1)  # the loop is stuck, and nobody may be left to end this process


def _only_gateway(secret: str) -> Any:
    from aiohttp import web

    @web.middleware
    async def check(request: web.Request, handler: Any) -> web.StreamResponse:
        if not is_same(request.headers.get(SECRET_HEADER, ""), secret):
            raise web.HTTPForbidden(text="This address belongs to a session of EfficientMedSAM2.")
        response: web.StreamResponse = await handler(request)
        return response

    return check


def send_quietly() -> None:
    """Send no tracebacks, which have the server's paths and belong into the log; and nothing to a browser that is gone.

    wslink logs a traceback for the latter, and raises a second one when it wants to send the first.
    """
    from wslink.protocol import WslinkHandler

    send, send_error = WslinkHandler.sendWrappedMessage, WslinkHandler.sendWrappedError

    async def send_unless_gone(self: Any, *args: Any, **options: Any) -> None:
        with contextlib.suppress(ConnectionResetError):
            await send(self, *args, **options)

    async def send_without_data(
        self: Any, rpcid: Any, code: Any, message: Any, _data: Any = None, client_id: Any = None
    ) -> None:
        with contextlib.suppress(ConnectionResetError):
            await send_error(self, rpcid, code, message, None, client_id)

    WslinkHandler.sendWrappedMessage = send_unless_gone
    WslinkHandler.sendWrappedError = send_without_data


def _quiet_vtk() -> None:
    """VTK's warnings (no X server: EGL is taken; an event that was renamed) say nothing that a user could act on."""
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)


if __name__ == "__main__":
    sys.exit(main())
