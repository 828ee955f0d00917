"""NIfTI-1 and NIfTI-2 as they are: both of a file's places, sheared ones too, and scaled values.

ITK refuses an sform that is off square by 0.01 degrees, and takes the qform without a word where the two differ.
Headers are nibabel's.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.components import one_volume

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: Two places of a scan are the same when no voxel differs by more than this share of its size.
SAME_PLACE = 0.1
#: Size of the header: where its magic is, that of a single file, that of a header with its voxels in another file.
_MAGIC = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0", b"ni2\0")}
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # metres and micrometres; everything else is taken for mm, as by other programs
_VECTOR_FIELDS = (1005, 1006)  # NIfTI's intents for symmetric matrices and displacements
_DEFLATE_AT_MOST = 1040


@dataclass(frozen=True)
class NiftiForms:
    """The two places that a NIfTI header gives a scan, RAS mm, with their codes; 0 says that one is not used."""

    sform: np.ndarray
    sform_code: int
    qform: np.ndarray
    qform_code: int


@dataclass(frozen=True)
class NiftiScan:
    """A scan as a NIfTI file holds it: array (D,H,W) or (D,H,W,3), RAS matrix, both forms, and what is to be said."""

    array: np.ndarray
    ijk_to_ras: np.ndarray
    forms: NiftiForms | None
    notes: tuple[str, ...]
    spacing_known: bool


def is_nifti(path: Path) -> bool:
    """True for a NIfTI file, packed or not, whatever it is called, or one of a pair ``.hdr`` and ``.img``."""
    try:
        with _opened(_pair_of(path)[0]) as stream:
            return _header_size(stream.read(348)) is not None
    except (OSError, EOFError, zlib.error):
        return False


def read_nifti(path: Path, time_point: int | None = None) -> NiftiScan:
    """Read a scan. NaN and infinite voxels stay.

    Args:
        path: A file that `is_nifti`.
        time_point: Which volume of a time series, from 0.

    Raises:
        UserError: It is damaged or cut off, complex, or a time series without ``time_point``.
    """
    header_path, voxels_path = _pair_of(path)
    try:
        with _opened(header_path) as stream:
            header = _read_header(stream)
        shape = tuple(int(size) for size in header.get_data_shape())
        with _opened(voxels_path) as stream:
            array = _read_array(stream, header, shape, voxels_path, time_point, header_path == voxels_path)
    except (OSError, EOFError, zlib.error, MemoryError, OverflowError) as error:
        raise UserError("it is cut off or damaged; copy or export it again.") from error
    matrix, forms, notes, known = _place(header)
    return NiftiScan(array, matrix, forms, notes, known)


def _pair_of(path: Path) -> tuple[Path, Path]:
    """Files of header and voxels: twice the same, but for a pair."""
    for ending in (".hdr.gz", ".img.gz", ".hdr", ".img"):
        if path.name.lower().endswith(ending):
            stem, packed = path.name[: -len(ending)], ending[4:]
            header, voxels = (path.with_name(f"{stem}{part}{packed}") for part in (".hdr", ".img"))
            return (header, voxels) if header.is_file() and voxels.is_file() else (path, path)
    return path, path


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            stream.seek(0)
            yield stream
            return
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield unpacked


def _header_size(start: bytes) -> int | None:
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        if size in _MAGIC:
            at, *magics = _MAGIC[size]
            return size if start[at : at + 4] in magics else None
    return None


def _read_header(stream: Any) -> Nifti1Header:
    from nibabel import Nifti1Header, Nifti2Header

    size = _header_size(stream.read(348))
    stream.seek(0)
    try:
        return (Nifti2Header if size == 540 else Nifti1Header).from_fileobj(stream, check=False)
    except Exception as error:  # nibabel's own class for a header that is too short
        raise EOFError from error


def _read_array(
    stream: Any,
    header: Nifti1Header,
    shape: tuple[int, ...],
    path: Path,
    time_point: int | None,
    single: bool,
) -> np.ndarray:
    from nibabel.volumeutils import array_from_file

    if not 1 <= len(shape) <= 7 or min(shape) < 1:
        raise UserError("its header is damaged: it gives no size of the image.")
    try:
        kind = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel's own class for codes that it does not know
        raise UserError("its header is damaged: it gives no known type of voxels.") from error
    if np.issubdtype(kind, np.complexfloating):
        raise UserError("complex values are no picture; save the magnitude instead.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = shape + (1,) * (3 - len(shape))
    if len(shape) > 5 or (len(shape) == 5 and shape[3] > 1):
        raise UserError(f"an image of {len(shape)} dimensions is not supported; save one volume of it.")
    count = int(np.prod(shape[3:]))
    if len(shape) == 5 and int(header["intent_code"]) in _VECTOR_FIELDS:
        raise UserError("it is a field of matrices or displacements, which is no picture.")
    wanted = one_volume(count, time_point, None if len(shape) == 5 else "time")
    first, number = (wanted.start or 0), len(range(*wanted.indices(count)))
    voxels = int(np.prod(shape[:3], dtype=object))
    offset = int(header["vox_offset"])
    offset = max(offset, 352 if int(header["sizeof_hdr"]) == 348 else 544) if single else max(offset, 0)
    end = offset + voxels * kind.itemsize * (first + number)
    if end > path.stat().st_size * (_DEFLATE_AT_MOST if isinstance(stream, gzip.GzipFile) else 1):
        raise EOFError
    raw = array_from_file((*shape[:3], number), kind, stream, offset + first * voxels * kind.itemsize, mmap=False)
    if first + number == count:
        stream.read(1)  # the end of a packed file is where its check sum is compared
    values = _values(raw, header)
    return np.ascontiguousarray(values.transpose(2, 1, 0, *range(3, values.ndim)))


def _values(raw: np.ndarray, header: Nifti1Header) -> np.ndarray:
    """(i,j,k) or (i,j,k,3) values in the byte order of this machine, scaled where the header says so."""
    values: Any = raw[..., 0] if raw.shape[-1] == 1 else raw
    if values.dtype.names:  # RGB or RGBA
        return np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    intercept = intercept if np.isfinite(intercept) else 0.0
    if not np.isfinite(slope) or slope == 0.0 or (slope, intercept) == (1.0, 0.0):
        return np.asarray(values)
    wide = values.dtype.itemsize > 2 and values.dtype != np.float32
    scaled = values.astype(np.float64 if wide else np.float32)
    scaled *= slope
    scaled += intercept
    return np.asarray(scaled)


def _place(header: Any) -> tuple[np.ndarray, NiftiForms | None, tuple[str, ...], bool]:
    """Matrix of the voxels, both forms, notes, and whether the size of a voxel is known."""
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    scale = np.diag([unit, unit, unit, 1.0])
    sizes = np.asarray(header["pixdim"][1:4], dtype=float)
    known = bool(np.isfinite(sizes).all() and (sizes > 0).all())
    sform, qform = scale @ np.asarray(header.get_sform(), float), _qform(header, known)
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    qform = None if qform is None else scale @ qform
    has_sform, has_qform = sform_code > 0 and _is_matrix(sform), qform_code > 0 and _is_matrix(qform)
    if not has_sform and not has_qform:
        spacing = sizes if known else np.ones(3)
        # ITK's place, which 3D Slicer shows and prompts are drawn on; nibabel centres the scan instead
        matrix = np.diag([-spacing[0] * unit, -spacing[1] * unit, spacing[2] * unit, 1.0])
        note = "The file says nothing of its place in the patient (sform and qform codes are 0): it was put at 0."
        return matrix, None, (note,), known
    if qform is None or not has_qform:
        return sform, None, (), True
    forms = NiftiForms(sform, sform_code, qform, qform_code)
    if not has_sform:
        broken = ("Its sform is no matrix; the qform was used.",) if sform_code > 0 else ()
        return qform, None, broken, known
    shape = np.asarray(header.get_data_shape()[:3])
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, : len(shape)] *= np.maximum(shape - 1, 0)
    apart = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    if apart <= SAME_PLACE * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
        return sform, forms, (), True
    note = (
        f"Its sform (code {sform_code}) and qform (code {qform_code}) place it up to {apart:.1f} mm apart: the sform "
        "was used, as nibabel, FSL and SPM do; programs built on ITK may take the qform. NIfTI results keep both."
    )
    return sform, forms, (note,), True


def _qform(header: Any, known: bool) -> np.ndarray | None:
    if not known:
        return None
    try:
        return np.asarray(header.get_qform(), dtype=float)
    except Exception:  # a quaternion that is none
        return None


def _is_matrix(matrix: np.ndarray | None) -> bool:
    if matrix is None or not np.isfinite(matrix).all():
        return False
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(lengths.min() > 0 and abs(np.linalg.det(matrix[:3, :3] / lengths)) > 1e-6)
