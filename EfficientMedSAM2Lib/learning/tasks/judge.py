"""How good a network is at a structure, on cases that it has not learnt from: boxes, clicks, volumes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from EfficientMedSAM2Lib.core.metrics import dice, next_click
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.evaluation.cases import ObjectCase, choose_cases
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.evaluation.methods.efficient_medsam2 import EfficientMedSAM2Method
from EfficientMedSAM2Lib.evaluation.methods.interface import BOX, CLICKS, VOLUME
from EfficientMedSAM2Lib.evaluation.prompts import jittered_box
from EfficientMedSAM2Lib.evaluation.protocols import windowed_slice
from EfficientMedSAM2Lib.runtimes.network import Network

MEASURES = {BOX: "boxes", CLICKS: "one click", VOLUME: "volumes"}
SLICES, VOLUMES = 8, 1
"""Objects of each case at most."""
WORSE = 0.005
"""Largest loss of Dice that is taken for chance."""
BETTER = 0.01
"""Least gain, in the mean over the measures, that a task is worth."""

Dices = dict[str, list[float]]
"""Measure -> Dice of each object."""


def judge(network: Network, images: Sequence[LoadedImage], measures: Iterable[str] = tuple(MEASURES)) -> Dices:
    """Dice of a network.

    Args:
        network: In evaluation mode.
        images: Cases; the same ones give the same objects and the same boxes each time.
        measures: Some of `MEASURES`.
    """
    method = EfficientMedSAM2Method(network)
    measured = {BOX: _box_dice, CLICKS: _click_dice, VOLUME: _volume_dice}
    found: Dices = {}
    for measure in measures:
        dices: list[float] = []
        for image in images:
            objects = choose_cases([image], VOLUMES if measure == VOLUME else SLICES, 0, as_volumes=measure == VOLUME)
            dices += [measured[measure](method, case) for case in objects]
        if dices:
            found[measure] = dices
    return found


def _box_dice(method: EfficientMedSAM2Method, case: ObjectCase) -> float:
    method.set_image(windowed_slice(case), case.spacing_mm)
    return dice(method.segment_box(_box(case)).mask, case.mask)


def _click_dice(method: EfficientMedSAM2Method, case: ObjectCase) -> float:
    method.set_image(windowed_slice(case), case.spacing_mm)
    click = next_click(np.zeros_like(case.mask), case.mask)
    assert click is not None
    return dice(method.segment_clicks(np.array([click[0]], float), np.array([1])).mask, case.mask)


def _volume_dice(method: EfficientMedSAM2Method, case: ObjectCase) -> float:
    """As the protocol "volume", without the boxes on every slice, which take longer than the rest."""
    assert case.volume_mask is not None
    volume = apply_window(case.image.voxels, IntensityWindow(*case.image.window, "chosen"))
    found = method.segment_volume(volume, case.image.spacing_mm, case.axis, case.index, _box(case))
    return dice(found.mask, case.volume_mask)


def _box(case: ObjectCase) -> np.ndarray:
    return jittered_box(case.mask, np.random.default_rng([0, case.seed]))


def joined(parts: Iterable[Dices]) -> Dices:
    """The objects of several folds together."""
    result: Dices = {}
    for part in parts:
        for measure, dices in part.items():
            result.setdefault(measure, []).extend(dices)
    return result


def compare(before: Dices, after: Dices) -> dict[str, tuple[float, float]]:
    """Measure -> mean Dice before and after."""
    return {
        measure: (round(float(np.mean(before[measure])), 4), round(float(np.mean(after[measure])), 4))
        for measure in before
        if measure in after
    }


def is_better(results: dict[str, tuple[float, float]]) -> bool:
    """Whether a task is worth having: better in the mean, and nowhere worse than by chance."""
    gains = [after - before for before, after in results.values()]
    return bool(gains) and float(np.mean(gains)) >= BETTER and min(gains) >= -WORSE


def results_text(results: dict[str, tuple[float, float]]) -> str:
    """Results in a line: boxes 0.516 -> 0.766, ..."""
    return ", ".join(f"{MEASURES[name]} {before:.3f} -> {after:.3f}" for name, (before, after) in results.items())


__all__ = ["MEASURES", "Dices", "compare", "is_better", "joined", "judge", "results_text"]
