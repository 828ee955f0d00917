"""MedSAM's ``.npz`` files: scan, reference, boxes and clicks in one archive of arrays.

MedSAM's and the CVPR challenges' files hold ``imgs`` (D,H,W), (H,W,3) or (H,W), and where there are any ``gts`` or
``segs`` of the same axes, ``spacing`` (x, y, z in mm), ``boxes``, ``clicks`` and ``clicks_order``. Files with ``image``
and ``label`` instead, (H,W) or (H,W,D), have their slices along the last axis.

Challenge files keep boxes and clicks as pickled dictionaries. Nothing but numbers, texts, lists, dictionaries and numpy
arrays is unpickled from them: a file can do no more than be wrong.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.imaging.volumes import Volume, volume_name

NPZ_SUFFIX = ".npz"
#: Names of the scan and of its label map, and the axes they have in a volume.
_SCANS = {"imgs": "kji", "image": "jik"}
_LABELS = ("gts", "segs", "label")
#: What file names of the challenges begin with -> DICOM's name of the modality, None where it has none.
_MODALITIES = {
    "CT": "CT",
    "MR": "MR",
    "MRI": "MR",
    "PET": "PT",
    "PT": "PT",
    "US": "US",
    "XRAY": "DX",
    "X-RAY": "DX",
    "MAMMO": "MG",
    "OCT": "OPT",
    "ENDOSCOPY": "ES",
    "FUNDUS": "OP",
    "DERMOSCOPY": "XC",
    "MICROSCOPY": "SM",
}
_PREFIXES = ("2DBOX_", "3DBOX_", "2D_", "3D_")
_HARMLESS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


@dataclass(frozen=True)
class NpzPrompts:
    """What an archive says of one class.

    Attributes:
        label: Its value in the label map.
        box_kji: Half-open box of one slice, ((k, k + 1), (j0, j1), (i0, i1)); None where there is none.
        slices: Half-open range of the slices that hold the object, where the file tells it.
        points: (index_kji, is_positive) of each click, in their order.
    """

    label: int
    box_kji: tuple[tuple[int, int], ...] | None = None
    slices: tuple[int, int] | None = None
    points: tuple[tuple[tuple[int, int, int], bool], ...] = ()


def read_npz_volume(path: str | Path) -> Volume:
    """The scan of an archive, (D,H,W) or (D,H,W,3), with i, j and k along L, P and S, as SimpleITK places an array.

    8-bit values, and those from 0 to 1, have been windowed by whoever made the file: `Volume.window` is their range.

    Raises:
        UserError: Not such an archive, or arrays of axes that cannot be a scan.
    """
    path = Path(path)
    with _opened(path) as archive:
        key = _scan_key(archive, path)
        array, axes = _as_kji(_read(archive, key), _SCANS[key], path, colour=True)
        spacing = _spacing(archive, path)
    return Volume(
        np.ascontiguousarray(array),
        lps_to_ras(np.diag([*spacing, 1.0])),
        npz_modality(path),
        volume_name(path),
        window=_stated_window(array),
        axes=axes,
    )


def read_npz_labels(path: str | Path) -> np.ndarray | None:
    """The label map (D,H,W) of an archive, unsigned; None where it has none.

    Raises:
        UserError: Not such an archive, or a label map of other axes than a scan's.
    """
    path = Path(path)
    with _opened(path) as archive:
        names = archive.namelist()
        key = next((key for key in _LABELS if f"{key}.npy" in names), None)
        if key is None:
            return None
        labels, _ = _as_kji(_read(archive, key), "jik" if key == "label" else "kji", path, colour=False)
    labels = np.rint(labels).clip(min=0)
    return np.ascontiguousarray(labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16))


def read_npz_prompts(path: str | Path) -> list[NpzPrompts]:
    """Boxes and clicks of an archive, one entry a class that has any; empty where there are none.

    A box has four numbers (XYXY), six (x, y, z of the first and of the last voxel; its middle slice is prompted), or
    is a dictionary with ``z_min``, ``z_max``, ``z_mid`` and the sides on the slice ``z_mid``. All ends are included.
    Clicks are (z, y, x). The classes are the values of the label map where there are as many, else 1, 2, ...

    Raises:
        UserError: Not such an archive, or boxes and clicks of another form.
    """
    path = Path(path)
    with _opened(path) as archive:
        names = archive.namelist()
        found = {key: _read(archive, key) for key in ("boxes", "clicks", "clicks_order") if f"{key}.npy" in names}
        key = _scan_key(archive, path)
        shape = _as_kji(np.broadcast_to(np.uint8(0), _header(archive, key)[0]), _SCANS[key], path, colour=True)[0].shape
    count = max((len(found[key]) for key in ("boxes", "clicks") if key in found), default=0)
    if count == 0:
        return []
    labels = read_npz_labels(path)
    values = [] if labels is None else [int(value) for value in np.unique(labels) if value]
    if len(values) != count:
        values = list(range(1, count + 1))
    prompts = []
    try:
        for number, label in enumerate(values):
            given, clicks, order = (_item(found.get(key), number) for key in ("boxes", "clicks", "clicks_order"))
            box, slices = (None, None) if given is None else _box(given, shape[:3])
            prompts.append(NpzPrompts(label, box, slices, _points(clicks or {}, () if order is None else order)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: boxes or clicks are not as MedSAM's files have them ({error}).") from error
    return [entry for entry in prompts if entry.box_kji or entry.points]


def npz_holds(path: str | Path) -> tuple[bool, bool]:
    """Whether an archive holds a scan, and whether a label map.

    Raises:
        UserError: It is no archive.
    """
    with _opened(Path(path)) as archive:
        names = archive.namelist()
    return any(f"{key}.npy" in names for key in _SCANS), any(f"{key}.npy" in names for key in _LABELS)


def npz_shape(path: str | Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and number type of the scan, from its header.

    Raises:
        UserError: Not such an archive.
    """
    path = Path(path)
    with _opened(path) as archive:
        return _header(archive, _scan_key(archive, path))


