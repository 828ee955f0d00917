"""Which frames of a folder are the scan: one series, each image once, one orientation, one time point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.components import time_index
from EfficientMedSAM2Lib.imaging.dicom.frames import TIME_TAGS, Frame
from EfficientMedSAM2Lib.imaging.dicom.stack import SAME_PLACE_MM, normal_of

#: A series or orientation with this share of the images of the largest might as well be the one that is meant.
RIVAL_SHARE = 0.9
#: Directions that differ by less than this are the same; scanners write six digits, some only two.
SAME_DIRECTION = 0.01
#: Two stacks in one series are told apart when each is even to this share of its step, and both together are not.
EVEN_SHARE = 0.1


@dataclass(frozen=True)
class Selection:
    """Frames of one scan, and what was left out, in sentences."""

    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()


def choose_series(frames: Sequence[Frame], wanted: str | None = None) -> Selection:
    """Frames of the series with most images.

    Args:
        frames: All frames of a folder.
        wanted: SeriesInstanceUID or SeriesNumber; None for the largest.

    Raises:
        UserError: No such series, or another one is as large.
    """
    grouped: dict[str, list[Frame]] = {}
    for frame in frames:
        grouped.setdefault(frame.series, []).append(frame)
    ranked = sorted(grouped.values(), key=lambda group: (_is_scout(group), -len(group), group[0].series))
    if wanted is not None:
        ranked = [group for group in ranked if wanted in (group[0].series, group[0].about["SeriesNumber"])]
        if not ranked:
            raise UserError(f"it holds no series {wanted!r}; it has {_list(grouped.values())}.")
    chosen, others = ranked[0], ranked[1:]
    if others and _rivals(chosen, others[0]):
        raise UserError(
            f"it holds several series, and which is meant is not clear: {_list(ranked)}; choose one with --series "
            "NUMBER or UID (series=), or give the folder of one."
        )
    notes = [f"Of {len(ranked)} series, {describe(chosen)} was read; left out: {_list(others)}."] if others else []
    return Selection(tuple(chosen), tuple(notes))


def without_copies(selection: Selection) -> Selection:
    """Each image once: files with the same SOPInstanceUID at the same place are copies."""
    kept: dict[Any, Frame] = {}
    for frame in selection.frames:
        uid = frame.about["SOPInstanceUID"] or str(frame.path)
        kept.setdefault((uid, frame.index, frame.number, frame.position), frame)
    copies = len(selection.frames) - len(kept)
    notes = [f"{_count(copies, 'image')} were copies of others (same UID) and left out."] if copies else []
    return Selection(tuple(kept.values()), (*selection.notes, *notes))


def one_orientation(selection: Selection) -> Selection:
    """The largest set of frames of one orientation, matrix and pixel size; localizers are left out.

    Raises:
        UserError: Frames have no position while others of their size have one, or two orientations are as large.
    """
    groups: list[list[Frame]] = []
    for frame in selection.frames:
        fitting = next((group for group in groups if _same_plane(group[0], frame)), None)
        groups.append([frame]) if fitting is None else fitting.append(frame)
    groups.sort(key=lambda group: (_is_scout(group), _place(group[0]) is None, -len(group)))
    chosen, others = groups[0], groups[1:]
    for group in others:
        if group[0].shape == chosen[0].shape and _place(group[0]) is None:
            raise UserError(
                f"{group[0].path} has no position in the patient while other images of its series have one; "
                "export it again."
            )
    rivals = [group for group in others if _rivals(chosen, group)]
    if rivals:
        raise UserError(
            f"its series holds {len(rivals) + 1} sets of images of different orientation or matrix ("
            f"{', '.join(_plane(group) for group in (chosen, *rivals))}), and which is meant is not clear; "
            "give a folder with one of them."
        )
    notes = [
        f"{_count(len(group), 'image')} of another orientation or matrix ({_plane(group)}, first {group[0].path.name}) "
        "left out."
        for group in others
    ]
    return Selection(tuple(chosen), (*selection.notes, *notes))


def one_time_point(selection: Selection, time_point: int | None) -> Selection:
    """Frames at places that differ; those of one time point where several images lie at the same place.

    Raises:
        UserError: There are several volumes and none was chosen, there is no such one, or they cannot be told apart.
    """
    frames = selection.frames
    if _place(frames[0]) is None:  # pictures in a row: nothing tells that they are at the same place
        time_index(1, time_point)
        return selection
    places = at_places(frames)
    most = max(Counter(places).values())
    parts, why = _parts(frames, places, most) if most > 1 else _interleaved(frames)
    if not parts:
        time_index(1, time_point)
        return selection
    index = time_index(len(parts), time_point, why)
    note = f"Time point {index} of {len(parts)} ({why}) was read."
    return Selection(tuple(parts[index]), (*selection.notes, note))


def describe(group: Sequence[Frame]) -> str:
    """A series in a few words: number, modality, description, images."""
    about = group[0].about
    words = [f"series {about['SeriesNumber'] or group[0].series}", about["Modality"], about["SeriesDescription"]]
    return f"{' '.join(word for word in words if word)} ({_count(len(group), 'image')})"


def _list(groups: Any) -> str:
    described = [describe(group) for group in groups]
    return ", ".join(described[:5]) + (f" and {len(described) - 5} more" if len(described) > 5 else "")


def _is_scout(group: Sequence[Frame]) -> bool:
    return all(frame.is_localizer for frame in group)


def _rivals(chosen: Sequence[Frame], other: Sequence[Frame]) -> bool:
    return len(other) >= RIVAL_SHARE * len(chosen) and _is_scout(other) == _is_scout(chosen)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _place(frame: Frame) -> tuple[float, ...] | None:
    return frame.position if frame.orientation else None


def _same_plane(frame: Frame, other: Frame) -> bool:
    if frame.is_localizer != other.is_localizer:
        return False
    if frame.shape != other.shape or (_place(frame) is None) != (_place(other) is None):
        return False
    if frame.spacing and other.spacing and not np.allclose(frame.spacing, other.spacing, rtol=0.01, atol=0.0):
        return False
    if frame.orientation is None or other.orientation is None:
        return True
    return bool(np.abs(np.subtract(frame.orientation, other.orientation)).max() < SAME_DIRECTION)


def _plane(group: Sequence[Frame]) -> str:
    rows, columns, _ = group[0].shape
    if group[0].orientation is None:
        return f"{len(group)} of {columns} x {rows} without position"
    side = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal_of(group[0].orientation))))]
    return f"{len(group)} {side} of {columns} x {rows}"


def at_places(frames: Sequence[Frame]) -> list[int]:
    """Number of the place of each frame along the normal; equal for frames at the same place."""
    along = np.array([frame.position for frame in frames], dtype=float) @ normal_of(frames[0].orientation or ())
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    apart = steps[steps > SAME_PLACE_MM]
    # phases of a scan that moved by a breath are not exactly where the first was
    tolerance = max(SAME_PLACE_MM, 0.02 * float(np.median(apart))) if len(apart) else SAME_PLACE_MM
    numbers = np.concatenate([[0], np.cumsum(steps > tolerance)])
    places: np.ndarray = np.empty(len(frames), dtype=int)
    places[order] = numbers
    return places.tolist()


def _parts(frames: Sequence[Frame], places: Sequence[int], most: int) -> tuple[list[list[Frame]], str]:
    """Volumes that lie at the same places, and what tells them apart: a tag, or else the order of the images."""
    for tag in TIME_TAGS:
        parts = _by_tag(frames, tag)
        if len(parts) == most and all(len(set(_of(part, frames, places))) == len(part) for part in parts):
            return parts, _telling(tag, parts)
    if len(frames) != most * len(set(places)):
        raise UserError(
            f"its series holds up to {most} images at the same place and not everywhere as many, and nothing in them "
            "tells which belong together; give a folder with one volume."
        )
    rows: dict[int, list[Frame]] = {}
    for _, frame in sorted(zip(places, frames), key=lambda pair: _order(pair[1])):
        rows.setdefault(places[frames.index(frame)], []).append(frame)
    return [[row[n] for row in rows.values()] for n in range(most)], "by the order of their numbers"


def _interleaved(frames: Sequence[Frame]) -> tuple[list[list[Frame]], str]:
    """Volumes whose slices lie between each other's: uneven together, and each even by itself."""
    if len(frames) < 4 or _is_even(frames):
        return [], ""
    for tag in TIME_TAGS:
        parts = _by_tag(frames, tag)
        overlap = all(_overlap(parts[0], part) for part in parts[1:])
        if 1 < len(parts) <= len(frames) // 2 and overlap and all(len(p) > 1 and _is_even(p) for p in parts):
            return parts, _telling(tag, parts)
    return [], ""


