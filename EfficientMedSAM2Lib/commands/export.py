"""`efficient-medsam2 export`: weights in, a network for ONNX Runtime out."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from EfficientMedSAM2Lib.pipeline.engine import DEFAULT_ENCODER
from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `export`."""
    parser.description = (
        "Write a network for ONNX Runtime, which segments without PyTorch: `--runtime onnx --weights FILE.onnx.zip`. "
        "Needs PyTorch and the package onnx."
    )
    add = parser.add_argument
    add("--encoder_type", "--encoder", metavar="NAME", help="efficientnet (default) or mobilenet")
    add("--weights", type=Path, metavar="FILE", help=".safetensors or .pth; default: the shipped one")
    add("--output", type=Path, default=Path(), metavar="PATH", help="FILE.onnx.zip, or a folder; default: this folder")
    add("--precision", choices=("fp32", "int8"), default="fp32", help="default: fp32")


def run(args: argparse.Namespace) -> int:
    """Export, and print the file's name and size."""
    from EfficientMedSAM2Lib.runtimes.build import export
    from EfficientMedSAM2Lib.runtimes.exported import exported_name
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import SUFFIX, is_exported

    encoder = args.encoder_type or (encoder_of(args.weights) if args.weights else DEFAULT_ENCODER)
    output = args.output / exported_name(encoder, args.precision) if args.output.is_dir() else args.output
    if not is_exported(output):
        raise ValueError(f"The output {output} must end in {SUFFIX}, or be a folder.")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise ValueError(f"Cannot write {output}: {error.strerror or error}; choose another folder.") from error
    export(encoder, args.weights, args.precision, output)
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB)")
    return 0
