"""Building a network, reading and writing its weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.models.checkpoint import read_checkpoint
from EfficientMedSAM2Lib.models.config import ModelConfig, timm_architecture
from EfficientMedSAM2Lib.models.network import EfficientMedSAM2

logger = logging.getLogger(__name__)

WEIGHTS_LICENCE = "Apache-2.0"
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def build_torch_network(
    encoder_type: str = "efficientnet",
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    use_half_precision: bool = True,
    precision: str | None = None,
    adapt: Callable[[EfficientMedSAM2], None] | None = None,
) -> EfficientMedSAM2:
    """Build the network, ready for inference.

    Args:
        encoder_type: "efficientnet" (EfficientNet-Lite0), "mobilenet" (MobileNetV3-Large) or a registered name.
        checkpoint: None for the weights shipped for that encoder, "random" for none, else a `.safetensors` file, or a
            state dict that `torch.save` wrote (`.pth`), alone or as "model", "state_dict" or
            "model_state_dict" of a dictionary.
        device: "auto" takes cuda, then mps, then cpu; or a torch device. A cuda or mps device that is not there is
            replaced by the CPU, with a warning in the log.
        use_half_precision: Compute in FP16 on cuda and mps. A CPU computes in bfloat16 where it has instructions for
            it, else in float32. `model.compute_dtype` says which.
        precision: "fp32", "fp16" or "bf16", whatever the device is fast at; None leaves it to `use_half_precision`.
        adapt: Changes the weights in float32, before they are brought to the precision that is computed in.

    Returns:
        The network in evaluation mode, batch normalisation fused.

    Raises:
        UserError: Unknown encoder, device or precision, missing or unusable weights file, weights of another encoder.
    """
    timm_architecture(encoder_type)  # refuses unknown names
    if precision is not None and precision not in _DTYPES:
        raise UserError(f"torch computes in {', '.join(_DTYPES)}, not in {precision!r}.")
    target = _device(device)
    if checkpoint is not None and str(checkpoint) == "random":
        model = EfficientMedSAM2(ModelConfig(encoder_type)).eval()
        model.image_encoder.fuse()
    else:
        path = shipped_weights(encoder_type) if checkpoint is None else Path(checkpoint)
        model = load_model(path, for_inference=True)
        if model.config.encoder_type != encoder_type:
            raise UserError(
                f"{path} holds weights for the encoder {model.config.encoder_type!r}, not {encoder_type!r}; "
                f"ask for encoder_type={model.config.encoder_type!r}."
            )
    model.requires_grad_(False)
    if adapt is not None:
        adapt(model)
    model.set_compute_dtype(_DTYPES[precision] if precision else _compute_dtype(target, use_half_precision))
    for name, part in model.named_children():
        order = torch.channels_last_3d if name == "context" else torch.channels_last
        part.to(memory_format=order)  # type: ignore[call-overload]  # torch's stubs lack it
    return model.to(target)


def load_model(path: str | os.PathLike[str], for_inference: bool = False) -> EfficientMedSAM2:
    """Read a weights file as float32.

    Args:
        path: See `read_checkpoint`.
        for_inference: Fold batch normalisation into the convolutions. A file that was saved from a network built for
            inference has it folded already, and cannot be read otherwise: training needs it.

    Returns:
        The network; not fused unless `for_inference`.

    Raises:
        UserError: The file is missing or is not a weights file of this program.
    """
    config, tensors, heuristics = read_checkpoint(path)
    model = EfficientMedSAM2(config).eval()
    if set(tensors) != _names(model):
        fused = EfficientMedSAM2(config).eval()
        fused.image_encoder.fuse()
        if set(tensors) == _names(fused):
            if not for_inference:
                raise UserError(
                    f"{path} was saved from a network built for inference, without the batch normalisation that "
                    "training needs; give the .safetensors file that training wrote."
                )
            model = fused
    model.heuristics = heuristics
    wanted = _names(model)
    if set(tensors) != wanted:
        odd = sorted(wanted.symmetric_difference(tensors))
        raise UserError(
            f"{path} does not fit this version's network ({len(odd)} tensors differ, such as {odd[0]}). Take the "
            "weights that come with this version, or train these again; an exported network of them still runs."
        )
    try:
        model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit this version's network: {error}") from error
    if for_inference:
        model.image_encoder.fuse()
        return model
    return model.train()


def _names(model: EfficientMedSAM2) -> set[str]:
    """Names of the tensors that count; how many batches were seen is of no use."""
    return {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}


def save_model(model: EfficientMedSAM2, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write weights in FP16, with configuration, heuristics and licence as metadata; under a temporary name first.

    Args:
        model: A network that is not fused.
        path: The `.safetensors` file.
        metadata: More to say of the weights, such as the training command.
    """
    tensors = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    notes = {
        "config": model.config.to_json(),
        "heuristics": model.heuristics.to_json(),
        "licence": WEIGHTS_LICENCE,
        **(metadata or {}),
    }
    with replacing(Path(path)) as temporary:
        save_file(tensors, str(temporary), metadata=notes)
        temporary.chmod(0o644)  # safetensors makes it readable for its writer alone


def default_device() -> torch.device:
    """What "auto" stands for on this machine: cuda, then mps, then cpu."""
    return torch.device(next((name for name in ("cuda", "mps") if _is_there(name)), "cpu"))


def _device(device: str | torch.device) -> torch.device:
    if str(device) == "auto":
        return default_device()
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"Unknown device {device!r}; use auto, cuda, mps or cpu.") from error
    if _is_there(wanted.type):
        return wanted
    # A script written for a machine with a GPU runs on one without, only slower.
    logger.warning("There is no %s device here; computing on the CPU.", wanted.type)
    return torch.device("cpu")


def _is_there(device_type: str) -> bool:
    if device_type == "cuda":
        return torch.cuda.is_available()
    return device_type != "mps" or torch.backends.mps.is_available()


def _compute_dtype(device: torch.device, use_half_precision: bool) -> torch.dtype:
    if not use_half_precision:
        return torch.float32
    if device.type in ("cuda", "mps"):
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; without them it is emulated, many times slower than float32."""
    # Processors with AMX have AVX512-BF16 too.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return probe is not None and bool(probe())


__all__ = [
    "WEIGHTS_LICENCE",
    "build_torch_network",
    "cpu_has_bfloat16",
    "load_model",
    "save_model",
    "shipped_weights",
]
