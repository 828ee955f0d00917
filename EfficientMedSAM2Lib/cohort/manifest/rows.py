"""One line of a manifest: one segment of one case, with its prompts. What it may say, and what its columns mean."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, List, Optional, Tuple  # noqa: UP035 (pydantic evaluates them, also on Python 3.9)

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import check_component, normal_name
from EfficientMedSAM2Lib.imaging.terminology import terminology_entry

Numbers = List[float]  # noqa: UP006
Points = List[Tuple[float, float, float]]  # noqa: UP006

#: Columns that say where a segment is; each line needs at least one of the positive ones.
WITH_TASK = "with task"
"""In the context of validation: a line without a prompt is one whose structure a task is to find."""
POSITIVE_PROMPTS = ("prompts", "box_ras", "box_ijk", "points_ras", "points_ijk", "mask")


class ManifestRow(BaseModel):
    """A line. Only ``image`` and a prompt or a task are needed; lines with the same ``case`` are segments of one scan.

    Attributes:
        case: Name of the case, and of its folder; default: the name of the image.
        image: Scan: a file, or a DICOM folder. Paths are relative to the manifest.
        prompts: Markups files (``.mrk.json``), in CSV separated by ``;``.
        box_ras: ROI: R, A, S of one corner and of the opposite one, in mm.
        box_ijk: ROI: first voxel i, j, k and last voxel i, j, k, both included.
        points_ras: Points on the structure, R, A, S in mm; in CSV ``1,2,3; 4,5,6``.
        points_ijk: The same in voxels, i, j, k.
        negative_points_ras: Points that are not on it, in mm.
        negative_points_ijk: The same in voxels.
        mask: Segmentation of an earlier run: the segment starts from it; other prompts refine it, else propagation
            does not change it.
        mask_segment: Name of the segment in ``mask``; default: ``segment``, or the only one there is.
        segment: Name of the segment; default: that of the markups file.
        terminology: Slicer's terminology entry, or the code of what it is: ``SCT^10200004^Liver``.
        modality: CT, MR, PT, US, ...; default: what the image says.
        window: ``LOW,HIGH`` or a preset; default: chosen by modality and intensities.
        time_point: Which image of a time series, from 0.
        series: Which series of a DICOM folder: its SeriesNumber or SeriesInstanceUID; default: the largest.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    image: str = Field(min_length=1)
    case: str = ""
    prompts: List[str] = Field(default_factory=list)  # noqa: UP006
    box_ras: Optional[Numbers] = None  # noqa: UP045
    box_ijk: Optional[Numbers] = None  # noqa: UP045
    points_ras: Points = Field(default_factory=list)
    points_ijk: Points = Field(default_factory=list)
    negative_points_ras: Points = Field(default_factory=list)
    negative_points_ijk: Points = Field(default_factory=list)
    mask: Optional[str] = None  # noqa: UP045
    mask_segment: Optional[str] = None  # noqa: UP045
    segment: str = ""
    terminology: Optional[str] = None  # noqa: UP045
    modality: Optional[str] = None  # noqa: UP045
    window: Optional[str] = None  # noqa: UP045
    time_point: Optional[int] = Field(default=None, ge=0)  # noqa: UP045
    series: Optional[str] = None  # noqa: UP045

    @field_validator("prompts", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """``a.mrk.json; b.mrk.json`` -> both."""
        return [part.strip() for part in value.split(";") if part.strip()] if isinstance(value, str) else value

    @field_validator("box_ras", "box_ijk", mode="before")
    @classmethod
    def _box(cls, value: Any) -> Any:
        numbers = _numbers(value) if isinstance(value, str) else value
        if isinstance(numbers, (list, tuple)) and len(numbers) != 6:
            raise UserError(f"needs six numbers, two opposite corners, not {len(numbers)}")
        return numbers

    @field_validator("points_ras", "points_ijk", "negative_points_ras", "negative_points_ijk", mode="before")
    @classmethod
    def _points(cls, value: Any) -> Any:
        points = [_numbers(part) for part in value.split(";") if part.strip()] if isinstance(value, str) else value
        for point in points if isinstance(points, (list, tuple)) else ():
            if isinstance(point, (list, tuple)) and len(point) != 3:
                raise UserError(f"needs three coordinates a point, not {len(point)}; separate points by ;")
        return points

    @field_validator("box_ras", "box_ijk", "points_ras", "points_ijk", "negative_points_ras", "negative_points_ijk")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        flat = [n for entry in value or () for n in (entry if isinstance(entry, tuple) else (entry,))]
        if not all(math.isfinite(n) for n in flat):
            raise UserError("holds a number that is not finite")
        return value

    @field_validator("case")
    @classmethod
    def _case(cls, value: str) -> str:
        return value and check_component(value)

    @field_validator("segment", "mask_segment")
    @classmethod
    def _segment(cls, value: str | None) -> str | None:
        return value and normal_name(value)

    @field_validator("terminology")
    @classmethod
    def _terminology(cls, value: str | None) -> str | None:
        if not value or value.count("~") == 6:
            return value or None
        parts = value.split("^")
        if len(parts) != 3 or not all(part.strip() for part in parts) or "~" in value:
            raise UserError(f"{value!r} is neither SCHEME^CODE^MEANING, as in SCT^10200004^Liver, nor Slicer's entry")
        fields = terminology_entry(parts[2]).split("~")  # its category, where the meaning is understood
        fields[2] = value
        return "~".join(fields)

    @field_validator("window")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        if value:
            from EfficientMedSAM2Lib.core.windows import parse_window

            parse_window(value)  # a UserError says what is wrong
        return value or None

    @model_validator(mode="after")
    def _prompted(self, info: ValidationInfo) -> ManifestRow:
        is_proposed = bool(info.context and info.context.get(WITH_TASK))
        if not is_proposed and not any(getattr(self, name) for name in POSITIVE_PROMPTS):
            raise UserError(f"has no prompt; fill in one of {', '.join(POSITIVE_PROMPTS)}")
        if self.mask_segment and not self.mask:
            raise UserError("mask_segment names a segment, but there is no mask to take it from")
        return self


COLUMNS = tuple(ManifestRow.model_fields)


def sentences(errors: Sequence[Any]) -> list[str]:
    """What pydantic found wrong with a line, as sentences for people."""
    found = []
    for error in errors:
        column = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            text = f"there is no column {column!r}; the columns are {', '.join(COLUMNS)}."
        elif error["type"] in ("missing", "string_too_short"):
            text = f"{column} is missing."
        else:
            message = str(error["msg"]).removeprefix("Value error, ")
            text = f"{column}: {message}" if column else f"it {message}"
            text = text if text.endswith(".") else f"{text}."
        if text not in found:
            found.append(text)
    return found


def _numbers(text: str) -> list[float]:
    parts = [part for part in re.split(r"[,\s]+", text.strip()) if part]
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise UserError(f"{text.strip()!r} is not a list of numbers") from None
