"""Building a network for a runtime: torch's own, or an exported one, which is made and kept when first asked for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.config import timm_architecture
from EfficientMedSAM2Lib.runtimes.choice import choose_runtime, installed
from EfficientMedSAM2Lib.runtimes.exported import cached_file, exported_at_hand, weights_sha256
from EfficientMedSAM2Lib.runtimes.home_process import note_home
from EfficientMedSAM2Lib.runtimes.network import Network
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import is_exported
from EfficientMedSAM2Lib.runtimes.tasks import Task, read_task

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

logger = logging.getLogger(__name__)

RUNTIMES = ("torch", "onnx")
AUTO = "auto"
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def build_efficient_medsam2_model(
    encoder_type: str = "efficientnet",
    checkpoint: str | os.PathLike[str] | None = None,
    device: Any = "auto",
    use_half_precision: bool = True,
    runtime: str | None = None,
    precision: str | None = None,
    task: str | os.PathLike[str] | Task | None = None,
) -> Network:
    """Build the network, ready for inference.

    Args:
        encoder_type: "efficientnet" (EfficientNet-Lite0), "mobilenet" (MobileNetV3-Large) or a registered name.
        checkpoint: None for the weights shipped for that encoder, "random" for none, else a `.safetensors` file, a
            state dict that `torch.save` wrote (`.pth`), or a network that `efficient-medsam2 export` wrote
            (`.onnx.zip`).
        device: "auto" takes cuda, then mps, then cpu; or a torch device. A cuda or mps device that is not there is
            replaced by the CPU, with a warning in the log. ONNX Runtime computes on the CPU.
        use_half_precision: Compute in FP16 on cuda and mps. A CPU computes in bfloat16 where it has instructions for
            it, else in float32. `model.compute_dtype` says which.
        runtime: "torch", or "onnx" for ONNX Runtime, which needs no torch; "auto" for the better one on this machine,
            see `choose_runtime`; None takes what checkpoint and precision need, else torch where it is installed, for
            callers that expect its tensors.
        precision: "fp32", "fp16", "bf16", or "int8" (ONNX Runtime only); None leaves it to `use_half_precision`.
        task: What `efficient-medsam2 learn` has learnt of one structure: a `.task` file, or what `read_task` read. It
            belongs to certain weights, and computes in float32 where "int8" is asked for.

    Returns:
        An `EfficientMedSAM2` in evaluation mode with fused batch normalisation, or an `OnnxNetwork`; predictors take
        either.

    Raises:
        UserError: Unknown or unsuitable arguments, missing or unusable weights file, weights of another encoder, or a
            library that is needed is missing.
    """
    if precision is not None and precision not in PRECISIONS:
        raise UserError(f"Unknown precision {precision!r}; use {', '.join(PRECISIONS)}.")
    if task is not None:
        task = task if isinstance(task, Task) else read_task(task)
        if precision == "int8":
            logger.warning("A task computes in fp32, not in int8.")
            runtime, precision = "onnx" if runtime is None else runtime, "fp32"
    if runtime is None:
        needed = precision == "int8" or is_exported(checkpoint) or not installed("torch")
        runtime = "onnx" if needed else "torch"
    elif runtime == AUTO:
        runtime = choose_runtime(encoder_type, checkpoint, device, precision)
    if runtime not in RUNTIMES:
        raise UserError(f"Unknown runtime {runtime!r}; use {AUTO}, {' or '.join(RUNTIMES)}.")
    if runtime == "onnx":
        network = _onnx_network(encoder_type, checkpoint, device, precision, task)
        note_home(network)
        return network
    if precision == "int8" or is_exported(checkpoint):
        raise UserError("INT8 and exported networks need runtime='onnx'.")
    if not installed("torch"):
        raise UserError("PyTorch is not installed; install it, or use runtime='onnx'.")
    from EfficientMedSAM2Lib.models.builder import build_torch_network

    adapt = None
    if task is not None:
        from EfficientMedSAM2Lib.runtimes.tasks.torch_task import adapt_to

        task.check_weights(weights_sha256(encoder_type, checkpoint), str(checkpoint or encoder_type))
        adapt = adapt_to(task)
    model = build_torch_network(encoder_type, checkpoint, device, use_half_precision, precision, adapt)
    note_home(model)
    return model


def _onnx_network(
    encoder_type: str, checkpoint: Any, device: Any, precision: str | None, task: Task | None
) -> OnnxNetwork:
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

    timm_architecture(encoder_type)  # refuses unknown names
    if precision in ("fp16", "bf16"):
        raise UserError(f"ONNX Runtime computes in fp32 or int8 here, not in {precision}.")
    if str(device).split(":")[0] not in ("auto", "cpu"):
        logger.warning("ONNX Runtime computes on the CPU here, not on %s.", device)
    path = Path(checkpoint) if is_exported(checkpoint) else exported_file(encoder_type, checkpoint, precision or "fp32")
    weights = None if checkpoint is None or is_exported(checkpoint) else Path(checkpoint)
    network = OnnxNetwork(path, task=task, weights=weights)
    if network.config.encoder_type != encoder_type:
        raise UserError(
            f"{path} holds a network with the encoder {network.config.encoder_type!r}, not {encoder_type!r}; "
            f"ask for encoder_type={network.config.encoder_type!r}."
        )
    if precision is not None and network.description.precision != precision:
        raise UserError(f"{path} was exported as {network.description.precision}, not as {precision}.")
    return network


def exported_file(encoder_type: str, checkpoint: str | os.PathLike[str] | None, precision: str) -> Path:
    """The exported form of some weights: the one that is shipped, else the one in the cache, else made now.

    Args:
        encoder_type: Name of the encoder.
        checkpoint: A `.safetensors` or `.pth` file; None for the shipped weights; "random" is never kept.
        precision: "fp32" or "int8".

    Raises:
        UserError: There is none, and what is needed to make one is not installed.
    """
    found = exported_at_hand(encoder_type, checkpoint, precision)
    if found is not None:
        return found
    # INT8 is made of the same graphs in float32, so that where these are there, nothing else is needed.
    plain = exported_at_hand(encoder_type, checkpoint, "fp32") if precision == "int8" else None
    missing = [name for name in (("onnx",) if plain else ("torch", "timm", "onnx")) if not installed(name)]
    if missing:
        raise UserError(
            f"There is no exported network for {checkpoint or encoder_type} ({precision}), and {missing[0]} is not "
            f"installed to make one: pip install {missing[0]}. Or run `efficient-medsam2 export --output "
            "FILE.onnx.zip` where it is, and give that file as weights."
        )
    path = cached_file(weights_sha256(encoder_type, checkpoint) or os.urandom(32).hex(), precision)
    logger.info("Exporting %s for ONNX Runtime into %s (once).", checkpoint or encoder_type, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if plain is not None:
        from EfficientMedSAM2Lib.runtimes.onnx.quantise import quantise_exported

        quantise_exported(plain, path)
    else:
        export(encoder_type, checkpoint, precision, path)
    return path


def export(encoder_type: str, checkpoint: str | os.PathLike[str] | None, precision: str, path: Path) -> None:
    """Export a network with torch; arguments as `exported_file`, and the file to write.

    Raises:
        UserError: As `build_efficient_medsam2_model`, or onnx is missing.
    """
    from EfficientMedSAM2Lib.models.builder import build_torch_network
    from EfficientMedSAM2Lib.runtimes.onnx.export import export_network

    model = build_torch_network(encoder_type, checkpoint, "cpu", precision="fp32")
    export_network(model, path, precision, weights_sha256(encoder_type, checkpoint))


__all__ = [
    "AUTO",
    "PRECISIONS",
    "RUNTIMES",
    "build_efficient_medsam2_model",
    "export",
    "exported_file",
]
