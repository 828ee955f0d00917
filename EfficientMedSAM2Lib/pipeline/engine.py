"""The engine of a case: a session on a model, built from what a command line or a manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from EfficientMedSAM2Lib.interaction import InteractiveSession

DEFAULT_ENCODER = "efficientnet"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--encoder`, `--weights` and `--device`, of the arguments of `build_model`."""
    parser.add_argument("--encoder", metavar="NAME", help="efficientnet (default) or mobilenet")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help=".safetensors, .pth or .onnx.zip file; default: the shipped one"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--runtime` and `--precision`, the other arguments of `build_model`."""
    runtime_help = "auto (default) takes onnx, ONNX Runtime, on a CPU, and torch on a GPU"
    parser.add_argument("--runtime", choices=("auto", "torch", "onnx"), default="auto", help=runtime_help)
    precision_help = "default: the fastest that keeps the masks"
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16", "int8"), help=precision_help)


def build_model(
    encoder: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
) -> Any:
    """Build the network.

    Args:
        encoder: Name of the encoder; None takes the one that the weights file is for, else the default.
        weights: A `.safetensors` or `.pth` file or an exported network; None takes the shipped one.
        device: "auto", "cuda", "mps" or "cpu".
        runtime: "torch", "onnx", or "auto" for the better one on this machine.
        precision: "fp32", "fp16", "bf16" or "int8".
        threads: Threads of the network; None leaves their number to the runtime.

    Raises:
        ValueError: The weights, encoder or device cannot be used.
    """
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
    from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

    if encoder is None:
        encoder = DEFAULT_ENCODER if weights is None else encoder_of(weights)
    model = build_efficient_medsam2_model(encoder, weights, device, runtime=runtime, precision=precision)
    if threads is not None:
        model.set_threads(threads)
    return model


def build_session(
    encoder: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
) -> InteractiveSession:
    """An interactive session on a network; arguments and errors as for `build_model`."""
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

    model = build_model(encoder, weights, device, runtime, precision, threads)
    return InteractiveSession(EfficientMedSAM2VolumePredictor(model))