def write_npz(path: str | Path, labels: np.ndarray, axes: str = "kji") -> None:
    """Write a label map as ``segs``, which the challenges' programs read, whole or not at all.

    Args:
        path: The ``.npz`` file.
        labels: (D,H,W) unsigned.
        axes: `Volume.axes` of the scan, so that the label map has its axes.
    """
    if axes == "ji":
        labels = labels[0]
    elif axes == "jik":
        labels = np.moveaxis(labels, 0, -1)

    def check(file: Path) -> None:
        with np.load(file, allow_pickle=False) as content:
            if not np.array_equal(content["segs"], labels):
                raise UserError(f"Cannot write {path}: it reads back as another label map than was written.")

    with replacing(path, check) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, segs=labels)


def npz_modality(path: str | Path) -> str | None:
    """DICOM's name of the modality that a file name of the challenges begins with; None for other names."""
    name = Path(path).name.upper()
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return _MODALITIES.get(name.split("_")[0])


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists, dictionaries and numpy arrays of them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it holds an object of type {module}.{name}, which is not read")
        return super().find_class(module, name)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UserError(f"There is no file {path}; check the name.")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} cannot be read as an .npz archive ({error}); copy or save it again.") from error


def _scan_key(archive: zipfile.ZipFile, path: Path) -> str:
    names = archive.namelist()
    key = next((key for key in _SCANS if f"{key}.npy" in names), None)
    if key is None:
        held = ", ".join(name.removesuffix(".npy") for name in names) or "nothing"
        raise UserError(f"{path} holds no scan: it needs an array 'imgs' (D,H,W) or 'image' (H,W,D), and has {held}.")
    return key


def _header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(f"{key}.npy") as stream:
        return _read_header(stream, archive, key)


def _read_header(stream: IO[bytes], archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive.filename}: the array {key!r} cannot be read ({error}); save it again.") from error
    return shape, dtype


