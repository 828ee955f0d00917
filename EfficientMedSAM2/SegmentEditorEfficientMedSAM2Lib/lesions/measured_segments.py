"""Numbers of all segments, each measured beside everything else, and again when its voxels have changed. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, in_plane_axes
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.controller import EffectController
from EfficientMedSAM2Lib.mrml.effect.lesions.segment_reading import SegmentReading, read_for_measuring
from EfficientMedSAM2Lib.mrml.scene.prompt_store import get_tag
from EfficientMedSAM2Lib.mrml.scene.slice_store import SLICES_TAG
from EfficientMedSAM2Lib.mrml.segment_voxels import segment_stamp
from EfficientMedSAM2Lib.mrml.volume_reader import fingerprint, ijk_to_world, volume_from_node
from EfficientMedSAM2Lib.pipeline.measurements import BriefMeasurement, measure_briefly
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score


@dataclass(frozen=True)
class SegmentNumbers:
    """A segment in numbers.

    Attributes:
        measured: Its volume, diameters and mean intensity.
        score: The Dice to be expected, 0...1; None where the network has judged nothing of it.
        middle_kji: Of its longest diameter, in voxels of the volume; None for an empty segment.
    """

    measured: BriefMeasurement
    score: float | None
    middle_kji: tuple[float, float, float] | None


class MeasuredSegments:
    """Measures the segments of an effect while somebody looks at them.

    Args:
        controller: The effect's; work for it is done in its worker's idle times.

    Attributes:
        is_shown: Whether somebody looks.
    """

    def __init__(self, controller: EffectController) -> None:
        self.controller = controller
        self.is_shown = False
        self._known: dict[str, tuple[Any, SegmentNumbers]] = {}
        controller.beside.insert(0, self._next_work)

    def numbers(self) -> list[tuple[str, str, SegmentNumbers | None]]:
        """ID, name and numbers of each segment, in order; None for one that was not measured yet."""
        try:
            node, volume_node = self.controller.port.segmentation_node(), self.controller.port.source_volume_node()
        except UserError:
            return []
        segmentation, place = node.GetSegmentation(), (node.GetID(), fingerprint(volume_node))
        found: list[tuple[str, str, SegmentNumbers | None]] = []
        for segment_id in segmentation.GetSegmentIDs():
            stamp, numbers = self._known.get(segment_id, (None, None))
            name = str(segmentation.GetSegment(segment_id).GetName())
            found.append((segment_id, name, numbers if stamp is not None and stamp[:2] == place else None))
        return found

    def middle_world(self, segment_id: str) -> list[float] | None:
        """World RAS of the middle of a segment's longest diameter; None for one that is empty or was not measured."""
        middle = self._known[segment_id][1].middle_kji if segment_id in self._known else None
        if middle is None:
            return None
        world: list[float] = ijk_to_world([middle[::-1]], self.controller.port.source_volume_node())[0].tolist()
        return world

    def _next_work(self) -> Callable[[Any], None] | None:
        """Measures the next segment that has changed; None where all are up to date."""
        if not self.is_shown:
            return None
        port = self.controller.port
        try:
            node, volume_node = port.segmentation_node(), port.source_volume_node()
            place, ids = (node.GetID(), fingerprint(volume_node)), port.segment_ids()
            self._known = {s: known for s, known in self._known.items() if s in ids}
            for segment_id in ids:
                saved = get_tag(node.GetSegmentation().GetSegment(segment_id), SLICES_TAG)
                stamp = (*place, segment_stamp(node, segment_id), saved)
                if segment_id not in self._known or self._known[segment_id][0] != stamp:
                    reading = read_for_measuring(port, self.controller.session, segment_id)
                    return partial(self._measure, reading, volume_from_node(volume_node), stamp)
        except UserError:  # no volume, no segmentation, or no labelmaps: there is nothing to be measured
            return None
        return None

    def _measure(self, reading: SegmentReading, volume: Volume, stamp: Any, job: Any) -> None:
        numbers = measure_reading(reading, volume)
        job.report(lambda: self._known.update({reading.segment_id: (stamp, numbers)}))


def measure_reading(reading: SegmentReading, volume: Volume) -> SegmentNumbers:
    """Numbers of a segment. Any thread."""
    mask, corner = reading.mask.unpack(), reading.mask.origin
    measured = measure_briefly(mask, volume, reading.axis, corner)
    box: Box | None = reading.mask.box
    if box is None:
        return SegmentNumbers(measured, None, None)
    areas = np.count_nonzero(mask, axis=in_plane_axes(reading.axis))
    by_slice = {int(n) + box[reading.axis][0]: int(area) for n, area in enumerate(areas)}
    score = volume_score(reading.scores, reading.prompted, by_slice) if reading.scores else None
    middle = np.mean(box, axis=1) - 0.5
    if measured.diameters is not None:
        middle = measured.diameters.ends_kji.mean(axis=0)
    k, j, i = (float(value) for value in middle)
    return SegmentNumbers(measured, score, (k, j, i))
