"""The network: tensors in, tensors out. Build one with `build_efficient_medsam2_model`."""

from __future__ import annotations

from .builder import build_efficient_medsam2_model, load_model, save_model
from .config import ModelConfig
from .image_encoder import ImageFeatures, encoder_types, register_encoder
from .mask_decoder import DecodedMasks
from .memory import MemoryBank
from .network import EfficientMedSAM2
from .prompt_encoder import PromptBatch

__all__ = [
    "DecodedMasks",
    "EfficientMedSAM2",
    "ImageFeatures",
    "MemoryBank",
    "ModelConfig",
    "PromptBatch",
    "build_efficient_medsam2_model",
    "encoder_types",
    "load_model",
    "register_encoder",
    "save_model",
]
