"""Uploads are read in a process of their own, under limits of time and memory.

What somebody has sent is given to libraries written in C. Whatever it makes them do, it happens beside the session: the
page goes on, and the process is ended when its time is up. It gets its task as a line of JSON on its stdin, and
answers by files in the session's folder: one of JSON, and one of numbers for each array.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.components import SeveralVolumes
from EfficientMedSAM2Lib.imaging.dicom.headers import series_of
from EfficientMedSAM2Lib.imaging.dicom.kept_series import with_headers
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume, volume_name
from EfficientMedSAM2Lib.web.connection import python_process
from EfficientMedSAM2Lib.web.log import set_up_log
from EfficientMedSAM2Lib.web.session.uploads import UNPACKED_FACTOR, check_upload
from EfficientMedSAM2Lib.web.session.workspace import MEGABYTE, TooLarge, Workspace

logger = logging.getLogger(__name__)

ANSWER, HEADERS = "answer.json", "headers.zip"
#: A scan has more values than this, which label maps of a whole body come up to, and noise between neighbours.
MAX_LABELS, ALIKE = 128, 0.5
#: Reading may take so long, in seconds, and as much longer as these many bytes of the upload take.
READ_S, BYTES_PER_S = 60.0, 4 * MEGABYTE
#: A process that was killed is gone after so long, in seconds, or it hangs in the system and is left to it.
KILLED_S = 5.0
#: A scan is in memory so often while it is read, beside the libraries.
COPIES, LIBRARY_BYTES = 4, 2**30
#: One thread is enough, and each has memory of its own.
_THREADS = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class UploadContent:
    """What an upload holds: a volume, segments, files of prompts that have passed the checks, or several of them.

    Attributes:
        name: What the user calls it.
        volume: The scan, None for others.
        segments: Segments on the grid of that scan, or else of the open one.
        markups: Files of prompts for it.
        time_points: Volumes of a time series of which the user has to choose one, else 0.
        series: DICOM series of which the user has to choose one, each in words; else none.
        is_labelmap: Whether the volume looks like labels on the grid of the open one.
    """

    name: str
    volume: Volume | None = None
    segments: tuple[Segment, ...] = ()
    markups: tuple[Path, ...] = ()
    time_points: int = 0
    is_labelmap: bool = False
    series: tuple[str, ...] = ()


async def read_upload(
    workspace: Workspace,
    files: list[Path],
    grid: Volume | None,
    seconds: float | None = None,
    time_point: int | None = None,
    as_segments: bool = False,
    series: int | None = None,
) -> UploadContent:
    """Check and read files that have come in, in another process.

    Args:
        workspace: The session's files.
        files: What was sent together.
        grid: The open volume, on whose grid segments are wanted.
        seconds: Time limit; None for one by the size of the files.
        time_point: Of a time series, from 0.
        as_segments: Whether an image is a label map whose values are segments.
        series: Of several DICOM series, from 1, in the order of the question.

    Raises:
        TooLarge: More memory or time than there is.
        UserError: Nothing that can be used.
    """
    seconds = seconds or READ_S + sum(file.stat().st_size for file in files) / BYTES_PER_S
    task = {
        "folder": str(workspace.folder),
        "max_bytes": workspace.max_bytes,
        "files": [str(file) for file in files],
        "grid": None if grid is None else [grid.shape_kji, grid.ijk_to_ras.tolist()],
        "seconds": seconds,
        "time_point": time_point,
        "as_segments": as_segments,
        "series": series,
    }
    command, environment = python_process(__name__)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        cwd=workspace.folder,
        env={**environment, **dict.fromkeys(_THREADS, "1")},
    )
    try:
        await asyncio.wait_for(process.communicate(json.dumps(task).encode()), seconds)
    except asyncio.TimeoutError:
        raise TooLarge(f"Reading took more than {seconds:.0f} s and was stopped; send less at a time.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), KILLED_S)
    return await asyncio.to_thread(_collect, workspace)


def _collect(workspace: Workspace) -> UploadContent:
    """The reader's answer."""
    try:
        answer = json.loads((workspace.folder / ANSWER).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # killed by a limit, or by a fault in a library
        raise UserError("The file cannot be opened: it is damaged, or needs too much time or memory.") from None
    if "error" in answer:
        raise (TooLarge if answer["too_large"] else UserError)(answer["error"])
    markups = tuple(Path(path) for path in answer.get("markups", ()))
    volume = None
    if "volume" in answer:
        fields = answer["volume"]
        volume = Volume(
            _load(workspace, "volume"),
            np.array(fields["ijk_to_ras"]),
            fields["modality"],
            fields["name"],
            tuple(fields["notes"]),
            fields["spacing_known"],
            file_windows=tuple(IntensityWindow(*window) for window in fields["file_windows"]),
            headers=(workspace.folder / HEADERS).read_bytes() if fields["has_headers"] else None,
        )
    segments = [
        Segment(name, _load(workspace, f"mask{n}"), tuple(color) if color else None, terminology, segment_id)
        for n, (name, color, terminology, segment_id) in enumerate(answer.get("segments", ()))
    ]
    choices = answer.get("time_points", 0), answer.get("is_labelmap", False), tuple(answer.get("series", ()))
    return UploadContent(answer["name"], volume, tuple(segments), markups, *choices)


def _load(workspace: Workspace, name: str) -> np.ndarray:
    array: np.ndarray = np.load(workspace.folder / f"{name}.npy", allow_pickle=False)
    return array


# --- in the process of its own


def main() -> int:
    """Read what stdin tells, and write the answer."""
    task = json.loads(sys.stdin.read())
    workspace = Workspace(task["folder"], task["max_bytes"])
    set_up_log()
    _limit(task["seconds"], workspace.max_bytes * UNPACKED_FACTOR)
    try:
        answer = _read(workspace, task)
    except TooLarge as error:
        answer = {"error": str(error), "too_large": True}
    except MemoryError:
        answer = {"error": "The file needs more memory than a session has; send less at a time.", "too_large": True}
    except ValueError as error:
        answer = {"error": str(error), "too_large": False}
    except Exception as error:  # a library has met what nobody has thought of: the log tells whoever runs the server
        logger.exception("An upload could not be read.")
        answer = {"error": f"The file cannot be opened ({type(error).__name__}); export it again.", "too_large": False}
    with replacing(workspace.folder / ANSWER) as temporary:
        temporary.write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _limit(seconds: float, max_bytes: int) -> None:
    """Limits of this process, where the system has them: memory, time, and no copy of the scan after a crash."""
    try:
        import resource
    except ImportError:  # Windows: the session still ends it by the clock
        return
    wanted = {"DATA": max_bytes * COPIES + LIBRARY_BYTES, "CPU": int(seconds) + 1, "CORE": 0}
    for name, most in wanted.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def _read(workspace: Workspace, task: dict[str, Any]) -> dict[str, Any]:
    upload = check_upload(workspace, [Path(file) for file in task["files"]])
    grid = None
    if task["grid"] is not None:
        shape, ijk_to_ras = task["grid"]
        grid = Volume(np.broadcast_to(np.uint8(0), shape), np.array(ijk_to_ras))
    scan, segmentation = upload.scan, upload.segmentation
    if scan is not None and segmentation is None and task["as_segments"]:
        scan, segmentation = None, scan
    answer: dict[str, Any] = {"name": upload.name, "markups": [str(path) for path in upload.markups]}
    if scan is not None:
        listed, series = series_of(sorted(scan.iterdir())) if scan.is_dir() else [], None
        if len(listed) > 1:
            number = int(task.get("series") or 0)
            if not number:
                return {"name": upload.name, "series": [f"{title} ({count} images)" for _, title, count in listed]}
            if number > len(listed):
                raise UserError(f"There is no series {number}; choose one from 1 to {len(listed)}.")
            series = listed[number - 1][0] or None
        try:
            volume = with_headers(read_volume(scan, task["time_point"], series), task["time_point"])
        except ValueError as error:
            if isinstance(error.__cause__, SeveralVolumes):
                return {"name": upload.name, "time_points": error.__cause__.count}
            raise
        is_alone = segmentation is None and not upload.markups
        answer["is_labelmap"] = is_alone and grid is not None and _is_labelmap(volume, grid)
        answer["volume"] = _keep_volume(workspace, volume, upload.name)
        grid = volume
    if segmentation is not None:
        if grid is None:
            raise UserError("A segmentation needs its volume; open the volume first.")
        segments = read_segmentation(segmentation, grid)
        for n, segment in enumerate(segments):
            np.save(workspace.folder / f"mask{n}.npy", segment.mask)
        answer["segments"] = [(s.name, s.color, s.terminology, s.segment_id) for s in segments]
    return answer


def _keep_volume(workspace: Workspace, volume: Volume, name: str) -> dict[str, Any]:
    """Write the voxels for the session; returns all else of a volume."""
    np.save(workspace.folder / "volume.npy", volume.array)
    if volume.headers is not None:
        (workspace.folder / HEADERS).write_bytes(volume.headers)
    return {
        "ijk_to_ras": volume.ijk_to_ras.tolist(),
        "modality": volume.modality,
        "name": f"{volume.title[0] or volume_name(name)} {volume.title[1]}".strip(),  # patients' scans differ
        "notes": volume.notes,
        "spacing_known": volume.spacing_known,
        "has_headers": volume.headers is not None,
        "file_windows": [(window.low, window.high, window.name) for window in volume.file_windows],
    }


def _is_labelmap(volume: Volume, grid: Volume) -> bool:
    """Whether a volume may well be labels on a grid: the same one, a few whole numbers, and most neighbours alike."""
    array = volume.array
    if volume.modality is not None:  # DICOM says what it is
        return False
    if array.shape != grid.shape_kji or not np.allclose(volume.ijk_to_ras, grid.ijk_to_ras, atol=1e-3):
        return False
    if array.dtype.kind not in "iub" or not 0 <= int(array.min()) < int(array.max()):
        return False
    alike = float((array[..., 1:] == array[..., :-1]).mean()) if array.shape[2] > 1 else 1.0
    return alike > ALIKE and len(np.unique(array)) <= MAX_LABELS