def _read(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """An array of the archive; dictionaries in it only of plain values."""
    try:
        with archive.open(f"{key}.npy") as stream:
            if _read_header(stream, archive, key)[1].hasobject:
                return np.asarray(_PlainUnpickler(stream).load())
        with archive.open(f"{key}.npy") as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, pickle.UnpicklingError, AttributeError) as error:
        raise UserError(f"{archive.filename}: the array {key!r} cannot be read ({error}); save it again.") from error


def _as_kji(array: np.ndarray, axes: str, path: Path, colour: bool) -> tuple[np.ndarray, str]:
    """An array as (D,H,W) or (D,H,W,3), and the axes it has in the file: "kji", "jik" or "ji"."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise UserError(f"{path} holds an array of shape {array.shape} and type {array.dtype}, which is no image.")
    is_colour = colour and array.ndim in (3, 4) and array.shape[-1] == 3 and (array.ndim == 4 or axes == "kji")
    spatial = array.ndim - is_colour
    if spatial == 2:
        return array[np.newaxis], "ji"
    if spatial != 3:
        raise UserError(f"{path} holds an array of shape {array.shape}; a scan has three axes, and perhaps colours.")
    return (np.moveaxis(array, 2, 0), axes) if axes == "jik" else (array, axes)


def _spacing(archive: zipfile.ZipFile, path: Path) -> list[float]:
    """Distance of voxels along i, j and k in mm; 1 where the file does not say."""
    if "spacing.npy" not in archive.namelist():
        return [1.0, 1.0, 1.0]
    values = [float(value) for value in np.ravel(_read(archive, "spacing"))]
    if len(values) not in (2, 3) or not all(np.isfinite(value) and value > 0 for value in values):
        raise UserError(f"{path}: 'spacing' is {values}; it needs three positive numbers, x, y and z in mm.")
    return [*values, 1.0][:3]


def _stated_window(array: np.ndarray) -> tuple[float, float] | None:
    if array.dtype == np.uint8:
        return 0.0, 255.0
    if array.dtype == bool or (array.dtype.kind == "f" and array.min() >= 0 and 0 < array.max() <= 1):
        return 0.0, 1.0
    return None


def _item(listed: np.ndarray | None, number: int) -> Any:
    return None if listed is None or number >= len(listed) else listed[number]


def _box(given: Any, shape: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], tuple[int, int] | None]:
    """Half-open box on one slice, and the range of slices where it is told."""
    if isinstance(given, dict):
        low, high, middle = (round(float(given[name])) for name in ("z_min", "z_max", "z_mid"))
        left, top, right, bottom = (float(given[f"z_mid_{side}"]) for side in ("x_min", "y_min", "x_max", "y_max"))
    else:
        numbers = [float(value) for value in given]
        if len(numbers) == 4:
            numbers = [*numbers[:2], 0.0, *numbers[2:], 0.0]
        left, top, first, right, bottom, last = numbers
        low, high = round(first), round(last)
        middle = (low + high) // 2
    (k, _), rows, columns = (
        (max(0, min(round(start), size - 1)), max(1, min(round(stop) + 1, size)))
        for start, stop, size in zip((middle, top, left), (middle, bottom, right), shape)
    )
    return ((k, k + 1), rows, columns), ((max(0, low), min(high + 1, shape[0])) if shape[0] > 1 else None)


def _points(clicks: Any, order: Any) -> tuple[tuple[tuple[int, int, int], bool], ...]:
    """Clicks in the order they were made, else those inside first."""
    waiting = {"fg": list(clicks.get("fg", ())), "bg": list(clicks.get("bg", ()))}
    kinds = [str(kind) for kind in order if str(kind) in waiting]
    if len(kinds) != sum(len(listed) for listed in waiting.values()):
        kinds = ["fg"] * len(waiting["fg"]) + ["bg"] * len(waiting["bg"])
    points = []
    for kind in kinds:
        z, y, x = (int(value) for value in waiting[kind].pop(0))
        points.append(((z, y, x), kind == "fg"))
    return tuple(points)
