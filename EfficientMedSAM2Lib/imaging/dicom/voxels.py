"""Voxels of DICOM frames: decoded, each with its own rescale, and put on the grid of a stack."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import last_line
from EfficientMedSAM2Lib.imaging.dicom.frames import Frame
from EfficientMedSAM2Lib.imaging.dicom.stack import Stack
from EfficientMedSAM2Lib.imaging.formats.files import quiet_libraries

if TYPE_CHECKING:
    from pydicom import Dataset

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_NATIVE = {_IMPLICIT, _EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
_PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)
#: What nearly all images are, for those whose header does not say it.
_USUAL = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "PixelRepresentation": 0,
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
#: More than this many times the size of its file, an image above 64 MB is no image but a damaged header.
_MOST_COMPRESSED, _ALWAYS_ALLOWED = 10_000, 1 << 26


def read_voxels(frames: Sequence[Frame]) -> np.ndarray:
    """Voxels (N, rows, columns) or (N, rows, columns, 3) of frames, in their order.

    Each frame has its own slope and intercept. The type is that of the file where nothing is rescaled, a whole-number
    type that holds all values where slopes and intercepts are whole numbers, and float32 otherwise.

    Raises:
        UserError: A frame cannot be decoded; it is named.
    """
    stored: np.ndarray | None = None
    scales: list[tuple[float, float]] = []
    ends: list[tuple[float, float]] = []
    cache: tuple[Path, Dataset, np.ndarray] | None = None
    for n, frame in enumerate(frames):
        try:
            if cache is None or cache[0] != frame.path:
                dataset = _read(frame.path)
                cache = (frame.path, dataset, decode(dataset, frame.path))
            _, dataset, pixels = cache
            image, scale = _modality_values(dataset, pixels[frame.index], frame.index)
        except Exception as error:  # decoders raise nearly everything
            raise UserError(f"{frame.path} cannot be read as an image ({_reason(error)}); copy it again.") from error
        if stored is None:
            stored = np.empty((len(frames), *image.shape), dtype=image.dtype)
        if image.shape != stored.shape[1:]:
            raise UserError(f"{frame.path} is of another kind of pixels than the rest of its series.")
        stored = stored.astype(np.result_type(stored, image), copy=False)
        stored[n] = image
        scales.append(scale)
        ends.append((image.min() * scale[0] + scale[1], image.max() * scale[0] + scale[1]))
    if stored is None:
        raise UserError("There is no frame to read.")
    return _rescaled(stored, np.array(scales), np.array(ends))


def on_grid(voxels: np.ndarray, stack: Stack) -> np.ndarray:
    """Voxels of the slices of a stack, in its order, on its grid: between two slices, and beside them, linearly.

    A slice that lies on the grid is taken as it is.
    """
    if stack.is_even:
        return voxels
    whole = np.issubdtype(voxels.dtype, np.integer)
    slices: list[np.ndarray] = [_shifted(image, shift) for image, shift in zip(voxels, stack.shifts_ij)]
    grid: np.ndarray = np.empty((stack.depth, *voxels.shape[1:]), dtype=voxels.dtype)
    for k in range(stack.depth):
        after = int(np.searchsorted(stack.places, k))
        if (after < len(slices) and stack.places[after] == k) or after == 0:
            grid[k] = slices[min(after, len(slices) - 1)]
            continue
        if after == len(slices):
            grid[k] = slices[-1]
            continue
        first, second = stack.places[after - 1], stack.places[after]
        share = (k - first) / (second - first)
        mixed = (1.0 - share) * slices[after - 1].astype(np.float32) + share * slices[after].astype(np.float32)
        grid[k] = np.rint(mixed) if whole else mixed
    return grid


def _shifted(image: np.ndarray, shift_ij: np.ndarray) -> np.ndarray:
    """A slice as it is at its place on the grid; its border goes on outside."""
    if not shift_ij.any():
        return image
    from scipy import ndimage

    shift = (shift_ij[1], shift_ij[0], *([0.0] * (image.ndim - 2)))
    moved: np.ndarray = ndimage.shift(image, shift, order=1, mode="nearest")
    return moved


def _read(path: Path) -> Dataset:
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(path, force=True)


def decode(dataset: Dataset, path: Path) -> np.ndarray:
    """Stored values of all frames: (frames, rows, columns) or (frames, rows, columns, 3).

    Raises:
        Exception: Whatever a decoder raises for damaged pixels.
    """
    from pydicom.uid import UID

    for name, value in _USUAL.items():
        if dataset.get(name) in (None, ""):
            setattr(dataset, name, value)
    frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.BitsAllocated)
    if not dataset.get("BitsStored"):
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
    size = frames * int(dataset.Rows) * int(dataset.Columns) * samples * bits // 8
    if size > max(_ALWAYS_ALLOWED, _MOST_COMPRESSED * path.stat().st_size):
        raise UserError(f"its header announces {size / 1e9:.1f} GB")
    grey = samples == 1 and str(dataset.get("PhotometricInterpretation", "MONOCHROME2")).startswith("MONOCHROME")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(_IMPLICIT if dataset.is_implicit_VR else _EXPLICIT)
    if grey and dataset.file_meta.TransferSyntaxUID in _NATIVE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels: np.ndarray = dataset.pixel_array
        pixels = _without_overlays(pixels, dataset) if bits in (16, 32) and "PixelData" in dataset else pixels
    else:
        pixels = _decoded_by_itk(dataset)
    return pixels.reshape(frames, int(dataset.Rows), int(dataset.Columns), *(() if grey else (3,)))


def _without_overlays(pixels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Values without what old files keep in the bits above the highest: overlays, or nothing."""
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored") or allocated)
    above = allocated - 1 - int(dataset.get("HighBit", stored - 1))
    if not 0 < stored < allocated or not 0 <= above <= allocated - stored:
        return pixels
    low, high = (-(1 << (stored - 1)), 1 << (stored - 1)) if pixels.dtype.kind == "i" else (0, 1 << stored)
    if above == allocated - stored and low <= pixels.min() and pixels.max() < high:
        return pixels
    cleaned: np.ndarray = (pixels << above) >> (allocated - stored)
    return cleaned


