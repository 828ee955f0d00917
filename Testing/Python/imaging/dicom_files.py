"""DICOM as scanners, PACS and anonymisers write it: slices of any grid with any fault, and enhanced files."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
INTERCEPT = -1024


def slices(
    array: np.ndarray,
    ijk_to_ras: np.ndarray,
    series: str | None = None,
    first_number: int = 1,
    per_slice: Callable[[int], dict] = lambda k: {},
    **tags: object,
) -> list[Dataset]:
    """A dataset for each slice of (D,H,W) whole numbers; ``per_slice`` and ``tags`` replace elements, None removes."""
    series = series or generate_uid()
    return [
        _with({**tags, **per_slice(k)}, _slice(array[k], ijk_to_ras, k, series, first_number + k))
        for k in range(len(array))
    ]


def _slice(image: np.ndarray, ijk_to_ras: np.ndarray, k: int, series: str, number: int) -> Dataset:
    data = _image(CT, image[np.newaxis] - INTERCEPT)
    position, orientation, spacing = plane(ijk_to_ras, k)
    data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = series, "1.2.3", "1.2.4"
    data.Modality, data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = "CT", 3, number, 1
    data.PatientName, data.PatientID, data.Manufacturer = "Doe^J", "1", "X"
    data.PatientBirthDate = data.PatientSex = data.StudyID = data.AccessionNumber = ""
    data.ReferringPhysicianName = data.StudyDate = data.StudyTime = ""
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing = position, orientation, spacing
    data.SliceThickness = round(float(np.linalg.norm(ijk_to_ras[:3, 2])), 6)
    data.RescaleSlope, data.RescaleIntercept = 1, INTERCEPT
    return data


def enhanced(array: np.ndarray, ijk_to_ras: np.ndarray, order: Sequence[int] | None = None, times: int = 1) -> Dataset:
    """One multi-frame file, its frames in any order of slices; ``times`` volumes, of which each is brighter by 1000."""
    order = list(range(len(array))) if order is None else list(order)
    frames = [(k, time) for time in range(times) for k in order]
    data = _image(ENHANCED_CT, np.stack([array[k] + 1000 * time - INTERCEPT for k, time in frames]))
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = generate_uid(), "1.2.3", "CT"
    data.SeriesNumber, data.InstanceNumber, data.NumberOfFrames = 3, 1, len(frames)
    shared = Dataset()
    _, orientation, spacing = plane(ijk_to_ras, 0)
    shared.PlaneOrientationSequence = Items([_with({"ImageOrientationPatient": orientation})])
    shared.PixelMeasuresSequence = Items([_with({"PixelSpacing": spacing, "SliceThickness": 3.0})])
    data.SharedFunctionalGroupsSequence = Items([shared])
    per_frame = []
    for k, time in frames:
        item = Dataset()
        item.PlanePositionSequence = Items([_with({"ImagePositionPatient": plane(ijk_to_ras, k)[0]})])
        item.FrameContentSequence = Items([_with({"TemporalPositionIndex": time + 1})])
        item.PixelValueTransformationSequence = Items(
            [_with({"RescaleSlope": 1, "RescaleIntercept": INTERCEPT, "RescaleType": "HU"})]
        )
        per_frame.append(item)
    data.PerFrameFunctionalGroupsSequence = Items(per_frame)
    return data


def plane(ijk_to_ras: np.ndarray, k: int) -> tuple[list[float], list[float], list[float]]:
    """Position and orientation (LPS, as text has them) and pixel spacing of a slice."""
    lps = np.diag([-1, -1, 1, 1]) @ ijk_to_ras
    sizes = np.linalg.norm(lps[:3, :2], axis=0)
    position = lps[:3, 3] + k * lps[:3, 2]
    return (
        [round(float(v), 6) for v in position],
        [round(float(v), 8) for v in (lps[:3, :2] / sizes).T.ravel()],
        [round(float(v), 6) for v in sizes[::-1]],
    )


def write(datasets: Sequence[Dataset], folder: Path, prefix: str = "", shuffle: bool = True) -> list[Path]:
    """Save under names that say nothing of the order; the paths, in the order of the datasets."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = list(range(len(datasets)))
    if shuffle:
        random.Random(len(datasets)).shuffle(numbers)
    paths = [folder / f"{prefix}{number:04d}.dcm" for number in numbers]
    for path, dataset in zip(paths, datasets):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def _image(kind: str, stored: np.ndarray) -> Dataset:
    meta, data = FileMetaDataset(), Dataset()
    data.file_meta = meta
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = stored.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = stored.astype("<u2").tobytes()
    data["PixelData"].VR = "OW"
    return data


def _with(tags: dict, dataset: Dataset | None = None) -> Dataset:
    dataset = Dataset() if dataset is None else dataset
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset
