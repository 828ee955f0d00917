"""One image of a DICOM file: where it lies, how large its pixels are, and what tells it from others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

#: What may tell images at the same place apart, in the order in which it is asked.
TIME_TAGS = (
    "SeriesNumber",
    "StudyInstanceUID",
    "SeriesTime",  # where an anonymiser gave several series one UID
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "EchoNumbers",
    "EchoTime",
    "EffectiveEchoTime",
    "DiffusionBValue",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "InversionTime",
    "FlipAngle",
    "ImageType",
    "FrameType",
    "ComplexImageComponent",
    "StackID",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "FrameAcquisitionDateTime",
    "FrameReferenceTime",
    "SOPInstanceUID",
)


@dataclass(frozen=True)
class Frame:
    """One image of a DICOM file.

    Attributes:
        path: The file.
        index: Which of its frames, from 0.
        series: SeriesInstanceUID, or "".
        shape: Rows, columns, samples of a pixel.
        position: Centre of the first pixel, LPS mm; None where the file does not tell.
        orientation: Direction of i, then of j, LPS; None where the file does not tell.
        spacing: Distance in mm of rows, then of columns; None where the file does not tell.
        thickness: Of the slice in mm; None where the file does not tell.
        number: InstanceNumber, or 0.
        labels: Values of `TIME_TAGS`, and ``SegmentNumber`` of a segmentation.
        about: Modality, SeriesNumber, SeriesDescription and SOPInstanceUID as text.
    """

    path: Path
    index: int
    series: str
    shape: tuple[int, int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    number: int
    labels: dict[str, Any] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    @property
    def is_localizer(self) -> bool:
        """True for a scout image, by its ImageType."""
        return "LOCALIZER" in str(self.labels.get("ImageType", "")).upper()


def frame_of(path: Path, header: Dataset, index: int, count: int, shape: tuple[int, int, int]) -> Frame:
    """One image of a file, from the header that all its images share.

    Raises:
        Exception: Whatever pydicom raises for damaged elements.
    """
    groups = _functional_groups(header, index)
    labels = {tag: value for tag in TIME_TAGS if (value := _text(_find(groups, header, tag))) is not None}
    segment = _find(groups, header, "ReferencedSegmentNumber")
    if segment is not None:
        labels["SegmentNumber"] = int(segment)
    position = _numbers(_find(groups, header, "ImagePositionPatient"), 3)
    orientation = _numbers(_find(groups, header, "ImageOrientationPatient"), 6)
    if groups is None and count > 1:
        position, orientation = _simple_multi_frame(header, index, position, orientation)
    spacing = _numbers(_find(groups, header, "PixelSpacing"), 2)
    if spacing is None and orientation is None:  # a projection has no place, but its size on the detector
        spacing = _numbers(header.get("ImagerPixelSpacing"), 2)
        spacing = spacing or _numbers(header.get("NominalScannedPixelSpacing"), 2)
    thickness = _numbers(_find(groups, header, "SliceThickness"), 1)
    between = _numbers(_find(groups, header, "SpacingBetweenSlices"), 1)
    lengths = [abs(value[0]) for value in (between, thickness) if value and value[0]]
    names = ("Modality", "SeriesNumber", "SeriesDescription", "SOPInstanceUID")
    return Frame(
        path,
        index,
        str(header.get("SeriesInstanceUID", "") or ""),
        shape,
        position,
        orientation if orientation and _is_orientation(orientation) else None,
        spacing if spacing and min(spacing) > 0 else None,
        lengths[0] if lengths else None,
        whole_number(header, "InstanceNumber") or 0,
        labels,
        {name: str(header.get(name, "") or "").strip() for name in names},
    )


def _functional_groups(header: Dataset, index: int) -> list[Dataset] | None:
    """The items of one frame, then those of all frames; None for a file of the older, simple kind."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    if not per_frame and not shared:
        return None
    groups = [per_frame[index]] if per_frame else []
    groups += [shared[0]] if shared else []
    return [item for group in groups for element in group if element.VR == "SQ" for item in (element.value or [])[:1]]


def _find(groups: list[Dataset] | None, header: Dataset, name: str) -> Any:
    """An attribute of a frame: in its functional groups, or in the header."""
    for item in groups or []:
        if name in item:
            return item.get(name)
    return header.get(name)


def _simple_multi_frame(
    header: Dataset, index: int, position: tuple[float, ...] | None, orientation: tuple[float, ...] | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Where a frame lies in a dose grid or a reconstructed nuclear image; None, None for frames of a film."""
    if position is None and header.get("DetectorInformationSequence"):
        detector = header.DetectorInformationSequence[0]
        position = _numbers(detector.get("ImagePositionPatient"), 3)
        orientation = _numbers(detector.get("ImageOrientationPatient"), 6)
    offsets = header.get("GridFrameOffsetVector")
    step = _numbers(header.get("SpacingBetweenSlices"), 1)
    if position is None or orientation is None or (offsets is None and step is None):
        return None, None
    a, b = orientation[:3], orientation[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    along = float(offsets[index]) - (float(offsets[0]) if offsets[0] == position[2] else 0.0) if offsets else None
    along = index * step[0] if along is None and step else along
    return tuple(p + float(along or 0.0) * n for p, n in zip(position, normal)), orientation


def _is_orientation(values: Sequence[float]) -> bool:
    """Two directions of length 1 that are not parallel; written with few digits, or not quite square, they count."""
    lengths = (math.hypot(*values[:3]), math.hypot(*values[3:]))
    dot = sum(a * b for a, b in zip(values[:3], values[3:]))
    return all(0.9 < length < 1.1 for length in lengths) and abs(dot) < 0.5


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers, else None."""
    if value is None or value == "":
        return None
    try:
        values = (value,) if isinstance(value, (str, int, float)) else tuple(value)
        numbers = tuple(float(item) for item in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _text(value: Any) -> Any:
    """A value that can be compared, sorted and told; None where there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        return str(value)
    return "\\".join(str(item) for item in value)


def whole_number(header: Dataset, name: str) -> int | None:
    """A whole number of a header: 0 where there is none, None where it is damaged."""
    try:
        return int(header.get(name) or 0)
    except (TypeError, ValueError, OverflowError):
        return None
