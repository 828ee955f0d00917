"""The network: tensors in, tensors out. Build one with `build_torch_network`.

What needs torch is loaded when first asked for, so that an exported network runs where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.models.bundles import DecodedMasks, ImageFeatures, MemoryBank, PromptBatch
from EfficientMedSAM2Lib.models.config import ModelConfig, encoder_types, register_encoder
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models.builder import build_torch_network, load_model, save_model
    from EfficientMedSAM2Lib.models.network import EfficientMedSAM2

_HOMES = {
    "EfficientMedSAM2": "network",
    "build_torch_network": "builder",
    "load_model": "builder",
    "save_model": "builder",
}

__all__ = [
    "DecodedMasks",
    "EfficientMedSAM2",
    "HeuristicsConfig",
    "ImageFeatures",
    "MemoryBank",
    "ModelConfig",
    "PromptBatch",
    "build_torch_network",
    "encoder_types",
    "load_model",
    "register_encoder",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
