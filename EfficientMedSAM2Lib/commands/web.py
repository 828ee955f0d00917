"""`efficient-medsam2 web`: the browser front end, on 127.0.0.1 unless --host says otherwise."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.engine import ENGINE_OPTIONS, add_engine_options, engine_arguments
from EfficientMedSAM2Lib.runtimes.tasks import read_task

TOKEN_VARIABLE = "EFFICIENT_MEDSAM2_TOKEN"
#: Distributions of the extra `web`, by the name that they are imported by.
NEEDED = {
    "aiohttp": "aiohttp",
    "jinja2": "jinja2",
    "trame_slicer": "trame-slicer",
    "slicer": "slicer-core",
    "LayerDMLib": "slicer-layer-dm",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `web`."""
    parser.add_argument("volume", nargs="?", type=Path, metavar="VOLUME", help="scan that every session opens first")
    parser.add_argument("--sample", action="store_true", help="open the sample scan instead, a chest CT")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"what users have to know; needed for other hosts; may be in the environment, as {TOKEN_VARIABLE}",
    )
    parser.add_argument("--max-upload", type=float, default=2048, metavar="MB", help="largest upload (default 2048)")
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="most users at a time (default 4)")
    idle_help = "end a session whose page has been closed for so long (default 30)"
    parser.add_argument("--idle", type=float, default=30, metavar="MINUTES", help=idle_help)
    keep_help = "keep segments and prompts of a session that its user has not ended for so long (default 12)"
    parser.add_argument("--keep", type=float, default=12, metavar="HOURS", help=keep_help)
    add_engine_options(parser, *(name for name in ENGINE_OPTIONS if name != "task"))
    task_help = "what `learn` has learnt of one structure; of several, users choose, beginning with the first"
    parser.add_argument("--task", type=Path, action="append", default=[], metavar="FILE", help=task_help)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl+C.

    Raises:
        UserError: an option cannot be used, or a package is missing.
    """
    config = build_config(args)
    from EfficientMedSAM2Lib.web.gateway.app import serve
    from EfficientMedSAM2Lib.web.log import set_up_log

    set_up_log()

    def started(port: int) -> None:
        host = f"[{config.host}]" if ":" in config.host else config.host
        asks = "; it asks for the token" if config.token else ""
        print(f"EfficientMedSAM2 is at http://{host}:{port}/{asks}. Ctrl+C ends it.", flush=True)

    kept: list[int] = []

    async def serve_until_asked() -> None:
        task = asyncio.ensure_future(serve(config, started, kept.append))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, task.cancel)
            except NotImplementedError:  # Windows: Ctrl+C raises KeyboardInterrupt
                break
        await task

    try:
        asyncio.run(serve_until_asked())
    except (asyncio.CancelledError, KeyboardInterrupt):
        if any(kept):
            print(
                f"All sessions are ended. Work of {kept[0]} that their users did not end is kept in the temporary "
                f"folder; start the server again within {args.keep:g} hours to go on with it, or later to remove it."
            )
        else:
            print("All sessions are ended, their data is removed.")
    return 0


def build_config(args: argparse.Namespace) -> Any:
    """A GatewayConfig of checked options.

    Raises:
        UserError: as for ``run``.
    """
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"The web front end needs {', '.join(missing)}; run: pip install 'efficient-medsam2[web]'")
    from EfficientMedSAM2Lib.web.gateway.access import check_host
    from EfficientMedSAM2Lib.web.gateway.app import GatewayConfig
    from EfficientMedSAM2Lib.web.session.workspace import MEGABYTE

    token = (args.token or "").strip() or None
    check_host(args.host, token)
    for option, value, most in (("port", args.port, 65535), ("sessions", args.sessions, 1000)):
        if not (option == "sessions") <= value <= most:
            raise UserError(f"--{option} {value} cannot be; at most {most}.")
    if not args.max_upload > 0 or not args.idle > 0 or not args.keep >= 0:
        raise UserError("--max-upload and --idle have to be more than 0, --keep at least 0.")
    volume = args.volume
    if args.sample:
        if volume is not None:
            raise UserError("Give a VOLUME or --sample, not both.")
        from EfficientMedSAM2Lib.imaging.sample import sample_scan

        volume = sample_scan()
    if volume is not None and not volume.exists():
        raise UserError(f"There is no file or folder {volume}; check the name.")
    if args.weights is not None and not args.weights.is_file():
        raise UserError(f"Weights file {args.weights} does not exist; give the path of a .safetensors or .pth file.")
    for task in args.task:
        read_task(task)  # refuses what is none, before a browser waits for it
    network = {name: value for name, value in engine_arguments(args).items() if name != "task"}
    return GatewayConfig(
        args.host,
        args.port,
        token,
        int(args.max_upload * MEGABYTE),
        args.sessions,
        args.idle * 60,
        args.keep * 3600,
        str(volume.resolve()) if volume is not None else None,
        {**network, "weights": str(args.weights.resolve()) if args.weights is not None else None},
        tuple(str(task.resolve()) for task in args.task),
    )
