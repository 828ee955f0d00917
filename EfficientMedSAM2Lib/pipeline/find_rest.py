"""Find the rest: objects like those that are known, looked for by the encoder's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, in_plane_axes, slice_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.windows import apply_window
from EfficientMedSAM2Lib.interaction.prompt_calls import numbered_name
from EfficientMedSAM2Lib.interaction.prompts import Bounds, PointPrompt
from EfficientMedSAM2Lib.predictors.slices.similarity import Likeness, likeness_of

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession

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


class Example(Protocol):
    """A finished object."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def mask(self) -> PackedMask:
        """Its voxels, on the volume's grid."""

    @property
    def axis(self) -> int:
        """Array axis of its slices."""


@dataclass(frozen=True)
class SegmentExample:
    """An example that is a segment of a session."""

    name: str
    mask: PackedMask
    axis: int


@dataclass(frozen=True)
class Finding:
    """Something that is probably what is looked for, on one slice.

    Attributes:
        place_kji: Voxel that was clicked on, or the middle of the box.
        axis: Array axis of the slice.
        mask: Of the slice, bool (rows, columns).
        score: The network's, 0...1.
        box_kji: What it was found by, if it was a box and no click.
    """

    place_kji: tuple[int, int, int]
    axis: int
    mask: np.ndarray
    score: float
    box_kji: Bounds | None = None

    @property
    def index(self) -> int:
        """Number of the slice."""
        return self.place_kji[self.axis]


@dataclass(frozen=True)
class SearchStep:
    """A slice was looked at, or a place clicked on.

    Attributes:
        done: Steps up to now.
        total: Steps in all, as far as is known.
        finding: What was found, if anything.
    """

    done: int
    total: int
    finding: Finding | None = None


#: A place that looks like the examples: how much, and its middle voxel (k, j, i).
Place = tuple[float, tuple[int, int, int]]


@dataclass(frozen=True)
class KnownObject:
    """What there is to find others by.

    Attributes:
        axis: Array axis of its slices.
        likeness: What tells it from its surroundings.
        area_mm2: On its largest slice.
        mean: Of its windowed intensities there, 0 to 1.
        contrast: How far that is from the mean around it.
    """

    axis: int
    likeness: Likeness
    area_mm2: float
    mean: float
    contrast: float

    @property
    def radius_mm(self) -> float:
        """Of a circle of its area."""
        return float(np.sqrt(self.area_mm2 / np.pi))


def find_rest(
    session: InteractiveSession, volume: np.ndarray, examples: Sequence[str], most: int, name: str = ""
) -> list[str]:
    """Propose others like some finished objects, each as a new numbered segment on one slice.

    Drop one with `remove_segment`, carry the others with `propagate_each`.

    Args:
        session: The session, on the volume.
        volume: (D,H,W) or (D,H,W,3).
        examples: Names of segments to look for more of.
        most: Proposals at most.
        name: What they are called, followed by a number; "" takes the name of the first example.

    Returns:
        Names of the new segments, the likeliest first.

    Raises:
        UserError: There is no example, or one is empty.
    """
    shown = [SegmentExample(n, PackedMask.pack(session.mask(n)), session.slicing_axis(n)) for n in examples]

    def taken(box: Box) -> np.ndarray:
        return np.any([session.mask(known, box) for known in session.segments], axis=0)

    names: list[str] = []
    for step in search_others(session, volume, shown, taken):
        if step.finding is not None and len(names) < most:
            label = numbered_name(name or examples[0], session.segments)
            session.add_prompt(PointPrompt(step.finding.place_kji, True, step.finding.axis), label)
            names.append(label)
        if len(names) >= most:
            break
    return names


def search_others(
    session: InteractiveSession,
    volume: np.ndarray,
    examples: Sequence[Example],
    taken: Callable[[Box], np.ndarray],
) -> Iterator[SearchStep]:
    """Look for others like some finished objects, a slice or a place at a time; no segment is changed.

    Places that look alike to the encoder are asked for by a click; what comes out is a finding where the network is
    sure of it, it is of similar size and intensity, and belongs to no other segment.

    Args:
        session: The session, on the volume.
        volume: (D,H,W) or (D,H,W,3).
        examples: What to look for more of.
        taken: Voxels that are in a segment, bool, in a half-open box.

    Yields:
        A step each; findings come the likeliest first.

    Raises:
        UserError: There is no example, or one is empty.
    """
    if not examples:
        raise UserError("Nothing to find others of; segment one first.")
    known = [describe_object(session, volume, example) for example in examples]
    axis, radius_mm = known[0].axis, min(example.radius_mm for example in known)
    slices = range(*_every(session, axis, radius_mm))
    places: list[Place] = []
    for done, index in enumerate(slices, start=1):
        places += _places_on(session, known, index, radius_mm)
        yield SearchStep(done, len(slices))
    spacing_kji = np.array(session.spacing_kji)
    apart = _apart(places, spacing_kji, radius_mm)
    found: list[Finding] = []
    for done, place in enumerate(apart, start=len(slices) + 1):
        finding = None
        is_known = taken([[v, v + 1] for v in place]).any() or any(_holds(f, place, spacing_kji) for f in found)
        if not is_known:
            others = taken(slice_box(session.shape_kji, axis, place[axis])).squeeze(axis)
            others = np.any([others, *(f.mask for f in found if f.index == place[axis])], axis=0)
            finding = _asked(session, volume, known, place, others)
        if finding is not None:
            found.append(finding)
        yield SearchStep(done, len(slices) + len(apart), finding)


