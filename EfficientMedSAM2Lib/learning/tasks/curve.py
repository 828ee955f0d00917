"""What more cases have brought: Dice and corrections against their number, over the tasks of a structure so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.learning.tasks.judge import BETTER, MEASURES
from EfficientMedSAM2Lib.runtimes.tasks import Task, read_task
from EfficientMedSAM2Lib.runtimes.tasks.task import EarlierTask
from EfficientMedSAM2Lib.runtimes.tasks.task_file import SUFFIX

STEPS = 2
"""More cases have stopped helping when each of so many last tasks has gained less than `BETTER` of mean Dice over the
one before it. Not compared; one small gain is often chance."""
STOPPED = f"More cases have stopped helping: the last {STEPS} tasks each gained less than {BETTER} of mean Dice."
HELPS = "More cases still help."


class Corrections(NamedTuple):
    """What readers did to what a task has segmented.

    Attributes:
        reviewed: Cases that a reader has seen.
        corrected: Those of them that were corrected.
    """

    reviewed: int
    corrected: int


def earlier_tasks(output: Path, name: str, weights_sha256: str, cases: int) -> tuple[EarlierTask, ...]:
    """Tasks of a structure from fewer cases: those in a task's folder, and those that they took the place of.

    Args:
        output: Where the task will be written; what lies there now is an earlier one.
        name: Of the structure.
        weights_sha256: Hash of the weights' file, which is the same for all.
        cases: Number of cases of the new task.

    Returns:
        Fewest cases first; of one number the one that was learnt last.
    """
    found: dict[int, EarlierTask] = {}
    for path in sorted(output.parent.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime):
        try:
            task = read_task(path)
        except UserError:  # of another program
            continue
        if (task.name, task.weights_sha256) == (name, weights_sha256):
            for known in (*task.earlier, EarlierTask(task.cases, task.results, sha256_of(path))):
                found[known.cases] = known
    return tuple(found[number] for number in sorted(found) if number < cases)


def corrections_by_task(source: Path) -> dict[str, Corrections]:
    """What became of the cases that were segmented by tasks, by the hash of the task's file.

    Args:
        source: What `cohort run` wrote; nothing is known of any other place.
    """
    from EfficientMedSAM2Lib.cohort.records.folders import kept_corrections
    from EfficientMedSAM2Lib.cohort.records.ledger import FILE_NAME, Ledger
    from EfficientMedSAM2Lib.cohort.results.contact_sheet import is_reviewed

    if not (source / FILE_NAME).is_file():
        return {}
    with Ledger(source) as ledger:
        records = [outcome.record for outcome in ledger.outcomes() if not outcome.failed and is_reviewed(outcome)]
    records += [record for record, _folder in kept_corrections(source).values()]
    found: dict[str, Corrections] = {}
    for record in records:
        sha256 = record["settings"].get("task_sha256")
        if sha256:
            before = found.get(sha256, Corrections(0, 0))
            found[sha256] = Corrections(before.reviewed + 1, before.corrected + bool(record.get("corrected")))
    return found


def mean_dice(results: Mapping[str, tuple[float, float]]) -> float:
    """Mean over the measures of the Dice with a task."""
    return float(np.mean([after for _before, after in results.values()]))


def has_stopped_helping(dices: Sequence[float]) -> bool:
    """Whether more cases have stopped helping, by the mean Dice of tasks from more and more cases."""
    gains = np.diff(dices)[-STEPS:]
    return len(gains) == STEPS and bool((gains < BETTER).all())


def curve_lines(task: Task, corrections: Mapping[str, Corrections]) -> Iterator[str]:
    """A table of the tasks so far as text, and whether more cases help; nothing for a first task.

    Args:
        task: The newest.
        corrections: From `corrections_by_task`.
    """
    earlier = task.earlier
    if not earlier:
        return
    yield "cases  " + "  ".join(f"{text:>9}" for text in MEASURES.values()) + "       mean  corrected"
    tasks: list[EarlierTask | Task] = [*earlier, task]
    for known in tasks:
        dices = "  ".join(f"{known.results[m][1]:9.3f}" if m in known.results else f"{'':9}" for m in MEASURES)
        seen = corrections.get(known.sha256) if isinstance(known, EarlierTask) else None
        text = "" if seen is None else f"{seen.corrected} of {seen.reviewed}"
        yield f"{known.cases:5}  {dices}  {mean_dice(known.results):9.3f}  {text:>9}".rstrip()
    yield STOPPED if has_stopped_helping([mean_dice(known.results) for known in tasks]) else HELPS


__all__ = ["Corrections", "corrections_by_task", "curve_lines", "earlier_tasks", "has_stopped_helping", "mean_dice"]
