"""One case from its files to its folder: segmentation, prompts, measurements, provenance, picture."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
from EfficientMedSAM2Lib.cohort.records.folders import DICOM, PICTURE, PROMPTS, SEGMENTATION, case_folder, write_record
from EfficientMedSAM2Lib.cohort.records.hashing import sha256_of
from EfficientMedSAM2Lib.cohort.records.outcome import utc
from EfficientMedSAM2Lib.cohort.results.measurements import measure
from EfficientMedSAM2Lib.cohort.worker.memory import check_fits
from EfficientMedSAM2Lib.cohort.worker.prompting import case_prompts
from EfficientMedSAM2Lib.core.windows import parse_window
from EfficientMedSAM2Lib.imaging.markups import write_markups
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult, segment_case
from EfficientMedSAM2Lib.pipeline.machine import installed_version, peak_memory_megabytes

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.core.windows import IntensityWindow
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.pipeline.prompts import SegmentPrompts

_LIBRARIES = ("torch", "numpy", "SimpleITK", "pydicom", "nibabel", "timm", "highdicom")


def compute_and_write(
    session: InteractiveSession,
    case: CaseSpec,
    settings: RunSettings,
    output: Path,
    key: str,
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Segment a case and write its folder, whole or not at all.

    Args:
        session: Any session.
        case: The case.
        settings: Resolved settings.
        output: Output folder of the cohort.
        key: Content hash of the case.
        hashes: Path to SHA-256 of the files it was made from.

    Returns:
        The record that is written as its provenance.

    Raises:
        UserError: A file cannot be read, or a prompt is not in the scan.
    """
    check_fits(case.image)
    begun = time.time()
    volume = read_volume(case.image, case.time_point, case.series)
    window = parse_window(case.window) if case.window else None
    prompts = case_prompts(case, volume, session, window)
    notes = list(volume.notes)
    if settings.output_format == "dicom-seg":
        from EfficientMedSAM2Lib.imaging.dicom.seg_writer import check_dicom_seg, dicom_series

        series = dicom_series(case.image, case.time_point, case.series)
        check_dicom_seg(series, [spec.name for spec in case.segments])
        if not series.stack.is_even:
            notes.append("The DICOM SEG holds what lies on the series' own slices; measurements are of the whole grid.")
    results = segment_case(session, volume, prompts, settings.propagation, window, case.modality)
    with case_folder(output, case.name) as folder:
        _write_files(folder, case, settings, volume, results, prompts, session.window, key)
        record = {
            **_provenance(case, settings, key, hashes, session.window),
            "segments": [
                {**measure(result, volume), "message": result.message, "scores": _scores(result)} for result in results
            ],
            "colour": volume.array.ndim == 4,
            "notes": notes,
            "peak_memory_mb": peak_memory_megabytes(),
            "started": utc(begun),
            "finished": utc(),
            "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        }
        write_record(folder, record)
    return record


def _write_files(
    folder: Path,
    case: CaseSpec,
    settings: RunSettings,
    volume: Volume,
    results: Sequence[SegmentResult],
    prompts: Sequence[SegmentPrompts],
    window: IntensityWindow,
    key: str,
) -> None:
    terminology = {spec.name: spec.terminology for spec in case.segments}
    segments = [Segment(result.name, result.mask, terminology=terminology[result.name]) for result in results]
    if settings.output_format == "dicom-seg":
        from EfficientMedSAM2Lib.imaging.dicom.seg_writer import dicom_series, write_dicom_seg

        if any(segment.mask.any() for segment in segments):  # DICOM SEG has no way to say that nothing was found
            series = dicom_series(case.image, case.time_point, case.series)
            write_dicom_seg(folder / DICOM, segments, series, key)
    else:
        write_segmentation(folder / SEGMENTATION, segments, volume)
    markups = [replace(markup, name=segment.name) for segment in prompts for markup in segment.markups]
    if markups:
        write_markups(folder / PROMPTS, markups)
    if settings.pictures:
        from EfficientMedSAM2Lib.cohort.results.picture import write_picture

        write_picture(folder / PICTURE, volume, segments, results, window)


def _provenance(
    case: CaseSpec, settings: RunSettings, key: str, hashes: Mapping[str, str], window: IntensityWindow
) -> dict[str, Any]:
    return {
        "case": case.name,
        "key": key,
        "image": case.image,
        "command": list(settings.command),
        "manifest_line": case.line,
        "inputs_sha256": dict(hashes),
        "weights_sha256": settings.weights_sha256,
        "settings": json.loads(settings.identity),
        "requested": {
            "modality": case.modality,
            "window": case.window,
            "time_point": case.time_point,
            "series": case.series,
        },
        "window": asdict(window),
        "version": __version__,
        "libraries": {name: installed_version(name) for name in _LIBRARIES},
        "host": platform.node(),
        "process": os.getpid(),
    }


def _scores(result: SegmentResult) -> dict[str, float]:
    return {str(index): round(float(score), 4) for index, score in result.scores.items()}
