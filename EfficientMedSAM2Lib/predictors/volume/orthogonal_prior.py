"""How an object goes on on either side of a slice: cuts across the slices, through its mask on one of them."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import zoom
from EfficientMedSAM2Lib.predictors.fov import FieldOfView
from EfficientMedSAM2Lib.predictors.masks import PackedMask
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage, SlicePrompts
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.volume.frames import Frames
from EfficientMedSAM2Lib.predictors.volume.outline import ConvexOutline
from EfficientMedSAM2Lib.predictors.volume.prefetcher import Ahead

_CACHE_BYTES = 4 << 20
"""Features of the cut at hand and of the next one, 1.4 MB each."""


class Cut(NamedTuple):
    """What one cut shows.

    Attributes:
        along: 0: along a row of the slices, 1: along a column.
        place: Which row or column.
        edges: (D,2) first and last pixel of the object along it on every slice, NaN where there is none.
        score: How sure it is, 0...1.
    """

    along: int
    place: int
    edges: np.ndarray
    score: float


class _Question(NamedTuple):
    """A cut before it is segmented: its image, of which one row is known from `start` to `end`, and where to look."""

    along: int
    place: int
    image: SliceImage
    start: int
    end: int
    view: FieldOfView


@dataclasses.dataclass(frozen=True)
class Sides:
    """An object seen from the side.

    Attributes:
        radius: Mean radius in pixels of its mask on the slice that the cuts go through.
        cuts: Along rows and columns.
        growth: Size of the mask over that of the outline through the cuts' ends, which cut off corners.
    """

    radius: float
    cuts: tuple[Cut, ...]
    growth: float

    def prior(self, frame_idx: int, view: FieldOfView, size: int, heuristics: HeuristicsConfig) -> np.ndarray:
        """What the side views say of the mask on a slice.

        Args:
            frame_idx: The slice.
            view: Where it is looked at.
            size: Side of mask logits.
            heuristics: How much it says.

        Returns:
            (size,size) float32, to be added to logits: above 0 inside the outline, below 0 outside.
        """
        low, high = heuristics.orthogonal_prior_scores
        sure = np.mean([min(max((cut.score - low) / (high - low), 0.0), 1.0) for cut in self.cuts])
        trust = heuristics.orthogonal_prior_logit * sure
        ends = _ends(self.cuts, frame_idx)
        if len(ends) == 0:
            return np.full((size, size), -trust, np.float32)
        outline = ConvexOutline.around(ends)
        if outline is None:
            return np.zeros((size, size), np.float32)
        columns = view.x0 - 0.5 + (np.arange(size) + 0.5) * view.width / size
        rows = view.y0 - 0.5 + (np.arange(size) + 0.5) * view.height / size
        middle = outline.corners.mean(axis=0)
        x, y = (middle[0] + (columns - middle[0]) / self.growth, middle[1] + (rows - middle[1]) / self.growth)
        inward = self.growth * outline.depth(x, y)
        edge = heuristics.orthogonal_prior_edge * self.radius
        return (trust * (inward / edge).clip(-1, 1)).astype(np.float32)


def look_from_sides(
    slices: SlicePredictor, frames: Frames, mask: PackedMask, frame_idx: int, like: SliceImage, slice_mm: float
) -> Sides | None:
    """Cut a volume across its slices, through an object's mask on one of them, and segment the cuts.

    On a cut the mask is a line, whose ends are known; clicks inside and just beyond them say which object is meant.
    Following an object from slice to slice cannot tell where a low contrast ends it; from the side its end is an edge
    like others. On `dev` the Dice of 14 volumes rose with it from 0.776 to 0.805 (see TRAINING.md).

    Args:
        slices: The core that asks the network.
        frames: The volume.
        mask: Of the object; not empty.
        frame_idx: Its slice.
        like: That slice, for window and spacing.
        slice_mm: Distance between slices.

    Returns:
        None where nothing is to be seen: slices that are not of one array, or further apart than the object's radius.
    """
    rows_mm, columns_mm = like.spacing
    radius = math.sqrt(mask.area / math.pi)
    radius_mm = radius * math.sqrt(rows_mm * columns_mm)
    if slice_mm > slices.heuristics.orthogonal_prior_spacing * radius_mm:
        return None
    questions = _questions(frames, mask, frame_idx, like, slice_mm, radius_mm, slices.heuristics)
    cache, cuts = FeatureCache(_CACHE_BYTES), []
    with Ahead(slices, cache) as ahead:
        for question, following in zip(questions, [*questions[1:], None]):
            ahead.wait()
            if following is not None:
                ahead.start(following.image, following.view)
            cuts.append(_segment(slices, question, frame_idx, cache))
    outline = ConvexOutline.around(_ends(cuts, frame_idx))
    if outline is None:
        return None
    least, most = slices.heuristics.orthogonal_prior_growth
    return Sides(radius, tuple(cuts), math.sqrt(min(max(mask.area / outline.area, least), most)))


def _questions(
    frames: Frames,
    mask: PackedMask,
    frame_idx: int,
    like: SliceImage,
    slice_mm: float,
    radius_mm: float,
    heuristics: HeuristicsConfig,
) -> list[_Question]:
    """The cuts to segment; none where slices are not of one array."""
    part, questions = mask.part(), []
    for along, (lines, first, before) in enumerate(((part, mask.y0, mask.x0), (part.T, mask.x0, mask.y0))):
        reached = lines.sum(axis=1).cumsum() / lines.sum()
        numbers = (int(np.searchsorted(reached, share)) for share in heuristics.orthogonal_prior_places)
        for number in dict.fromkeys(numbers):
            place = first + number
            array = frames.side(along, place)
            if array is None:
                return []
            image = SliceImage(array, like.window, (slice_mm, like.spacing[1 - along]), (along, place))
            start, end = (before + edge for edge in _longest_run(lines[number]))
            side_mm = heuristics.orthogonal_prior_zoom * max((end - start + 1) * image.spacing[1], 2 * radius_mm)
            middle = ((start + end) / 2, float(frame_idx))
            view = zoom.square_view(middle, side_mm, image.shape, image.spacing, heuristics)
            questions.append(_Question(along, place, image, start, end, view))
    return questions


def _segment(slices: SlicePredictor, question: _Question, row: int, cache: FeatureCache) -> Cut:
    """The object on a cut of which one row is known."""
    along, place, image, start, end, view = question
    middle, half = (start + end) / 2, (end - start + 1) / 2
    inside, outside = slices.heuristics.orthogonal_prior_inside, slices.heuristics.orthogonal_prior_outside
    columns = np.clip([middle + offset * half for offset in (*inside, *outside)], 0, image.shape[1] - 1)
    points = np.stack([columns, np.full(len(columns), float(row))], axis=1)
    prompts = SlicePrompts(points, np.array([1] * len(inside) + [0] * len(outside)))
    prediction, choice = slices.predict(image, prompts, cache, view)
    seen, rectangle = prediction.mask_part(choice, image.shape)
    whole = PackedMask.pack(seen, (rectangle.x0, rectangle.y0)).full(image.shape)
    edges = np.full((image.shape[0], 2), np.nan)
    for number, line in enumerate(_part_on(whole, row, start, end)):
        found = np.flatnonzero(line)
        if len(found):
            edges[number] = found[0], found[-1]
    return Cut(along, place, edges, float(prediction.iou[choice]) * prediction.presence)


def _part_on(mask: np.ndarray, row: int, start: int, end: int) -> np.ndarray:
    """The part of a mask (h,w) that goes on, row after row, from the run that holds most of a line on one of them."""
    part = np.zeros_like(mask)
    line = np.zeros(mask.shape[1], bool)
    line[start : end + 1] = True
    labels = _runs(mask[row])
    met = np.bincount(labels[line], minlength=2)[1:]
    if not met.any():
        return part
    part[row] = labels == met.argmax() + 1
    for rows in (range(row + 1, len(mask)), range(row - 1, -1, -1)):
        before = part[row]
        for number in rows:
            labels = _runs(mask[number])
            before = part[number] = np.isin(labels, labels[before & mask[number]])
            if not before.any():
                break
    return part


def _runs(line: np.ndarray) -> np.ndarray:
    """Number, from 1 on, of the run of a line bool (n,) that each place belongs to; 0 outside."""
    starts = line & ~np.concatenate([[False], line[:-1]])
    return np.where(line, starts.cumsum(), 0)


def _longest_run(line: np.ndarray) -> tuple[int, int]:
    """First and last index of the longest run of a line bool (n,) that has one."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]])))
    starts, ends = steps[::2], steps[1::2] - 1
    longest = int((ends - starts).argmax())
    return int(starts[longest]), int(ends[longest])


def _ends(cuts: tuple[Cut, ...] | list[Cut], frame_idx: int) -> np.ndarray:
    """Points (N,2) x, y on a slice where cuts enter and leave the object."""
    points: list[tuple[float, float]] = []
    for cut in cuts:
        first, last = (float(edge) for edge in cut.edges[frame_idx])
        if not math.isnan(first):
            ends = ((first - 0.5, float(cut.place)), (last + 0.5, float(cut.place)))
            points += ends if cut.along == 0 else ((y, x) for x, y in ends)
    return np.array(points, np.float64).reshape(-1, 2)
