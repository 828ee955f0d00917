"""How much pixels look like an object, from what is known of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from EfficientMedSAM2Lib.core.appearance import AppearanceModel, Intensities, blurred


@pytest.mark.parametrize("shape", [(96, 96), (32, 32, 32)])
def test_bright_pixels_look_like_a_bright_object(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    distance = np.sqrt(sum((grid - size / 2) ** 2 for grid, size in zip(np.indices(shape), shape)))
    ball = distance < shape[0] / 4
    image = (100 + 80 * ball + 5 * rng.normal(size=shape))[None]
    # Known on a part of the object and far from it only.
    inside, outside = (distance < shape[0] / 8)[None] * 1.0, (distance > shape[0] / 3)[None] * 1.0
    seen = Intensities.of(image)
    maps = AppearanceModel.fit(seen, inside, outside).maps(seen)
    assert maps.shape == (1, 2, *shape)
    assert maps.dtype == np.float32
    assert np.abs(maps).max() <= 1
    deep, far = distance < 0.8 * shape[0] / 4, distance > 1.3 * shape[0] / 4
    assert maps[0, 0][deep].mean() > 0.7
    assert maps[0, 0][far].mean() < -0.7


def test_a_model_of_one_slice_finds_the_object_on_another() -> None:
    first, second = np.zeros((1, 64, 64)), np.zeros((1, 64, 64))
    first[:, 10:30, 10:30] = second[:, 40:60, 35:55] = 50.0
    inside = (first > 0) * 1.0
    maps = AppearanceModel.fit(Intensities.of(first), inside, 1 - inside).maps(Intensities.of(second))
    assert maps[0, 0, 45:55, 40:50].min() > 0.9
    assert maps[0, 0, 10:30, 10:30].max() < 0


@pytest.mark.parametrize("missing", ["inside", "outside"])
def test_too_little_says_nothing(missing: str) -> None:
    image = np.random.default_rng(1).normal(size=(2, 32, 32))
    some, none = np.ones((2, 32, 32)), np.zeros((2, 32, 32))
    pair = (none, some) if missing == "inside" else (some, none)
    seen = Intensities.of(image)
    assert not AppearanceModel.fit(seen, *pair).maps(seen).any()


def test_objects_of_a_batch_do_not_mix() -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(size=(3, 40, 40)) * np.array([1.0, 5.0, 0.1])[:, None, None]
    inside = (rng.random((3, 40, 40)) < 0.3) * 1.0
    together = AppearanceModel.fit(Intensities.of(images), inside, 1 - inside).maps(Intensities.of(images))
    for i in range(3):
        seen = Intensities.of(images[i : i + 1])
        alone = AppearanceModel.fit(seen, inside[i : i + 1], 1 - inside[i : i + 1]).maps(seen)
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-6)


def test_the_blur_is_gaussian() -> None:
    image = np.random.default_rng(3).normal(size=(1, 50, 40)).astype(np.float32)
    expected = ndimage.gaussian_filter(image[0], 2.0, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blurred(image, 2.0)[0], expected, atol=1e-4)
