"""How far a propagation is, and how far it shall go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.mrml.markups_reader import read_roi

#: Kinds of range, in the order that a user reads them.
RANGES = ("all", "slices", "mm", "roi")


@dataclass(frozen=True)
class PropagationProgress:
    """A propagation under way.

    Attributes:
        done: Slices computed.
        total: Slices planned; an early stop may leave some undone.
        seconds: Time since the start.
    """

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float | None:
        """Slices per second, None until there is one."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def text(self) -> str:
        """For the panel: slices done, rate, time left."""
        text = f"{self.done} of {self.total} slices"
        if self.rate is None:
            return text
        left = max(self.total - self.done, 0) / self.rate
        time_left = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
        return f"{text}, {self.rate:.1f}/s, {time_left} left"


@dataclass(frozen=True)
class RangeRule:
    """Slices that propagation may change.

    Attributes:
        kind: "all" (the extent of the segment's ROIs, or the volume), "slices" or "mm" beyond the prompted slices, or
            "roi".
        value: Number of slices, or mm.
        box_kji: For "roi", half-open box.
    """

    kind: str = "all"
    value: float = 0.0
    box_kji: Box | None = None

    def limits(self, axis: int, prompted: list[int], spacing_mm: float, count: int) -> tuple[int, int] | None:
        """Half-open range of slices, None where the engine shall choose.

        Args:
            axis: Slicing axis.
            prompted: Slices that propagation starts from, sorted.
            spacing_mm: Distance of slices.
            count: Slices of the volume.

        Raises:
            UserError: there is no ROI, or an unknown kind of range.
        """
        if self.kind not in RANGES:
            raise UserError(f"The range must be one of {', '.join(RANGES)}, not {self.kind!r}.")
        if self.kind == "roi":
            if self.box_kji is None:
                raise UserError("Choose the ROI that limits propagation, or another range.")
            return self.box_kji[axis][0], self.box_kji[axis][1]
        if self.kind == "all" or not prompted:
            return None
        reach = round(self.value if self.kind == "slices" else self.value / spacing_mm)
        return max(prompted[0] - reach, 0), min(prompted[-1] + reach + 1, count)


def range_rule(kind: str, value: float, markups_node: Any, volume_node: Any) -> RangeRule:
    """A rule from what the user has chosen; the markups node counts for "roi" only, and if it is an ROI."""
    box = None
    if kind == "roi" and markups_node is not None and markups_node.IsA("vtkMRMLMarkupsROINode"):
        box = [list(bounds) for bounds in read_roi(markups_node, volume_node).box_kji]
    return RangeRule(kind, value, box)
