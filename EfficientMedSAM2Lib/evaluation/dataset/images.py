"""Images with their label maps in memory, and their slices."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import spacing_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.evaluation.dataset.label_groups import unions_of
from EfficientMedSAM2Lib.evaluation.dataset.manifest import Manifest, ManifestEntry
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, read_npz_labels, read_npz_volume

logger = logging.getLogger(__name__)

# Atlas labels are drawn for another brain or another image: their borders do not follow the edges seen here.
ATLAS_WEIGHTS: dict[str, float] = {"mricron_ch2/ch2_aal": 0.1, "torchio_fernando": 0.4}


@dataclass(frozen=True)
class LoadedImage:
    """One image with its label map, in its own number type, and the window that makes [0, 1] of it."""

    name: str
    dataset: str
    modality: str
    voxels: np.ndarray  # (D, H, W) or (D, H, W, 3)
    labels: np.ndarray  # (D, H, W) unsigned
    spacing_mm: tuple[float, float, float]  # k, j, i
    window: tuple[float, float]
    is_hounsfield: bool = False
    is_instance_map: bool = False
    label_names: dict[int, str] = field(default_factory=dict)
    unions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weight: float = 1.0

    @property
    def is_volume(self) -> bool:
        """Whether there is more than one slice."""
        return self.voxels.shape[0] > 1

    def slice_spacing(self, axis: int) -> tuple[float, float]:
        """Pixel spacing (rows, columns) in mm of a slice perpendicular to a kji axis."""
        row, column = (self.spacing_mm[other] for other in in_plane_axes(axis))
        return row, column

    def slice_voxels(self, axis: int, index: int) -> np.ndarray:
        """Slice (H, W) or (H, W, 3) as a view, in the image's number type."""
        return np.moveaxis(self.voxels, axis, 0)[index]

    def slice_labels(self, axis: int, index: int) -> np.ndarray:
        """Label values (H, W) of a slice as a view."""
        return np.moveaxis(self.labels, axis, 0)[index]


def load_images(manifest: Manifest, entries: Iterable[ManifestEntry]) -> list[LoadedImage]:
    """Read entries into memory.

    Args:
        manifest: where the files are.
        entries: entries of it, for example `manifest.select("train", labelled=True)`.

    Returns:
        One loaded image per entry, without empty label maps and images that overflowed when they were stored.
    """
    loaded, left_out = [], []
    for entry in entries:
        image = load_image(manifest, entry)
        if (entry.label is not None and not image.labels.any()) or is_overflowed(image.voxels):
            left_out.append(entry.image)
        else:
            loaded.append(image)
    if left_out:
        logger.warning("Left out %d images without labels or stored saturated: %s", len(left_out), ", ".join(left_out))
    return loaded


def load_image(manifest: Manifest, entry: ManifestEntry) -> LoadedImage:
    """Read one entry: image, label map (zeros where there is none), spacing and window.

    Raises:
        UserError: image and label map differ in shape.
    """
    voxels, spacing_mm, stated = _read_scan(manifest.image_path(entry))
    if entry.label is None:
        labels = np.broadcast_to(np.uint8(0), voxels.shape[:3])
    else:
        labels = _read_labels(manifest.label_path(entry))
    if voxels.shape[:3] != labels.shape:
        raise UserError(
            f"Label map of '{entry.image}' has shape {labels.shape}, the image {voxels.shape[:3]}: resample the labels."
        )
    if entry.label is not None:
        labels = np.rint(labels).clip(min=0).astype(np.uint8 if labels.max() < 256 else np.uint16)
    window = IntensityWindow(*stated) if stated else choose_window(voxels, entry.modality or None)
    weight = next((value for prefix, value in ATLAS_WEIGHTS.items() if entry.image.startswith(prefix)), 1.0)
    return LoadedImage(
        name=entry.image,
        # An atlas is balanced as a set of its own, so that its low weight does not touch its neighbours.
        dataset=entry.dataset if weight == 1.0 else f"{entry.dataset} (atlas)",
        modality=entry.modality,
        voxels=voxels,
        labels=labels,
        spacing_mm=spacing_mm,
        window=(float(window.low), float(window.high)),
        is_hounsfield=entry.modality.startswith("CT") and voxels.dtype != np.uint8 and float(voxels.min()) < -150,
        is_instance_map=entry.is_instance_map,
        label_names=entry.names_of_values,
        unions=unions_of(entry.names_of_values),
        weight=weight,
    )


def is_overflowed(voxels: np.ndarray) -> bool:
    """Whether integers overflowed when the image was stored: most voxels have the largest value, some hardly any."""
    return voxels.dtype == np.int16 and int(voxels.max()) == 32767 and float((voxels == 32767).mean()) > 0.5


def windowed(voxels: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map low..high to 0..1 with clipping, as float32 of the same shape."""
    low, high = window
    scaled = voxels.astype(np.float32)
    scaled -= low
    scaled *= 1.0 / max(high - low, 1e-6)
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _read_scan(path: Path) -> tuple[np.ndarray, tuple[float, float, float], tuple[float, float] | None]:
    """Voxels, spacing (k, j, i) and the window that the file states, None where it states none."""
    if path.suffix.lower() != NPZ_SUFFIX:
        return (*_read_array(path), None)
    volume = read_npz_volume(path)
    i, j, k = (float(value) for value in spacing_of(volume.ijk_to_ras))
    return volume.array, (k, j, i), volume.window


def _read_labels(path: Path) -> np.ndarray:
    """Label map (D, H, W)."""
    if path.suffix.lower() == NPZ_SUFFIX:
        labels = read_npz_labels(path)
        if labels is None:
            raise UserError(f"'{path}' holds no label map: an .npz needs 'gts' or 'label'.")
        return labels
    labels, _ = _read_array(path)
    return labels[..., 0] if labels.ndim == 4 else labels


def _read_array(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"'{path}' cannot be read as an image: check that the file is complete.") from error
    array = SimpleITK.GetArrayFromImage(image)
    spacing = tuple(float(value) for value in image.GetSpacing()[::-1])
    is_colour = image.GetNumberOfComponentsPerPixel() > 1
    if is_colour:
        array = array[..., :3] if array.shape[-1] >= 3 else array[..., 0]
    if image.GetDimension() == 2:
        # A photograph or an ultrasound frame: its resolution tag says nothing of the body, so pixels count as 1 mm.
        array, spacing = array[None], (1.0, 1.0, 1.0)
    if array.dtype.kind == "f":
        array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return np.ascontiguousarray(array), (spacing[0], spacing[1], spacing[2])
