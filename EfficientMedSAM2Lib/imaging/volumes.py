"""Reading scans: DICOM, NIfTI, and any file that SimpleITK reads, as an array and its place in the patient."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import normal_name
from EfficientMedSAM2Lib.core.geometry import check_matrix, lps_to_ras
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.components import time_index
from EfficientMedSAM2Lib.imaging.dicom.reader import DicomScan, is_dicom, read_dicom
from EfficientMedSAM2Lib.imaging.formats.contained import check_contained
from EfficientMedSAM2Lib.imaging.formats.files import check_complete, check_name
from EfficientMedSAM2Lib.imaging.formats.itk_files import read_by_itk
from EfficientMedSAM2Lib.imaging.formats.nifti import NiftiForms, is_nifti, read_nifti

if TYPE_CHECKING:
    import SimpleITK

logger = logging.getLogger(__name__)

FORMATS = "NIfTI, NRRD, MHA/MHD, PNG, JPEG, DICOM, or a folder of DICOM files"
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
        ijk_to_ras: (4,4) voxel index (i, j, k) to RAS in mm; k may lean.
        modality: DICOM modality where the file tells it, else None.
        name: File or folder name without ending.
        notes: What was left out, changed or chosen on reading, a sentence each; results say it as well.
        spacing_known: False where the file does not say how large a voxel is: then nothing is told in mm or ml.
        nifti_forms: Both places of a NIfTI file, for results that keep them; None for other formats.
        window: Intensities (low, high) that the file's values were spread over before, where it tells; else None.
        file_windows: Windows that a DICOM scan wants to be shown in, the first unless the user chooses another.
        dicom: Where the slices of a DICOM scan are in its files; None for others.
        headers: The headers of a DICOM scan's files, packed (see dicom/kept_series.py), where somebody has kept them.
        title: Of a DICOM scan: patient, study and series in words, as far as its files tell, and the end of its UID.
        axes: Axes of the array in the file: "kji", or for an ``.npz`` also "jik", or "ji" for a picture.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    modality: str | None = None
    name: str = "volume"
    notes: tuple[str, ...] = ()
    spacing_known: bool = True
    nifti_forms: NiftiForms | None = None
    window: tuple[float, float] | None = None
    axes: str = "kji"
    title: tuple[str, str] = ("", "")
    file_windows: tuple[IntensityWindow, ...] = ()
    dicom: DicomScan | None = None
    headers: bytes | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3 and not (self.array.ndim == 4 and self.array.shape[3] == 3):
            raise UserError(f"A volume has axes k, j, i (and 3 colours), not the shape {self.array.shape}.")
        if self.array.size == 0:
            raise UserError("The volume has no voxels.")
        object.__setattr__(self, "ijk_to_ras", check_matrix(self.ijk_to_ras))
        view = self.array.view()
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Number of voxels along k, j, i."""
        depth, height, width = self.array.shape[:3]
        return depth, height, width

    @property
    def stated_window(self) -> IntensityWindow | None:
        """The window that the file's values were mapped with, None for none."""
        return None if self.window is None else IntensityWindow(*self.window, "as in the file")

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm^3; means nothing unless `spacing_known`."""
        return abs(float(np.linalg.det(self.ijk_to_ras[:3, :3])))


def read_volume(path: str | Path, time_point: int | None = None, series: str | None = None) -> Volume:
    """Read a scan, without any file that a header names elsewhere (see contained.py). NaN and infinite voxels stay.

    What was done to it is logged once as a warning.

    Args:
        path: An image file, or a folder of DICOM files (subfolders included).
        time_point: Which image of a time series to take, from 0; needed only for those.
        series: SeriesInstanceUID or SeriesNumber of the series to take from a DICOM folder; None for the one with most
            images.

    Raises:
        UserError: nothing there, not an image, voxels in a file elsewhere, no DICOM series in the folder or several
            that may be meant, files of it that cannot be read, a time series without ``time_point``, complex values.
    """
    path = Path(path)
    check_name(path)
    if not path.exists():
        raise UserError(f"There is no file or folder {path}; check the name.")
    try:
        volume = _read(path, time_point, series)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from error
    for note in volume.notes:
        logger.warning("%s: %s", path, note)
    return volume


def volume_name(path: str | Path) -> str:
    """File name without the ending of an image format; of a link its own name, not that of what it leads to."""
    name = Path(path).name
    name = name if name not in ("", "..") else Path(path).resolve().name
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return normal_name(name[: len(name) - len(ending)] or name)


def image_to_ras(image: SimpleITK.Image) -> np.ndarray:
    """4x4 ijk_to_ras of a 2D to 4D SimpleITK image (whose own world is LPS); a 2D image lies at z = 0, 1 mm thick."""
    dimension = image.GetDimension()
    space = min(dimension, 3)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:space, :space]
    matrix = np.eye(4)
    matrix[:space, :space] = direction * np.array(image.GetSpacing()[:space])
    matrix[:space, 3] = image.GetOrigin()[:space]
    return lps_to_ras(matrix)


def _read(path: Path, time_point: int | None, series: str | None) -> Volume:
    """The volume of an existing path; the path is in every message."""
    name = volume_name(path)
    try:
        if path.is_dir() or is_dicom(path):
            array, scan = read_dicom(path, time_point, series)
            known = scan.stack.ijk_to_ras, scan.modality, name, scan.notes, scan.spacing_known
            return Volume(array, *known, title=scan.title, file_windows=scan.windows, dicom=scan)
        if path.stat().st_size == 0:
            raise UserError("it is empty; export it again.")
        if path.name.lower().endswith(".npz"):
            from EfficientMedSAM2Lib.imaging.formats.npz import read_npz_volume

            time_index(1, time_point)
            return read_npz_volume(path)
        check_contained(path)
        check_complete(path)
        if is_nifti(path):
            nifti = read_nifti(path, time_point)
            forms = nifti.forms
            return Volume(nifti.array, nifti.ijk_to_ras, None, name, nifti.notes, nifti.spacing_known, forms)
        found = read_by_itk(path, time_point)
        notes = () if found.spacing_known else (_NO_SPACING,)
        return Volume(found.array, image_to_ras(found.image), None, name, notes, found.spacing_known)
    except ValueError as error:
        raise UserError(_located(error, path)) from error


_NO_SPACING = "The file does not say how large a voxel is: lengths and volumes are not known."


def _located(error: ValueError, path: Path) -> str:
    """The message with the file it is about, once."""
    text = str(error)
    if str(path) in text:
        return text
    return f"{path} cannot be read as a scan: {text}"
