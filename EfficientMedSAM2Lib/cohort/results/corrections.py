"""Corrections: segmentations that a reader changed in the folder of a case are measured and taken into the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...imaging.files import replacing
from ...imaging.segmentations import read_segmentation
from ...imaging.volumes import read_volume
from ...imaging.windows import IntensityWindow
from ..case import SegmentResult
from ..records.folders import CASES, RECORD, was_rewritten
from ..records.hashing import sha256_of
from ..records.ledger import FILE_NAME, Ledger, RunLock
from ..records.outcome import Outcome
from .contact_sheet import PICTURE, write_contact_sheet
from .measurements import measure
from .picture import write_picture
from .scene import SEGMENTATION
from .tables import write_tables


def accept_corrections(output: Path) -> Iterator[tuple[str, str]]:
    """Measure every segmentation that was changed since it was written or last accepted.

    Scores of the network say nothing about what a reader drew, so that a corrected case has none, and is the last to be
    reviewed. What was measured before stays in the provenance, as ``before_correction``.

    Args:
        output: What a run wrote.

    Yields:
        Name of a case, and why its correction cannot be accepted; empty where it was.

    Raises:
        ValueError: There is no ledger in the folder, or a run is at work there.
    """
    if not (output / FILE_NAME).is_file():
        raise ValueError(f"{output} holds no {FILE_NAME}; give the --output folder of cohort run.")
    with RunLock(output), Ledger(output) as ledger:
        for outcome in ledger.outcomes():
            folder = output / CASES / outcome.name
            if outcome.failed or not was_rewritten(folder, SEGMENTATION):
                continue
            try:
                record = _corrected(folder, outcome)
            except ValueError as error:
                yield outcome.name, str(error)
                continue
            with replacing(folder / RECORD) as temporary:
                temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            ledger.record(replace(outcome, record=record, again=True))
            yield outcome.name, ""
        outcomes = ledger.outcomes()
    write_tables(output, outcomes)
    write_contact_sheet(output, outcomes, output.resolve().name)


def _corrected(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """The record of a case with the measurements of the segmentation that lies there now; its picture is drawn anew."""
    before = outcome.record
    volume = read_volume(before["image"], before["requested"]["time_point"])
    segments = read_segmentation(folder / SEGMENTATION, volume)
    if not segments:
        raise ValueError(f"{folder / SEGMENTATION} holds no segment any more.")
    axis = before["segments"][0]["slice_axis"]
    results = [SegmentResult(segment.name, segment.mask, {}, axis, message="corrected by hand") for segment in segments]
    if (folder / PICTURE).is_file():
        write_picture(folder / PICTURE, volume, segments, results, IntensityWindow(**before["window"]))
    measured = [{**measure(result, volume), "message": result.message, "scores": {}} for result in results]
    return {
        **before,
        "segments": [{**segment, "score_mean": None, "score_lowest": None} for segment in measured],
        "before_correction": before.get("before_correction", before["segments"]),
        "corrected": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": {name: sha256_of(folder / name) for name in before["files"]},
    }
