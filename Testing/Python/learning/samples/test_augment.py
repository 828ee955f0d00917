from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.learning.samples.augment import (
    View,
    augment_intensity,
    blur,
    crop_bounds,
    random_view,
    sample_planes,
)

SEEDS = st.integers(0, 2**32 - 1)


def place(view: View, point_xy: tuple[float, float]) -> np.ndarray:
    """Network pixel of a point of the slice."""
    return np.linalg.solve(np.array(view.matrix), np.array(point_xy) - np.array(view.offset_xy))


@settings(max_examples=60, deadline=None)
@example(seed=1_500_000_000, spacing=(1.0, 1.0), wide=1.0)
@given(seed=SEEDS, spacing=st.tuples(st.floats(0.3, 5.0), st.floats(0.3, 5.0)), wide=st.sampled_from([0.0, 1.0]))
def test_views_are_square_in_mm_and_show_the_object(seed: int, spacing: tuple[float, float], wide: float) -> None:
    rng = np.random.default_rng(seed)
    row0, column0 = (int(value) for value in rng.integers(0, 60, 2))
    box = (row0, row0 + int(rng.integers(3, 60)), column0, column0 + int(rng.integers(3, 60)))
    view = random_view(box, (130, 120), spacing, rng, wide_probability=wide)
    lengths = np.linalg.norm(np.diag([spacing[1], spacing[0]]) @ np.array(view.matrix), axis=0)
    assert max(lengths) / min(lengths) < 1.3
    middle = place(view, ((box[2] + box[3]) / 2, (box[0] + box[1]) / 2))
    assert (middle > 0).all()
    assert (middle < 256).all()


def test_narrow_views_are_about_twice_the_object() -> None:
    rng = np.random.default_rng(0)
    sides = np.array(
        [256 / random_view((50, 90, 50, 80), (200, 200), (1, 1), rng, 0.0).pixel_scale for _ in range(200)]
    )
    assert sides.min() > 1.25 * 40
    assert sides.max() < 2.7 * 40
    assert np.median(sides) == pytest.approx(2.0 * 40, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_resampling_follows_the_view(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ramp_x = np.tile(np.arange(90, dtype=np.float32) + 0.5, (70, 1))
    ramp_y = np.tile((np.arange(70, dtype=np.float32) + 0.5)[:, None], (1, 90))
    view = random_view((20, 40, 30, 50), (70, 90), (1.0, 1.3), rng, 0.3)
    bounds = crop_bounds(view, (70, 90))
    assert bounds is not None
    crop = np.stack([ramp_x, ramp_y])[:, bounds[0] : bounds[1], bounds[2] : bounds[3]]
    seen = sample_planes(torch.from_numpy(np.ascontiguousarray(crop)), view, (bounds[0], bounds[2]))
    for row, column in ((128, 128), (90, 140), (150, 110)):
        expected = np.array(view.matrix) @ (column + 0.5, row + 0.5) + np.array(view.offset_xy)
        if (expected > 3).all() and (expected < (87, 67)).all():
            assert seen[:, row, column].numpy() == pytest.approx(expected, abs=0.05 + 0.5 * view.shrink**2 / 256)


def test_strong_minification_averages() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random((1, 1024, 1024), dtype=np.float32))
    view = View(((4.0, 0.0), (0.0, 4.0)), (0.0, 0.0))
    assert float(sample_planes(noise, view).std()) < 0.1  # single pixels have 0.29


def test_outside_is_zero_and_a_view_that_misses_is_none() -> None:
    view = View(((1.0, 0.0), (0.0, 1.0)), (-128.0, 0.0))
    seen = sample_planes(torch.ones(1, 256, 256), view)
    assert float(seen[0, :, :127].max()) == 0.0
    assert float(seen[0, 1:-1, 130:].min()) == 1.0
    assert crop_bounds(view.moved((1000.0, 0.0)), (256, 256)) is None


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, channels=st.sampled_from([1, 3]))
def test_intensities_stay_in_range_and_the_input_is_untouched(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((channels, 32, 32), dtype=np.float32))
    before = image.clone()
    result = augment_intensity(image, rng)
    assert result.shape == image.shape
    assert float(result.min()) >= 0.0
    assert float(result.max()) <= 1.0
    assert torch.isfinite(result).all()
    assert torch.equal(image, before)


def test_blur_keeps_the_mean_and_has_the_promised_width() -> None:
    point = torch.zeros(1, 33, 33)
    point[0, 16, 16] = 1.0
    spread = blur(point, 4)[0]
    assert float(spread.sum()) == pytest.approx(1.0, abs=1e-5)
    offsets = torch.arange(33) - 16
    assert float((spread.sum(dim=0) * offsets**2).sum()) ** 0.5 == pytest.approx(0.8165 * 2.0, abs=0.01)
