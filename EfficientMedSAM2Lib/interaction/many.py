"""Many objects of one kind, as lesions are: each prompt a numbered segment of its own, all propagated in one go."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import apply_window
from EfficientMedSAM2Lib.interaction.history import SegmentStore
from EfficientMedSAM2Lib.interaction.predictor import AxisStates
from EfficientMedSAM2Lib.interaction.prompts import PointPrompt, Prompt, in_plane_axes, prompted_slices
from EfficientMedSAM2Lib.interaction.propagation import Propagation, SliceUpdate, StopRule
from EfficientMedSAM2Lib.interaction.segment import SegmentState
from EfficientMedSAM2Lib.predictors.slices.similarity import Likeness, likeness_of

#: What objects are called unless somebody says otherwise.
LESION = "Lesion"
#: Proposals at most, unless somebody says otherwise.
MOST = 50
#: A place has to be at least so far from surroundings (0) to object (1) to be looked at.
LEAST_LIKENESS = 0.5
#: What was found has to have at least this score,
LEAST_SCORE = 0.5
#: an area of the examples' times or divided by at most this,
AREA_RATIO = 8.0
#: a mean intensity that is off by at most this share of the contrast between examples and their surroundings,
INTENSITY_SHARE = 0.5
#: and at most this share of it in other segments.
LARGEST_OVERLAP = 0.2
_NUMBERED = re.compile(r"(.*\S)\s+\d+")


def numbered_name(base: str, taken: Iterable[str]) -> str:
    """ "Lesion 1", or with the first number that is free; ``base`` may be a numbered name itself, as "Lesion 3" is."""
    found = _NUMBERED.fullmatch(base.strip())
    base, known = found[1] if found else base.strip() or LESION, set(taken)
    return next(name for name in (f"{base} {n}" for n in range(1, len(known) + 2)) if name not in known)


class ManyObjects(ABC):
    """The calls of a session for many objects at once."""

    last_message: str

    @property
    @abstractmethod
    def segments(self) -> tuple[str, ...]:
        """Names of the segments in order of first use."""

    @abstractmethod
    def add_prompt(self, prompt: Prompt, segment: str = "1") -> Box | None:
        """Add a prompt record. Returns the changed box."""

    @abstractmethod
    def undo(self) -> Box | None:
        """Take back the last action."""

    @abstractmethod
    def _ready(self) -> SegmentStore:
        """The segments, with no propagation open."""

    @abstractmethod
    def propagate(
        self,
        segment: str = "1",
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
        axis: int | None = None,
    ) -> Propagation:
        """Carry a segment from its prompted slices to the others."""

    def add_each_interaction(self, prompts: Sequence[Prompt], name: str = LESION) -> list[str]:
        """Give each prompt a new segment of its own, which is one undo step each.

        Prompts of one slice are answered one after the other, so that what the network sees of the whole slice is
        encoded once.

        Args:
            prompts: Prompts that include, such as the points of a list.
            name: What the segments are called, followed by a number.

        Returns:
            Names of the new segments, in the order of the prompts.

        Raises:
            UserError: There are none, or one of them excludes, which says nothing of any one object.
        """
        check_each(prompts, name)
        names: list[str] = []
        for _prompt in prompts:
            names.append(numbered_name(name, [*self.segments, *names]))
        for n in sorted(range(len(prompts)), key=lambda n: _place(prompts[n])):
            self.add_prompt(prompts[n], names[n])
        return names

    def find_rest(self, examples: Sequence[str], most: int = MOST, name: str = "") -> list[str]:
        """Propose others like some finished objects, each as a new numbered segment on one slice.

        Places that look alike to the encoder are asked for by a click; what comes out is kept where the network is
        sure of it, it is of similar size and intensity, and belongs to no other segment. Drop one with
        `remove_segment`, carry the others with `propagate_each`.

        Args:
            examples: Names of segments to look for more of.
            most: Proposals at most.
            name: What they are called, followed by a number; "" takes the name of the first example.

        Returns:
            Names of the new segments, the likeliest first.

        Raises:
            UserError: There is no example, or one is empty.
        """
        if not examples:
            raise UserError("Nothing to find others of; segment one first.")
        store = self._ready()
        known = [describe_object(store.states, store.get(example)) for example in examples]
        names: list[str] = []
        for place in places_like(store, known):
            if len(names) == most:
                break
            label = numbered_name(name or examples[0], self.segments)
            self.add_prompt(PointPrompt(place, True, known[0].axis), label)
            if fits(store, known, label, place[known[0].axis]):
                names.append(label)
            else:
                self.undo()
        self.last_message = f"{len(names)} found." if names else "No other was found that is like it."
        return names

    def propagate_each(
        self,
        segments: Sequence[str] | None = None,
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
    ) -> Generator[SliceUpdate, None, None]:
        """Propagate several segments, one after the other, each one undo step; closing it cancels, as for one.

        Args:
            segments: Their names; None for all.
            direction: As for `propagate`.
            limits: As for `propagate`.
            stop_when_lost: As for `propagate`.
        """
        for name in self.segments if segments is None else segments:
            with closing(self.propagate(name, direction, limits, stop_when_lost)) as updates:
                yield from updates


def check_each(prompts: Sequence[Prompt], name: str) -> None:
    """Whether each of some prompts can stand for an object; UserError where one cannot."""
    if not prompts:
        raise UserError(f"There is no prompt to make a segment of; place a point on each {name.lower()}.")
    excluding = sum(not getattr(prompt, "positive", True) for prompt in prompts)
    if excluding:
        raise UserError(
            f"{excluding} of {len(prompts)} prompts exclude, and none of several segments in particular; leave them "
            "out, and correct the segments one by one."
        )


def _place(prompt: Prompt) -> tuple[int, int]:
    """Axis and first slice that a prompt was given on."""
    slices = prompted_slices(prompt, prompt.axis)
    return prompt.axis, slices.start


@dataclass(frozen=True)
class KnownObject:
    """An example.

    Attributes:
        axis: Array axis of its slices.
        likeness: What tells it from its surroundings.
        area_mm2: On its largest slice.
        depth_mm: From its first to its last slice.
        mean: Of its windowed intensities there, 0 to 1.
        contrast: How far that is from the mean around it.
    """

    axis: int
    likeness: Likeness
    area_mm2: float
    depth_mm: float
    mean: float
    contrast: float

    @property
    def radius_mm(self) -> float:
        """Of a circle of its area."""
        return float(np.sqrt(self.area_mm2 / np.pi))


def describe_object(states: AxisStates, segment: SegmentState) -> KnownObject:
    """What there is to find others by; UserError for an empty segment."""
    from scipy import ndimage

    box = segment.bits.bounding_box()
    if box is None:
        raise UserError(f"Segment {segment.name!r} is empty; there is nothing to find others by.")
    axis = segment.latest[0] if segment.latest is not None else 0
    areas = segment.bits.read(box).sum(axis=in_plane_axes(axis))
    index = box[axis][0] + int(areas.argmax())
    mask, values = segment.read_slice(axis, index), windowed(states, axis, index)
    around = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=2)
    mean = float(values[mask].mean())
    contrast = abs(mean - float(values[around].mean())) if around.any() else mean
    likeness = likeness_of(states.predictor.slice_features(states[axis], index), mask)
    depth = (box[axis][1] - box[axis][0]) * states.spacing_kji[axis]
    return KnownObject(axis, likeness, int(mask.sum()) * pixel_mm2(states, axis), depth, mean, contrast)


def places_like(store: SegmentStore, known: Sequence[KnownObject]) -> Iterator[tuple[int, int, int]]:
    """Voxels (k, j, i) in the middle of what looks like some objects, the likeliest first, none in a segment."""
    from scipy import ndimage

    states, axis = store.states, known[0].axis
    rows, columns = in_plane_axes(axis)
    radius_mm = min(example.radius_mm for example in known)
    count = store.shape_kji[axis]
    step = max(1, int(radius_mm / states.spacing_kji[axis]))
    found: list[tuple[float, tuple[int, int, int]]] = []
    taken = np.zeros(store.shape_kji, dtype=bool)
    for name in store.names:
        box = store.get(name).bits.bounding_box()
        if box is not None:
            taken[tuple(slice(*bounds) for bounds in box)] |= store.get(name).bits.read(box)
    for index in range(step // 2, count, step):
        features = states.predictor.slice_features(states[axis], index)
        likeness = np.mean([example.likeness.of(features) for example in known], axis=0)
        cell_mm = abs(float(features.rows[1] - features.rows[0])) * states.spacing_kji[rows]
        reach = max(1, round(radius_mm / cell_mm))
        smooth = ndimage.gaussian_filter(likeness, reach / 2)
        peaks = (smooth == ndimage.maximum_filter(smooth, 2 * reach + 1)) & (smooth >= LEAST_LIKENESS)
        peaks &= features.is_inside((store.shape_kji[rows], store.shape_kji[columns]))
        for row, column in np.argwhere(peaks):
            place = [index, index, index]
            place[rows], place[columns] = round(float(features.rows[row])), round(float(features.columns[column]))
            if not taken[tuple(place)]:
                found.append((float(smooth[row, column]), (place[0], place[1], place[2])))
    spacing, kept = np.array(states.spacing_kji), np.zeros((0, 3))
    for _likeness, place in sorted(found, reverse=True):
        at = np.array(place) * spacing
        if len(kept) and np.linalg.norm(kept - at, axis=1).min() < radius_mm:
            continue
        kept = np.concatenate([kept, at[None]])
        if not any(covers_place(store, name, place) for name in store.names):
            yield place


def covers_place(store: SegmentStore, name: str, place: tuple[int, int, int]) -> bool:
    """Whether a segment has a voxel."""
    return bool(store.get(name).bits.read([[v, v + 1] for v in place]).any())


def fits(store: SegmentStore, known: Sequence[KnownObject], name: str, index: int) -> bool:
    """Whether a segment that was found on a slice is like the objects that are known."""
    states, axis = store.states, known[0].axis
    segment = store.get(name)
    mask, record = segment.read_slice(axis, index), segment.slice_records(axis).get(index)
    if not mask.any() or record is None or record.score < LEAST_SCORE:
        return False
    area = int(mask.sum()) * pixel_mm2(states, axis)
    areas = [example.area_mm2 for example in known]
    if not min(areas) / AREA_RATIO <= area <= max(areas) * AREA_RATIO:
        return False
    mean = float(windowed(states, axis, index)[mask].mean())
    if min(abs(mean - e.mean) - INTENSITY_SHARE * e.contrast for e in known) > 0:
        return False
    others = np.zeros_like(mask)
    for other in store.names:
        if other != name:
            others |= store.get(other).read_slice(axis, index)
    return bool((mask & others).sum() <= LARGEST_OVERLAP * mask.sum())


def windowed(states: AxisStates, axis: int, index: int) -> np.ndarray:
    """Intensities of a slice as the network sees them, 0 to 1; colours averaged."""
    values = apply_window(states.volume.take(index, axis), states.window)
    flat: np.ndarray = values.mean(axis=2) if values.ndim == 3 else values
    return flat


def pixel_mm2(states: AxisStates, axis: int) -> float:
    """Area of a pixel of a slice."""
    rows, columns = in_plane_axes(axis)
    return float(states.spacing_kji[rows] * states.spacing_kji[columns])


__all__ = ["LESION", "ManyObjects", "check_each", "numbered_name"]
