"""Running a cohort: which cases are still to be done, who does them, and what is written at last."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
from EfficientMedSAM2Lib.cohort.records.folders import CASES, finished_record, remove_leftovers
from EfficientMedSAM2Lib.cohort.records.hashing import case_key, stamp_of
from EfficientMedSAM2Lib.cohort.records.ledger import Ledger, RunLock
from EfficientMedSAM2Lib.cohort.records.outcome import RETRIED, CaseOutcome, utc
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.results.contact_sheet import write_contact_sheet
from EfficientMedSAM2Lib.cohort.results.tables import write_tables
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions, connect, dashboard_link, trust
from EfficientMedSAM2Lib.cohort.run.feeding import Stopped, feed
from EfficientMedSAM2Lib.cohort.run.progress import RunProgress
from EfficientMedSAM2Lib.cohort.run.reserve import Reserve
from EfficientMedSAM2Lib.core.files import output_folder, replacing


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        outcomes: Every case of the manifest that has one, by name.
        already: Number of cases that were done before.
        left: Number of cases without a result or a failure.
        stopped: Why the run ended before all cases were tried; empty when it did not.
    """

    outcomes: list[CaseOutcome]
    already: int
    left: int
    stopped: str = ""

    @property
    def failed(self) -> list[CaseOutcome]:
        """Cases without a result."""
        return [outcome for outcome in self.outcomes if outcome.failed]


def run_cohort(
    cases: Sequence[CaseSpec],
    output: Path,
    settings: RunSettings,
    cluster: ClusterOptions | None = None,
    retry_failed: bool = False,
    progress: Callable[[int, int], RunProgress] | None = None,
    announce: Callable[[str], None] | None = None,
) -> RunSummary:
    """Segment all cases that are not done yet. The same call again goes on where this one ended, however it ended.

    Args:
        cases: The cohort.
        output: Folder for the results; made if it is not there.
        settings: How.
        cluster: Where.
        retry_failed: Also try the cases again that failed because of their files.
        progress: Makes a progress display from the number of cases and of those already done.
        announce: Gets the address of the dashboard, and what is trusted of a scheduler that was given.

    Raises:
        UserError: The weights cannot be used, the folder cannot be written to, another run is at work there, or no
            scheduler answers.
    """
    settings = settings.resolved()
    output = output_folder(output.resolve())
    output_folder(output / CASES)
    with RunLock(output), Ledger(output) as ledger, Reserve(output) as reserve:
        remove_leftovers(output)
        _write_run(output, settings, len(cases))
        wanted = [case for case in cases if _is_wanted(case, settings, output, ledger, retry_failed)]
        already = len(cases) - len(wanted)
        display = RunProgress()

        def keep(outcome: CaseOutcome) -> None:
            _keep(outcome, ledger, reserve)
            display.add(outcome)

        stopped = ""
        try:
            if wanted:
                cluster = cluster or ClusterOptions()
                if announce and cluster.scheduler:
                    announce(trust(cluster.scheduler))
                with connect(cluster, settings.threads, _uses_gpu(settings)) as client:
                    link = dashboard_link(client)
                    if announce and link:
                        announce(f"Dashboard: {link}")
                    display = progress(len(cases), already) if progress else display
                    feed(client, wanted, settings, output, keep)
        except Stopped as error:
            stopped = str(error)
        finally:
            display.close()
            reserve.release()
            names = {case.name for case in cases}
            outcomes = [outcome for outcome in ledger.outcomes() if outcome.name in names]
            stopped = write_results(output, outcomes) or stopped
    return RunSummary(outcomes, already, len(cases) - len(outcomes), stopped)


def write_results(output: Path, outcomes: Sequence[CaseOutcome]) -> str:
    """Write tables and contact sheet; why not, if they cannot be written. They can be made again at any time."""
    try:
        write_tables(output, outcomes)
        write_contact_sheet(output, outcomes, output.name)
    except ValueError as error:
        return str(error)
    return ""


def _is_wanted(case: CaseSpec, settings: RunSettings, output: Path, ledger: Ledger, retry_failed: bool) -> bool:
    """Whether a case is to be computed. Files that were not touched since are not read for that."""
    before = ledger.outcome(case.name)
    if before is None or not before.key or (before.failed and (retry_failed or before.kind in RETRIED)):
        return True
    hashes = ledger.hashes({path: stamp_of(path) for path in case.files})
    if hashes is None or case_key(case, settings, hashes) != before.key:
        return True
    return not before.failed and finished_record(output, case.name, before.key) is None


def _keep(outcome: CaseOutcome, ledger: Ledger, reserve: Reserve) -> None:
    try:
        ledger.record(outcome)
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        reserve.release()
        with suppress(sqlite3.OperationalError):
            ledger.record(outcome)
        raise Stopped(f"The disk of {ledger.path.parent} is full; make room, then run the same command.") from error


def _uses_gpu(settings: RunSettings) -> bool:
    if settings.device != "auto":
        return settings.device != "cpu"
    torch = sys.modules.get("torch")  # imported with the weights, if there are any
    return bool(torch is not None and torch.cuda.is_available())


def _write_run(output: Path, settings: RunSettings, count: int) -> None:
    """What was asked for, and when: one line a run."""
    entry = {
        "started": utc(),
        "command": list(settings.command),
        "version": __version__,
        "cases": count,
        "weights": settings.weights,
        "weights_sha256": settings.weights_sha256,
        "settings": json.loads(settings.identity),
    }
    path = output / "runs.jsonl"
    earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
    with replacing(path) as temporary:
        temporary.write_text(f"{earlier}{json.dumps(entry)}\n", encoding="utf-8")
