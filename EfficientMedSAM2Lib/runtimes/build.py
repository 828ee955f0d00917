"""Building a network for a runtime: torch's own, or an exported one, which is made and kept when first asked for."""

from __future__ import annotations

import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..imaging.files import sha256_of
from ..models.config import timm_architecture
from ..resources import resource_path, shipped_weights
from .onnx_file import SUFFIX, is_exported, read_description

logger = logging.getLogger(__name__)

RUNTIMES = ("torch", "onnx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
CACHE_VARIABLE = "EFFICIENT_MEDSAM2_CACHE"
"""Environment variable: the folder of exported networks, instead of the user's own cache."""


def build_efficient_medsam2_model(
    encoder_type: str = "efficientnet",
    checkpoint: str | os.PathLike[str] | None = None,
    device: Any = "auto",
    use_half_precision: bool = True,
    runtime: str | None = None,
    precision: str | None = None,
) -> Any:
    """Build the network, ready for inference.

    Args:
        encoder_type: "efficientnet" (EfficientNet-Lite0), "mobilenet" (MobileNetV3-Large) or a registered name.
        checkpoint: None for the weights shipped for that encoder, "random" for none, else a `.safetensors` file, or a
            network that `efficient-medsam2 export` wrote (`.onnx.zip`).
        device: "auto" takes cuda, then mps, then cpu; or a torch device. A cuda or mps device that is not there is
            replaced by the CPU, with a warning in the log. ONNX Runtime computes on the CPU.
        use_half_precision: Compute in FP16 on cuda and mps. A CPU computes in bfloat16 where it has instructions for
            it, else in float32. `model.compute_dtype` says which.
        runtime: "torch", or "onnx" for ONNX Runtime, which needs no torch; None takes what checkpoint and precision
            need, else torch.
        precision: "fp32", "fp16", "bf16", or "int8" (ONNX Runtime only); None leaves it to `use_half_precision`.

    Returns:
        An `EfficientMedSAM2` in evaluation mode with fused batch normalisation, or an `OnnxNetwork`; predictors take
        either.

    Raises:
        ValueError: Unknown or unsuitable arguments, missing or unusable weights file, weights of another encoder, or a
            library that is needed is missing.
    """
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"Unknown precision {precision!r}; use {', '.join(PRECISIONS)}.")
    if runtime is None:
        runtime = "onnx" if precision == "int8" or is_exported(checkpoint) else "torch"
    if runtime not in RUNTIMES:
        raise ValueError(f"Unknown runtime {runtime!r}; use {' or '.join(RUNTIMES)}.")
    if runtime == "onnx":
        return _onnx_network(encoder_type, checkpoint, device, precision)
    if precision == "int8" or is_exported(checkpoint):
        raise ValueError("INT8 and exported networks need runtime='onnx'.")
    if not _installed("torch"):
        raise ValueError("PyTorch is not installed; install it, or use runtime='onnx' with an exported network.")
    from ..models.builder import build_efficient_medsam2_model as build

    return build(encoder_type, checkpoint, device, use_half_precision, precision)


def _onnx_network(encoder_type: str, checkpoint: Any, device: Any, precision: str | None) -> Any:
    from .onnx_network import OnnxNetwork

    timm_architecture(encoder_type)  # refuses unknown names
    if precision in ("fp16", "bf16"):
        raise ValueError(f"ONNX Runtime computes in fp32 or int8 here, not in {precision}.")
    if str(device).split(":")[0] not in ("auto", "cpu"):
        logger.warning("ONNX Runtime computes on the CPU here, not on %s.", device)
    path = Path(checkpoint) if is_exported(checkpoint) else exported_file(encoder_type, checkpoint, precision or "fp32")
    network = OnnxNetwork(path)
    if network.config.encoder_type != encoder_type:
        raise ValueError(
            f"{path} holds a network with the encoder {network.config.encoder_type!r}, not {encoder_type!r}; "
            f"ask for encoder_type={network.config.encoder_type!r}."
        )
    if precision is not None and network.description.precision != precision:
        raise ValueError(f"{path} was exported as {network.description.precision}, not as {precision}.")
    return network


def exported_file(encoder_type: str, checkpoint: str | os.PathLike[str] | None, precision: str) -> Path:
    """The exported form of some weights: the one that is shipped, else the one in the cache, else made now.

    Args:
        encoder_type: Name of the encoder.
        checkpoint: A `.safetensors` file; None for the shipped weights; "random" is never kept for a next time.
        precision: "fp32" or "int8".

    Raises:
        ValueError: There is none, and what is needed to make one is not installed.
    """
    is_random = str(checkpoint) == "random"
    weights = None if is_random else Path(checkpoint) if checkpoint is not None else shipped_weights(encoder_type)
    if weights is not None and not weights.is_file():
        raise ValueError(f"Weights file {weights} does not exist; give the path of a .safetensors file.")
    sha256 = sha256_of(weights) if weights is not None else os.urandom(32).hex()
    shipped = resource_path("Models", exported_name(encoder_type, precision))
    # One made from older weights is of no use.
    if shipped.is_file() and read_description(shipped).weights_sha256 == sha256:
        return shipped
    cached = cache_folder() / f"{sha256[:24]}-{precision}{SUFFIX}"
    if not cached.is_file():
        missing = [name for name in ("torch", "timm", "onnx") if not _installed(name)]
        if missing:
            raise ValueError(
                f"There is no exported network for {weights or 'random weights'} ({precision}), and {missing[0]} is "
                "not installed to make one. Run `efficient-medsam2 export --output FILE.onnx.zip` where it is, and "
                "give that file as weights."
            )
        logger.info("Exporting %s for ONNX Runtime into %s (once).", weights or encoder_type, cached)
        cached.parent.mkdir(parents=True, exist_ok=True)
        export(encoder_type, checkpoint, precision, cached)
    return cached


def export(encoder_type: str, checkpoint: str | os.PathLike[str] | None, precision: str, path: Path) -> None:
    """Export a network with torch; arguments as `exported_file`, and the file to write.

    Raises:
        ValueError: As `build_efficient_medsam2_model`, or onnx is missing.
    """
    from ..models.builder import build_efficient_medsam2_model as build
    from .export import export_network

    model = build(encoder_type, checkpoint, "cpu", precision="fp32")
    weights = Path(checkpoint) if checkpoint is not None else shipped_weights(encoder_type)
    export_network(model, path, precision, sha256_of(weights) if weights.is_file() else "")


def exported_name(encoder_type: str, precision: str) -> str:
    """File name of an exported network beside the shipped weights."""
    return f"efficient_medsam2_{encoder_type}_{precision}{SUFFIX}"


def cache_folder() -> Path:
    """Where exported networks are kept: named by `CACHE_VARIABLE`, else in the user's own cache."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "efficient-medsam2"


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


__all__ = [
    "CACHE_VARIABLE",
    "PRECISIONS",
    "RUNTIMES",
    "build_efficient_medsam2_model",
    "cache_folder",
    "export",
    "exported_file",
    "exported_name",
]
