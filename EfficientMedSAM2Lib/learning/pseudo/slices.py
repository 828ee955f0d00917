"""Slices to label: which slices of which images, windowed, cropped to what is not background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.manifest import ManifestEntry
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, read_npz_volume

SOFT_TISSUE = (-160.0, 240.0)  # W400 L40
LUNG = (-1350.0, 150.0)  # W1500 L-600
BRAIN = (0.0, 80.0)  # W80 L40
MAX_ANISOTROPY = 1.3  # reformatted slices only where voxels are nearly cubes
CROP_MARGIN_PX = 8


@dataclass(frozen=True)
class SliceRequest:
    """One slice of one image to be labelled; axis is in k, j, i order and None for a 2D image."""

    name: str
    entry: ManifestEntry
    axis: int | None
    index: int
    window: tuple[float, float] | None
    window_name: str


@dataclass(frozen=True)
class PreparedSlice:
    """A windowed and cropped slice: (H, W) uint8, and [y0, y1, x0, x1] of the crop in the whole slice."""

    image: np.ndarray
    crop: tuple[int, int, int, int]
    spacing: tuple[float, float]


def read_array(path: Path) -> np.ndarray:
    """Read an image with k, j, i index order; colour pictures become grey."""
    if path.suffix.lower() == NPZ_SUFFIX:
        array = read_npz_volume(path).array
        return array.mean(axis=-1) if array.ndim == 4 else array
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    array = SimpleITK.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = array[..., :3].mean(axis=-1)
    return array


def plan_slices(entry: ManifestEntry, volume: np.ndarray, axial: int, reformatted: int) -> Iterator[SliceRequest]:
    """List the slices of a volume to label: `axial` along the first axis, `reformatted` along each other axis."""
    name = Path(entry.image).name.split(".")[0]
    spacing = np.asarray(entry.spacing or (1.0, 1.0, 1.0), dtype=float)
    isotropic = spacing.max() / spacing.min() <= MAX_ANISOTROPY
    for window_name, window in choose_windows(volume, entry.modality, entry.anatomy).items():
        share = axial if window_name in ("soft", "percentile") else max(3, axial // 2)
        for axis in range(3):
            wanted = share if axis == 0 else (reformatted if isotropic and window_name != "lung" else 0)
            # The ends of a volume are mostly air.
            positions = np.linspace(0.08, 0.92, wanted) * (volume.shape[axis] - 1)
            for index in np.unique(positions.round().astype(int)):
                key = f"{name}_{window_name}_{'kji'[axis]}{index:03d}"
                yield SliceRequest(key, entry, axis, int(index), window, window_name)


def choose_windows(volume: np.ndarray, modality: str, anatomy: str) -> dict[str, tuple[float, float]]:
    """Choose one or two intensity windows for a volume."""
    sample = volume[:: max(1, volume.shape[0] // 40), ::2, ::2].astype(np.float32)
    offset = 0.0
    if modality.startswith("CT") and sample.min() >= 0 and sample.max() > 1500:
        offset = 1024.0  # stored without the sign
    if not modality.startswith("CT") or (sample.min() >= -200 and offset == 0):
        positive = sample[sample > sample.min() + 0.02 * (sample.max() - sample.min())]
        low, high = np.percentile(positive, (0.5, 99.5))
        return {"percentile": (float(min(low, sample.min())), float(high))}
    windows = {"soft": SOFT_TISSUE}
    if "head" in anatomy or "brain" in anatomy:
        windows["brain"] = BRAIN
    else:
        hounsfield = sample - offset
        inside = hounsfield[(hounsfield > -950) & (hounsfield < 2000)]
        if ((inside > -900) & (inside < -600)).mean() > 0.06:
            windows["lung"] = LUNG
    return {name: (low + offset, high + offset) for name, (low, high) in windows.items()}


def prepare_slice(request: SliceRequest, volume: np.ndarray) -> PreparedSlice | None:
    """Window and crop a slice; None when it is nearly empty."""
    if request.axis is None:
        plane, spacing = volume.squeeze().astype(np.float32), (1.0, 1.0)
        window = (float(plane.min()), float(plane.max()))
    else:
        plane = volume.take(request.index, axis=request.axis).astype(np.float32)
        kji_spacing = list(request.entry.spacing or (1.0, 1.0, 1.0))[::-1]
        row_mm, column_mm = (float(size) for axis, size in enumerate(kji_spacing) if axis != request.axis)
        spacing = (row_mm, column_mm)
        window = request.window or (float(plane.min()), float(plane.max()))
    grey = np.clip((plane - window[0]) / max(window[1] - window[0], 1e-6), 0, 1)
    foreground = grey > 0.04
    if foreground.mean() < 0.04 or min(plane.shape) < 24:
        return None
    rows, columns = (np.flatnonzero(foreground.mean(axis=axis) > 0.01) for axis in (1, 0))
    if len(rows) < 24 or len(columns) < 24:
        return None
    y0, x0 = max(0, rows[0] - CROP_MARGIN_PX), max(0, columns[0] - CROP_MARGIN_PX)
    y1, x1 = rows[-1] + 1 + CROP_MARGIN_PX, columns[-1] + 1 + CROP_MARGIN_PX
    crop = (int(y0), int(min(y1, plane.shape[0])), int(x0), int(min(x1, plane.shape[1])))
    image = np.round(grey[crop[0] : crop[1], crop[2] : crop[3]] * 255).astype(np.uint8)
    return PreparedSlice(image, crop, spacing)
