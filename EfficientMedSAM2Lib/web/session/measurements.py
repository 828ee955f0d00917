"""Volume, diameters and mean intensity of each segment, measured again only when its voxels have changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_slices
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment, segment_box, segment_stamp
from EfficientMedSAM2Lib.pipeline.measurements import Diameters, diameters_in_slice
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession


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
        """What was measured last."""
        return self._known[segment_id][1] if segment_id in self._known else None

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
