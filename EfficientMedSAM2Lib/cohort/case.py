"""One case: a scan and the prompts of its segments in, masks with scores out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

import numpy as np

from ..imaging.geometry import kji_from_ijk, slice_axis, spacing_of
from .prompts import SegmentPrompts, add_prompts

if TYPE_CHECKING:
    from ..imaging.volumes import Volume
    from ..imaging.windows import IntensityWindow
    from ..interaction import InteractiveSession, SliceUpdate

DIRECTIONS = ("both", "forward", "backward", "none")

#: Wraps the updates of one segment, given its name and the number of slices at most; tqdm with arguments set will do.
Progress = Callable[[Iterator["SliceUpdate"], str, int], Iterator["SliceUpdate"]]


@dataclass(frozen=True)
class Propagation:
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
        if self.direction not in DIRECTIONS:
            raise ValueError(f"Unknown direction {self.direction!r}; use one of {', '.join(DIRECTIONS)}.")
        if self.range_mm is not None and not self.range_mm > 0:
            raise ValueError(f"The propagation range must be a positive number of mm, not {self.range_mm}.")


@dataclass(frozen=True)
class SegmentResult:
    """One segment of a case.

    Attributes:
        name: Its name.
        mask: (D,H,W) bool on the volume's grid.
        scores: Slice number along `axis` to confidence 0...1, for every slice that was computed.
        axis: Array axis that the slices are counted along.
        slices_propagated: Number of slices that propagation visited.
        seconds_propagating: Time it took.
    """

    name: str
    mask: np.ndarray
    scores: dict[int, float]
    axis: int
    slices_propagated: int = 0
    seconds_propagating: float = 0.0

    @property
    def voxel_count(self) -> int:
        """Number of voxels in the segment."""
        return int(np.count_nonzero(self.mask))


def segment_case(
    session: InteractiveSession,
    volume: Volume,
    prompts: Sequence[SegmentPrompts],
    propagation: Propagation | None = None,
    window: IntensityWindow | None = None,
    modality: str | None = None,
    progress: Progress | None = None,
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

    Returns:
        One result per entry of `prompts`, in that order. A mask may be empty.

    Raises:
        ValueError: A prompt lies outside the volume or has no size.
    """
    propagation = propagation or Propagation()
    session.set_image(volume.array, volume.ijk_to_ras, modality=modality or volume.modality, window=window)
    # All prompts go in before the first slice is propagated: a misplaced one is reported at once.
    for segment in prompts:
        add_prompts(session, segment, volume)
    return [_propagate(session, segment.name, volume, propagation, progress) for segment in prompts]


def _propagate(
    session: InteractiveSession, segment: str, volume: Volume, propagation: Propagation, progress: Progress | None
) -> SegmentResult:
    spacing_ijk = spacing_of(volume.ijk_to_ras)
    axis = slice_axis(spacing_ijk, volume.array.shape[:3])
    count, started = 0, time.perf_counter()
    if propagation.direction != "none":
        prompted = sorted(session.scores(segment))
        limits = _limits(prompted, propagation, float(kji_from_ijk(spacing_ijk)[axis]), volume.array.shape[axis])
        updates = session.propagate(
            segment, direction=propagation.direction, limits=limits, stop_when_lost=propagation.stop_when_lost
        )
        total = limits[1] - limits[0] - len(prompted)
        for _ in progress(updates, segment, total) if progress else updates:
            count += 1
    seconds = time.perf_counter() - started
    return SegmentResult(segment, session.mask(segment), dict(session.scores(segment)), axis, count, seconds)


def _limits(prompted: list[int], propagation: Propagation, spacing_mm: float, size: int) -> tuple[int, int]:
    """Half-open range of slice numbers within reach of the prompted slices."""
    reach = size if propagation.range_mm is None else int(propagation.range_mm / spacing_mm + 1e-6)
    first = prompted[0] if propagation.direction == "forward" else max(0, prompted[0] - reach)
    last = prompted[-1] if propagation.direction == "backward" else min(size - 1, prompted[-1] + reach)
    return first, last + 1
