"""Cubes of what has no name: supervoxels of any volume, and invented shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from EfficientMedSAM2Lib.core.context_cube import Cube, sample
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed
from EfficientMedSAM2Lib.learning.samples.cubes.cube import LabelledCube, cut, random_cube
from EfficientMedSAM2Lib.learning.samples.cubes.paint import painted
from EfficientMedSAM2Lib.learning.samples.sources.components import random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.shapes import random_label_stack

GRID = 72
"""Side of the small volumes in which supervoxels and shapes are made."""
LARGEST_SIDE = 0.5
"""Of a region on its known slice, in parts of GRID: hardly more than it would be in its cube."""
LEAST_VOLUME = 150
LARGEST_SHARE = 0.2
LEAST_CONTRAST = 0.04
TRIES = 6
THICK_SLICES = (2, 3, 4, 6)


class SupervoxelSource:
    """Draws cubes whose object is a supervoxel: a region of a watershed (after ScribblePrompt, arXiv 2312.07381).

    Args:
        images: Volumes, labelled or not; their labels are not used.
        size: Cells along a cube's edges.
    """

    def __init__(self, images: Sequence[LoadedImage], size: int = 64) -> None:
        self.images = list(images)
        self.size = size
        names = sorted({image.dataset for image in self.images})
        self._by_set = [[n for n, image in enumerate(self.images) if image.dataset == name] for name in names]

    def draw(self, rng: np.random.Generator) -> LabelledCube:
        """A random cube."""
        while True:
            numbers = self._by_set[int(rng.integers(len(self._by_set)))]
            volume = _part_of(self.images[numbers[int(rng.integers(len(numbers)))]], rng)
            if volume.std() >= LEAST_CONTRAST:
                cube = _random_object(volume, _supervoxels(volume, rng), (1.0, 1.0, 1.0), rng, self.size)
                if cube is not None:
                    return cube


class InventedSource:
    """Draws cubes of invented label maps: ellipsoids, shells, tubes, cells, blobs (after AnyStar, arXiv 2307.07044).

    Args:
        size: Cells along a cube's edges.
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size

    def draw(self, rng: np.random.Generator) -> LabelledCube:
        """A random cube."""
        while True:
            labels = random_label_stack(rng, GRID, GRID)
            values = np.unique(labels)
            value = int(rng.choice(values))
            image = painted(labels, labels == value, rng)
            spacing = (1.0, 1.0, 1.0)
            if rng.random() < 0.4:
                # Thick slices are means of what they hold.
                thick = int(rng.choice(THICK_SLICES))
                image, labels = _thickened(image, thick), labels[thick // 2 :: thick][: GRID // thick]
                spacing = (float(thick), 1.0, 1.0)
            cube = _cut_object(image, labels, value, spacing, rng, self.size)
            if cube is not None:
                return cube


def _part_of(image: LoadedImage, rng: np.random.Generator) -> np.ndarray:
    """A cube (GRID,GRID,GRID) somewhere in a volume, windowed, at a random resolution."""
    shape, finest = image.voxels.shape[:3], min(image.spacing_mm)
    extent = min(length * mm for length, mm in zip(shape, image.spacing_mm))
    least = 0.8 * GRID * finest
    side = rng.uniform(least, max(min(0.9 * extent, 3 * GRID * finest), 1.2 * least))
    centre = [float(rng.uniform(0.2, 0.8)) * length for length in shape]
    cube = Cube((centre[0], centre[1], centre[2]), image.spacing_mm, float(side), GRID)

    def look(values: np.ndarray) -> np.ndarray:
        shown = windowed(values, image.window)
        return shown.mean(axis=-1) if shown.ndim == 3 else shown

    return sample(image.voxels, cube, look) * cube.validity(shape)


def _supervoxels(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Regions (D,H,W) of a watershed, numbered from 1."""
    import SimpleITK as sitk

    smooth = sitk.DiscreteGaussian(sitk.GetImageFromArray(volume), [float(rng.uniform(0.4, 2.5))] * 3)
    edges = sitk.GradientMagnitude(smooth)
    level = float(np.quantile(sitk.GetArrayViewFromImage(edges)[::3, ::3, ::3], rng.uniform(0.3, 0.85)))
    return np.asarray(sitk.GetArrayFromImage(sitk.MorphologicalWatershed(edges, level, False, False)))


def _random_object(
    volume: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator, size: int
) -> LabelledCube | None:
    """A cube around a random region that can be told from what is around it and does not touch the border."""
    from scipy import ndimage

    counts = np.bincount(labels.ravel())
    places = ndimage.find_objects(labels)
    fitting = np.flatnonzero((counts[1:] >= LEAST_VOLUME) & (counts[1:] <= LARGEST_SHARE * labels.size)) + 1
    for value in rng.permutation(fitting)[:TRIES]:
        place = places[value - 1]
        if place is None or any(p.start == 0 or p.stop == n for p, n in zip(place, labels.shape)):
            continue
        wide = tuple(slice(max(p.start - 2, 0), p.stop + 2) for p in place)
        part = labels[wide] == value
        rim = ndimage.binary_dilation(part, iterations=2) & ~part
        if abs(float(volume[wide][part].mean() - volume[wide][rim].mean())) >= LEAST_CONTRAST:
            cube = _cut_object(volume, labels, int(value), spacing, rng, size)
            if cube is not None:
                return cube
    return None


def _cut_object(
    volume: np.ndarray,
    labels: np.ndarray,
    value: int,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    size: int,
) -> LabelledCube | None:
    """A cube around one region, known on a random slice; of thick slices along their own axis."""
    axis = int(rng.integers(3)) if len(set(spacing)) == 1 else 0
    volume, labels = np.moveaxis(volume, axis, 0), np.moveaxis(labels, axis, 0)
    areas = (labels == value).sum(axis=(1, 2))
    large = np.flatnonzero(areas >= max(12, 0.3 * areas.max()))
    if len(large) == 0 or areas.max() > 0.4 * labels[0].size:
        return None
    index = int(rng.choice(large))
    part = random_part(labels[index] == value, rng, whole_probability=0.0)
    box = tight_box(part)
    if box is None or min(box[1] - box[0], box[3] - box[2]) < 3:
        return None
    if max(box[1] - box[0], box[3] - box[2]) > LARGEST_SIDE * GRID or box[0] == 0 or box[2] == 0:
        return None
    cube = random_cube(box, index, spacing, rng, size)
    return cut(volume, labels, index, part, cube, lambda values: values, lambda values: values == value)


def _thickened(image: np.ndarray, thick: int) -> np.ndarray:
    count = len(image) // thick
    return np.asarray(image[: count * thick].reshape(count, thick, *image.shape[1:]).mean(axis=1))
