"""What a worker does: one case after another, on a session that is built once per process."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
from EfficientMedSAM2Lib.cohort.records.folders import finished_record
from EfficientMedSAM2Lib.cohort.records.hashing import case_key, sha256_of, stamp_of
from EfficientMedSAM2Lib.cohort.records.outcome import DISK, INPUT, INTERNAL, MACHINE, CaseOutcome
from EfficientMedSAM2Lib.cohort.records.settings import ENGINE, RunSettings, weights_file
from EfficientMedSAM2Lib.pipeline.engine import ENGINE_OPTIONS

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession

logger = logging.getLogger(__name__)

# State of a worker process: the session of the last case, with the identity of its settings, for the next case. It is
# not thread-safe, and the memory of a worker is planned for one volume at a time: hence the lock.
_session_lock = threading.Lock()
_session_of_process: tuple[str, InteractiveSession] | None = None


def run_case(case: CaseSpec, settings: RunSettings, output: str) -> CaseOutcome:
    """Do a case and write its folder. Never raises for what may be wrong with one case: the outcome says it.

    Args:
        case: The case.
        settings: Resolved settings.
        output: Output folder of the cohort.
    """
    begun = time.perf_counter()
    key, hashes = "", {}
    try:
        hashes = {path: (stamp_of(path), sha256_of(path)) for path in case.files}
        key = case_key(case, settings, {path: digest for path, (_, digest) in hashes.items()})
        record = finished_record(Path(output), case.name, key)
        if record is None:
            with _session_lock:
                record = _compute(case, settings, Path(output), key, hashes)
            again = False
        else:
            again = True
    except (Exception, MemoryError) as error:
        kind, reason = _explained(error)
        logger.debug("case %s failed", case.name, exc_info=True)
        return CaseOutcome(case.name, key, "failed", kind, reason, time.perf_counter() - begun, hashes=hashes)
    return CaseOutcome(
        case.name, key, "done", seconds=time.perf_counter() - begun, record=record, hashes=hashes, again=again
    )


def _compute(
    case: CaseSpec, settings: RunSettings, output: Path, key: str, hashes: dict[str, tuple[str, str]]
) -> dict[str, object]:
    from EfficientMedSAM2Lib.cohort.worker.compute_case import compute_and_write

    session = _session_for(settings)
    try:
        return compute_and_write(session, case, settings, output, key, {path: pair[1] for path, pair in hashes.items()})
    finally:
        with suppress(ValueError):
            session.reset_interactions()


def _session_for(settings: RunSettings) -> InteractiveSession:
    """The session of this process, built when it is first needed, and anew only for other settings."""
    global _session_of_process
    if _session_of_process is None or _session_of_process[0] != settings.identity:
        _session_of_process = None  # the old network goes before the new one comes
        if settings.engine == ENGINE:
            _check_weights(settings)
        module, _, function = settings.engine.partition(":")
        build = getattr(import_module(module), function)
        arguments = {name: getattr(settings, name) for name in ENGINE_OPTIONS}
        _session_of_process = (settings.identity, build(**arguments))
    return _session_of_process[1]


def _check_weights(settings: RunSettings) -> None:
    """On another machine, the same path may hold other weights."""
    path = weights_file(settings.encoder, settings.weights)
    if settings.weights_sha256 and sha256_of(path) != settings.weights_sha256:
        raise RuntimeError(f"The weights {path} on this worker are not those of the run; install the same version.")
    if settings.task and sha256_of(settings.task) != settings.task_sha256:
        raise RuntimeError(f"The task {settings.task} on this worker is not that of the run; copy it there again.")


def _explained(error: BaseException) -> tuple[str, str]:
    """Kind of a failure, and one sentence about it."""
    text = " ".join(str(error).split()) or type(error).__name__
    causes = list(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return DISK, text
    if any(isinstance(cause, MemoryError) for cause in causes) or "out of memory" in text.lower():
        return MACHINE, f"Not enough memory: {text}"
    if isinstance(error, ValueError):
        return INPUT, text
    return INTERNAL, f"{type(error).__name__}: {text}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
