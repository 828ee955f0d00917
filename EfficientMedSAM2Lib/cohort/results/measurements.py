"""What a segment's line in the table of a cohort holds: its measurements, and how sure the network was of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult
from EfficientMedSAM2Lib.pipeline.measurements import MEASURES, measure_mask, rounded
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score

#: How sure the network was: of the volume, and of its slices.
SCORES = ("score_volume", "score_mean", "score_lowest")
#: Columns of the table, in order.
COLUMNS = ("segment", "empty", *MEASURES, "slices", *SCORES, "slice_lowest", "slice_axis")


def measure(result: SegmentResult, volume: Volume) -> dict[str, Any]:
    """All COLUMNS of a segment; None where there is none.

    Scores are of the slices that hold the segment; that of the volume is the Dice to be expected.
    """
    box = bounding_box(result.mask)
    found: dict[str, Any] = {
        **dict.fromkeys(COLUMNS),
        **measure_mask(result.mask, volume, result.axis),
        "segment": result.name,
        "empty": box is None,
        "slices": 0,
        "slice_axis": result.axis,
    }
    if box is None:
        found.update(dict.fromkeys(SCORES, 0.0))
    else:
        found.update(_scores(result, box))
    return found


def _scores(result: SegmentResult, box: Box) -> dict[str, Any]:
    first, last = box[result.axis]
    areas = {index: int(np.count_nonzero(np.take(result.mask, index, result.axis))) for index in range(first, last)}
    used = [index for index, area in areas.items() if area]
    volume = volume_score(result.scores, result.prompted, areas)
    scores = {index: float(result.scores[index]) for index in used if index in result.scores}
    if not scores or volume is None:  # nothing was computed: a mask that was given as it is
        return {"slices": len(used)}
    lowest = min(scores, key=lambda index: (scores[index], index))
    mean = sum(scores.values()) / len(scores)
    return {
        "slices": len(used),
        "score_volume": rounded(volume),
        "score_mean": rounded(mean),
        "score_lowest": rounded(scores[lowest]),
        "slice_lowest": lowest,
    }
