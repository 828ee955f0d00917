"""Cubes from labelled volumes: as they are, or painted anew from the label map."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from EfficientMedSAM2Lib.core.context_cube import Cube
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed
from EfficientMedSAM2Lib.learning.samples.cubes.cube import LabelledCube, cut, is_shown, random_cube
from EfficientMedSAM2Lib.learning.samples.cubes.paint import bent, painted
from EfficientMedSAM2Lib.learning.samples.random_window import random_window
from EfficientMedSAM2Lib.learning.samples.sources.components import random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex, ObjectKey

MIN_SLICES = 6
"""Along every axis: thinner volumes say nothing of how far an object goes."""
SHARE_OF_BENT = 0.5


class CubeSource:
    """Draws cubes from an object index.

    Args:
        index: The objects.
        size: Cells along a cube's edges.
        is_painted: Whether intensities come from the label map instead of the image.
    """

    def __init__(self, index: ObjectIndex, size: int = 64, is_painted: bool = False) -> None:
        self.index = index
        self.size = size
        self.is_painted = is_painted

    def draw(self, rng: np.random.Generator) -> LabelledCube:
        """A random cube; objects hardly seen in their own are drawn again."""
        while True:
            cube = self.cube(self.index.draw(rng), rng)
            if cube is not None:
                return cube

    def cube(self, key: ObjectKey, rng: np.random.Generator) -> LabelledCube | None:
        """A cube around one object, None when too little of it is seen."""
        image = self.index.images[key.image]
        row0, row1, column0, column1 = key.box_rc
        mask = self.index.mask(key)
        part = np.zeros_like(mask)
        part[row0:row1, column0:column1] = random_part(mask[row0:row1, column0:column1], rng)
        box = tight_box(part)
        if box is None:
            return None
        spacing = (image.spacing_mm[key.axis], *image.slice_spacing(key.axis))
        place = random_cube(box, key.slice, spacing, rng, self.size)
        voxels, labels = np.moveaxis(image.voxels, key.axis, 0), np.moveaxis(image.labels, key.axis, 0)
        window = self._window(image, voxels[key.slice], part, box, rng)
        found = cut(
            voxels, labels, key.slice, part, place, partial(_grey, window=window), partial(self.index.belongs, key)
        )
        if found is None or not self.is_painted:
            return found
        found = self._painted(found, labels, place, rng)
        return found if is_shown(found) else None

    @staticmethod
    def _window(
        image: LoadedImage,
        values: np.ndarray,
        part: np.ndarray,
        box: tuple[int, int, int, int],
        rng: np.random.Generator,
    ) -> tuple[float, float]:
        margins = (box[1] - box[0]) // 2 + 2, (box[3] - box[2]) // 2 + 2
        around = (
            slice(max(box[0] - margins[0], 0), box[1] + margins[0]),
            slice(max(box[2] - margins[1], 0), box[3] + margins[1]),
        )
        return random_window(image, values[around], part[around], rng)

    @staticmethod
    def _painted(found: LabelledCube, labels: np.ndarray, place: Cube, rng: np.random.Generator) -> LabelledCube:
        lines = [
            np.rint(place.places(axis)).clip(0, length - 1).astype(int) for axis, length in enumerate(labels.shape)
        ]
        values, mask = labels[np.ix_(*lines)], found.mask
        if rng.random() < SHARE_OF_BENT:
            values, mask = bent(values, mask, rng)
        image = painted(values, mask > 127, rng)
        return dataclasses.replace(found, image=np.rint(image * 255).astype(np.uint8), mask=mask)


def _grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    shown = windowed(values, window)
    return shown.mean(axis=-1) if shown.ndim == 3 else shown


def deep_enough(images: list[LoadedImage]) -> list[LoadedImage]:
    """The volumes among images that are not too thin to learn from."""
    return [image for image in images if min(image.voxels.shape[:3]) >= MIN_SLICES]
