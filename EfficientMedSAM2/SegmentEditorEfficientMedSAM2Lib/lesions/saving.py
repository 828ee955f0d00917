"""Files of the table: measurements as CSV, and all segments as one DICOM SEG of the series that they were drawn on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.effect.controller import EffectController
from EfficientMedSAM2Lib.mrml.effect.lesions.segment_reading import SegmentReading, read_for_measuring
from EfficientMedSAM2Lib.mrml.volume_reader import volume_from_node

#: Attribute in which Slicer keeps from which DICOM objects it has read a volume.
INSTANCES = "DICOM.instanceUIDs"
#: Writes DICOM SEG; Slicer does not bring it.
HIGHDICOM = "highdicom>=0.22"


def prepare_csv(controller: EffectController, path: Path) -> Callable[[], str]:
    """Read all segments; what is returned writes the measurements of `segment --table`, and says so."""
    from EfficientMedSAM2Lib.cohort.results.measurements import COLUMNS, measure
    from EfficientMedSAM2Lib.imaging.formats.files import write_csv
    from EfficientMedSAM2Lib.pipeline.case import SegmentResult

    readings = _read_all(controller)
    volume = volume_from_node(controller.port.source_volume_node())

    def result(reading: SegmentReading) -> SegmentResult:
        mask = reading.mask.full(volume.shape_kji)
        return SegmentResult(reading.name, mask, reading.scores, reading.axis, reading.prompted)

    def write() -> str:
        write_csv(path, COLUMNS, (measure(result(reading), volume) for reading in readings))
        return f"Measurements of {len(readings)} segments were written to {path}."

    return write


def prepare_dicom_seg(controller: EffectController, path: Path) -> Callable[[], str]:
    """Read all segments; what is returned writes those that are not empty as a DICOM SEG, and says so.

    Raises:
        UserError: The volume is not of Slicer's DICOM database, or all segments are empty.
    """
    from EfficientMedSAM2Lib.imaging.dicom.reader import scan_of_files
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import content_key, write_dicom_seg
    from EfficientMedSAM2Lib.imaging.labelmaps import on_volume_grid, same_voxels
    from EfficientMedSAM2Lib.imaging.segment import Segment
    from EfficientMedSAM2Lib.imaging.volumes import Volume

    volume_node = controller.port.source_volume_node()
    files, volume = dicom_files_of(volume_node), volume_from_node(volume_node)
    readings = [reading for reading in _read_all(controller) if not reading.mask.is_empty]
    if not readings:
        raise UserError("All segments are empty; there is nothing to save yet.")

    def write() -> str:
        scan = scan_of_files(files)
        shape = (scan.stack.depth, *scan.frames[0].shape[:2])
        grid = Volume(np.broadcast_to(np.uint8(0), shape), scan.stack.ijk_to_ras)
        if not same_voxels(volume.ijk_to_ras, volume.shape_kji, grid):
            raise UserError(
                "The volume does not lie on the slices of its DICOM series any more, so that no DICOM SEG can refer to "
                "them; save the segmentation as .seg.nrrd."
            )
        segments = [
            on_volume_grid(
                Segment(r.name, r.mask.full(volume.shape_kji), _rgb(r.color), r.terminology or None),
                volume.ijk_to_ras,
                grid,
            )
            for r in readings
        ]
        write_dicom_seg(path, segments, scan, content_key(segments))
        return f"{len(segments)} segments were written to {path}."

    return write


def dicom_files_of(volume_node: Any) -> list[Path]:
    """Files that Slicer has read a volume from, as its DICOM database knows them.

    Raises:
        UserError: It was not read from the database, or a file is not there any more.
    """
    uids, database = (volume_node.GetAttribute(INSTANCES) or "").split(), getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        raise UserError(
            "A DICOM SEG refers to a DICOM series, and this volume was not loaded from Slicer's DICOM database; save "
            "the segmentation as .seg.nrrd, or load the scan with the module DICOM."
        )
    files = [Path(database.fileForInstance(uid) or "?") for uid in uids]
    missing = sum(not file.is_file() for file in files)
    if missing:
        raise UserError(f"{missing} of {len(files)} files of the DICOM series are not in Slicer's database any more.")
    return files


def _read_all(controller: EffectController) -> list[SegmentReading]:
    port = controller.port
    return [read_for_measuring(port, controller.session, segment_id) for segment_id in port.segment_ids()]


def _rgb(color: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in color)
    return red, green, blue
