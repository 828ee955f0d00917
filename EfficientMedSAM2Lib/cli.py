"""The command line: `efficient-medsam2 <command>`. Parsing and exit codes only; the work is done elsewhere.

Exit codes: 0 done, 2 bad usage or input, 1 anything else. An error is one line on stderr. Nothing heavy is imported
before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .version import __version__

DONE, FAILED, BAD_INPUT = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Arguments default to the process's own."""
    args = _build_parser().parse_args(_join_negative_windows(sys.argv[1:] if argv is None else argv))
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
        return _fail(FAILED, f"{type(error).__name__}: {error} (run again with --debug before the command for details)")


def _fail(code: int, message: str) -> int:
    print(f"efficient-medsam2: {' '.join(message.split())}", file=sys.stderr)
    return code


def _join_negative_windows(argv: Sequence[str]) -> list[str]:
    """Let `--window -400,400` through, which argparse would take for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--window" and argument[:1] == "-" and argument[1:2].isdigit():
            joined[-1] = f"--window={argument}"
        else:
            joined.append(argument)
    return joined


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="efficient-medsam2", description="Promptable 3D segmentation of medical images.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_info(commands)
    _add_demo(commands)
    return parser


def _add_segment(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "segment",
        help="segment structures of one scan from markups files",
        description="Segment structures of one scan. Each prompts file (points, boxes, lines; saved by 3D Slicer as "
        ".mrk.json) is one segment, named after the file; files with the same name are one segment.",
    )
    parser.add_argument("volume", type=Path, metavar="VOLUME", help="scan: NIfTI, NRRD, MHA, or a DICOM folder")
    parser.add_argument(
        "--prompts", type=Path, action="append", required=True, metavar="FILE", help="markups file; may be repeated"
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="NAME", help="segment name: one for all files, or one per file"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=".seg.nrrd, or a label map: .nii.gz, .nii, .nrrd, .mha",
    )
    parser.add_argument(
        "--propagate", choices=("both", "forward", "backward", "none"), default="both", help="direction; default both"
    )
    parser.add_argument("--range-mm", type=float, metavar="MM", help="propagate no farther than this from a prompt")
    parser.add_argument(
        "--stop-when-lost",
        dest="stop_when_lost",
        action="store_true",
        default=True,
        help="stop where the structure ends (default)",
    )
    parser.add_argument(
        "--no-stop-when-lost", dest="stop_when_lost", action="store_false", help="go on to the end of the range"
    )
    parser.add_argument(
        "--window", metavar="LOW,HIGH", help="intensity range, or a preset such as lung; default: chosen by modality"
    )
    parser.add_argument("--modality", metavar="NAME", help="CT, MR, PET, US, ...; default: from the file")
    _add_model_options(parser)
    parser.add_argument("--preview", type=Path, metavar="FILE.png", help="also draw contours and prompts")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    parser.set_defaults(run=_run_segment)


def _add_info(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("info", help="say which device, precision, weights and versions are used")
    _add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_run_info)


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("demo", help="segment a chest CT and compare with its reference")
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="FOLDER", help="default: demo-output"
    )
    _add_model_options(parser)
    parser.set_defaults(run=_run_demo)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", metavar="NAME", help="efficientnet (default) or mobilenet")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".safetensors file; default: the shipped one")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")


def _run_segment(args: argparse.Namespace) -> int:
    from .cohort.segment_command import run_segment

    return run_segment(args)


def _run_info(args: argparse.Namespace) -> int:
    from .cohort.system_info import collect_info, format_info

    info = collect_info(args.encoder, args.weights, args.device)
    if args.json:
        import json

        print(json.dumps(info, indent=2))
    else:
        print(format_info(info))
    return DONE


def _run_demo(args: argparse.Namespace) -> int:
    from .cohort.demo import run_demo

    return run_demo(args.output, args.encoder, args.weights, args.device)


if __name__ == "__main__":
    sys.exit(main())
