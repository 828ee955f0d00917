"""Windows for every kind of value a volume may hold; the volume itself is never changed."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from EfficientMedSAM2Lib.core.windows import (
    PRESETS,
    IntensityWindow,
    apply_window,
    choose_window,
    has_contrast,
    preset_window,
)

rng = np.random.default_rng(0)


def body(shape=(6, 80, 80), air=-1000.0, tissue=40.0, padding=None) -> np.ndarray:
    """A round body in air, with noise; optionally the corners outside the scanner's circle padded."""
    y, x = np.indices(shape[1:])
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    volume = np.where(radius < shape[1] * 0.35, tissue, air) + rng.normal(0, 12, shape)
    if padding is not None:
        volume[:, radius > shape[1] * 0.5] = padding
    return volume


def magnitude_image(shape=(6, 80, 80), scale=300.0) -> np.ndarray:
    return np.abs(np.where(body(shape) > -500, scale, 0.0) * rng.uniform(0.5, 1.5, shape))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("padding", [None, -3024, -2048])
def test_ct_is_recognised_by_its_values(dtype, padding):
    assert choose_window(body(padding=padding).astype(dtype)) == PRESETS["ct"]


@pytest.mark.parametrize("modality", ["CT", "ct", "CT angiography"])
def test_ct_crop_without_air_needs_the_modality(modality):
    crop = rng.normal(60, 15, (4, 30, 30)).astype(np.int16)
    assert choose_window(crop, modality) == PRESETS["ct"]
    assert choose_window(crop).name == "percentile"


@pytest.mark.parametrize(
    "volume",
    [
        np.clip(body() * 0.2 + 100, 0, 255).astype(np.uint8),
        (body() + 1024).clip(0).astype(np.uint16),
        (body() / 500).astype(np.float32),
    ],
    ids=["windowed to 8 bit", "offset of 1024 left in", "standardised"],
)
def test_ct_not_in_hounsfield_units_is_not_windowed_as_if(volume):
    window = choose_window(volume, "CT")
    assert window.name == "percentile"
    assert apply_window(volume, window).std() > 0.1


@pytest.mark.parametrize(
    "volume",
    [
        rng.uniform(-4096, 4095, (4, 64, 64)),
        rng.normal(0, 1, (4, 64, 64)),
        np.where(body() > -500, 400.0, -1024.0) + rng.normal(0, 5, (6, 80, 80)) * (body() > -500),
    ],
    ids=["phase image", "standardised", "negative padding"],
)
def test_other_modalities_are_not_taken_for_ct(volume):
    assert choose_window(volume.astype(np.float32)).name == "percentile"
    assert choose_window(body().astype(np.int16), "MR").name == "percentile", "the modality has the last word"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("background", [0, -500])
def test_percentiles_are_those_of_the_foreground(dtype, background):
    if background < 0 and np.issubdtype(dtype, np.unsignedinteger):
        return  # no such image
    foreground = rng.integers(50, 200, 2000)
    volume = np.full((4, 50, 50), background, dtype=dtype)
    volume.reshape(-1)[:2000] = foreground
    window = choose_window(volume, "MR")
    np.testing.assert_allclose((window.low, window.high), np.percentile(foreground, (0.5, 99.5)), atol=1)


def test_zero_background_in_the_middle_of_the_range():
    volume = np.zeros((4, 50, 50), dtype=np.float32)
    volume[1:3] = rng.normal(0, 1, (2, 50, 50))
    window = choose_window(volume)
    assert window.low < -2.3
    assert window.high > 2.3


def test_few_bright_voxels_keep_their_contrast():
    volume = np.zeros((10, 100, 100), dtype=np.float32)
    volume[5, 50:55, 50:55] = rng.normal(100, 1, (5, 5))
    shown = apply_window(volume, choose_window(volume))
    assert shown[0].max() == 0
    assert shown[5, 50:55, 50:55].min() > 0.9


def test_one_different_voxel_of_many_is_found():
    volume = np.zeros((120, 130, 140), dtype=np.int16)
    volume[61, 3, 77] = 9
    window = choose_window(volume)
    assert (window.low, window.high) == (0, 9)


