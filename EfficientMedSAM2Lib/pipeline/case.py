"""One case: a scan and the prompts of its segments in, masks with scores out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_slices
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import NOTHING_TO_SEE, IntensityWindow, has_contrast
from EfficientMedSAM2Lib.interaction.checks import DIRECTIONS
from EfficientMedSAM2Lib.pipeline.find_rest import find_rest as find_others
from EfficientMedSAM2Lib.pipeline.prompts import SegmentPrompts, add_prompts

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.interaction import InteractiveSession, Propagation, SliceUpdate

#: Of `PropagationOptions`: those of a session, and none.
PROPAGATION_CHOICES = (*DIRECTIONS, "none")

#: Wraps the propagation of one segment, given its name; tqdm with arguments set will do.
ProgressWrapper = Callable[["Propagation", str], Iterable["SliceUpdate"]]


@dataclass(frozen=True)
class PropagationOptions:
    """How far a segment is carried from the slices that were prompted.

    Attributes:
        direction: "both", "forward" (towards higher slice numbers), "backward" or "none".
        range_mm: Farthest distance from a prompted slice in mm; None for the whole volume.
        stop_when_lost: Stop a direction where the structure has ended.
    """

    direction: str = "both"
    range_mm: float | None = None
    stop_when_lost: bool = True

    def __post_init__(self) -> None:
        if self.direction not in PROPAGATION_CHOICES:
            raise UserError(f"Unknown direction {self.direction!r}; use one of {', '.join(PROPAGATION_CHOICES)}.")
        if self.range_mm is not None and not 0 < self.range_mm < math.inf:
            raise UserError(
                f"The propagation range must be a positive number of mm, not {self.range_mm}; leave it out for all."
            )


@dataclass(frozen=True)
class SegmentResult:
    """One segment of a case.

    Attributes:
        name: Its name.
        mask: (D,H,W) bool on the volume's grid.
        scores: Slice number along `axis` to confidence 0...1, for every slice that was computed.
        axis: Array axis that the slices are counted along.
        prompted: Slices whose masks come from prompts, not from propagation.
        seconds_prompting: Time from its first prompt to the last mask that a prompt made.
        slices_propagated: Number of slices that propagation visited.
        seconds_propagating: Time it took.
        message: What the session had to say, such as why the mask is empty; often nothing.
    """

    name: str
    mask: np.ndarray
    scores: dict[int, float]
    axis: int
    prompted: tuple[int, ...] = ()
    seconds_prompting: float = 0.0
    slices_propagated: int = 0
    seconds_propagating: float = 0.0
    message: str = ""

    @property
    def voxel_count(self) -> int:
        """Number of voxels in the segment."""
        return int(np.count_nonzero(self.mask))


def segment_case(
    session: InteractiveSession,
    volume: Volume,
    prompts: Sequence[SegmentPrompts],
    propagation: PropagationOptions | None = None,
    window: IntensityWindow | None = None,
    modality: str | None = None,
    progress: ProgressWrapper | None = None,
    find_rest: int = 0,
) -> list[SegmentResult]:
    """Segment a scan.

    Args:
        session: Any session; what it held before is discarded.
        volume: The scan. It is not changed.
        prompts: One entry per segment.
        propagation: How far to carry each segment; the default is both ways until the structure ends.
        window: Intensity range; None chooses one by modality and intensities.
        modality: Overrides what the file says.
        progress: Wraps the slice updates of a segment, for a progress bar. An exception that it raises, or that
            reaches it, ends the work.
        find_rest: Afterwards look for so many others like the segments that were found, at most.

    Returns:
        One result per entry of `prompts`, in that order, of which a mask may be empty; then the others.

    Raises:
        UserError: A prompt lies outside the volume or has no size, or there is nothing to see in the volume.
    """
    propagation = propagation or PropagationOptions()
    modality, window = modality or volume.modality, window or volume.stated_window
    session.set_image(volume.array, volume.ijk_to_ras, modality=modality, window=window)
    # All prompts go in before the first slice is propagated: a misplaced one is reported at once.
    prompted = [_prompt(session, segment, volume) for segment in prompts]
    if not has_contrast(volume.array):  # the network sees something in everything
        raise UserError(NOTHING_TO_SEE)
    results = [_propagate(session, segment, propagation, progress) for segment in prompted]
    examples = [result.name for result in results if result.mask.any()] if find_rest else []
    others = find_others(session, volume.array, examples, find_rest) if examples else []
    for name in others:
        result = _propagate(session, _Prompted(name, session.slicing_axis(name), 0.0, "", None), propagation, progress)
        results.append(replace(result, message=f"Found by its likeness. {result.message}".strip()))
    return results


@dataclass(frozen=True)
class _Prompted:
    name: str
    axis: int
    seconds: float
    message: str
    slices: tuple[int, int] | None


def _prompt(session: InteractiveSession, prompts: SegmentPrompts, volume: Volume) -> _Prompted:
    begun = time.perf_counter()
    message = add_prompts(session, prompts, volume)
    axis = session.slicing_axis(prompts.name)  # what is cut out across the slices does not change it
    slices = prompts.slices if axis == 0 else None
    return _Prompted(prompts.name, axis, time.perf_counter() - begun, message, slices)


def _propagate(
    session: InteractiveSession, segment: _Prompted, options: PropagationOptions, progress: ProgressWrapper | None
) -> SegmentResult:
    count, begun, message = 0, time.perf_counter(), segment.message
    if options.direction != "none":
        limits = _limits(session, segment, options)
        updates = session.propagate(segment.name, options.direction, limits, options.stop_when_lost)
        for _ in progress(updates, segment.name) if progress else updates:
            count += 1
        if session.last_message not in message:
            message = f"{message} {session.last_message}".strip()
    seconds = time.perf_counter() - begun
    scores = session.scores(segment.name)
    # Of many segments most is empty: memory that is never written to costs nothing.
    mask: np.ndarray = np.zeros(session.shape_kji, dtype=bool)
    box = session.bounding_box(segment.name)
    if box is not None:
        mask[box_slices(box)] = session.mask(segment.name, box)
    prompted = tuple(session.conditioning_slices(segment.name, segment.axis))
    return SegmentResult(segment.name, mask, scores, segment.axis, prompted, segment.seconds, count, seconds, message)


def _limits(session: InteractiveSession, segment: _Prompted, propagation: PropagationOptions) -> tuple[int, int] | None:
    """Half-open range of slices within reach of the prompted ones and of the segment's own; None: the session's."""
    name, axis, known = segment.name, segment.axis, segment.slices
    prompted = session.conditioning_slices(name, axis)
    if propagation.range_mm is None:
        return None if known is None else (min(known[0], *prompted), max(known[1], *(p + 1 for p in prompted)))
    reach = int(propagation.range_mm / session.spacing_kji[axis] + 1e-6)
    near = [
        index
        for index in session.slices_to_propagate(name, propagation.direction, axis=axis)
        if prompted[0] - reach <= index <= prompted[-1] + reach and (known is None or known[0] <= index < known[1])
    ]
    return min(prompted + near), max(prompted + near) + 1
