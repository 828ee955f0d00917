"""Cases of a cohort, as they are handed to a worker: plain values, paths absolute."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.manifest.rows import POSITIVE_PROMPTS, ManifestRow
from EfficientMedSAM2Lib.core.files import existing


@dataclass(frozen=True)
class SegmentSpec:
    """A segment of a case and where its prompts are; see `ManifestRow` for the meaning of each."""

    name: str
    prompts: tuple[str, ...] = ()
    box_ras: tuple[float, ...] | None = None
    box_ijk: tuple[float, ...] | None = None
    points_ras: tuple[tuple[float, ...], ...] = ()
    points_ijk: tuple[tuple[float, ...], ...] = ()
    negative_points_ras: tuple[tuple[float, ...], ...] = ()
    negative_points_ijk: tuple[tuple[float, ...], ...] = ()
    mask: str | None = None
    mask_segment: str | None = None
    terminology: str | None = None

    @property
    def is_prompted(self) -> bool:
        """Whether the manifest says where it is; else a task has to find it."""
        return any(getattr(self, name) for name in POSITIVE_PROMPTS)


@dataclass(frozen=True)
class CaseSpec:
    """One scan and what is wanted of it.

    Attributes:
        name: Name of the case and of its folder.
        image: Absolute path of a file or of a DICOM folder.
        segments: What to segment.
        modality: Overrides what the image says.
        window: "LOW,HIGH" or a preset.
        time_point: Which image of a time series.
        series: Which series of a DICOM folder.
        line: Line of the manifest where it is first mentioned.
    """

    name: str
    image: str
    segments: tuple[SegmentSpec, ...]
    modality: str | None = None
    window: str | None = None
    time_point: int | None = None
    series: str | None = None
    line: int = field(default=0, compare=False)

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that is read: the image first, then prompts and masks, each once."""
        others = [
            path for segment in self.segments for path in (*segment.prompts, *([segment.mask] * bool(segment.mask)))
        ]
        return tuple(dict.fromkeys([self.image, *[path for path in others if path]]))


def segment_of(row: ManifestRow, name: str, folder: Path) -> SegmentSpec:
    """The segment that a line describes, with paths relative to the manifest's folder made absolute."""
    values: dict[str, Any] = {field.name: getattr(row, field.name, None) for field in fields(SegmentSpec)}
    values = {column: tuple(value) if isinstance(value, list) else value for column, value in values.items()}
    values["prompts"] = tuple(absolute(path, folder) for path in row.prompts)
    return SegmentSpec(**{**values, "name": name, "mask": absolute(row.mask, folder) if row.mask else None})


def absolute(path: str, folder: Path) -> str:
    """A path of the manifest as an absolute one. Links keep their names: a header finds its data beside the link."""
    return str(existing((folder / Path(path).expanduser()).absolute()))
