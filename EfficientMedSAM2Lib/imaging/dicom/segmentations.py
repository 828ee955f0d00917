"""DICOM SEG as masks: every frame of a segment goes where its own position is; slices without a frame are empty."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.dicom.frames import Frame
from EfficientMedSAM2Lib.imaging.dicom.headers import read_frames
from EfficientMedSAM2Lib.imaging.dicom.series import at_places
from EfficientMedSAM2Lib.imaging.dicom.stack import stack_slices
from EfficientMedSAM2Lib.imaging.dicom.voxels import decode

#: Share above which a voxel of a fractional segmentation belongs to the segment.
_HALF = 0.5


def holds_segments(path: Path) -> bool:
    """Whether a DICOM file says that it holds a segmentation, not an image; that it can be read is another matter."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
    except (InvalidDicomError, OSError, ValueError):
        return False
    return header.get("Modality") in ("SEG", "RTSTRUCT")


def read_dicom_seg(path: Path) -> tuple[list[tuple[str, np.ndarray]], np.ndarray]:
    """Name and mask (D,H,W) of each segment, in the order of their numbers, and their RAS matrix.

    Raises:
        UserError: It is no DICOM SEG, it is damaged, or its frames are no parallel slices.
    """
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(path, force=True)
    frames = read_frames(path, segmentations=True)
    items = dataset.get("SegmentSequence")
    if not items:
        raise UserError("it is a DICOM image, not a DICOM SEG")
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "") or "") for item in items}
    pixels = decode(dataset, path)
    is_labelmap = str(dataset.get("SegmentationType", "")) == "LABELMAP"
    highest = float(dataset.get("MaximumFractionalValue", 1) or 1)
    places, matrix, depth = _grid(frames)
    masks = {number: np.zeros((depth, *frames[0].shape[:2]), dtype=bool) for number in names}
    for frame, k in zip(frames, places):
        image = pixels[frame.index]
        for number in names if is_labelmap else [int(frame.labels.get("SegmentNumber", 0))]:
            if number not in masks:
                raise UserError(f"a frame belongs to the segment {number}, which it does not have")
            masks[number][k] |= image == number if is_labelmap else image > _HALF * highest
    return [(names[n] or f"Segment_{n}", masks[n]) for n in sorted(names)], matrix


def _grid(frames: list[Frame]) -> tuple[list[int], np.ndarray, int]:
    """Slice of each frame, the matrix, and the number of slices."""
    first = frames[0]
    if first.position is None or first.orientation is None or first.spacing is None:
        raise UserError("its frames have no position in the patient")
    if any(frame.position is None or frame.orientation != first.orientation for frame in frames):
        raise UserError("its frames are not parallel slices")
    numbers = at_places(frames)
    firsts = [numbers.index(number) for number in range(max(numbers) + 1)]
    positions = np.array([frames[n].position for n in firsts], dtype=float)
    stack = stack_slices(positions, first.orientation, first.spacing, first.thickness, may_be_sparse=True)
    if np.any(stack.places % 1.0) or stack.shifts_ij.any():
        raise UserError("its frames are not evenly spaced")
    slices = dict(zip(stack.order, stack.nearest))
    return [slices[number] for number in numbers], stack.ijk_to_ras, stack.depth
