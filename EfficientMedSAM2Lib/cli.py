"""The command line: `efficient-medsam2 <command>`. Exit codes and error lines; each command's work is done elsewhere.

Exit codes: 0 done, 2 bad usage or input, 1 anything else. An error is one line on stderr. A command's module is
imported when that command is asked for, so that `--help` answers at once and no command needs another's libraries.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple, NoReturn

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.core.files import readable_name
from EfficientMedSAM2Lib.core.streams import prepare_streams

FAILED, BAD_INPUT = 1, 2


class Command(NamedTuple):
    """A command: the module of its name in `commands/` has `add_arguments(parser)` and `run(args) -> exit code`.

    Attributes:
        line: What `--help` says of it.
        extra: What has to be installed for it beside the rest: `efficient-medsam2[extra]`.
    """

    line: str
    extra: str | None = None


COMMANDS = {
    "segment": Command("segment structures of one scan from markups files"),
    "info": Command("say which device, precision, weights and versions are used"),
    "demo": Command("segment a chest CT and compare with its reference"),
    "cohort": Command("segment many scans, on one machine or a cluster; review them", "cohort"),
    "learn": Command("learn a structure of your own from a handful of finished cases", "learn"),
    "web": Command("serve the interface in the browser, on this machine unless --host says otherwise", "web"),
    "export": Command("write a network for ONNX Runtime, which needs no PyTorch", "export"),
    "precisions": Command("measure FP32, BF16, FP16 and INT8 on this machine", "eval"),
    "distill": Command("train a network, or distil one into another", "train"),
    "benchmark": Command("measure time and memory beside MedSAM2 and LiteMedSAM", "benchmark"),
    "evaluate": Command("measure accuracy on labelled scans, beside other methods", "eval"),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Arguments default to the process's own."""
    prepare_streams()
    arguments = _join_negative_values(sys.argv[1:] if argv is None else argv)
    with _sigterm_as_ctrl_c():
        return _run_to_exit_code(arguments)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, as batch systems and service managers send it, ends a command like Ctrl+C, in one line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_to_exit_code(arguments: Sequence[str]) -> int:
    """Run a command; what goes wrong becomes a line and an exit code."""
    if "--debug" in arguments:
        return _run(arguments)
    warnings.simplefilter("ignore")  # of libraries, about their own future; this process belongs to the command line
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _fail(FAILED, "cancelled; nothing was written.")
    except (ValueError, FileNotFoundError, PermissionError) as error:
        return _fail(BAD_INPUT, str(error))
    except ModuleNotFoundError as error:
        return _fail(FAILED, _what_to_install(_command_of(arguments), error))
    except Exception as error:
        return _fail(FAILED, f"{type(error).__name__}: {error} (efficient-medsam2 --debug ... tells more)")


def _run(arguments: Sequence[str]) -> int:
    try:
        args = _build_parser(arguments).parse_args(arguments)
        return int(args.run(args))
    finally:
        sys.stdout.flush()  # what cannot be printed is said now, not by a traceback at the very end


def _command_of(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _what_to_install(command: str | None, error: ModuleNotFoundError) -> str:
    extra = COMMANDS[command].extra if command else None
    package = f"efficient-medsam2[{extra}]" if extra else "efficient-medsam2"
    return f"{command} needs {error.name}, which is not installed; run: pip install '{package}'"


def _fail(code: int, message: str) -> int:
    print(f"efficient-medsam2: {readable_name(' '.join(message.split()))}", file=sys.stderr)
    return code


def _join_negative_values(argv: Sequence[str]) -> list[str]:
    """Let `--window -400,400` through, which argparse would take for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--window" and argument[:1] == "-" and argument[1:2].isdigit():
            joined[-1] = f"--window={argument}"
        else:
            joined.append(argument)
    return joined


def _build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows all commands by name, and the options of the one that is asked for."""
    parser = _Parser(prog="efficient-medsam2", description="Promptable 3D segmentation of medical images.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = _command_of(arguments)
    for name, (line, _) in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if name == wanted:
            module = import_module(f"EfficientMedSAM2Lib.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
