"""Tables that are saved from the page: measurements of all segments, and the names of a label map's numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.formats.files import csv_cell
from EfficientMedSAM2Lib.imaging.labelmaps import write_label_names
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.effect.slice_scores import read_scores
from EfficientMedSAM2Lib.mrml.scene.segments import read_segments
from EfficientMedSAM2Lib.pipeline.measurements import MEASURES, measure_mask
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.session.workspace import file_name

COLUMNS = ("scan", "segment", *MEASURES, "score_volume")

#: Slice scores and slices with prompts of a segment, along the axis of its slices.
_Scores = tuple[int, dict[int, float], list[int]]


def prepare_table(viewer: ViewerSession, kind: str) -> tuple[str, Callable[[Path], object]]:
    """Read the scene for "measurements" or "labels"; returns the file's name and what writes it, in any thread.

    Raises:
        UserError: All segments are empty.
    """
    volume = viewer.volume
    assert volume is not None
    segments = read_segments(viewer.segmentation_node, viewer.volume_node)
    if not any(segment.mask.any() for segment in segments):
        raise UserError("All segments are empty; there is nothing to measure yet.")
    if kind == "labels":
        return file_name(volume.name, "-label.tsv"), lambda path: write_label_names(path, segments)
    scores = [_scores(viewer, segment_id) for segment_id in viewer.port.segment_ids()]
    return file_name(volume.name, "-measurements.csv"), lambda path: _write(path, volume, segments, scores)


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
            areas = np.count_nonzero(segment.mask, axis=tuple(n for n in range(3) if n != axis))
            score = volume_score(of_slices, prompted, dict(enumerate(areas.tolist())))
            row: dict[str, Any] = {
                "scan": volume.name,
                "segment": segment.name,
                **measure_mask(segment.mask, volume),
                "score_volume": None if score is None or not of_slices else round(score, 4),
            }
            writer.writerow({name: "" if value is None else csv_cell(value) for name, value in row.items()})
