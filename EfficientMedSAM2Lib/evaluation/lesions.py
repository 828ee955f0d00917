"""Many lesions on one scan, each from a click: how long that takes, and how well it goes, on a phantom made in code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.metrics import dice, intersection_over_union
from EfficientMedSAM2Lib.interaction import PointPrompt
from EfficientMedSAM2Lib.pipeline.find_rest import find_rest

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession

#: A liver-like phantom: voxels along k, j, i, and mm between them.
SHAPE_KJI, SPACING_KJI = (120, 320, 320), (2.5, 0.8, 0.8)
#: HU of the tissue and of lesions in it, standard deviation of the noise, radii of lesions in mm.
TISSUE_HU, LESION_HU, NOISE_HU, RADII_MM = 50.0, (110.0, 160.0), 12.0, (4.0, 12.0)
#: Lesions keep this distance from each other and from the border, in mm.
GAP_MM = 3.0


@dataclass(frozen=True)
class LesionPhantom:
    """A scan with lesions.

    Attributes:
        volume: (D,H,W) int16, HU.
        labels: (D,H,W) uint16, 1 to N for the N lesions, 0 elsewhere.
        centres: (N,3) middle voxel of each, k, j, i.
    """

    volume: np.ndarray
    labels: np.ndarray
    centres: np.ndarray

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """4x4 matrix, mm."""
        return np.diag([*SPACING_KJI[::-1], 1.0])


@dataclass(frozen=True)
class LesionTimes:
    """What a run took.

    Attributes:
        count: Number of lesions.
        seconds_clicks: By the clock, from the first click to the last one's mask on its slice.
        seconds_propagation: By the clock, all propagations.
        seconds_processor: Of all threads, both together.
        slices: Slices that propagation visited.
        dice: (N,) volumetric Dice of each lesion.
    """

    count: int
    seconds_clicks: float
    seconds_propagation: float
    seconds_processor: float
    slices: int
    dice: np.ndarray

    def __str__(self) -> str:
        return (
            f"{self.count} lesions, a click each: {self.seconds_clicks:.1f} s for the clicks "
            f"({1000 * self.seconds_clicks / self.count:.0f} ms each), {self.seconds_propagation:.1f} s for "
            f"{self.slices} slices; {self.seconds_processor:.1f} s of the processor in all. "
            f"Dice mean {self.dice.mean():.3f}, median {np.median(self.dice):.3f}, lowest {self.dice.min():.3f}."
        )


@dataclass(frozen=True)
class Proposals:
    """What was found by the likeness of a few lesions.

    Attributes:
        count: Number of lesions that there were to find.
        proposed: Number of proposals.
        right: Of them, those that lie on a lesion which nobody had, with an IoU of 0.5 or more on their slice.
        seconds: By the clock.
    """

    count: int
    proposed: int
    right: int
    seconds: float

    def __str__(self) -> str:
        precision, recall = self.right / max(self.proposed, 1), self.right / max(self.count, 1)
        return (
            f"Of {self.count} others {self.right} were found by {self.proposed} proposals: precision {precision:.2f}, "
            f"recall {recall:.2f}, in {self.seconds:.1f} s."
        )


def lesion_phantom(count: int, seed: int = 0, shape_kji: Sequence[int] = SHAPE_KJI) -> LesionPhantom:
    """Ellipsoids in noisy tissue, which do not touch each other.

    Raises:
        UserError: So many do not fit.
    """
    random = np.random.default_rng(seed)
    spacing, shape = np.array(SPACING_KJI), np.array(shape_kji)
    volume = np.full(shape, TISSUE_HU) + random.normal(0.0, NOISE_HU, tuple(shape))
    labels: np.ndarray = np.zeros(shape, np.uint16)
    known: list[tuple[np.ndarray, float]] = []
    for _attempt in range(200 * count):
        if len(known) == count:
            break
        half_axes = random.uniform(*RADII_MM) * random.uniform(0.75, 1.0, 3)
        reach = float(half_axes.max())
        room = shape * spacing - 2 * (reach + GAP_MM)
        if (room <= 0).any():
            continue
        centre = np.rint((reach + GAP_MM + random.random(3) * room) / spacing)
        if any(np.linalg.norm((centre - other) * spacing) < reach + far + GAP_MM for other, far in known):
            continue
        low = np.maximum(np.floor(centre - reach / spacing), 0).astype(int)
        high = np.minimum(np.ceil(centre + reach / spacing) + 1, shape).astype(int)
        part = tuple(slice(*bounds) for bounds in zip(low, high))
        places = np.stack(np.meshgrid(*(np.arange(*bounds) for bounds in zip(low, high)), indexing="ij"), axis=-1)
        inside = ((((places - centre) * spacing / half_axes) ** 2).sum(axis=-1)) <= 1
        known.append((centre, reach))
        labels[part][inside] = len(known)
        volume[part][inside] += random.uniform(*LESION_HU) - TISSUE_HU
    if len(known) < count:
        raise UserError(f"{count} lesions do not fit into the phantom; ask for {len(known)} or fewer.")
    return LesionPhantom(np.rint(volume).astype(np.int16), labels, np.array([c for c, _ in known], dtype=int))


def measure_lesions(session: InteractiveSession, phantom: LesionPhantom) -> LesionTimes:
    """Click on each lesion, propagate all of them, compare."""
    session.set_image(phantom.volume, phantom.ijk_to_ras, modality="CT")
    axis = session.default_axis
    clicks = [PointPrompt((int(k), int(j), int(i)), True, axis) for k, j, i in phantom.centres]
    processor, begun = time.process_time(), time.perf_counter()
    names = session.add_each_interaction(clicks)
    clicked = time.perf_counter()
    slices = sum(1 for _update in session.propagate_each(names))
    ended, used = time.perf_counter(), time.process_time() - processor
    found = [dice(session.mask(name), phantom.labels == n) for n, name in enumerate(names, start=1)]
    return LesionTimes(len(names), clicked - begun, ended - clicked, used, slices, np.array(found))


def measure_find_rest(session: InteractiveSession, phantom: LesionPhantom, examples: int = 3) -> Proposals:
    """Segment a few lesions of a phantom, and look for the others."""
    session.set_image(phantom.volume, phantom.ijk_to_ras, modality="CT")
    axis, total = session.default_axis, len(phantom.centres)
    clicks = [PointPrompt((int(k), int(j), int(i)), True, axis) for k, j, i in phantom.centres[:examples]]
    names = session.add_each_interaction(clicks)
    for _update in session.propagate_each(names):
        pass
    begun = time.perf_counter()
    proposed = find_rest(session, phantom.volume, names, most=2 * total)
    seconds = time.perf_counter() - begun
    found: set[int] = set()
    for name in proposed:
        index = session.conditioning_slices(name)[0]
        mask, truth = session.mask(name).take(index, axis), phantom.labels.take(index, axis)
        label = int(np.bincount(truth[mask], minlength=2)[1:].argmax()) + 1
        if label > examples and intersection_over_union(mask, truth == label) >= 0.5:
            found.add(label)
    return Proposals(total - len(clicks), len(proposed), len(found), seconds)
