"""The engine of a case: a session on a model, built from what a command line or a manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.options import add_option

if TYPE_CHECKING:
    import argparse

    from EfficientMedSAM2Lib.interaction import InteractiveSession

DEFAULT_ENCODER = "efficientnet"
ENGINE_OPTIONS = ("encoder", "weights", "device", "runtime", "precision", "threads", "task")


def add_engine_options(parser: argparse.ArgumentParser, *names: str, threads: int | None = None) -> None:
    """Declare the options that say which network computes, and where: the arguments of `build_model`.

    Args:
        parser: The parser of a command.
        names: Some of `ENGINE_OPTIONS`; none for all.
        threads: Default of ``--threads``; None leaves their number to the runtime.
    """
    default = "by the runtime" if threads is None else threads
    file_help = ".safetensors, .pth or .onnx.zip file; default: the shipped one"
    runtime_help = "auto (default) takes onnx, ONNX Runtime, on a CPU, and torch on a GPU"
    precision_help = "default: the fastest that keeps the masks"
    threads_help = f"threads of the network; masks may depend on it; default: {default}"
    options: dict[str, dict[str, Any]] = {
        "encoder": {"metavar": "NAME", "help": "efficientnet (default) or mobilenet"},
        "weights": {"type": Path, "metavar": "FILE", "help": file_help},
        "device": {"default": "auto", "metavar": "NAME", "help": "auto (default), cuda, mps or cpu"},
        "runtime": {"choices": ("auto", "torch", "onnx"), "default": "auto", "help": runtime_help},
        "precision": {"choices": ("fp32", "fp16", "bf16", "int8"), "help": precision_help},
        "task": {"type": Path, "metavar": "FILE", "help": "what `learn` has learnt of one structure; default: none"},
        "threads": {"type": int, "default": threads, "metavar": "N", "help": threads_help},
    }
    for name in names or ENGINE_OPTIONS:
        older = ("--encoder-type", "--encoder_type") if name == "encoder" else ()
        add_option(parser, f"--{name}", older, **options[name])


def engine_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What was said by `add_engine_options`, as arguments of `build_model`."""
    return {name: getattr(args, name) for name in ENGINE_OPTIONS if hasattr(args, name)}


def build_model(
    encoder: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    task: str | Path | None = None,
) -> Any:
    """Build the network.

    Args:
        encoder: Name of the encoder; None takes the one that the weights file is for, else the default.
        weights: A `.safetensors` or `.pth` file or an exported network; None takes the shipped one.
        device: "auto", "cuda", "mps" or "cpu".
        runtime: "torch", "onnx", or "auto" for the better one on this machine.
        precision: "fp32", "fp16", "bf16" or "int8".
        threads: Threads of the network; None leaves their number to the runtime.
        task: A `.task` file: what the network has learnt of one structure.

    Raises:
        UserError: The weights, task, encoder, device or number of threads cannot be used.
    """
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
    from EfficientMedSAM2Lib.runtimes.tasks import read_task
    from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

    if threads is not None and threads < 1:
        raise UserError(f"A network needs at least one thread, not {threads}.")
    known = None if task is None else read_task(task)
    if encoder is None and weights is not None:
        encoder = encoder_of(weights)
    elif encoder is None:
        encoder = DEFAULT_ENCODER if known is None else known.encoder
    model = build_efficient_medsam2_model(encoder, weights, device, runtime=runtime, precision=precision, task=known)
    if threads is not None:
        model.set_threads(threads)
    return model


def build_session(**arguments: Any) -> InteractiveSession:
    """An interactive session on a network; arguments and errors as for `build_model`."""
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

    return InteractiveSession(EfficientMedSAM2VolumePredictor(build_model(**arguments)))
