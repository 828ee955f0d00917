"""The command line: `efficient-medsam2 <command>`. Exit codes and error lines; each command's work is done elsewhere.

Exit codes: 0 done, 2 bad usage or input, 1 anything else. An error is one line on stderr. A command's module is
imported when that command is asked for, so that `--help` answers at once and no command needs another's libraries.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from . import __version__

FAILED, BAD_INPUT = 1, 2

#: Command -> module with `add_arguments(parser)` and `run(args) -> exit code`, and its line in `--help`.
COMMANDS = {
    "segment": (".cohort.commands.segment_command", "segment structures of one scan from markups files"),
    "info": (".cohort.commands.info_command", "say which device, precision, weights and versions are used"),
    "demo": (".cohort.commands.demo_command", "segment a chest CT and compare with its reference"),
    "cohort": (".cohort.commands.cohort_command", "segment many scans, on one machine or a cluster; review them"),
    "web": (".web.command", "serve the interface in the browser, on this machine unless told otherwise"),
    "export": (".cohort.commands.export_command", "write a network for ONNX Runtime, which needs no PyTorch"),
    "precisions": (".cohort.commands.precision_command", "measure FP32, BF16, FP16 and INT8 on this machine"),
    "distill": (".training.command", "train a network, or distil one into another"),
    "benchmark": (".evaluation.benchmark.command", "measure time and memory beside MedSAM2 and LiteMedSAM"),
    "evaluate": (".evaluation.command", "measure accuracy on labelled scans, beside other methods"),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Arguments default to the process's own."""
    arguments = _join_negative_values(sys.argv[1:] if argv is None else argv)
    args = _build_parser(arguments).parse_args(arguments)
    if args.debug:
        return int(args.run(args))
    warnings.simplefilter("ignore")
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return _fail(FAILED, "cancelled; nothing was written.")
    except (ValueError, FileNotFoundError, PermissionError) as error:
        return _fail(BAD_INPUT, str(error))
    except Exception as error:
        return _fail(FAILED, f"{type(error).__name__}: {error} (efficient-medsam2 --debug ... tells more)")


def _fail(code: int, message: str) -> int:
    print(f"efficient-medsam2: {' '.join(message.split())}", file=sys.stderr)
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
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module_name, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
        if name == wanted:
            module = import_module(module_name, __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