def test_colour():
    photo = rng.integers(30, 90, (1, 40, 40, 3)).astype(np.uint8)
    assert choose_window(photo) == IntensityWindow(0, 255, "8-bit colour")
    deep = np.zeros((1, 40, 40, 4), dtype=np.uint16)
    deep[..., :3] = rng.integers(1000, 4000, (1, 40, 40, 3))
    deep[..., 3] = 65535  # opacity is not an intensity
    window = choose_window(deep)
    assert 900 < window.low < 1100
    assert 3900 < window.high < 4000
    assert apply_window(deep[0], window).shape == (40, 40, 4)


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, bool])
def test_constant_volumes(value, dtype):
    volume = np.full((1, 8, 9), value, dtype=dtype)
    window = choose_window(volume)
    assert window.name == "constant"
    np.testing.assert_array_equal(apply_window(volume, window), 0.0)


def test_nan_and_infinity_are_ignored_and_shown_as_zero():
    volume = magnitude_image().astype(np.float32)
    clean = choose_window(volume)
    broken = volume.copy()
    broken[0, :4] = [[np.nan], [np.inf], [-np.inf], [np.nan]]
    window = choose_window(broken)
    assert abs(window.high - clean.high) < 0.05 * clean.width
    np.testing.assert_array_equal(apply_window(broken, window)[0, :4], 0.0)
    assert choose_window(np.full((2, 3, 4), np.nan)).name == "empty"
    np.testing.assert_array_equal(apply_window(np.full((2, 3), np.nan), clean), 0.0)


def test_thin_and_single_slices():
    assert choose_window(body((1, 90, 90)).astype(np.int16)) == PRESETS["ct"]
    assert choose_window(body((1, 90, 90))[0].astype(np.int16)) == PRESETS["ct"]


any_volume = st.sampled_from(
    [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64]
).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)))


def test_a_few_dark_voxels_on_an_empty_background():
    volume = np.zeros((3, 6, 6), np.float32)
    volume[0, 0, 0] = -1
    window = choose_window(volume)
    assert (window.low, window.high) == (-1, 0)


@given(any_volume)
@example(np.full((1, 1, 1), 1.7958972376246913e308))
@example(np.full((1, 1, 1), np.finfo(np.float64).max))
@example(np.full((1, 1, 1), np.finfo(np.float64).min))
def test_any_values_give_a_window_and_a_picture(volume):
    before = volume.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = apply_window(volume, choose_window(volume))
    assert shown.dtype == np.float32
    assert shown.shape == volume.shape
    assert np.isfinite(shown).all()
    assert shown.min() >= 0.0
    assert shown.max() <= 1.0
    np.testing.assert_array_equal(volume, before)


@given(st.integers(-1000, 1000), st.integers(1, 3000), st.sampled_from([np.int16, np.int32, np.float32, np.float64]))
def test_window_is_linear_between_its_bounds(low, width, dtype):
    window = IntensityWindow(low, low + width)
    values = np.array([low - 50, low, low + width, low + width + 50], dtype=dtype)
    np.testing.assert_allclose(apply_window(values, window), [0, 0, 1, 1], atol=1e-6)
    middle = np.array([low + width / 2], dtype=np.float64)
    np.testing.assert_allclose(apply_window(middle, window), 0.5, atol=1e-6)


def test_large_integers_keep_their_contrast():
    volume = (4_000_000_000 + rng.integers(0, 200, (2, 20, 20))).astype(np.uint32)
    assert len(np.unique(apply_window(volume, choose_window(volume)))) > 100


def test_presets_and_wrong_windows():
    assert (preset_window("Lung").low, preset_window(" lung ").high) == (-1350, 150)
    assert (PRESETS["ct"].width, PRESETS["ct"].level) == (800, 0)
    with pytest.raises(ValueError, match="no window preset 'liver'; choose one of abdomen, bone"):
        preset_window("liver")
    with pytest.raises(ValueError, match="low < high"):
        IntensityWindow(3, 3)
    with pytest.raises(ValueError, match="low < high"):
        IntensityWindow(0, float("nan"))
    with pytest.raises(ValueError, match="real numbers"):
        choose_window(np.zeros((2, 2, 2), dtype=np.complex64))


def test_a_big_volume_is_quick():
    volume = np.broadcast_to(body((1, 512, 512)).astype(np.int16), (800, 512, 512))
    start = time.perf_counter()
    choose_window(volume)
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_contrast(dtype):
    array = np.full((9, 40, 50), 7, dtype)
    assert not has_contrast(array)
    array[8, 39, 49] = 8
    assert has_contrast(array)


def test_nan_is_no_contrast():
    array = np.full((5, 6, 7), np.nan, np.float32)
    assert not has_contrast(array)
    array[0, 0, 0] = np.inf
    array[1] = 3
    assert not has_contrast(array)
    array[2] = 4
    assert has_contrast(array)
