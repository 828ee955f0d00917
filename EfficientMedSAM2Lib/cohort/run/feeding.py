"""The loop that keeps the workers fed: a few cases ahead of them, never the whole cohort at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..manifest.cases import CaseSpec
from ..records.folders import finished_record
from ..records.outcome import DISK, INTERNAL, MACHINE, Outcome
from ..records.settings import RunSettings
from ..worker.run_case import run_case

if TYPE_CHECKING:
    from distributed import Client, Future

#: Cases handed out for each worker: one in work, and one that it can begin without waiting for us. A case that waits
#: is a few lines of text; its volume is read when its turn comes.
AHEAD = 2


class Stopped(Exception):
    """The run ends before all cases were tried; the text says why."""


def feed(
    client: Client,
    cases: Iterable[CaseSpec],
    settings: RunSettings,
    output: Path,
    keep: Callable[[Outcome], None],
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
    from distributed import as_completed

    waiting = iter(cases)
    named: dict[str, CaseSpec] = {}
    running = as_completed([_submit(client, case, settings, output, named) for case in _some(waiting, client)])
    full = ""
    try:
        for future in running:
            case = named.pop(future.key)
            outcome = _checked(_outcome(future, case), output)
            future.release()
            keep(outcome)
            if outcome.kind == DISK:
                full = f"The disk of {output} is full ({outcome.reason})"
            if not full:
                for following in _some(waiting, client, busy=len(named)):
                    running.add(_submit(client, following, settings, output, named))
    finally:
        if named:
            client.cancel(list(running.futures), force=True)
    if full:
        raise Stopped(f"{full}; make room, then run the same command again.")


def _some(waiting: Iterator[CaseSpec], client: Client, busy: int = 0) -> Iterator[CaseSpec]:
    """As many further cases as the workers there are now can take; workers may come and go."""
    for _ in range(max(1, AHEAD * len(client.nthreads()) - busy)):
        case = next(waiting, None)
        if case is None:
            return
        yield case


def _submit(
    client: Client, case: CaseSpec, settings: RunSettings, output: Path, named: dict[str, CaseSpec]
) -> Future[Outcome]:
    future: Any = client.submit(run_case, case, settings, str(output), key=f"case-{uuid.uuid4().hex}", pure=False)
    named[future.key] = case
    return future


def _outcome(future: Future[Outcome], case: CaseSpec) -> Outcome:
    """What a worker says; or what became of the worker."""
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise Stopped("The Dask scheduler is gone; start it again, then run the same command again.")
    error = future.exception()
    if isinstance(error, KilledWorker):
        reason = (
            "Its worker died, and so did the next one that tried: most likely not enough memory; use fewer workers."
        )
        return Outcome(case.name, "", "failed", MACHINE, reason)
    return Outcome(case.name, "", "failed", INTERNAL, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _checked(outcome: Outcome, output: Path) -> Outcome:
    """A worker on another machine may have written to a disk of its own."""
    if outcome.failed or finished_record(output, outcome.name, outcome.key) is not None:
        return outcome
    reason = f"The worker's files are not in {output}; workers must see that folder, and the scans, at the same path."
    return replace(outcome, status="failed", kind=MACHINE, reason=reason, record={})
