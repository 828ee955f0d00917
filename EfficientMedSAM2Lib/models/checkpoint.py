"""Reading weights: this program's `.safetensors`, and state dicts of `torch.save`. Never a pickle of objects."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.config import ContextConfig, ModelConfig, encoder_types
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.models.network import EfficientMedSAM2

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")
_CONTAINERS = ("model", "state_dict", "model_state_dict")
_LANDMARK = "no_memory"  # a tensor that only this network has, at its top level
_FINE = "mask_decoder.fine.up2.weight"  # only of networks whose masks have stride 2
_CONTEXT = "context."  # only of networks with a 3D part
_TRUNK = "image_encoder.trunk."


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[ModelConfig, dict[str, Tensor], HeuristicsConfig]:
    """Read a weights file.

    Args:
        path: A `.safetensors` file of this program, or what `torch.save` made of `model.state_dict()`, or of a
            dictionary that has it as "model", "state_dict" or "model_state_dict".

    Returns:
        The configuration, the tensors in float32 without counters of batches, and the heuristics that belong to them.
        The encoder of a `torch.save` file is the one whose tensors it holds; its sizes are this version's.

    Raises:
        UserError: The file is missing, cannot be read, or holds other things than weights of this network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"Weights file {path} does not exist; give the path of a .safetensors or .pth file.")
    if is_torch_file(path):
        tensors = _network_tensors(_load_torch(path))
        if tensors is None:
            raise UserError(
                f"{path} holds no weights of this program's network; give a file that was written with "
                "torch.save(model.state_dict(), ...) or the weights that come with this version."
            )
        stride = 2 if _FINE in tensors else 4
        context = ContextConfig() if any(name.startswith(_CONTEXT) for name in tensors) else None
        config = ModelConfig(_encoder_of(tensors, path), mask_stride=stride, context=context)
        heuristics = HeuristicsConfig()
    else:
        config, tensors, heuristics = _read_safetensors(path)
    counted = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    return config, counted, heuristics


def is_torch_file(path: Path) -> bool:
    """Whether `torch.save` wrote a file: by its ending, or because it is a ZIP archive."""
    return path.suffix.lower() in TORCH_SUFFIXES or (path.suffix.lower() != ".safetensors" and zipfile.is_zipfile(path))


def holds_this_network(path: Path) -> bool:
    """Whether a file of `torch.save` holds weights of this network, and not of another one.

    Raises:
        UserError: The file cannot be read.
    """
    return _network_tensors(_load_torch(path)) is not None


def _read_safetensors(path: Path) -> tuple[ModelConfig, dict[str, Tensor], HeuristicsConfig]:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable .safetensors file: {error}") from error
    if "config" not in metadata:
        raise UserError(f"{path} holds no EfficientMedSAM2 configuration; it is not a weights file of this program.")
    return ModelConfig.from_json(metadata["config"]), tensors, HeuristicsConfig.from_json(metadata.get("heuristics"))


def _load_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, which could run code when loaded, or is no file of PyTorch; write it "
            "with torch.save(model.state_dict(), ...)."
        ) from error
    except Exception as error:  # torch reads a broken pickle to its end, and fails there in any way
        raise UserError(f"{path} cannot be read as a PyTorch checkpoint; copy or save it again.") from error


def _network_tensors(content: Any) -> dict[str, Tensor] | None:
    """The state dict of this network somewhere in a checkpoint, without prefixes of wrappers; None where there is none.

    DistributedDataParallel puts `module.` before each name, Lightning `model.`, and torch.compile `_orig_mod.`.
    """
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return None
    state = {str(name).replace("_orig_mod.", ""): value for name, value in content.items()}
    prefixes = [name[: -len(_LANDMARK)] for name in state if name.split(".")[-1] == _LANDMARK]
    if not prefixes:
        return None
    # A training's checkpoint may hold its teacher too.
    prefix = min(prefixes, key=lambda candidate: (candidate not in ("", "model."), len(candidate)))
    tensors = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return tensors if all(isinstance(value, Tensor) for value in tensors.values()) else None


def _encoder_of(tensors: Mapping[str, Tensor], path: Path) -> str:
    """The registered encoder whose trunk fits most tensors, in name and shape."""

    def fitting(encoder_type: str) -> int:
        with torch.device("meta"):
            expected = EfficientMedSAM2(ModelConfig(encoder_type)).state_dict()
        trunk = (name for name in tensors if name.startswith(_TRUNK) and name in expected)
        return sum(tensors[name].shape == expected[name].shape for name in trunk)

    counts = {encoder_type: fitting(encoder_type) for encoder_type in encoder_types()}
    best = max(counts, key=lambda encoder_type: counts[encoder_type])
    if counts[best] == 0:
        raise UserError(f"{path} holds a network with none of the encoders {', '.join(encoder_types())}.")
    return best


__all__ = ["TORCH_SUFFIXES", "holds_this_network", "is_torch_file", "read_checkpoint"]
