"""A segment, what became of segments in a file, and whether a file put them where they belong."""

from __future__ import annotations

import re
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
#: IDs of segments that files can hold; those that Slicer makes are such.
SEGMENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
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
        segment_id: What a scene or file knows it by, whatever it is called; "" for none.
    """

    name: str
    mask: np.ndarray
    color: Color | None = None
    terminology: str | None = None
    segment_id: str = ""


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


def ids_of(segments: Sequence[Segment]) -> list[str]:
    """An ID for each segment: its own, where that can be written and no other has it."""
    ids: list[str] = []
    for number, segment in enumerate(segments, start=1):
        wanted = segment.segment_id
        others = {other.segment_id for other in segments if other is not segment} | set(ids)
        ids.append(wanted if SEGMENT_ID.fullmatch(wanted) and wanted not in others else f"Segment_{number}")
    return ids if len(set(ids)) == len(ids) else [f"Segment_{number}" for number in range(1, len(ids) + 1)]


def layers_of(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Layer and label of each segment: the first layer where it meets no other segment."""
    used: list[np.ndarray] = []
    labels: list[int] = []
    places = []
    for segment in segments:
        mask = segment.mask.astype(bool, copy=False)
        layer = next((n for n, taken in enumerate(used) if not np.logical_and(taken, mask).any()), len(used))
        if layer == len(used):
            used.append(np.zeros(mask.shape, dtype=bool))
            labels.append(0)
        used[layer] |= mask
        labels[layer] += 1
        places.append((layer, labels[layer]))
    return places
