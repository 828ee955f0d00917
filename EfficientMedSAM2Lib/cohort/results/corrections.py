"""Reviews: what a reader has corrected, or has found right as it is, is measured and taken into the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.records.folders import PICTURE, SEGMENTATION, case_path, was_rewritten, write_record
from EfficientMedSAM2Lib.cohort.records.hashing import sha256_of
from EfficientMedSAM2Lib.cohort.records.ledger import FILE_NAME, Ledger, RunLock
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome, utc
from EfficientMedSAM2Lib.cohort.results.contact_sheet import write_contact_sheet
from EfficientMedSAM2Lib.cohort.results.measurements import SCORES, measure
from EfficientMedSAM2Lib.cohort.results.picture import write_picture
from EfficientMedSAM2Lib.cohort.results.tables import write_tables
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.formats.files import quiet_libraries
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume
from EfficientMedSAM2Lib.pipeline.case import SegmentResult

logger = logging.getLogger(__name__)


def accept_corrections(output: Path) -> Iterator[tuple[str, str]]:
    """Measure every segmentation whose file was changed since it was written or last accepted.

    Scores of the network say nothing about what a reader drew, so that a corrected case has none, and is the last to be
    reviewed. What was measured before stays in the provenance, as ``before_correction``.

    Args:
        output: What a run wrote.

    Yields:
        Name of a case, and why its correction cannot be accepted; empty where it was.

    Raises:
        UserError: There is no ledger in the folder, or a run is at work there.
    """
    check_output(output)
    with RunLock(output), Ledger(output) as ledger:
        for outcome in ledger.outcomes():
            folder = case_path(output, outcome.name)
            if outcome.failed or not was_rewritten(folder, SEGMENTATION):
                continue
            try:
                requested = outcome.record["requested"]
                volume = read_volume(outcome.record["image"], requested["time_point"], requested.get("series"))
                record = _corrected(folder, outcome, volume, read_segmentation(folder / SEGMENTATION, volume))
            except ValueError as error:
                yield outcome.name, str(error)
                continue
            _keep(ledger, folder, outcome, record)
            yield outcome.name, ""
        _write_overviews(output, ledger)


def save_review(
    output: Path,
    name: str,
    volume: Volume | None = None,
    segments: Sequence[Segment] = (),
    write: Callable[[Path], None] | None = None,
) -> None:
    """Take one reader's view of a case into the ledger, provenance, tables and contact sheet.

    Needs nothing that 3D Slicer does not bring along.

    Args:
        output: What a run wrote.
        name: The case.
        volume: The scan, for a correction.
        segments: All segments as they are now, on the scan's grid, for a correction.
        write: Writes the corrected segmentation to a path that ends in ``.seg.nrrd``; None where the reader has found
            everything right as it is.

    Raises:
        UserError: There is no such case or ledger, a run is at work there, or the correction cannot be written.
            Then nothing has changed.
    """
    check_output(output)
    with RunLock(output), Ledger(output) as ledger:
        outcome, folder = ledger.outcome(name), case_path(output, name)
        if outcome is None or outcome.failed:
            raise UserError(f"{output} has no result of a case {name!r} any more; read the list again.")
        record = outcome.record
        if write is not None:
            if volume is None or SEGMENTATION not in record.get("files", {}):
                raise UserError(f"Case {name!r} has no {SEGMENTATION}, so that a correction cannot be kept with it.")
            measured = _measured(volume, segments, record)  # what cannot be measured is not written
            with replacing(folder / SEGMENTATION, _check_whole) as temporary:
                write(temporary)
            record = _corrected(folder, outcome, volume, segments, measured)
        _keep(ledger, folder, outcome, {**record, "reviewed": utc()})
        _write_overviews(output, ledger)


def _check_whole(path: Path) -> None:
    """Read a segmentation that somebody else has written to its end; RuntimeError where a full disk has cut it off."""
    import SimpleITK as sitk

    with quiet_libraries():
        sitk.ReadImage(str(path))


def check_output(output: Path) -> None:
    """UserError unless a folder holds a ledger."""
    if not (output / FILE_NAME).is_file():
        raise UserError(f"{output} holds no {FILE_NAME}; give the --output folder of cohort run.")


def _corrected(
    folder: Path,
    outcome: CaseOutcome,
    volume: Volume,
    segments: Sequence[Segment],
    measured: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The record of a case with the measurements of the segmentation that lies there now; its picture is drawn anew."""
    before = outcome.record
    measured = measured or _measured(volume, segments, before)
    if (folder / PICTURE).is_file():
        _draw(folder / PICTURE, volume, segments, before)
    return {
        **before,
        "segments": measured,
        "before_correction": before.get("before_correction", before["segments"]),
        "corrected": utc(),
        "files": {name: sha256_of(folder / name) for name in before["files"]},
    }


def _measured(volume: Volume, segments: Sequence[Segment], before: dict[str, Any]) -> list[dict[str, Any]]:
    if not segments:
        raise UserError("The segmentation holds no segment any more; add one, even if it stays empty.")
    measured = [
        {**measure(result, volume), "message": result.message, "color": segment.color}
        for result, segment in zip(_results(segments, before), segments)
    ]
    return [{**segment, "scores": {}, **dict.fromkeys(SCORES)} for segment in measured]


def _results(segments: Sequence[Segment], before: dict[str, Any]) -> list[SegmentResult]:
    axis = before["segments"][0]["slice_axis"]
    return [SegmentResult(segment.name, segment.mask, {}, axis, message="corrected by hand") for segment in segments]


def _draw(path: Path, volume: Volume, segments: Sequence[Segment], before: dict[str, Any]) -> None:
    try:
        write_picture(path, volume, segments, _results(segments, before), IntensityWindow(**before["window"]))
    except ImportError as error:  # Pillow; a picture is not worth losing a correction
        logger.warning("%s shows the segmentation before its correction: %s is missing.", path, error.name)


def _keep(ledger: Ledger, folder: Path, outcome: CaseOutcome, record: dict[str, Any]) -> None:
    write_record(folder, record)
    ledger.record(replace(outcome, record=record, again=True))


def _write_overviews(output: Path, ledger: Ledger) -> None:
    outcomes = ledger.outcomes()
    write_tables(output, outcomes)
    write_contact_sheet(output, outcomes, output.resolve().name)
