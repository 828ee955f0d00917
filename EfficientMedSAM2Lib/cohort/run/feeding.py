"""The loop that hands cases to the workers: a few for each, never the whole cohort at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
from EfficientMedSAM2Lib.cohort.records.folders import finished_record
from EfficientMedSAM2Lib.cohort.records.outcome import DISK, INTERNAL, MACHINE, CaseOutcome
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.worker.run_case import run_case

if TYPE_CHECKING:
    from distributed import Client, Future

#: Cases handed out for each worker: one in work, and one that it can begin without waiting for us. A case that waits
#: is a few lines of text; its volume is read when the worker begins it.
CASES_PER_WORKER = 2
_DIED = "Its worker died, twice, the second time with nothing else to do: most likely not enough memory for it."
#: Status of a case that had ended when the worker that held its outcome died: Dask does it once more by itself.
_COMPUTED_AGAIN = ("lost", "pending")
_SCHEDULER_GONE = "The Dask scheduler is gone; start it again, then run the same command again."


class Stopped(Exception):
    """The run ends before all cases were tried; the text says why."""


def feed(
    client: Client,
    cases: Iterable[CaseSpec],
    settings: RunSettings,
    output: Path,
    keep: Callable[[CaseOutcome], None],
) -> None:
    """Compute cases, and hand each outcome to `keep` as it comes.

    Args:
        client: The cluster.
        cases: What to compute.
        settings: Resolved settings.
        output: Output folder, which the workers must see at the same place.
        keep: Called with each outcome, in the order in which they come.

    Raises:
        Stopped: The disk is full or the scheduler is gone. What was in work then is finished first, where it can be.
    """
    feeder = _Feeder(client, settings, output, keep)
    suspects = feeder.run(cases)
    # A worker that died took the case that it was to do next with it. Each goes alone now: who dies again, did it.
    for case in suspects:
        for _ in feeder.run([case]):
            keep(CaseOutcome(case.name, "", "failed", MACHINE, _DIED))


class _Feeder:
    """Hands out cases and takes back their outcomes."""

    def __init__(
        self, client: Client, settings: RunSettings, output: Path, keep: Callable[[CaseOutcome], None]
    ) -> None:
        self._client, self._settings, self._output, self._keep = client, settings, output, keep
        self._named: dict[str, CaseSpec] = {}

    def run(self, cases: Iterable[CaseSpec]) -> list[CaseSpec]:
        """Compute cases; those whose worker died have no outcome yet, and are handed back."""
        from distributed import as_completed
        from distributed.comm.core import CommClosedError

        waiting, suspects, full = iter(cases), [], ""
        running = as_completed([self._submit(case) for case in self._next(waiting)])
        try:
            for future in running:
                if future.status in _COMPUTED_AGAIN:
                    running.add(future)
                    continue
                case = self._named.pop(future.key)
                outcome = _outcome(future, case)
                future.release()
                if outcome is None:
                    suspects.append(case)
                else:
                    self._keep(_checked(outcome, self._output))
                    full = outcome.reason if outcome.kind == DISK else full
                for following in self._next(waiting) if not full else ():
                    running.add(self._submit(following))
        except (CommClosedError, CancelledError) as error:  # while a result was on its way, say
            raise Stopped(_SCHEDULER_GONE) from error
        finally:
            if self._named:
                self._client.cancel(list(running.futures), force=True)
        if full:
            raise Stopped(f"The disk of {self._output} is full ({full}); make room, then run the same command again.")
        return suspects

    def _next(self, waiting: Iterator[CaseSpec]) -> Iterator[CaseSpec]:
        """As many further cases as the workers there are now can take; workers may come and go."""
        for _ in range(max(1, CASES_PER_WORKER * len(self._client.nthreads()) - len(self._named))):
            case = next(waiting, None)
            if case is None:
                return
            yield case

    def _submit(self, case: CaseSpec) -> Future[CaseOutcome]:
        key = f"case-{uuid.uuid4().hex}"
        self._named[key] = case
        future: Any = self._client.submit(run_case, case, self._settings, str(self._output), key=key, pure=False)
        return future


def _outcome(future: Future[CaseOutcome], case: CaseSpec) -> CaseOutcome | None:
    """What a worker says; None where it died."""
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise Stopped(_SCHEDULER_GONE)
    error = future.exception()
    if isinstance(error, KilledWorker):
        return None
    return CaseOutcome(case.name, "", "failed", INTERNAL, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _checked(outcome: CaseOutcome, output: Path) -> CaseOutcome:
    """A worker on another machine may have written to a disk of its own."""
    if outcome.failed or finished_record(output, outcome.name, outcome.key) is not None:
        return outcome
    reason = f"The worker's files are not in {output}; workers must see that folder, and the scans, at the same path."
    return replace(outcome, status="failed", kind=MACHINE, reason=reason, record={})
