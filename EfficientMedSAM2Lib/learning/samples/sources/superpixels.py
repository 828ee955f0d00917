"""Superpixels of any image as objects: what makes a small network follow edges that it has no name for.

After ScribblePrompt (Wong et al. 2024, arXiv 2312.07381), with watersheds of SimpleITK.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed
from EfficientMedSAM2Lib.learning.samples.augment import crop_bounds, random_view
from EfficientMedSAM2Lib.learning.samples.random_window import random_window
from EfficientMedSAM2Lib.learning.samples.sources.components import tight_box
from EfficientMedSAM2Lib.learning.samples.sources.sample import SliceSample, sample_without_neighbour

GRID_PX = 160
"""Largest side of the crop that is divided into superpixels."""
LEAST_CONTRAST = 0.04
"""Difference of a superpixel's mean from that of its rim, in windowed intensity: nobody prompts what cannot be seen."""


class SuperpixelSource:
    """Draws samples whose object is a superpixel."""

    def __init__(self, images: Sequence[LoadedImage], wide_probability: float = 0.15):
        """Keep the material.

        Args:
            images: labelled or not; their labels are not used.
            wide_probability: share of views larger than about 2.6 times the object.
        """
        self.images = list(images)
        self.wide_probability = wide_probability
        names = sorted({image.dataset for image in self.images})
        by_set = [[n for n, image in enumerate(self.images) if image.dataset == name] for name in names]
        # Sets with many images are seen more often, but far less so than their number says.
        shares = np.array([len(numbers) ** 0.4 for numbers in by_set])
        self._by_set, self._shares = by_set, shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> SliceSample:
        """A random sample."""
        while True:
            numbers = self._by_set[int(rng.choice(len(self._by_set), p=self._shares))]
            sample = self._sample(self.images[numbers[int(rng.integers(len(numbers)))]], rng)
            if sample is not None:
                return sample

    def _sample(self, image: LoadedImage, rng: np.random.Generator) -> SliceSample | None:
        spacing = image.spacing_mm
        axis = int(rng.integers(3)) if image.is_volume and max(spacing) <= 2.5 * min(spacing) else 0
        voxels = image.slice_voxels(axis, int(rng.integers(image.voxels.shape[axis])))
        shape = (voxels.shape[0], voxels.shape[1])
        size = [min(length, int(GRID_PX * rng.uniform(0.4, 1.0)) + 16) for length in shape]
        corner = [int(rng.integers(length - part + 1)) for length, part in zip(shape, size)]
        values = voxels[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        none = np.zeros(values.shape[:2], bool)
        window = random_window(image, values, none, rng) if rng.random() < 0.5 else image.window
        shown = windowed(values, window)
        flat = shown.mean(axis=2) if shown.ndim == 3 else shown
        if flat.std() < LEAST_CONTRAST:
            return None
        part = _random_superpixel(flat, rng)
        if part is None:
            return None
        box = tight_box(part)
        assert box is not None
        place = (box[0] + corner[0], box[1] + corner[0], box[2] + corner[1], box[3] + corner[1])
        view = random_view(place, shape, image.slice_spacing(axis), rng, self.wide_probability)
        bounds = crop_bounds(view, shape)
        if bounds is None:
            return None
        crop = (slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3]))
        mask = np.zeros(shape, bool)
        mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = part
        pixels = windowed(np.ascontiguousarray(voxels[crop]), window)
        return sample_without_neighbour(
            pixels, mask[crop], view, (bounds[0], bounds[2]), rng, 1.0, f"superpixel:{image.name}"
        )


def _random_superpixel(flat: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """One region (h,w) bool of a watershed of a slice (h,w), that can be told from what is around it; None for none."""
    import SimpleITK as sitk
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(flat, rng.uniform(0.6, 2.5))
    edges = ndimage.gaussian_gradient_magnitude(flat, rng.uniform(0.7, 1.8))
    level = float(np.quantile(edges, rng.uniform(0.3, 0.85)))
    regions = sitk.GetArrayFromImage(
        sitk.MorphologicalWatershed(sitk.GetImageFromArray(edges.astype(np.float32)), level, False, False)
    )
    areas = np.bincount(regions.ravel())
    fitting = np.flatnonzero((areas >= 60) & (areas <= 0.3 * regions.size))
    for value in rng.permutation(fitting)[:6]:
        part = regions == value
        if part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any():
            continue
        part = ndimage.binary_opening(ndimage.median_filter(part, 3))
        pieces, count = ndimage.label(part)
        if count == 0:
            continue
        part = ndimage.binary_fill_holes(pieces == int(np.bincount(pieces.ravel())[1:].argmax()) + 1)
        area = int(part.sum())
        rim = ndimage.binary_dilation(part, iterations=2) & ~part
        edge = area - int(ndimage.binary_erosion(part).sum())
        round_enough = rng.random() < min(1.0, 3.2 * area**0.5 / max(edge, 1)) ** 2
        if area >= 40 and round_enough and abs(float(smooth[part].mean() - smooth[rim].mean())) > LEAST_CONTRAST:
            return np.asarray(part, bool)
    return None
