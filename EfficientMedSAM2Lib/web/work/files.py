"""Work as files: a scan, its segments, their prompts. An index names them, and is replaced when they are complete.

Whatever ends the process, the index names files that are whole and belong together.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_shape, box_slices, box_start, union, whole_box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.geometry import transform_points
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.markups import Markup, read_markups, write_markups
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume

INDEX = "work.json"
Place = tuple[float, float, float]
Ruler = tuple[Place, Place]
SCAN, HEADERS = "scan.npy", "headers.zip"


@dataclass(frozen=True)
class WorkSegment:
    """A segment as it is saved.

    Attributes:
        segment_id: Its ID in the scene.
        name: Its name.
        color: Red, green, blue in 0 ... 1.
        terminology: Slicer's terminology entry.
        box: Half-open box of the scan's voxels that holds it; None for an empty one.
        mask: Its voxels in that box, bool.
        markups: Its prompts.
        slices: What is known of its slices, such as their confidence, as the segment's tag has it; "" for nothing.
    """

    segment_id: str
    name: str
    color: tuple[float, float, float]
    terminology: str | None
    box: Box | None
    mask: np.ndarray | None
    markups: tuple[Markup, ...]
    slices: str = ""


@dataclass(frozen=True)
class Work:
    """What a reader would miss.

    Attributes:
        volume: The scan.
        segments: All segments, in their order.
        selected: ID of the edited one, "" for none.
        rulers: Both ends of each distance that was measured, world RAS in mm.
    """

    volume: Volume
    segments: tuple[WorkSegment, ...]
    selected: str
    rulers: tuple[Ruler, ...] = ()


def write_scan(folder: Path, volume: Volume) -> None:
    """Save a scan; its work is saved beside it from now on."""
    with replacing(folder / SCAN) as temporary, temporary.open("wb") as stream:
        np.save(stream, volume.array, allow_pickle=False)
    if volume.headers is not None:
        with replacing(folder / HEADERS) as temporary:
            temporary.write_bytes(volume.headers)


def write_work(folder: Path, work: Work) -> None:
    """Save segments and prompts; the scan is there already.

    Raises:
        UserError: they cannot be written.
    """
    number = uuid.uuid4().hex[:8]
    volume = work.volume
    filled = [segment for segment in work.segments if segment.box is not None]
    whole = union(*(segment.box for segment in filled))
    names = []
    if whole is not None:
        names.append(f"segments-{number}.seg.nrrd")
        write_segmentation(folder / names[0], [_in_box(s, whole) for s in filled], _part(volume, whole))
    rows = []
    for n, segment in enumerate(work.segments):
        prompts = f"prompts-{number}-{n}.mrk.json" if segment.markups else ""
        if prompts:
            write_markups(folder / prompts, segment.markups)
            names.append(prompts)
        about = segment.name, segment.color, segment.terminology, segment.box is not None
        rows.append([segment.segment_id, *about, prompts, segment.slices])
    bare = replace(volume, array=np.zeros((1, 1, 1)), nifti_forms=None, dicom=None, headers=None)
    index: dict[str, Any] = {
        "saved": time.time(),
        "scan": {**asdict(bare), "array": SCAN},
        "selected": work.selected,
        "segmentation": names[0] if whole is not None else "",
        "segments": rows,
        "rulers": work.rulers,
    }
    index["scan"]["ijk_to_ras"] = volume.ijk_to_ras.tolist()
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index), encoding="utf-8")
    for path in folder.iterdir():
        if path.name.startswith(("segments-", "prompts-")) and path.name not in names:
            path.unlink(missing_ok=True)


def read_work(folder: Path) -> Work:
    """The inverse of ``write_scan`` and ``write_work``.

    Raises:
        UserError: it is not there, or damaged.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        fields = index["scan"]
        fields.update(
            array=np.load(folder / SCAN, allow_pickle=False),
            ijk_to_ras=np.array(fields["ijk_to_ras"]),
            notes=tuple(fields["notes"]),
            title=tuple(fields["title"]),
            window=tuple(fields["window"]) if fields["window"] else None,
            file_windows=tuple(IntensityWindow(**window) for window in fields["file_windows"]),
            headers=(folder / HEADERS).read_bytes() if (folder / HEADERS).is_file() else None,
        )
        volume = Volume(**fields)
        masks = []
        if index["segmentation"]:
            masks = [segment.mask for segment in read_segmentation(folder / index["segmentation"], volume)]
        segments = []
        everything = whole_box(volume.shape_kji)
        for segment_id, name, color, terminology, is_filled, prompts, *slices in index["segments"]:
            markups = tuple(read_markups(folder / prompts)) if prompts else ()
            box, mask = (everything, masks.pop(0)) if is_filled else (None, None)
            segments.append(WorkSegment(segment_id, name, tuple(color), terminology, box, mask, markups, *slices))
        rulers = tuple((_place(first), _place(second)) for first, second in index.get("rulers", ()))
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError("The saved work cannot be read; it is damaged.") from error
    return Work(volume, tuple(segments), index["selected"], rulers)


def _place(numbers: Any) -> Place:
    r, a, s = (float(number) for number in numbers)
    return r, a, s


def _part(volume: Volume, box: Box) -> Volume:
    """The grid of a box, without voxels: files of a few segments in a large scan stay small."""
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = transform_points(np.array(box_start(box)[::-1], float), matrix)
    shape = box_shape(box)
    return Volume(np.broadcast_to(np.uint8(0), shape), matrix)


def _in_box(segment: WorkSegment, whole: Box) -> Segment:
    mask = np.zeros(box_shape(whole), dtype=bool)
    assert segment.box is not None
    mask[box_slices(segment.box, whole)] = segment.mask
    return Segment(segment.name, mask, segment.color, segment.terminology)
