"""Image files by ITK: NRRD, MetaImage, pictures and whatever else it knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import last_line
from EfficientMedSAM2Lib.imaging.components import check_kind, one_volume, time_index
from EfficientMedSAM2Lib.imaging.formats.contained import image_reader
from EfficientMedSAM2Lib.imaging.formats.files import quiet_libraries
from EfficientMedSAM2Lib.imaging.formats.text_headers import DEFLATE_AT_MOST, read_stated

if TYPE_CHECKING:
    import SimpleITK

_HEADERS_ONLY = (".nhdr", ".mhd", ".hdr")
_SUSPICIOUS_BYTES = 1 << 28


@dataclass(frozen=True)
class ItkScan:
    """Array (D,H,W) or (D,H,W,3), the image whose place it has, and whether the file says how large a voxel is."""

    array: np.ndarray
    image: SimpleITK.Image
    spacing_known: bool


def read_by_itk(path: Path, time_point: int | None = None) -> ItkScan:
    """Read an image file.

    Raises:
        UserError: It cannot be read, its voxels are elsewhere, it is cut off, complex, or a time series without
            ``time_point``.
    """
    import SimpleITK as sitk

    stated = read_stated(path)
    check_kind(stated.components)
    try:
        with quiet_libraries():
            reader = image_reader(path)
            reader.ReadImageInformation()
            _check_announced(reader, path)
            image = reader.Execute()
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(_reason(error)) from error
    array = sitk.GetArrayFromImage(image)  # a copy, in k, j, i (component) order
    if np.iscomplexobj(array):
        raise UserError("complex values are no picture; save the magnitude instead.")
    dimension, count = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if dimension > 4 or (dimension == 4 and count > 1):
        raise UserError(f"an image of {dimension} dimensions is not supported; save one volume of it.")
    if dimension == 4:
        array = array[time_index(array.shape[0], time_point)]
    elif count > 1:
        wanted = one_volume(count, time_point, stated.components)
        array = array[..., wanted] if len(range(*wanted.indices(count))) == 3 else array[..., wanted.start or 0]
    else:
        time_index(1, time_point)
    array = array[np.newaxis] if dimension == 2 else array
    return ItkScan(np.ascontiguousarray(array), image, stated.spacing_known)


def voxel_bytes(path: Path) -> int:
    """Bytes of an image's voxels in memory, from its header alone.

    Raises:
        UserError: It is not an image of a format that is read here.
        RuntimeError: ITK cannot read its header.
        OSError: The file cannot be read.
    """
    import SimpleITK as sitk

    with quiet_libraries():
        reader = image_reader(path)
        reader.ReadImageInformation()
    count = reader.GetNumberOfComponents()
    pixel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID(), count)
    return math.prod(reader.GetSize()) * count * int(sitk.GetArrayViewFromImage(pixel).itemsize)


def _check_announced(reader: SimpleITK.ImageFileReader, path: Path) -> None:
    """A few bytes that announce gigabytes are a damaged header: refused before memory is taken for them."""
    announced = float(np.prod([float(size) for size in reader.GetSize()])) * reader.GetNumberOfComponents()
    packed = path.stat().st_size * DEFLATE_AT_MOST
    if announced > max(_SUSPICIOUS_BYTES, packed) and path.suffix.lower() not in _HEADERS_ONLY:
        raise UserError(f"its header is damaged: it announces {announced / 1e9:.1f} GB")


def _reason(error: BaseException) -> str:
    """ITK's reason in a few words: without its prefixes and pointers."""
    line = last_line(error).split("ITK ERROR:")[-1].strip()
    if "Unable to determine ImageIO reader" in line:
        return "its content is that of no known format, whatever it is called"
    line = line.split("): ", 1)[-1].rstrip(".")
    return line if len(line) <= 160 else line[:157] + "..."