def _by_tag(frames: Sequence[Frame], tag: str) -> list[list[Frame]]:
    """Frames by the value of a tag: numbers ascending, other values by the first image that has them."""
    grouped: dict[Any, list[Frame]] = {}
    for frame in frames:
        if tag not in frame.labels:
            return []
        grouped.setdefault(frame.labels[tag], []).append(frame)
    numeric = all(isinstance(value, float) for value in grouped)
    order: Callable[[Any], Any] = (lambda item: item[0]) if numeric else (lambda item: min(map(_order, item[1])))
    return [part for _, part in sorted(grouped.items(), key=order)]


def _telling(tag: str, parts: Sequence[Sequence[Frame]]) -> str:
    values = [part[0].labels[tag] for part in parts[:6]]
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return f"{tag} {', '.join(texts)}{', ...' if len(parts) > 6 else ''}"


def _of(part: Sequence[Frame], frames: Sequence[Frame], places: Sequence[int]) -> list[int]:
    numbers = {id(frame): place for frame, place in zip(frames, places)}
    return [numbers[id(frame)] for frame in part]


def _order(frame: Frame) -> tuple[int, str, int]:
    return frame.number, str(frame.path), frame.index


def _along(frames: Sequence[Frame]) -> np.ndarray:
    positions = np.array([frame.position for frame in frames], dtype=float)
    along: np.ndarray = np.sort(positions @ normal_of(frames[0].orientation or ()))
    return along


def _is_even(frames: Sequence[Frame]) -> bool:
    steps = np.diff(_along(frames))
    return bool(np.ptp(steps) <= EVEN_SHARE * np.median(steps))


def _overlap(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    a, b = _along(frames), _along(others)
    return bool(min(a[-1], b[-1]) > max(a[0], b[0]))
