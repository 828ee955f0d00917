"""A segment, what became of segments in a file, and whether a file put them where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import grid_offset, spacing_of
from EfficientMedSAM2Lib.imaging.terminology import Color

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume

#: Key under which a file keeps what was done to the scan on reading.
NOTES_KEY = "EfficientMedSAM2_Notes"
#: Largest distance, in voxels, by which the grid of a file may lie beside the one that was meant: rounding of numbers
#: that are written as text or in single precision.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True)
class Segment:
    """One structure.

    Attributes:
        name: What the user calls it.
        mask: (D,H,W) bool, on the volume's grid.
        color: Red, green, blue in 0 ... 1; None for the standard colour of what the name says.
        terminology: Slicer's terminology entry; None for the one the name says.
    """

    name: str
    mask: np.ndarray
    color: Color | None = None
    terminology: str | None = None


@dataclass(frozen=True)
class Written:
    """What is in a file that was written.

    Attributes:
        segments: The segments as they are there.
        notes: What the format could not hold, a sentence each, with numbers.
    """

    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()


def check_masks(segments: Sequence[Segment], volume: Volume) -> None:
    """UserError where a mask is not on the volume's grid."""
    for segment in segments:
        if segment.mask.shape != volume.shape_kji:
            raise UserError(
                f"The mask of {segment.name!r} has shape {segment.mask.shape}, the volume {volume.shape_kji}."
            )


def check_geometry(ijk_to_ras: np.ndarray, volume: Volume, ending: str) -> None:
    """Compare the matrix of a file that was just written with the one that was meant.

    Raises:
        UserError: Voxels would lie elsewhere in the patient.
    """
    offset = grid_offset(volume.ijk_to_ras, ijk_to_ras, volume.shape_kji)
    if not offset <= GRID_TOLERANCE:  # NaN compares false
        millimetres = offset * float(spacing_of(volume.ijk_to_ras).max())
        raise UserError(
            f"A {ending} file cannot hold the grid of this scan: voxels would be up to {millimetres:.1f} mm off; "
            "use .seg.nrrd."
        )
