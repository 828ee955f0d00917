"""`cohort review`: the cases of a run, least certain first, each with a Slicer scene to correct it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from EfficientMedSAM2Lib.cohort.records.folders import case_path, changed_by_hand
from EfficientMedSAM2Lib.cohort.records.ledger import Ledger
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.cohort.results.contact_sheet import (
    by_uncertainty,
    confidence,
    is_reviewed,
    size_of,
    write_contact_sheet,
)
from EfficientMedSAM2Lib.cohort.results.corrections import check_output
from EfficientMedSAM2Lib.cohort.results.scene import write_scene
from EfficientMedSAM2Lib.cohort.results.tables import write_tables


@dataclass(frozen=True)
class ReviewItem:
    """A case to look at.

    Attributes:
        name: The case.
        confidence: Dice to be expected of its worst segment, 0 ... 1.
        text: Its segments in short.
        scene: The ``.mrml`` file; None where the scan is gone.
        problem: Why there is no scene.
    """

    name: str
    confidence: float
    text: str
    scene: Path | None = None
    problem: str = ""


def review_cases(
    output: Path, limit: int | None = None, below: float | None = None, only_open: bool = False
) -> Iterator[ReviewItem]:
    """Cases by confidence, lowest first, with a scene written for each; tables and contact sheet are made anew.

    Args:
        output: What a run wrote.
        limit: Only so many.
        below: Only cases with a lower confidence that no reader has seen yet.
        only_open: Only cases that no reader has seen yet, whatever their confidence.

    Raises:
        UserError: There is no ledger in the folder.
    """
    check_output(output)
    with Ledger(output) as ledger:
        outcomes = ledger.outcomes()
    write_tables(output, outcomes)
    write_contact_sheet(output, outcomes, output.resolve().name)
    chosen = [
        outcome
        for outcome in by_uncertainty(outcomes)
        if (below is None or confidence(outcome) < below)
        and not (is_reviewed(outcome) and (only_open or below is not None))
    ]
    for outcome in chosen[:limit]:
        scene, problem = None, ""
        try:
            scene = write_scene(output.resolve(), outcome)
        except ValueError as error:
            problem = str(error)
        changed = changed_by_hand(case_path(output, outcome.name))
        note = "changed by hand since" if changed else "seen by a reader" if is_reviewed(outcome) else ""
        text = "; ".join(part for part in (note, describe(outcome)) if part)
        yield ReviewItem(outcome.name, confidence(outcome), text, scene, problem)


def describe(outcome: CaseOutcome) -> str:
    """The segments of a case in short."""
    parts = []
    for segment in outcome.record.get("segments", ()):
        if segment["empty"]:
            parts.append(f"{segment['segment']} empty")
        else:
            where = "" if segment["slice_lowest"] is None else f", lowest on slice {segment['slice_lowest']}"
            parts.append(f"{segment['segment']} {size_of(segment)}{where}")
    return "; ".join(parts)
