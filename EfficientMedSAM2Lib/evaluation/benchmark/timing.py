"""Clocks: single calls, steps of a propagation, and what a step is spent in."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .networks import TimedNetwork
    from .scans import Scan

T = TypeVar("T")

LEAST, MOST, SECONDS = 3, 15, 2.0


def timed_ms(prepare: Callable[[int], T], action: Callable[[T], Any]) -> float:
    """Median time of an action, after one that does not count: the first one sets up what the others find.

    Args:
        prepare: Makes what the action is given, from the number of the call; not timed.
        action: What is timed, 3 to 15 times, for two seconds at most.

    Returns:
        Milliseconds.
    """
    times: list[float] = []
    for number in itertools.count():
        given = prepare(number)
        start = time.perf_counter()
        action(given)
        times.append(time.perf_counter() - start)
        counted = times[1:]
        if len(counted) >= MOST or (len(counted) >= LEAST and sum(counted) > SECONDS):
            return 1000 * float(np.median(counted))
    raise AssertionError  # count() never ends


def step_times(network: TimedNetwork) -> tuple[list[float], list[np.ndarray]]:
    """Propagate through the volume that is open, from the box on its first slice.

    Returns:
        Seconds of each step, and the masks (H, W) bool of all slices, packed along the rows.
    """
    network.forget()
    masks = [np.packbits(network.box(0), axis=-1)]
    times = []
    start = time.perf_counter()
    for mask in network.follow():
        times.append(time.perf_counter() - start)
        masks.append(np.packbits(mask, axis=-1))
        start = time.perf_counter()
    return times, masks


def part_times(network: TimedNetwork, scan: Scan, steps: int) -> dict[str, float]:
    """What a propagated slice is spent in: milliseconds in each child module, and in what is around them.

    Propagates once more, with a clock before and behind each module.
    """
    spent: dict[str, float] = defaultdict(float)
    running: dict[str, float] = {}
    hooks = []
    for name, child in network.module().named_children():

        def before(*_: Any, name: str = name) -> None:
            running[name] = time.perf_counter()

        def behind(*_: Any, name: str = name) -> None:
            spent[name] += time.perf_counter() - running[name]

        hooks += [child.register_forward_pre_hook(before), child.register_forward_hook(behind)]
    network.open(scan)
    network.box(0)
    spent.clear()
    count = 0
    start = time.perf_counter()
    for _ in itertools.islice(network.follow(), steps):
        count += 1
    total = time.perf_counter() - start
    for hook in hooks:
        hook.remove()
    parts = {name: 1000 * seconds / count for name, seconds in spent.items() if seconds > 0}
    return {**parts, "the rest": max(0.0, 1000 * total / count - sum(parts.values()))}
