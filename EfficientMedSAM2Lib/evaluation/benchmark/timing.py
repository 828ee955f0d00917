"""Clocks: single calls, steps of a propagation, and what a step is spent in."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from EfficientMedSAM2Lib.evaluation.replaced import replaced

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.benchmark.networks import TimedNetwork
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan

T = TypeVar("T")
Clock = Callable[[], float]

LEAST, MOST, SECONDS = 3, 15, 2.0


def timed_ms(prepare: Callable[[int], T], action: Callable[[T], Any], clock: Clock = time.perf_counter) -> float:
    """Median time of an action, after one that does not count: the first one sets up what the others find.

    Args:
        prepare: Makes what the action is given, from the number of the call; not timed.
        action: What is timed, 3 to 15 times, for two seconds at most.
        clock: Seconds, of the wall or of the processor.

    Returns:
        Milliseconds.
    """
    times: list[float] = []
    for number in itertools.count():
        given = prepare(number)
        start = clock()
        action(given)
        times.append(clock() - start)
        counted = times[1:]
        if len(counted) >= MOST or (len(counted) >= LEAST and sum(counted) > SECONDS):
            return 1000 * float(np.median(counted))
    raise AssertionError  # count() never ends


def step_times(
    network: TimedNetwork, clock: Clock = time.perf_counter, keep: bool = True
) -> tuple[list[float], list[np.ndarray]]:
    """Propagate through the volume that is open, from the box on its first slice.

    Args:
        network: With a volume.
        clock: Seconds.
        keep: Whether masks are wanted; kept ones would count as the network's memory.

    Returns:
        Seconds of each step, and the masks (H, W) bool of all slices, packed along the rows; of the first one only if
        not kept.
    """
    network.method.forget()
    masks = [np.packbits(network.box(0), axis=-1)]
    times = []
    start = clock()
    for mask in network.propagate():
        times.append(clock() - start)
        if keep:
            masks.append(np.packbits(mask, axis=-1))
        start = clock()
    return times, masks


def part_times(network: TimedNetwork, scan: Scan, steps: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """What a propagated slice is spent in: milliseconds in each part, and in what is around them.

    Propagates once more, with a clock before and behind each part.
    """
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            try:
                return method(*args, **kwargs)
            finally:
                spent[name] += clock() - start

        return run

    with ExitStack() as replacements:
        for name, (owner, method) in network.method.parts().items():
            replacements.enter_context(replaced(owner, method, timed(name, getattr(owner, method))))
        network.open(scan)
        network.box(0)
        spent.clear()
        count = 0
        start = clock()
        for _ in itertools.islice(network.propagate(), steps):
            count += 1
        total = clock() - start
    parts = {name: 1000 * seconds / count for name, seconds in spent.items() if seconds > 0}
    return {**parts, "the rest": max(0.0, 1000 * total / count - sum(parts.values()))}
