"""A DICOM folder or file as one scan: its voxels, its place, and what was done to get there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import walk
from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.dicom.frames import Frame
from EfficientMedSAM2Lib.imaging.dicom.headers import (
    DicomError,
    NotAnImage,
    Unreadable,
    is_dicom,
    read_folder,
    read_frames,
    title_of,
    windows_of,
)
from EfficientMedSAM2Lib.imaging.dicom.series import (
    Selection,
    choose_series,
    one_orientation,
    one_time_point,
    without_copies,
)
from EfficientMedSAM2Lib.imaging.dicom.stack import TOLERANCE, Stack, stack_slices
from EfficientMedSAM2Lib.imaging.dicom.voxels import on_grid, read_voxels

__all__ = ["DicomScan", "dicom_files", "is_dicom", "read_dicom", "select_scan"]

#: A k axis that leans by less than this is a rounding of the positions.
_TILT_DEGREES = 0.1


@dataclass(frozen=True)
class DicomScan:
    """Where the slices of a scan are, before their voxels are read.

    Attributes:
        frames: Its frames along k.
        stack: Their grid.
        notes: What was left out or changed, in sentences.
        spacing_known: False where the files do not say how large a voxel is.
    """

    frames: tuple[Frame, ...]
    stack: Stack
    notes: tuple[str, ...]
    spacing_known: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Files that hold the frames, along k, each once."""
        return tuple(dict.fromkeys(str(frame.path) for frame in self.frames))

    @property
    def title(self) -> tuple[str, str]:
        """Patient, study and series in words, and the end of the series' UID, in which scans differ."""
        return title_of(self.frames[0].path)

    @property
    def windows(self) -> tuple[IntensityWindow, ...]:
        """The windows that the slice in the middle wants to be shown in."""
        middle = self.frames[len(self.frames) // 2]
        return windows_of(middle.path, middle.index)

    @property
    def modality(self) -> str | None:
        """DICOM modality, None where the files do not tell."""
        return self.frames[0].about["Modality"] or None


def read_dicom(path: Path, time_point: int | None = None, series: str | None = None) -> tuple[np.ndarray, DicomScan]:
    """Voxels (D,H,W) or (D,H,W,3) of a DICOM file, or of the folder of a series, and what was read.

    Raises:
        UserError: As `select_scan`, or pixels cannot be decoded.
    """
    scan = select_scan(path, time_point, series)
    return on_grid(read_voxels(scan.frames), scan.stack), scan


def select_scan(path: Path, time_point: int | None = None, series: str | None = None) -> DicomScan:
    """Decide from the headers what is read.

    Args:
        path: A DICOM file, or a folder, subfolders included.
        time_point: Which volume, from 0, where several lie at the same place.
        series: SeriesInstanceUID or SeriesNumber; None for the series with most images.

    Raises:
        UserError: No images, files that cannot be read, or it is not clear what is meant; the text says what to do.
    """
    return _selected(_folder_frames(path, series) if path.is_dir() else _file_frames(path), time_point, series)


def scan_of_files(files: Sequence[Path]) -> DicomScan:
    """The scan that some DICOM files make up, which may lie in several folders.

    Raises:
        UserError: There is none, one cannot be read, or they make up more than one scan.
    """
    if not files:
        raise UserError("There are no DICOM files.")
    return _selected([frame for path in files for frame in _file_frames(path)], None, None)


def _selected(frames: list[Frame], time_point: int | None, series: str | None) -> DicomScan:
    selection = one_orientation(without_copies(choose_series(frames, series)))
    selection = one_time_point(selection, time_point)
    if any("MOSAIC" in str(frame.labels.get("ImageType", "")).upper() for frame in selection.frames):
        raise UserError("its images are mosaics, many slices in one picture; convert them with dcm2niix first.")
    return _placed(selection)


def dicom_files(folder: str | Path, time_point: int | None = None, series: str | None = None) -> tuple[str, ...]:
    """Files of the scan that `read_volume` reads from a folder, along k; empty where there is none.

    Raises:
        UserError: As `select_scan`, but for a folder without images.
    """
    try:
        return select_scan(Path(folder), time_point, series).files
    except NoImages:
        return ()


class NoImages(UserError):
    """A folder without DICOM images."""


def _folder_frames(folder: Path, series: str | None) -> list[Frame]:
    frames, unreadable, others = read_folder([path for _, paths in walk(folder) for path in paths])
    if not frames:
        if unreadable:
            raise UserError(_say_unreadable(unreadable))
        found = ", ".join(f"{count} x {name}" for name, count in sorted(others.items()))
        raise NoImages(
            f"The folder {folder} holds no DICOM images{f' (only {found})' if found else ''}; give a file, or the "
            "folder of one DICOM series."
        )
    chosen = choose_series(frames, series).frames[0].series
    broken = [file for file in unreadable if file.series in ("", chosen)]
    if broken:
        raise UserError(_say_unreadable(broken))
    return frames


def _say_unreadable(files: Sequence[Unreadable]) -> str:
    more = f", and {len(files) - 1} more cannot be read" if len(files) > 1 else ""
    return f"{files[0].path} cannot be read: {files[0].reason}{more}; copy or export the series again."


def _file_frames(path: Path) -> list[Frame]:
    try:
        return read_frames(path)
    except NotAnImage as error:
        if str(error) == "DICOMDIR":
            raise UserError("it is the index of a DICOM medium; give the folder of a series.") from error
        raise UserError(f"it is a DICOM object without an image, {error}; give a scan.") from error
    except DicomError as error:
        raise UserError(f"{error}; copy or export it again.") from error


def _placed(selection: Selection) -> DicomScan:
    frames, notes = selection.frames, list(selection.notes)
    spacing = frames[0].spacing
    thickness = frames[0].thickness
    if frames[0].position is None or frames[0].orientation is None:
        frames = tuple(sorted(frames, key=lambda frame: (frame.number, str(frame.path), frame.index)))
        known = spacing is not None and thickness is not None and len(frames) == 1
        notes.append(
            "The images have no position in the patient: they were stacked by their numbers"
            + ("." if known else ", and lengths and volumes in mm are not known.")
        )
        stack = _unplaced(len(frames), spacing or (1.0, 1.0), thickness)
        return DicomScan(frames, stack, tuple(notes), known)
    if spacing is None:
        notes.append("The images do not say how large a pixel is: lengths and volumes in mm are not known.")
    positions = np.array([frame.position for frame in frames], dtype=float)
    stack = stack_slices(positions, frames[0].orientation, spacing or (1.0, 1.0), thickness)
    frames = tuple(frames[n] for n in stack.order)
    known = spacing is not None
    if len(frames) == 1 and thickness is None:
        known = False
        notes.append("The single slice does not say how thick it is: volumes are not known.")
    return DicomScan(frames, stack, (*notes, *_geometry_notes(stack, positions)), known)


def _geometry_notes(stack: Stack, positions: np.ndarray) -> list[str]:
    notes = []
    if stack.tilt > _TILT_DEGREES:
        notes.append(f"The slices are tilted by {stack.tilt:.1f} degrees (gantry tilt): the grid is sheared, too.")
    if not stack.is_even:
        steps = np.diff(np.linalg.norm(positions[list(stack.order)] - positions[stack.order[0]], axis=1))
        step = float(np.linalg.norm(stack.ijk_to_ras[:3, 2]))
        between = stack.depth - sum(1 for place in stack.places if abs(place % 1.0) < 1e-9)
        beside = int((np.abs(stack.shifts_ij) > TOLERANCE).any(axis=1).sum())
        notes.append(
            f"The slices are not evenly spaced ({steps.min():.4g} to {steps.max():.4g} mm apart): {len(stack.order)} "
            f"were resampled to {stack.depth} of {step:.4g} mm, {between} of them between others."
            + (f" {beside} lay beside the line of the others and were moved." if beside else "")
        )
    return notes


def _unplaced(count: int, spacing: Sequence[float], thickness: float | None) -> Stack:
    matrix = np.diag([spacing[1], spacing[0], thickness or 1.0, 1.0])
    return Stack(tuple(range(count)), lps_to_ras(matrix), count, np.arange(float(count)), np.zeros((count, 2)), 0.0)
