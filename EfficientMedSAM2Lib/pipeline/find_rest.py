"""Find the rest: objects like those that are known, looked for by the encoder's features, as new segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.boxes import slice_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import apply_window
from EfficientMedSAM2Lib.interaction.prompt_calls import numbered_name
from EfficientMedSAM2Lib.interaction.prompts import PointPrompt, in_plane_axes
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


@dataclass(frozen=True)
class KnownObject:
    """An example.

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

    Places that look alike to the encoder are asked for by a click; what comes out is kept where the network is sure of
    it, it is of similar size and intensity, and belongs to no other segment. Drop one with `remove_segment`, carry the
    others with `propagate_each`.

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
    if not examples:
        raise UserError("Nothing to find others of; segment one first.")
    known = [describe_object(session, volume, example) for example in examples]
    names: list[str] = []
    for place in places_like(session, known):
        if len(names) == most:
            break
        label = numbered_name(name or examples[0], session.segments)
        session.add_prompt(PointPrompt(place, True, known[0].axis), label)
        if fits(session, volume, known, label, place[known[0].axis]):
            names.append(label)
        else:
            session.undo()
    return names


def describe_object(session: InteractiveSession, volume: np.ndarray, name: str) -> KnownObject:
    """What there is to find others by; UserError for an empty segment."""
    from scipy import ndimage

    box = session.bounding_box(name)
    if box is None:
        raise UserError(f"Segment {name!r} is empty; there is nothing to find others by.")
    axis = session.slicing_axis(name)
    areas = session.mask(name, box).sum(axis=in_plane_axes(axis))
    index = box[axis][0] + int(areas.argmax())
    mask, values = slice_mask(session, name, axis, index), windowed(session, volume, axis, index)
    around = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=2)
    mean = float(values[mask].mean())
    contrast = abs(mean - float(values[around].mean())) if around.any() else mean
    likeness = likeness_of(session.slice_features(index, axis), mask)
    return KnownObject(axis, likeness, int(mask.sum()) * pixel_mm2(session, axis), mean, contrast)


def places_like(session: InteractiveSession, known: Sequence[KnownObject]) -> Iterator[tuple[int, int, int]]:
    """Voxels (k, j, i) in the middle of what looks like some objects, the likeliest first, none in a segment."""
    from scipy import ndimage

    axis, shape, spacing = known[0].axis, session.shape_kji, np.array(session.spacing_kji)
    rows, columns = in_plane_axes(axis)
    radius_mm = min(example.radius_mm for example in known)
    step = max(1, int(radius_mm / spacing[axis]))
    found: list[tuple[float, tuple[int, int, int]]] = []
    for index in range(step // 2, shape[axis], step):
        features = session.slice_features(index, axis)
        likeness = np.mean([example.likeness.of(features) for example in known], axis=0)
        cell_mm = abs(float(features.rows[1] - features.rows[0])) * spacing[rows]
        reach = max(1, round(radius_mm / cell_mm))
        smooth = ndimage.gaussian_filter(likeness, reach / 2)
        peaks = (smooth == ndimage.maximum_filter(smooth, 2 * reach + 1)) & (smooth >= LEAST_LIKENESS)
        peaks &= features.is_inside((shape[rows], shape[columns]))
        for row, column in np.argwhere(peaks):
            place = [index, index, index]
            place[rows], place[columns] = round(float(features.rows[row])), round(float(features.columns[column]))
            found.append((float(smooth[row, column]), (place[0], place[1], place[2])))
    kept = np.zeros((0, 3))
    for _likeness, place_kji in sorted(found, reverse=True):
        at = np.array(place_kji) * spacing
        if len(kept) and np.linalg.norm(kept - at, axis=1).min() < radius_mm:
            continue
        kept = np.concatenate([kept, at[None]])
        voxel = [[v, v + 1] for v in place_kji]
        if not any(session.mask(name, voxel).any() for name in session.segments):
            yield place_kji


def fits(session: InteractiveSession, volume: np.ndarray, known: Sequence[KnownObject], name: str, index: int) -> bool:
    """Whether a segment that was found on a slice is like the objects that are known."""
    axis = known[0].axis
    mask, score = slice_mask(session, name, axis, index), session.scores(name, axis).get(index, 0.0)
    if not mask.any() or score < LEAST_SCORE:
        return False
    area, areas = int(mask.sum()) * pixel_mm2(session, axis), [example.area_mm2 for example in known]
    if not min(areas) / AREA_RATIO <= area <= max(areas) * AREA_RATIO:
        return False
    mean = float(windowed(session, volume, axis, index)[mask].mean())
    if min(abs(mean - example.mean) - INTENSITY_SHARE * example.contrast for example in known) > 0:
        return False
    others = np.zeros_like(mask)
    for other in session.segments:
        if other != name:
            others |= slice_mask(session, other, axis, index)
    return bool((mask & others).sum() <= LARGEST_OVERLAP * mask.sum())


def slice_mask(session: InteractiveSession, name: str, axis: int, index: int) -> np.ndarray:
    """A slice of a segment, bool (rows, columns)."""
    return session.mask(name, slice_box(session.shape_kji, axis, index)).squeeze(axis)


def windowed(session: InteractiveSession, volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Intensities of a slice as the network sees them, 0 to 1; colours averaged."""
    values = apply_window(volume.take(index, axis), session.window)
    flat: np.ndarray = values.mean(axis=2) if values.ndim == 3 else values
    return flat


def pixel_mm2(session: InteractiveSession, axis: int) -> float:
    """Area of a pixel of a slice."""
    rows, columns = in_plane_axes(axis)
    return float(session.spacing_kji[rows] * session.spacing_kji[columns])
