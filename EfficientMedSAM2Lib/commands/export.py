"""`efficient-medsam2 export`: weights in, a network for ONNX Runtime out."""

from __future__ import annotations

import argparse
from pathlib import Path

from EfficientMedSAM2Lib.commands.segment import check_folder
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.engine import DEFAULT_ENCODER, add_engine_options
from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `export`."""
    parser.description = (
        "Write a network for ONNX Runtime, which segments without PyTorch: `--runtime onnx --weights FILE.onnx.zip`. "
        "Needs PyTorch and the package onnx."
    )
    add = parser.add_argument
    add_engine_options(parser, "encoder", "weights")
    add("--output", type=Path, default=Path(), metavar="PATH", help="FILE.onnx.zip, or a folder; default: this folder")
    add("--precision", choices=("fp32", "int8"), default="fp32", help="default: fp32")


def run(args: argparse.Namespace) -> int:
    """Export, and print the file's name and size."""
    from EfficientMedSAM2Lib.runtimes.build import export
    from EfficientMedSAM2Lib.runtimes.exported import exported_name
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import SUFFIX, is_exported

    encoder = args.encoder or (encoder_of(args.weights) if args.weights else DEFAULT_ENCODER)
    output = args.output / exported_name(encoder, args.precision) if args.output.is_dir() else args.output
    if not is_exported(output):
        raise UserError(f"The output {output} must end in {SUFFIX}, or be a folder.")
    check_folder(output)
    export(encoder, args.weights, args.precision, output)
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0
