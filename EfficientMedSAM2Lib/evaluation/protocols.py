"""The protocols: a box, clicks, scribbles or a lasso on one slice, a box or a mask on one slice of a volume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.metrics import dice, intersection_over_union, next_click
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.evaluation import metrics
from EfficientMedSAM2Lib.evaluation.cases import ObjectCase
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.evaluation.drawn import random_lasso, scribble_inside, scribble_outside
from EfficientMedSAM2Lib.evaluation.methods.interface import (
    BOX,
    CLICKS,
    LASSO,
    MASK,
    SCRIBBLE,
    VOLUME,
    DrawingReader,
    MaskPropagator,
    Prediction,
    SegmentationMethod,
    VolumePrediction,
)
from EfficientMedSAM2Lib.evaluation.prompts import jittered_box
from EfficientMedSAM2Lib.pipeline.volume_score import volume_score

CLICK_COUNT = 5
LOWEST_SLICE, WHOLE_VOLUME = "lowest slice", "volume score"
PROTOCOLS = (BOX, CLICKS, VOLUME, MASK, SCRIBBLE, LASSO)
VOLUME_PROTOCOLS = (VOLUME, MASK)  # of whole objects in volumes


@dataclass(frozen=True)
class Picture:
    """What a gallery shows of a result: the slice, (H, W) masks, and the prompts."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    box: np.ndarray | None
    clicks: tuple[tuple[int, int, bool], ...] = ()


@dataclass
class Record:
    """The result of one method on one object.

    Attributes:
        values: measures by name; `dice` is always there.
        score_pairs: (predicted score, true IoU) of every slice that has a score and the object, found or true.
        click_dices: Dice after each click that was given, for clicks.
        case_scores: what a list of cases may be ordered by, for volumes whose slices have scores: the lowest of a
            slice, and the volume's.
    """

    model: str
    case: ObjectCase
    values: dict[str, float]
    seconds: float
    picture: Picture
    score_pairs: list[tuple[float, float]] = field(default_factory=list)
    click_dices: list[float] = field(default_factory=list)
    case_scores: dict[str, float] = field(default_factory=dict)


def run_protocol(
    protocol: str, method: SegmentationMethod, cases: Sequence[ObjectCase], seed: int = 0
) -> Iterator[Record]:
    """Run a method over objects; one record each, in order.

    Args:
        protocol: one of PROTOCOLS.
        method: what is tested.
        cases: the objects, from `choose_cases`.
        seed: of the jitter; with the same seed every method gets the same boxes.

    Raises:
        UserError: the protocol is unknown or the method cannot take its prompts.
    """
    check_protocol(protocol, method)
    runs = {
        BOX: _run_box,
        CLICKS: _run_clicks,
        VOLUME: _run_volume,
        MASK: _run_mask,
        SCRIBBLE: _run_scribbles,
        LASSO: _run_lasso,
    }
    for case in cases:
        yield runs[protocol](method, case, np.random.default_rng([seed, case.seed]))


def check_protocol(protocol: str, method: SegmentationMethod) -> None:
    """Raise UserError when a protocol is unknown or its prompts are not for a method."""
    if protocol not in PROTOCOLS:
        raise UserError(f"Protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}.")
    if protocol not in method.protocols:
        raise UserError(f"'{method.name}' cannot take the prompts of protocol '{protocol}'; leave it out.")


def windowed_slice(case: ObjectCase) -> np.ndarray:
    """The object's slice (H, W) or (H, W, 3), float32, as everybody gets to see it."""
    return _windowed(case.image.slice_voxels(case.axis, case.index), case.image)


def _windowed(voxels: np.ndarray, image: LoadedImage) -> np.ndarray:
    return apply_window(voxels, IntensityWindow(*image.window, "chosen"))


