"""A case of the challenge from its boxes through five rounds of clicks, measured after each as its script does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.metrics import depth_inside, dice
from EfficientMedSAM2Lib.evaluation.cvpr25.cases import ChallengeCase
from EfficientMedSAM2Lib.evaluation.metrics import click_auc, surface_dice

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
    from EfficientMedSAM2Lib.imaging.formats.npz import NpzPrompts

CLICK_ROUNDS = 5
SECONDS_PER_CLASS = 90.0
NSD_FROM_DICE = 0.2  # below it the script takes NSD for zero
CLICK_SEED = 42
Click = tuple[tuple[int, int, int], bool]


class InteractiveMethod(Protocol):
    """What is tested: a method that takes boxes and clicks of several classes of one scan."""

    name: str

    def set_image(self, image: LoadedImage) -> None:
        """Begin a scan."""
        ...

    def add_box(self, label: int, prompts: NpzPrompts) -> None:
        """Take the box of a class, and segment the class."""
        ...

    def add_click(self, label: int, index_kji: tuple[int, int, int], positive: bool) -> None:
        """Take a click for a class, and segment it anew."""
        ...

    def mask(self, label: int) -> np.ndarray:
        """(D,H,W) bool of a class; nothing before its first prompt."""
        ...


@dataclass(frozen=True)
class ChallengeResult:
    """Measures of one case, as the challenge counts them.

    Attributes:
        name: Of the file.
        modality: Of the scan.
        classes: Their number.
        dsc: Mean Dice of the classes after the boxes and after each round of clicks; the first is 0 without boxes.
        nsd: The same of the surface Dice at 2 mm.
        seconds: Time of each of these steps.
    """

    name: str
    modality: str
    classes: int
    dsc: tuple[float, ...]
    nsd: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def in_time(self) -> bool:
        """Whether the case took no more than 90 s a class; else all its measures count as zero."""
        return sum(self.seconds) <= SECONDS_PER_CLASS * self.classes

    def summary(self) -> dict[str, float]:
        """The challenge's five numbers. An AUC is over the rounds of clicks, four at most."""
        counts = float(self.in_time)
        return {
            "DSC_AUC": counts * click_auc(self.dsc[1:]),
            "NSD_AUC": counts * click_auc(self.nsd[1:]),
            "DSC_Final": counts * self.dsc[-1],
            "NSD_Final": counts * self.nsd[-1],
            "TotalRunningTime": sum(self.seconds),
        }


def run_challenge_case(method: InteractiveMethod, case: ChallengeCase) -> ChallengeResult:
    """Segment a case with boxes, then five times with one click a class in the middle of its largest error."""
    labels, truth = case.labels, case.image.labels
    dsc, nsd, seconds = [], [], []
    start = time.perf_counter()
    method.set_image(case.image)
    opening = time.perf_counter() - start
    for step in range(CLICK_ROUNDS + 1):
        found = label_map(method, labels, truth.shape)
        clicks = [] if step == 0 else [(label, next_click_3d(found == label, truth == label)) for label in labels]
        start = time.perf_counter()
        if step == 0:
            for label, prompts in case.boxes.items():
                method.add_box(label, prompts)
        for label, click in clicks:
            if click is not None:
                method.add_click(label, *click)
        seconds.append(time.perf_counter() - start + opening * (step == 0))
        if step == 0 and not case.boxes:
            measures = 0.0, 0.0
        else:
            measures = measure(label_map(method, labels, truth.shape), truth, labels, file_spacing(case.image))
        dsc.append(measures[0])
        nsd.append(measures[1])
    return ChallengeResult(case.name, case.modality, len(labels), tuple(dsc), tuple(nsd), tuple(seconds))


def label_map(method: InteractiveMethod, labels: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """All classes in one array; where masks overlap, the class with the higher value is taken."""
    found: np.ndarray = np.zeros(shape, dtype=np.int64)
    for label in labels:
        found[method.mask(label)] = label
    return found


def file_spacing(image: LoadedImage) -> tuple[float, float, float]:
    """Spacing for NSD in the order that it has in a challenge file: x, y, z.

    The challenge's script applies it to the axes z, y, x one by one. Numbers here are to be compared with its numbers,
    and so do the same; with cubic voxels the order does not matter.
    """
    k, j, i = image.spacing_mm
    return i, j, k


def measure(
    found: np.ndarray, truth: np.ndarray, labels: Sequence[int], spacing: tuple[float, float, float]
) -> tuple[float, float]:
    """Mean Dice and mean surface Dice of the classes; the latter zero where Dice is 0.2 or less, as in the script."""
    dsc = float(np.mean([dice(found == label, truth == label) for label in labels]))
    if dsc <= NSD_FROM_DICE:
        return dsc, 0.0
    nsd = [surface_dice(found == label, truth == label, spacing, subvoxels=True) for label in labels]
    return dsc, float(np.mean(nsd))


def next_click_3d(found: np.ndarray, truth: np.ndarray) -> Click | None:
    """The challenge's next click: where the largest error is deepest.

    Args:
        found: (D,H,W) bool.
        truth: (D,H,W) bool.

    Returns:
        (k, j, i), and whether the voxel belongs to the object; None where nothing is wrong. Among equally deep voxels
        one is drawn with the script's seed. Errors of both kinds that touch are one, by 26 neighbours.
    """
    from scipy import ndimage

    error = found != truth
    parts, count = ndimage.label(error, structure=np.ones((3, 3, 3), int))
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())
    largest = 1 + int(sizes[1:].argmax())
    (place,) = ndimage.find_objects((parts == largest).astype(np.int8))
    depth = depth_inside(parts[place] == largest)
    deepest = np.argwhere(depth == depth.max())
    chosen = deepest[np.random.RandomState(CLICK_SEED).choice(len(deepest))]
    k, j, i = (int(at) + part.start for at, part in zip(chosen, place))
    return (k, j, i), bool(truth[k, j, i])


class EfficientMedSAM2Session:
    """EfficientMedSAM2 through the session that all front ends use: prompts, then propagation of stale slices."""

    name = "efficient-medsam2"

    def __init__(self, model: Any) -> None:
        from EfficientMedSAM2Lib.interaction import InteractiveSession
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

        self._session = InteractiveSession(EfficientMedSAM2VolumePredictor(model))
        self._slices: dict[int, tuple[int, int] | None] = {}

    def set_image(self, image: LoadedImage) -> None:
        """Begin a scan."""
        from EfficientMedSAM2Lib.core.windows import IntensityWindow

        k, j, i = image.spacing_mm
        window = IntensityWindow(*image.window, "chosen")
        self._session.set_image(image.voxels, np.diag([i, j, k, 1.0]), window=window)
        self._slices = {}

    def add_box(self, label: int, prompts: NpzPrompts) -> None:
        """Box on its slice, propagated as far as the file says that the object reaches."""
        self._slices[label] = prompts.slices
        self._session.add_bbox_interaction(prompts.box_kji, include_interaction=True, segment=str(label), axis=0)
        self._propagate(label)

    def add_click(self, label: int, index_kji: tuple[int, int, int], positive: bool) -> None:
        """Click on a slice, then everything that it makes stale."""
        self._session.add_point_interaction(index_kji, positive, segment=str(label), axis=0)
        self._propagate(label)

    def mask(self, label: int) -> np.ndarray:
        """(D,H,W) bool."""
        if str(label) not in self._session.segments:
            return np.zeros(self._session.shape_kji, dtype=bool)
        return self._session.mask(str(label))

    def _propagate(self, label: int) -> None:
        limits = self._slices.get(label)
        if limits is not None:
            prompted = self._session.conditioning_slices(str(label), 0)
            limits = min(limits[0], *prompted), max(limits[1], *(index + 1 for index in prompted))
        for _ in self._session.propagate(str(label), "both", limits, axis=0):
            pass