def _decoded_by_itk(dataset: Dataset) -> np.ndarray:
    """Compressed and coloured pixels by GDCM, which has all the codecs; without the rescale, which it would apply."""
    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    plain, meta = Dataset(), FileMetaDataset()
    for name in _PIXEL_MODULE:
        if name in dataset:
            plain[name] = dataset[name]
    plain["PixelData"] = dataset["PixelData"]
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = plain.SOPClassUID = UID(_SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = plain.SOPInstanceUID = generate_uid()
    plain.file_meta = meta
    with tempfile.TemporaryDirectory() as folder, quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "image.dcm"
        plain.is_little_endian, plain.is_implicit_VR = dataset.is_little_endian, dataset.is_implicit_VR
        plain.save_as(path, write_like_original=False)  # what pydicom 2, which 3D Slicer has, and 3 both know
        decoded: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return decoded


def _modality_values(dataset: Dataset, image: np.ndarray, index: int) -> tuple[np.ndarray, tuple[float, float]]:
    """A frame with what a table says of its values, and its slope and intercept."""
    item: Any = dataset
    if "PerFrameFunctionalGroupsSequence" in dataset or "SharedFunctionalGroupsSequence" in dataset:
        item = _transformation(dataset, index) or dataset
    if item.get("ModalityLUTSequence"):
        from pydicom.pixel_data_handlers.util import apply_modality_lut

        return apply_modality_lut(image, item), (1.0, 0.0)
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    scale = (1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept))
    if not np.isfinite(scale).all():
        raise UserError("its rescale is not finite")
    return image, (scale[0] or 1.0, scale[1])  # a slope of 0 would leave nothing of the image


def _transformation(dataset: Dataset, index: int) -> Any:
    """Rescale item of a frame of an enhanced object, its own or that of all frames; None where there is none."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])[index : index + 1]
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    found = (group.get("PixelValueTransformationSequence") for group in groups)
    return next((sequence[0] for sequence in found if sequence), None)


def _rescaled(stored: np.ndarray, scales: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Values of all frames (N, ...) with the slope and intercept (N, 2) of each; ``ends`` are the extremes of them."""
    if (scales == (1.0, 0.0)).all():
        return stored
    whole = np.issubdtype(stored.dtype, np.integer) and (scales == np.rint(scales)).all()
    kind = _whole_type(ends) if whole else None
    if kind is None:
        return np.stack(
            [(image * slope + intercept).astype(np.float32) for image, (slope, intercept) in zip(stored, scales)]
        )
    # Whole numbers wrap around, and what wraps on the way is right in the end, as the results fit: no wider copy.
    values: np.ndarray = stored.view(kind) if stored.dtype.itemsize == np.dtype(kind).itemsize else stored.astype(kind)
    for image, scale in zip(values, scales.astype(np.int64).astype(kind)):
        if scale[0] != 1:
            image *= scale[0]
        image += scale[1]
    return values


def _whole_type(ends: np.ndarray) -> type | None:
    for kind in (np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= ends.min() and ends.max() <= np.iinfo(kind).max:
            return kind
    return None


def _reason(error: Exception) -> str:
    text = last_line(error).rstrip(".")
    return text if len(text) <= 160 else text[:157] + "..."
