"""Reading scans: any file that SimpleITK reads, or a DICOM folder, as an array and its place in the patient."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .files import check_complete, last_line, quiet_libraries
from .geometry import check_matrix, lps_to_ras

if TYPE_CHECKING:
    import SimpleITK

logger = logging.getLogger(__name__)

FORMATS = "NIfTI, NRRD, MHA/MHD, PNG, JPEG, DICOM, or a folder of DICOM files"
MODALITY_TAG = "0008|0060"
ENDINGS = (
    ".nii.gz",
    ".seg.nrrd",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".dcm",
    ".tif",
    ".npz",
)


@dataclass(frozen=True)
class Volume:
    """A scan. It is never changed: the array is marked read-only.

    Attributes:
        array: (D,H,W) grey or (D,H,W,3) colour, in the file's own type (k, j, i order).
        ijk_to_ras: (4,4) voxel index (i, j, k) to RAS in mm.
        modality: DICOM modality where the file tells it, else None.
        name: File or folder name without ending.
        window: Intensities (low, high) that the file's values were spread over before, where it tells; else None.
        axes: Axes of the array in the file: "kji", or for an ``.npz`` also "jik", or "ji" for a picture.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    modality: str | None = None
    name: str = "volume"
    window: tuple[float, float] | None = None
    axes: str = "kji"

    def __post_init__(self) -> None:
        if self.array.ndim != 3 and not (self.array.ndim == 4 and self.array.shape[3] == 3):
            raise ValueError(f"A volume has axes k, j, i (and 3 colours), not the shape {self.array.shape}.")
        if self.array.size == 0:
            raise ValueError("The volume has no voxels.")
        object.__setattr__(self, "ijk_to_ras", check_matrix(self.ijk_to_ras))
        view = self.array.view()
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Number of voxels along k, j, i."""
        depth, height, width = self.array.shape[:3]
        return depth, height, width


def read_volume(path: str | Path, time_point: int | None = None) -> Volume:
    """Read a scan. NaN and infinite voxels stay, except in NIfTI files, where ITK reads them as 0.

    Args:
        path: An image file, or a folder of DICOM files (subfolders included), of which the largest series is taken.
        time_point: Which image of a time series to take, from 0; needed only for those.

    Raises:
        ValueError: nothing there, not an image, no DICOM series in the folder, a time series without ``time_point``,
            complex values.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"There is no file or folder {path}; check the name.")
    if path.is_file() and path.name.lower().endswith(".npz"):
        from .npz import read_npz_volume

        return read_npz_volume(path)
    if path.is_dir():
        image, modality = _read_dicom_folder(path)
    else:
        image, modality = _read_file(path)
    try:
        return _volume(image, time_point, modality, volume_name(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def volume_name(path: str | Path) -> str:
    """File name without the ending of an image format."""
    name = Path(path).resolve().name
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or name


def image_to_ras(image: SimpleITK.Image) -> np.ndarray:
    """4x4 ijk_to_ras of a 2D to 4D SimpleITK image (whose own world is LPS); a 2D image lies at z = 0, 1 mm thick."""
    dimension = image.GetDimension()
    space = min(dimension, 3)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:space, :space]
    matrix = np.eye(4)
    matrix[:space, :space] = direction * np.array(image.GetSpacing()[:space])
    matrix[:space, 3] = image.GetOrigin()[:space]
    return lps_to_ras(matrix)


def _read_file(path: Path) -> tuple[SimpleITK.Image, str | None]:
    import SimpleITK as sitk

    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; export it again.")
    check_complete(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_libraries():
            image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as an image ({_reason(error)}); use {FORMATS}.") from error
    return image, _modality(reader)


def _read_dicom_folder(folder: Path) -> tuple[SimpleITK.Image, str | None]:
    import SimpleITK as sitk

    with quiet_libraries():
        files = dicom_files(folder)
    if not files:
        raise ValueError(f"The folder {folder} holds no DICOM images; give a file, or the folder of one DICOM series.")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    try:
        with quiet_libraries() as messages:
            image = reader.Execute()
            modality = _read_modality(files[0])
    except RuntimeError as error:
        raise ValueError(f"The DICOM series in {folder} cannot be read ({_reason(error)}).") from error
    if any("ampling" in line or "missing slices" in line for line in messages):
        logger.warning("%s: slices are not evenly spaced, or some are missing; distances may be wrong.", folder)
    return image, modality


def dicom_files(folder: str | Path) -> tuple[str, ...]:
    """Files of the series with most files, in the folder or below, in the order of their slices (k)."""
    import SimpleITK as sitk

    best: tuple[str, ...] = ()
    for directory, subfolders, names in os.walk(folder):
        subfolders.sort()
        if not names:
            continue
        for series in sitk.ImageSeriesReader.GetGDCMSeriesIDs(directory, True):
            files = tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(directory, series, True))
            if len(files) > len(best):
                best = files
    return best


def _read_modality(file: str) -> str | None:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return _modality(reader)


def _modality(reader: SimpleITK.ImageFileReader) -> str | None:
    """DICOM modality among what a reader found, None where the format has none."""
    text = reader.GetMetaData(MODALITY_TAG) if reader.HasMetaDataKey(MODALITY_TAG) else ""
    return text.strip() or None


def _volume(image: SimpleITK.Image, time_point: int | None, modality: str | None, name: str) -> Volume:
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)  # a copy, in k, j, i (component) order
    if np.iscomplexobj(array):
        raise ValueError("complex values are no picture; save the magnitude instead.")
    dimension, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if dimension > 4:
        raise ValueError(f"an image of {dimension} dimensions is not supported; save one volume of it.")
    if dimension == 4:
        array = array[_time_index(array.shape[0], time_point)]
    elif dimension == 2:
        array = array[np.newaxis]
    if components > 4:  # Slicer keeps time series and diffusion images as components
        array = array[..., _time_index(components, time_point)]
    elif components in (3, 4):
        array = array[..., :3]  # the fourth is opacity
    elif components == 2:
        array = array[..., 0]
    return Volume(np.ascontiguousarray(array), image_to_ras(image), modality, name)


def _time_index(count: int, time_point: int | None) -> int:
    if time_point is None and count > 1:
        raise ValueError(f"it holds {count} volumes (a time series); save one of them, or choose with time_point.")
    index = time_point or 0
    if not 0 <= index < count:
        raise ValueError(f"there is no time point {index}; it has 0 to {count - 1}.")
    return index


def _reason(error: RuntimeError) -> str:
    """ITK's reason in a few words: without its prefixes and pointers."""
    line = last_line(error).split("ITK ERROR:")[-1].strip()
    line = line.split("): ", 1)[-1].rstrip(".")
    return line if len(line) <= 160 else line[:157] + "..."
