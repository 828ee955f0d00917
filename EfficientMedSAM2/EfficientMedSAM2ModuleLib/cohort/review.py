"""One reader going through a cohort's output: ledger on one side, scene on the other. No Qt."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseLine:
    """A case in the list.

    Attributes:
        name: Its name.
        review_status: Its confidence, or "corrected" or "seen".
        text: Its segments in short.
        is_reviewed: Whether a reader has saved it.
    """

    name: str
    review_status: str
    text: str
    is_reviewed: bool


class CohortReview:
    """The output folder of a cohort and the case of it that is open.

    Args:
        folder: What `cohort run` wrote.
        scene: vtkMRMLScene that cases are opened in; other nodes of it are never touched.

    Raises:
        UserError: The folder holds no ledger.
    """

    def __init__(self, folder: str | Path, scene: Any) -> None:
        from EfficientMedSAM2Lib.cohort.results.corrections import check_output

        self.folder = Path(folder).expanduser().resolve()
        self.scene = scene
        self.name = ""
        self._nodes: Any = None
        self._record: dict[str, Any] = {}
        self._digest = ""
        check_output(self.folder)

    @property
    def nodes(self) -> Any:
        """CaseNodes of the open case, None when there is none, or when its nodes were removed from the scene."""
        return self._nodes if self._nodes is not None and self._nodes.are_there else None

    @property
    def is_changed(self) -> bool:
        """Whether the open case is not as it was opened or saved last."""
        return self.nodes is not None and self.nodes.digest() != self._digest

    def cases(self) -> list[CaseLine]:
        """All cases that have a result, least certain first, those that a reader has saved last."""
        from EfficientMedSAM2Lib.cohort.results.contact_sheet import is_reviewed, review_status
        from EfficientMedSAM2Lib.cohort.results.review import describe

        return [CaseLine(o.name, review_status(o), describe(o), is_reviewed(o)) for o in self._outcomes()]

    def next_case(self) -> str:
        """The least certain case that nobody has saved, after the open one in the list; "" when none is left."""
        waiting = [case.name for case in self.cases() if not case.is_reviewed]
        later = waiting[waiting.index(self.name) + 1 :] if self.name in waiting else []
        return next((name for name in (*later, *waiting) if name != self.name), "")

    def open(self, name: str) -> Any:
        """Load scan, segments and prompts of a case in place of the one that is open; returns its CaseNodes.

        Raises:
            UserError: There is no such case, or its files are gone or cannot be loaded. No case is open then.
        """
        from EfficientMedSAM2Lib.cohort.records.folders import CASES, SEGMENTATION
        from EfficientMedSAM2Lib.cohort.results.scene import write_scene
        from EfficientMedSAM2Lib.mrml.scene.case_nodes import open_case

        outcome = next((outcome for outcome in self._outcomes() if outcome.name == name), None)
        if outcome is None:
            raise UserError(f"{self.folder} has no result of a case '{name}' any more; read the list again.")
        if not (self.folder / CASES / name / SEGMENTATION).is_file():
            raise UserError(
                f"Case '{name}' has no {SEGMENTATION}. Cohorts of DICOM SEG cannot be corrected here; run the cohort "
                "with --format seg.nrrd, or export the segmentation by hand."
            )
        scene_file = write_scene(self.folder, outcome)
        self.close()
        self._nodes = open_case(self.scene, scene_file, name)
        self.name, self._record, self._digest = name, outcome.record, self._nodes.digest()
        logger.info("Case %s of %s opened.", name, self.folder)
        return self._nodes

    def weakest_place(self) -> tuple[str, list[float] | None]:
        """Segment of the open case with the lowest score, and world RAS of its middle there, where it has one."""
        segments = self._record.get("segments", ())
        scored = [s for s in segments if s["score_lowest"] is not None and s["slice_lowest"] is not None]
        if self.nodes is None or not scored:
            return str(segments[0]["segment"]) if segments else "", None
        weakest = min(scored, key=lambda segment: segment["score_lowest"])
        return weakest["segment"], self.nodes.place(weakest["segment"], weakest["slice_axis"], weakest["slice_lowest"])

    def save(self) -> bool:
        """Keep the open case as it is now: a correction is written and measured, else it is marked as seen.

        Returns:
            Whether anything had been corrected.

        Raises:
            UserError: It cannot be kept; files and ledger are as before, the scene, too.
        """
        from EfficientMedSAM2Lib.cohort.results.corrections import save_review

        if self.nodes is None:
            raise UserError("No case is open; open one first.")
        is_changed = self.is_changed
        if is_changed:
            volume, segments = self._as_drawn()
            save_review(self.folder, self.name, volume, segments, self.nodes.write_segmentation)
            self._digest = self.nodes.digest()
        else:
            save_review(self.folder, self.name)
        logger.info("Case %s of %s saved, %s.", self.name, self.folder, "corrected" if is_changed else "as it was")
        return is_changed

    def close(self) -> None:
        """Remove the open case from the scene, saved or not."""
        from EfficientMedSAM2Lib.mrml.scene.case_nodes import close_cases

        self.name, self._nodes, self._record, self._digest = "", None, {}, ""
        close_cases(self.scene)

    def _as_drawn(self) -> tuple[Any, list[Any]]:
        """Scan and segments on the grid that the scan has in the scene: Slicer may have reversed its slices."""
        from EfficientMedSAM2Lib.mrml.volume_reader import volume_from_node

        return volume_from_node(self.nodes.volume), self.nodes.segments()

    def _outcomes(self) -> list[Any]:
        from EfficientMedSAM2Lib.cohort.records.ledger import Ledger
        from EfficientMedSAM2Lib.cohort.results.contact_sheet import by_uncertainty

        with Ledger(self.folder) as ledger:
            return by_uncertainty(ledger.outcomes())
