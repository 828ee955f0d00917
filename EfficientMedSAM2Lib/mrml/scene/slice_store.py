"""What is known of a segment's slices, kept with the scene as a tag of the segment: scores, what is out of date, edits.

Slicer's undo and redo carry the tag along with the voxels. A slice whose voxels are not those that the tag was written
for was edited by other means: nothing is known of it.
"""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import bounding_box, box_slices, moved
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.interaction.constraints import edited_voxels
from EfficientMedSAM2Lib.interaction.segment import SliceKind, SliceRecord
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag, pack_record, unpack_record
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix, volume_shape

SLICES_TAG = "EfficientMedSAM2.Slices"
#: Matrices that differ by less, in mm, are the same grid: files keep fewer digits than memory.
SAME_GRID_MM = 0.01

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedSlices:
    """Slices of a segment as they were saved.

    Attributes:
        axis: Slicing axis.
        records: State of each slice that is known.
        sums: Checksum of each slice's voxels, 0 where there are none.
        edited: Voxels painted or erased by hand.
    """

    axis: int
    records: Mapping[int, SliceRecord] = field(default_factory=dict)
    sums: Mapping[int, int] = field(default_factory=dict)
    edited: PackedMask = field(default_factory=lambda: PackedMask.empty(3))

    @property
    def filled(self) -> frozenset[int]:
        """Slices with voxels."""
        return frozenset(index for index, value in self.sums.items() if value)


def slice_sum(mask: np.ndarray, start: Sequence[int] = (0, 0)) -> int:
    """Checksum of a slice's voxels, bool (rows, columns) from row and column ``start`` on; 0 where none is set."""
    box = bounding_box(mask)
    if box is None:
        return 0
    return zlib.crc32(np.packbits(mask[box_slices(box)]).tobytes(), zlib.crc32(repr(moved(box, start)).encode())) or 1


def write_slices(segment: Any, volume_node: Any, engine: InteractiveSession, name: str, mask: PackedMask) -> None:
    """Keep what the engine knows of its segment ``name`` with a vtkSegment; ``mask`` is what the editor holds of it."""
    if name not in engine.segments:
        segment.RemoveTag(SLICES_TAG)
        return
    axis, shape = engine.slicing_axis(name), volume_shape(volume_node)
    planes, low = np.moveaxis(mask.unpack(), axis, 0), mask.bounds[axis][0]
    start = [bounds[0] for n, bounds in enumerate(mask.bounds) if n != axis]
    sums = {low + n: slice_sum(plane, start) for n, plane in enumerate(planes)}
    edited = edited_voxels(engine.prompts(name))
    record = {
        "version": 1,
        "axis": axis,
        "shape": list(shape),
        "matrix": np.round(volume_matrix(volume_node), 4).tolist(),
        "slices": [
            [i, r.kind.value, round(r.score, 3), int(r.stale), int(r.empty), int(r.given), sums.get(i, 0)]
            for i, r in sorted(engine.slice_records(name, axis).items())
        ],
        "edited": [edited.bounds, base64.b64encode(edited.data).decode()],
    }
    segment.SetTag(SLICES_TAG, pack_record(record))


def read_slices(segment: Any, volume_node: Any) -> SavedSlices | None:
    """What was saved with a vtkSegment; None where there is nothing, or nothing that belongs to the volume's grid."""
    text = get_tag(segment, SLICES_TAG)
    if not text:
        return None
    try:
        record = unpack_record(text)
        axis, shape = int(record["axis"]), volume_shape(volume_node)
        far = np.abs(np.array(record["matrix"], float) - volume_matrix(volume_node)).max() > SAME_GRID_MM
        if record["version"] != 1 or axis not in (0, 1, 2):
            raise ValueError(f"version {record['version']}")
        if far or tuple(record["shape"]) != tuple(shape):
            return None
        records, sums = {}, {}
        for index, kind, score, stale, empty, given, value in record["slices"]:
            if not 0 <= int(index) < shape[axis]:
                raise ValueError(f"slice {index}")
            records[int(index)] = SliceRecord(SliceKind(kind), float(score), bool(stale), bool(empty), bool(given))
            sums[int(index)] = int(value)
        bounds, data = record["edited"]
        edited = PackedMask(tuple((int(low), int(high)) for low, high in bounds), base64.b64decode(data))
        if len(edited.bounds) != 3 or not all(0 <= a <= b <= size for (a, b), size in zip(edited.bounds, shape)):
            raise ValueError(f"voxels {edited.bounds}")
        edited.unpack()  # or it cannot be unpacked
    except (ValueError, TypeError, KeyError, IndexError, zlib.error) as error:
        logger.warning("What was saved of the slices cannot be read (%s); the segment itself is complete.", error)
        return None
    return SavedSlices(axis, records, sums, edited)


def still_true(saved: SavedSlices, mask: np.ndarray) -> tuple[SavedSlices, np.ndarray]:
    """What of it fits a segment as it is now, and voxels of it, bool (D, H, W), on slices that were edited since."""
    edited = saved.edited.full(mask.shape)
    planes, held = np.moveaxis(mask, saved.axis, 0), np.moveaxis(edited, saved.axis, 0)
    changed = [i for i in range(len(planes)) if slice_sum(planes[i]) != saved.sums.get(i, 0)]
    for index in changed:
        held[index] |= planes[index]
    records = {i: record for i, record in saved.records.items() if i not in changed}
    sums = {i: value for i, value in saved.sums.items() if i not in changed}
    return SavedSlices(saved.axis, records, sums, saved.edited), edited
