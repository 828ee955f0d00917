"""Volume, diameters and mean intensity of each segment, measured again when its voxels have changed; a table of all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_slices, in_plane_axes
from EfficientMedSAM2Lib.imaging.formats.files import csv_cell
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.slice_scores import read_scores
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.pipeline.measurements import MEASURES, Diameters, diameters_in_slice, measure_mask
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

#: Of the table that is saved, in order.
COLUMNS = ("scan", "segment", *MEASURES, "score_volume")

#: Slice scores and slices with prompts of a segment, along the axis of its slices.
_Scores = tuple[int, dict[int, float], list[int]]


@dataclass(frozen=True)
class Measurement:
    """A segment in numbers.

    Attributes:
        voxels: Number of voxels.
        milliliters: Their volume; None where the scan does not say how large one is.
        diameters: RECIST's two, in the scan's own slices; None without voxels or their size.
        mean: Mean of the volume's own values (HU for CT) inside; None for an empty segment and for colour volumes.
    """

    voxels: int
    milliliters: float | None
    mean: float | None
    diameters: Diameters | None = None


class Measurements:
    """Numbers of a viewer session's segments."""

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self._known: dict[str, tuple[Any, Measurement]] = {}

    def clear(self) -> None:
        """Another volume."""
        self._known = {}

    def get(self, segment_id: str) -> Measurement | None:
        """Numbers of a segment as it is now; None until they are measured."""
        stamp, measured = self._known.get(segment_id, (None, None))
        return measured if stamp == segment_stamp(self.viewer.segmentation_node, segment_id) else None

    def update(self) -> bool:
        """Measure what has changed; returns whether anything had."""
        node, volume = self.viewer.segmentation_node, self.viewer.volume
        if node is None or volume is None:
            return False
        changed = False
        for segment_id in self.viewer.port.segment_ids():
            stamp = segment_stamp(node, segment_id)
            if segment_id not in self._known or self._known[segment_id][0] != stamp:
                box = segment_box(node, segment_id, self.viewer.volume_node)
                self._known[segment_id] = stamp, self._measure(segment_id, box)
                changed = True
        return changed

    def _measure(self, segment_id: str, box: Box | None) -> Measurement:
        volume = self.viewer.volume
        assert volume is not None
        if box is None:
            return Measurement(0, 0.0 if volume.spacing_known else None, None)
        mask = read_segment(self.viewer.segmentation_node, segment_id, self.viewer.volume_node, box)
        voxels = int(np.count_nonzero(mask))
        milliliters = voxels * volume.voxel_mm3 / 1000.0 if volume.spacing_known else None
        diameters = None
        if voxels and volume.spacing_known:
            found = diameters_in_slice(mask, volume.ijk_to_ras)
            diameters = replace(found, index=found.index + box[0][0])
        if not voxels or volume.array.ndim == 4:
            return Measurement(voxels, milliliters, None, diameters)
        inside = volume.array[box_slices(box)][mask]
        return Measurement(voxels, milliliters, float(np.mean(inside, dtype=np.float64)), diameters)


def prepare_table(viewer: ViewerSession, segments: Sequence[Segment]) -> Callable[[Path], object]:
    """What writes a table of all segments, which were read from the scene just now; to be called in any thread."""
    volume = viewer.volume
    assert volume is not None
    scores = [_scores(viewer, segment_id) for segment_id in viewer.port.segment_ids()]
    return lambda path: _write(path, volume, segments, scores)


def _scores(viewer: ViewerSession, segment_id: str) -> _Scores:
    """As the strip shows them; slices that were edited by hand have none, since nobody has judged them."""
    found = read_scores(viewer.controller.session, viewer.port, segment_id)
    kept = {index: score for index, score in found.scores.items() if index not in found.edited}
    return found.axis, kept, sorted(found.prompted)


def _write(path: Path, volume: Volume, segments: Sequence[Segment], scores: Sequence[_Scores]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for segment, (axis, of_slices, prompted) in zip(segments, scores):
            areas = np.count_nonzero(segment.mask, axis=in_plane_axes(axis))
            score = volume_score(of_slices, prompted, dict(enumerate(areas.tolist())))
            row: dict[str, Any] = {
                "scan": volume.name,
                "segment": segment.name,
                **measure_mask(segment.mask, volume),
                "score_volume": None if score is None or not of_slices else round(score, 4),
            }
            writer.writerow({name: "" if value is None else csv_cell(value) for name, value in row.items()})
