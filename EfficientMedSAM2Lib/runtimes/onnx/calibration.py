"""What the encoder sees: parts of a real CT and synthetic pictures, for the ranges of INT8."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.windows import apply_window, choose_window, preset_window
from EfficientMedSAM2Lib.imaging.sample import sample_scan

IMAGES = 48
"""Of each kind."""


def calibration_images(size: int, count: int = IMAGES, seed: int = 0) -> np.ndarray:
    """Images (2*count,3,size,size) float32 in 0...1: of the CT that comes with slicerio, and synthetic ones."""
    generator = np.random.default_rng(seed)
    images = [*_ct_images(size, count, generator), *(_synthetic_image(size, generator) for _ in range(count))]
    return np.stack([np.repeat(image[None], 3, axis=0) for image in images]).astype(np.float32)


def _ct_images(size: int, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    import SimpleITK

    volume = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(sample_scan())))
    windows = [choose_window(volume, "CT"), preset_window("lung"), preset_window("bone")]
    images = []
    for number in range(count):
        slice_array = volume[int(generator.integers(len(volume)))]
        side = int(generator.uniform(0.15, 1.0) * min(slice_array.shape))
        top, left = (int(generator.integers(extent - side + 1)) for extent in slice_array.shape)
        part = apply_window(slice_array[top : top + side, left : left + side], windows[number % len(windows)])
        images.append(_resized(part, size))
    return images


def _synthetic_image(size: int, generator: np.random.Generator) -> np.ndarray:
    """Smooth noise of random grain, regions cut out of it, and a little speckle: as ultrasound and MR may look."""
    coarse = generator.random((int(generator.integers(4, 24)),) * 2)
    texture = _resized(coarse, size)
    regions = _resized(generator.random((int(generator.integers(3, 8)),) * 2), size) > generator.uniform(0.4, 0.7)
    picture = generator.uniform(0.2, 0.8) * texture + generator.uniform(-0.5, 0.5) * regions
    return np.asarray((picture + generator.normal(0, generator.uniform(0, 0.08), picture.shape)).clip(0, 1))


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    from scipy import ndimage

    factors = [size / extent for extent in picture.shape]
    return np.asarray(ndimage.zoom(picture, factors, order=1, grid_mode=True, mode="nearest"))


__all__ = ["calibration_images"]