def describe_object(session: InteractiveSession, volume: np.ndarray, example: Example) -> KnownObject:
    """What there is to find others by; UserError for an empty one."""
    from scipy import ndimage

    box, axis = example.mask.box, example.axis
    if box is None:
        raise UserError(f"Segment {example.name!r} is empty; there is nothing to find others by.")
    areas = example.mask.unpack().sum(axis=in_plane_axes(axis))
    index = box[axis][0] + int(areas.argmax())
    mask = example.mask.window(slice_box(session.shape_kji, axis, index)).squeeze(axis)
    values = windowed(session, volume, axis, index)
    around = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=2)
    mean = float(values[mask].mean())
    contrast = abs(mean - float(values[around].mean())) if around.any() else mean
    likeness = likeness_of(session.slice_features(index, axis), mask)
    return KnownObject(axis, likeness, int(mask.sum()) * pixel_mm2(session, axis), mean, contrast)


def _every(session: InteractiveSession, axis: int, radius_mm: float) -> tuple[int, int, int]:
    """First slice, end and step, so that none of the objects lies between two."""
    step = max(1, int(radius_mm / session.spacing_kji[axis]))
    return step // 2, session.shape_kji[axis], step


def _places_on(
    session: InteractiveSession, known: Sequence[KnownObject], index: int, radius_mm: float
) -> Iterator[Place]:
    """Middles of what looks like the examples on a slice."""
    from scipy import ndimage

    axis, shape = known[0].axis, session.shape_kji
    rows, columns = in_plane_axes(axis)
    features = session.slice_features(index, axis)
    likeness = np.mean([example.likeness.of(features) for example in known], axis=0)
    cell_mm = abs(float(features.rows[1] - features.rows[0])) * session.spacing_kji[rows]
    reach = max(1, round(radius_mm / cell_mm))
    smooth = ndimage.gaussian_filter(likeness, reach / 2)
    peaks = (smooth == ndimage.maximum_filter(smooth, 2 * reach + 1)) & (smooth >= LEAST_LIKENESS)
    peaks &= features.is_inside((shape[rows], shape[columns]))
    for row, column in np.argwhere(peaks):
        place = [index, index, index]
        place[rows], place[columns] = round(float(features.rows[row])), round(float(features.columns[column]))
        yield float(smooth[row, column]), (place[0], place[1], place[2])


def _apart(places: Sequence[Place], spacing_kji: np.ndarray, radius_mm: float) -> list[tuple[int, int, int]]:
    """Voxels of the places, the likeliest first, without those that are as near to a likelier one as an object is
    wide."""
    apart: list[tuple[int, int, int]] = []
    kept = np.zeros((0, 3))
    for _likeness, place_kji in sorted(places, reverse=True):
        at = np.array(place_kji) * spacing_kji
        if len(kept) and np.linalg.norm(kept - at, axis=1).min() < radius_mm:
            continue
        kept = np.concatenate([kept, at[None]])
        apart.append(place_kji)
    return apart


def _holds(finding: Finding, place_kji: Sequence[int], spacing_kji: np.ndarray) -> bool:
    """Whether a place on any slice is in an object that was found on one: most are about as deep as they are wide."""
    rows, columns = in_plane_axes(finding.axis)
    middle: np.ndarray = np.array(finding.place_kji, float)
    middle[[rows, columns]] = np.argwhere(finding.mask).mean(axis=0)
    radius_mm = np.sqrt(finding.mask.sum() * spacing_kji[rows] * spacing_kji[columns] / np.pi)
    # a slice beside its middle is in it, however small it is
    return bool(np.linalg.norm((place_kji - middle) * spacing_kji) <= radius_mm + spacing_kji[finding.axis] / 2)


def _asked(
    session: InteractiveSession,
    volume: np.ndarray,
    known: Sequence[KnownObject],
    place_kji: tuple[int, int, int],
    others: np.ndarray,
) -> Finding | None:
    """What a click on a place finds, where that is like the objects that are known."""
    axis = known[0].axis
    mask, score = session.try_prompt(PointPrompt(place_kji, True, axis), numbered_name("", session.segments))
    if not mask.any() or score < LEAST_SCORE:
        return None
    area, areas = int(mask.sum()) * pixel_mm2(session, axis), [example.area_mm2 for example in known]
    if not min(areas) / AREA_RATIO <= area <= max(areas) * AREA_RATIO:
        return None
    mean = float(windowed(session, volume, axis, place_kji[axis])[mask].mean())
    if min(abs(mean - example.mean) - INTENSITY_SHARE * example.contrast for example in known) > 0:
        return None
    if (mask & others).sum() > LARGEST_OVERLAP * mask.sum():
        return None
    return Finding(place_kji, axis, mask, score)


def windowed(session: InteractiveSession, volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Intensities of a slice as the network sees them, 0 to 1; colours averaged."""
    values = apply_window(volume.take(index, axis), session.window)
    flat: np.ndarray = values.mean(axis=2) if values.ndim == 3 else values
    return flat


def pixel_mm2(session: InteractiveSession, axis: int) -> float:
    """Area of a pixel of a slice."""
    rows, columns = in_plane_axes(axis)
    return float(session.spacing_kji[rows] * session.spacing_kji[columns])
