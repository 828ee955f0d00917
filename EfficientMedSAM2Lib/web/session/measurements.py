"""Volume, diameters and mean intensity of each segment, measured again when its voxels have changed; a table of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_start, in_plane_axes
from EfficientMedSAM2Lib.imaging.formats.files import write_csv
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores, read_scores
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.pipeline.measurements import MEASURES, BriefMeasurement, measure_briefly, measure_mask
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession

#: Of the table that is saved, in order.
COLUMNS = ("scan", "segment", *MEASURES, "score_volume")


class Measurements:
    """Numbers of a viewer session's segments."""

    def __init__(self, viewer: ViewerSession) -> None:
        self.viewer = viewer
        self._known: dict[str, tuple[Any, BriefMeasurement]] = {}

    def clear(self) -> None:
        """Another volume."""
        self._known = {}

    def get(self, segment_id: str) -> BriefMeasurement | None:
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
                self._known[segment_id] = stamp, self._measure(volume, segment_id)
                changed = True
        return changed

    def _measure(self, volume: Volume, segment_id: str) -> BriefMeasurement:
        nodes = self.viewer.segmentation_node, segment_id, self.viewer.volume_node
        box = segment_box(*nodes)
        if box is None:
            return BriefMeasurement(0, 0.0 if volume.spacing_known else None)
        return measure_briefly(read_segment(*nodes, box), volume, corner=box_start(box))


def prepare_table(viewer: ViewerSession, segments: Sequence[Segment]) -> Callable[[Path], object]:
    """What writes a table of all segments, which were read from the scene just now; to be called in any thread."""
    volume = viewer.volume
    assert volume is not None
    session, port = viewer.controller.session, viewer.port
    scores = [read_scores(session, port, segment_id) for segment_id in port.segment_ids()]
    return lambda path: write_csv(path, COLUMNS, (_row(volume, *known) for known in zip(segments, scores)))


def _row(volume: Volume, segment: Segment, known: SliceScores) -> dict[str, Any]:
    areas = np.count_nonzero(segment.mask, axis=in_plane_axes(known.axis))
    score = volume_score(known.judged, sorted(known.prompted), dict(enumerate(areas.tolist())))
    return {
        "scan": volume.name,
        "segment": segment.name,
        **measure_mask(segment.mask, volume),
        "score_volume": None if score is None or not known.judged else round(score, 4),
    }