def _run_box(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:
    box, image = jittered_box(case.mask, generator), windowed_slice(case)
    start = time.perf_counter()
    method.set_image(image, case.spacing_mm)
    found = method.segment_box(box)
    return _slice_record(method, case, found, time.perf_counter() - start, image, box)


def _run_scribbles(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:
    """One scribble on the object and one beside it."""
    assert isinstance(method, DrawingReader)
    image = windowed_slice(case)
    inside, outside = scribble_inside(case.mask, generator), scribble_outside(case.mask, generator)
    start = time.perf_counter()
    found = method.segment_scribbles(image, case.spacing_mm, inside, outside)
    marks = [
        (int(x), int(y), sign) for drawn, sign in ((inside, True), (outside, False)) for y, x in np.argwhere(drawn)
    ]
    return _slice_record(method, case, found, time.perf_counter() - start, image, marks=marks)


def _run_lasso(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:
    """A line drawn loosely around the object."""
    assert isinstance(method, DrawingReader)
    image, region = windowed_slice(case), random_lasso(case.mask, generator)
    start = time.perf_counter()
    found = method.segment_lasso(image, case.spacing_mm, region)
    return _slice_record(method, case, found, time.perf_counter() - start, image)


def _slice_record(
    method: SegmentationMethod,
    case: ObjectCase,
    found: Prediction,
    seconds: float,
    image: np.ndarray,
    box: np.ndarray | None = None,
    marks: Sequence[tuple[int, int, bool]] = (),
) -> Record:
    values = {
        "dice": dice(found.mask, case.mask),
        "iou": intersection_over_union(found.mask, case.mask),
        "nsd": metrics.surface_dice(found.mask, case.mask, case.spacing_mm),
    }
    # a gallery marks clicks one by one; of a scribble a few show where it is
    shown = tuple(marks[:: max(1, len(marks) // 12)])
    pairs = [] if found.score is None else [(found.score, values["iou"])]
    picture = Picture(image, case.mask, found.mask, box, shown)
    return Record(method.name, case, values, seconds, picture, pairs)


def _run_clicks(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:  # noqa: ARG001
    image, mask = windowed_slice(case), np.zeros_like(case.mask)
    clicks: list[tuple[int, int, bool]] = []
    dices: list[float] = []
    pairs: list[tuple[float, float]] = []
    start = time.perf_counter()
    method.set_image(image, case.spacing_mm)
    for _ in range(CLICK_COUNT):
        click = next_click(mask, case.mask)
        if click is not None:
            (x, y), positive = click
            clicks.append((x, y, positive))
            points = np.array([[x, y] for x, y, _ in clicks], dtype=float)
            found = method.segment_clicks(points, np.array([int(sign) for *_, sign in clicks]))
            mask = found.mask
            if found.score is not None:
                pairs.append((found.score, intersection_over_union(mask, case.mask)))
        dices.append(dice(mask, case.mask))
    seconds = (time.perf_counter() - start) / max(1, len(clicks))
    values = {
        "dice": dices[-1],
        **{f"dice_{number}": dices[number - 1] for number in (1, 3, 5)},
        "auc": metrics.click_auc(dices),
        "clicks_to_85": metrics.clicks_needed(dices, 0.85),
        "clicks_to_90": metrics.clicks_needed(dices, 0.90),
    }
    picture = Picture(image, case.mask, mask, None, tuple(clicks))
    return Record(method.name, case, values, seconds, picture, pairs, dices[: len(clicks)])


def _run_volume(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:
    whole = _volume_mask(case)
    box = jittered_box(case.mask, generator)
    volume, spacing = _windowed(case.image.voxels, case.image), case.image.spacing_mm
    start = time.perf_counter()
    found = method.segment_volume(volume, spacing, case.axis, case.index, box)
    seconds = time.perf_counter() - start
    truth_slices, found_slices = (np.moveaxis(mask, case.axis, 0) for mask in (whole, found.mask))
    every_slice = _boxes_on_every_slice(method, case, volume, truth_slices, generator)
    values = {
        "dice": dice(found.mask, whole),
        "nsd": metrics.surface_dice(found.mask, whole, spacing),
        "dice_of_boxes": dice(every_slice, truth_slices),
    }
    picture = Picture(windowed_slice(case), case.mask, found_slices[case.index], box)
    pairs = _score_pairs(found, found_slices, truth_slices)
    return Record(method.name, case, values, seconds, picture, pairs, case_scores=_case_scores(found, case))


def _run_mask(method: SegmentationMethod, case: ObjectCase, generator: np.random.Generator) -> Record:  # noqa: ARG001
    whole = _volume_mask(case)
    assert isinstance(method, MaskPropagator)
    truth = np.moveaxis(whole, case.axis, 0)
    present = np.flatnonzero(truth.any(axis=(1, 2)))
    slices = range(int(present[0]), int(present[-1]) + 1)
    volume, spacing = _windowed(case.image.voxels, case.image), case.image.spacing_mm
    start = time.perf_counter()
    found = method.propagate_mask(volume, spacing, case.axis, slices, truth[slices.start])
    seconds = time.perf_counter() - start
    found_slices = np.moveaxis(found.mask, case.axis, 0)
    values = {
        "dice": dice(found_slices[slices.start + 1 :], truth[slices.start + 1 :]),
        "nsd": metrics.surface_dice(found.mask, whole, spacing),
    }
    found.scores.pop(slices.start, None)  # that mask was given
    picture = Picture(windowed_slice(case), case.mask, found_slices[case.index], None)
    return Record(method.name, case, values, seconds, picture, _score_pairs(found, found_slices, truth))


def _volume_mask(case: ObjectCase) -> np.ndarray:
    if case.volume_mask is None:
        raise ValueError(f"{case.name} is not an object of a volume; choose cases with as_volumes=True.")
    return case.volume_mask


def _score_pairs(found: VolumePrediction, masks: np.ndarray, truth: np.ndarray) -> list[tuple[float, float]]:
    """Score and IoU of slices where at least one of both masks has voxels: behind the object's end there is no IoU."""
    return [
        (score, intersection_over_union(masks[number], truth[number]))
        for number, score in found.scores.items()
        if masks[number].any() or truth[number].any()
    ]


def _case_scores(found: VolumePrediction, case: ObjectCase) -> dict[str, float]:
    areas = {n: int(np.count_nonzero(plane)) for n, plane in enumerate(np.moveaxis(found.mask, case.axis, 0))}
    score = volume_score(found.scores, [case.index], areas)
    if score is None or not found.scores:
        return {}
    lowest = min((found.scores[n] for n, area in areas.items() if area and n in found.scores), default=0.0)
    return {LOWEST_SLICE: lowest, WHOLE_VOLUME: score}


def _boxes_on_every_slice(
    method: SegmentationMethod, case: ObjectCase, volume: np.ndarray, truth: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Give what the method would reach if someone drew a box on each slice: the mask, slices first."""
    found = np.zeros(truth.shape, bool)
    last_pixel = [truth.shape[2] - 1, truth.shape[1] - 1]
    for number in np.flatnonzero(truth.any(axis=(1, 2))):
        method.set_image(np.moveaxis(volume, case.axis, 0)[number], case.spacing_mm)
        box = jittered_box(truth[number], generator)
        # A box of one row has no area; people draw at least two.
        box[2:] = np.maximum(box[2:], box[:2] + 1).clip(None, last_pixel)
        box[:2] = np.minimum(box[:2], box[2:] - 1)
        found[number] = method.segment_box(box).mask
    return found
