"""The scan that everything is timed on: one that the user names, or the chest CT that comes with slicerio."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.metrics import depth_inside
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.evaluation.prompts import tight_box

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage

SLICE_MM = 2.5
"""Distance of the slices after resampling: between thin (1 mm) and thick (5 mm) reconstructions."""
MIN_OBJECT_SLICES = 3
MAX_BOX_SHARE = 0.35
"""Of the slice, that the box of the object may cover, where there are others."""


@dataclass(frozen=True)
class Scan:
    """Slices with an object on each of them, and the prompts for the first one.

    Attributes:
        name: Of the scan it was made from.
        voxels: (D, H, W), the scan's own number type.
        labels: (D, H, W) bool, the object.
        spacing_mm: k, j, i.
        window: Intensities (low, high) that everybody is shown.
        box: XYXY of the object on the first slice.
        click: (x, y) well inside it.
    """

    name: str
    voxels: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    box: tuple[float, float, float, float]
    click: tuple[float, float]

    def windowed(self, index: int) -> np.ndarray:
        """A slice (H, W) float32 with the window spread over 0..1."""
        return apply_window(self.voxels[index], IntensityWindow(*self.window))

    def of_length(self, count: int) -> Scan:
        """The scan with `count` slices: to its end, back to its first slice, forward again and so on.

        Neighbours stay neighbours in the patient, and every length shows the same anatomy.
        """
        last = len(self.voxels) - 1
        there_and_back = [*range(last + 1), *range(last - 1, 0, -1)]
        order = np.resize(there_and_back, count)
        return Scan(
            self.name,
            self.voxels[order],
            self.labels[order],
            self.spacing_mm,
            self.window,
            self.box,
            self.click,
        )

    def save(self, folder: Path) -> None:
        """Write the scan without its labels, for a process that is measured."""
        np.save(folder / "voxels.npy", self.voxels)
        rest = {"name": self.name, "spacing_mm": self.spacing_mm, "window": self.window, "box": self.box}
        content = json.dumps({**rest, "click": self.click})
        (folder / "scan.json").write_text(content, encoding="utf-8")


def read_scan(folder: Path) -> Scan:
    """Read what `Scan.save` wrote; its labels are all False."""
    voxels = np.load(folder / "voxels.npy")
    facts = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    lists = {name: tuple(facts[name]) for name in ("spacing_mm", "window", "box", "click")}
    nothing = np.broadcast_to(np.zeros(1, bool), voxels.shape)
    return Scan(name=facts["name"], voxels=voxels, labels=nothing, **lists)


def images_of(data_dir: Path | None) -> list[LoadedImage]:
    """The labelled scans to measure with.

    Args:
        data_dir: Folder of image/label pairs or one `.npz`, all of which are taken, or an `index.json` (or a folder
            with one), of which the split `dev` is; None: slicerio's chest CT.

    Raises:
        UserError: There is nothing usable.
    """
    from EfficientMedSAM2Lib.evaluation.dataset.images import load_images
    from EfficientMedSAM2Lib.evaluation.dataset.manifest import is_listed, read_manifest

    if data_dir is None:
        from EfficientMedSAM2Lib.evaluation.dataset.sample import sample_image

        return [sample_image()]
    manifest = read_manifest(data_dir)
    # A list of images says which of them were not trained on; a folder does not.
    images = load_images(manifest, manifest.select("dev" if is_listed(data_dir) else None, labelled=True))
    if not images:
        raise UserError(
            f"'{data_dir}' holds no image with a label map (in split dev of an index.json); name label maps like their "
            "images, with _label at the end, or leave --data-dir out for the sample CT."
        )
    return images


def make_scan(images: Sequence[LoadedImage], size: int = 512) -> Scan:
    """The largest labelled object, resampled to `size` x `size` pixels and slices 2.5 mm apart.

    Args:
        images: Grey images; flat ones count only where no volume has an object, as scans of one slice.
        size: Rows and columns.

    Returns:
        The slices that hold the object, from its middle one on.

    Raises:
        UserError: No volume has an object on at least three slices, and no flat image has any.
    """
    found = [candidate for image in images if image.is_volume for candidate in _objects(image, MIN_OBJECT_SLICES)]
    found = found or [candidate for image in images if not image.is_volume for candidate in _objects(image, 1)]
    if not found:
        raise UserError("No volume has a labelled object on three slices or more; nothing can be propagated there.")
    # A box around half of the body is not what anybody draws.
    small = [candidate for candidate in found if candidate.box_share <= MAX_BOX_SHARE]
    return _resampled(max(small or found, key=lambda candidate: candidate.voxels), size)


@dataclass(frozen=True)
class _Candidate:
    image: LoadedImage
    axis: int
    value: int
    voxels: int
    box_share: float


def _objects(image: LoadedImage, least_slices: int) -> Iterator[_Candidate]:
    if image.voxels.ndim != 3:
        return
    axis = int(np.argmax(image.spacing_mm)) if image.is_volume else 0
    for value in np.unique(image.labels[image.labels > 0]):
        slices = np.moveaxis(image.labels == value, axis, 0)
        present = np.flatnonzero(slices.any(axis=(1, 2)))
        if len(present) >= least_slices:
            x0, y0, x1, y1 = tight_box(slices[present[len(present) // 2]])
            share = (x1 - x0 + 1) * (y1 - y0 + 1) / slices[0].size
            yield _Candidate(image, axis, int(value), int(slices.sum()), float(share))


def _resampled(chosen: _Candidate, size: int) -> Scan:
    from scipy import ndimage

    image, axis, value = chosen.image, chosen.axis, chosen.value
    voxels, found = np.moveaxis(image.voxels, axis, 0), np.moveaxis(image.labels == value, axis, 0)
    spacing = (image.spacing_mm[axis], *image.slice_spacing(axis))
    present = np.flatnonzero(found.any(axis=(1, 2)))
    part = slice(present[0], present[-1] + 1)
    thickness = max(spacing[0] / SLICE_MM, 1 / len(found[part]))  # one slice at least
    factors = (thickness, size / voxels.shape[1], size / voxels.shape[2])
    mode = {"order": 1, "mode": "nearest", "grid_mode": True}
    fine = ndimage.zoom(voxels[part].astype(np.float32), factors, **mode)
    if voxels.dtype.kind in "iu":
        # Files of CT are often read as 32 bits wide.
        fine = np.rint(fine).astype(np.int16 if abs(fine).max() < 2**15 else voxels.dtype)
    mask = ndimage.zoom(found[part].astype(np.float32), factors, **mode) > 0.5
    held = mask.any(axis=(1, 2))
    middle = int(np.flatnonzero(held)[held.sum() // 2])
    x0, y0, x1, y1 = (float(side) for side in tight_box(mask[middle]))
    depth = depth_inside(mask[middle])
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    label = image.label_names.get(value, f"label {value}")
    return Scan(
        name=f"{image.name}, {label}",
        voxels=np.ascontiguousarray(fine[middle:]),
        labels=np.ascontiguousarray(mask[middle:]),
        spacing_mm=(SLICE_MM, spacing[1] / factors[1], spacing[2] / factors[2]),
        window=image.window,
        box=(x0, y0, x1, y1),
        click=(float(column), float(row)),
    )
