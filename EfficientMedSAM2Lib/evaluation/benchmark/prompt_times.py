"""From a prompt to its mask, for every kind of prompt: `efficient-medsam2 benchmark --prompts`.

What is timed is what a front end waits for: the call of the session, from a prompt that was drawn to a mask that may be
shown. Prompts are made from the labels of the scan, as people give them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.boxes import slice_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.metrics import dice, next_click
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.evaluation.drawn import random_lasso, scribble_inside
from EfficientMedSAM2Lib.interaction.prompts import (
    BoxPrompt,
    LassoPrompt,
    LinePrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
)
from EfficientMedSAM2Lib.pipeline.measurements import diameters_in_slice

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan
    from EfficientMedSAM2Lib.interaction import InteractiveSession

#: What an interaction may take on two idle cores, in ms: on a slice that was seen before, and on a new one.
KNOWN_BUDGET_MS, NEW_BUDGET_MS = 60.0, 120.0
#: Slices that are prompted with each kind, where the object is on so many.
SLICES = 15
SLICE_AXIS = 0


@dataclass
class KindTimes:
    """Times of one kind of prompt, in ms, and what came of it: a number a slice."""

    new: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)


@dataclass
class PromptTimes:
    """Times of every kind of prompt.

    Attributes:
        scan: What they were measured on.
        slices: How many slices count.
        kinds: By name.
    """

    scan: str
    slices: int
    kinds: dict[str, KindTimes]

    def __str__(self) -> str:
        lines = [
            f"{self.scan}: median (least to most) of {self.slices} slices.",
            f"{'ms to the mask':<14}  {'slice seen before':>22}  {'new slice':>22}   Dice",
            *(
                f"{kind:<14}  {_spread(times.known):>22}  {_spread(times.new):>22}  {np.mean(times.dice):5.3f}"
                for kind, times in self.kinds.items()
            ),
            f"{'at most':<14}  {KNOWN_BUDGET_MS:>22.0f}  {NEW_BUDGET_MS:>22.0f}  on two idle cores",
        ]
        return "\n".join(lines)


def measure_prompts(
    session: InteractiveSession, scan: Scan, clock: Callable[[], float] = time.perf_counter
) -> PromptTimes:
    """Give each kind of prompt on slice after slice: once where nothing is known of a slice, and once more.

    Args:
        session: Any session.
        scan: With labels on its slices.
        clock: Seconds.

    Raises:
        UserError: The object is on one slice only.
    """
    # The first slice of each kind is new to the network's libraries as well: it does not count.
    slices = np.flatnonzero(scan.labels.any(axis=(1, 2)))[: SLICES + 1].tolist()
    if len(slices) < 2:
        raise UserError(f"{scan.name} has its object on one slice only; prompts are timed on several slices.")
    found: dict[str, KindTimes] = {}
    prompts = {index: _prompts(scan, index) for index in slices}
    for kind in prompts[slices[0]]:
        times = found[kind] = KindTimes()
        window = IntensityWindow(*scan.window)
        session.set_image(scan.voxels, np.diag([*scan.spacing_mm[::-1], 1.0]), window=window)
        for number, index in enumerate(slices):
            new, known = (_timed(session, prompts[index][kind], clock) for _ in range(2))
            if number:
                mask = session.mask("1", slice_box(scan.labels.shape, SLICE_AXIS, index))[0]
                times.new.append(new)
                times.known.append(known)
                times.dice.append(dice(mask, scan.labels[index]))
            session.reset_interactions()
    return PromptTimes(scan.name, len(slices) - 1, found)


def _timed(session: InteractiveSession, prompt: Prompt, clock: Callable[[], float]) -> float:
    """Milliseconds of a segment's first prompt; an earlier one is undone, what was computed of its slice stays."""
    if session.can_undo:
        session.undo()
    start = clock()
    session.add_prompt(prompt)
    return 1000 * (clock() - start)


def _prompts(scan: Scan, index: int) -> dict[str, Prompt]:
    """One prompt of each kind for the object on a slice."""
    mask, random = scan.labels[index], np.random.default_rng(index)
    click = next_click(np.zeros_like(mask), mask)
    assert click is not None, "the slice has an object"
    (x, y), _ = click
    ends = diameters_in_slice(mask[None], np.diag([*scan.spacing_mm[::-1], 1.0])).ends_kji
    start, end = ((float(index), float(row), float(column)) for _, row, column in ends)
    packed = _packed(mask, index)
    k, j, i = packed.bounds
    return {
        "point": PointPrompt((index, y, x), True, SLICE_AXIS),
        "box": BoxPrompt((k, j, i), True, SLICE_AXIS),
        "line": LinePrompt(start, end, SLICE_AXIS),
        "scribble": ScribblePrompt(_packed(scribble_inside(mask, random), index), True, SLICE_AXIS),
        "lasso": LassoPrompt(_packed(random_lasso(mask, random), index), True, SLICE_AXIS),
        "mask": MaskPrompt(packed, SLICE_AXIS, index),
    }


def _packed(drawn: np.ndarray, index: int) -> PackedMask:
    return PackedMask.pack(drawn[None], (index, 0, 0))


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


__all__ = ["KNOWN_BUDGET_MS", "NEW_BUDGET_MS", "KindTimes", "PromptTimes", "measure_prompts"]
