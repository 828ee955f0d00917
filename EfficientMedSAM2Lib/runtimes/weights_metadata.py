"""What a weights file says of itself: `.safetensors`, a checkpoint of `torch.save`, or an exported network."""

from __future__ import annotations

import os
from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.runtimes.choice import installed
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import is_exported, read_description


def weights_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Configuration, licence and training of a `.safetensors` file.

    Raises:
        UserError: The file is missing or is not a `.safetensors` file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"Weights file {path} does not exist; give the path of a .safetensors file.")
    try:
        with safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable .safetensors file: {error}") from error


def encoder_of(path: str | os.PathLike[str]) -> str:
    """Name of the encoder that a weights file is for.

    Raises:
        UserError: The file cannot be read or holds no configuration of this program.
    """
    if is_exported(path):
        return read_description(path).config.encoder_type
    if Path(path).suffix.lower() != ".safetensors" and installed("torch"):
        from EfficientMedSAM2Lib.models.checkpoint import read_checkpoint

        return read_checkpoint(path)[0].encoder_type
    metadata = weights_metadata(path)
    if "config" not in metadata:
        raise UserError(f"{path} holds no EfficientMedSAM2 configuration; give weights of this program.")
    return ModelConfig.from_json(metadata["config"]).encoder_type


def licence_of(path: str | os.PathLike[str]) -> str | None:
    """Licence of a weights file, None where it does not say.

    Raises:
        UserError: An exported network that cannot be read.
    """
    if is_exported(path):
        return read_description(path).licence
    try:
        return weights_metadata(path).get("licence")
    except UserError:
        return None  # whoever reads the weights says what is wrong with them


__all__ = ["encoder_of", "licence_of", "weights_metadata"]
