"""No mask contradicts a click, wherever on whatever slice it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor, build_efficient_medsam2_model
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask
from EfficientMedSAM2Lib.predictors.slices.clicks import heeding, holds
from EfficientMedSAM2Lib.predictors.viewport import Viewport, paste


@given(
    st.integers(24, 800),
    st.integers(24, 800),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([(1.0, 1.0), (0.5, 2.0), (3.0, 0.7)]),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=300)
def test_the_first_view_shows_every_click_inside(rows, columns, x, y, spacing, count):
    clicks = np.array([[x * (columns - 1), y * (rows - 1)], [(1 - x) * (columns - 1), y * (rows - 1)], [0.0, 0.0]])
    rules = HeuristicsConfig()
    viewports = viewport_choice.viewports_for_clicks(
        clicks[:count], np.ones(count, int), (rows, columns), spacing, rules
    )
    assert all(viewport_choice.shows(viewport, clicks[:count]) for viewport in viewports)
    longest = max(rows * spacing[0], columns * spacing[1])
    assert viewports[0].width <= rules.zoom_largest * longest / spacing[1] + 1 or (
        max(rows, columns) < 2 * rules.zoom_smallest_px
    )


def disc(shape, x, y, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


@pytest.fixture(scope="module")
def predictor():
    return EfficientMedSAM2ImagePredictor(build_efficient_medsam2_model())


@pytest.mark.parametrize(("size", "x"), [(200, 195), (240, 235), (400, 395), (350, 9), (700, 16), (256, 251)])
def test_a_click_near_the_border_finds_what_is_there(predictor, size, x):
    """A small object at the border, as bright as the large one in the middle: sizes whose grid leaves out a margin."""
    small = disc((size, size), x, size // 2, 6)
    image = np.where(small | disc((size, size), size / 2, size / 2, size / 5), 200.0, 40.0)
    predictor.set_image((image + np.random.default_rng(0).normal(0, 6, image.shape)).astype(np.float32))
    (mask,), _, _ = predictor.predict([[x, size // 2]], [1], multimask_output=False)
    assert mask[size // 2, x]
    assert 2 * (mask * small).sum() / (mask.sum() + small.sum()) > 0.9


def test_a_mask_that_mostly_lies_elsewhere_is_not_of_what_was_clicked():
    viewport = Viewport(0, 0, 64, 64)
    around, beside = disc((64, 64), 10, 10, 5), disc((64, 64), 40, 40, 12)
    logits = np.where(np.stack([around, beside, around | beside, np.ones((64, 64), bool)]), 4.0, -4.0)
    assert holds(logits, viewport, np.array([[10.0, 10.0]])).tolist() == [True, False, False, True]
    assert holds(logits, viewport, np.array([[10.0, 10.0], [40.0, 40.0]])).tolist() == [False, False, True, True]
    assert holds(logits, viewport, np.array([[100.0, 10.0]])).tolist() == [False] * 4
    assert holds(logits, viewport, np.zeros((0, 2))).tolist() == [True] * 4


@given(st.integers(0, 2**31), st.integers(1, 6), st.sampled_from([24, 64, 200, 512]))
@settings(deadline=None, max_examples=150)
def test_each_clicked_pixel_lies_on_the_side_that_was_said(seed, count, size):
    rng = np.random.default_rng(seed)
    viewport = Viewport(int(rng.integers(-20, 20)), int(rng.integers(-20, 20)), size, int(size * rng.uniform(0.5, 1)))
    logits = rng.normal(0, 3, (2, 16, 16)).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    logits[1] = -5  # nothing found
    before, shape = logits.copy(), (size, size)
    points, labels = rng.integers(0, size, (count, 2)), rng.integers(0, 2, count)
    # two pixels of one cell cannot be told apart by the grid
    apart = np.abs(points[:, None] - points[None]).max(axis=2) + 1000 * np.eye(count)
    seen = viewport_choice.shown(viewport, points)
    heard = heeding(logits, viewport, points, labels, shape)
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(heard[1], before[1])
    if apart.min() < max(2 * size / 64, 4):
        return
    mask = paste(heard, viewport, shape)[0] > 0
    for (x, y), label, is_seen in zip(points, labels, seen):
        assert mask[y, x] == bool(label) or not is_seen


def test_a_click_changes_a_spot_and_no_more():
    viewport, shape = Viewport(0, 0, 256, 256), (256, 256)
    mask = disc((64, 64), 32, 32, 16)
    logits = np.where(mask, 6.0, -6.0).astype(np.float32)[None]
    heard = heeding(logits, viewport, np.array([[128, 128]]), np.array([0]), shape)
    changed = (paste(heard, viewport, shape)[0] > 0) != (paste(logits, viewport, shape)[0] > 0)
    assert changed[128, 128]
    assert 4 < changed.sum() < 300
    assert heeding(logits, viewport, np.array([[128, 128]]), np.array([1]), shape) is logits


def test_cleaning_keeps_what_was_clicked():
    mask = np.zeros((40, 40), bool)
    mask[5:30, 5:30] = True
    mask[10:12, 10:12] = mask[20:22, 20:22] = False  # two holes
    mask[35:37, 35:37] = mask[35:37, 5:7] = True  # two sprinkles
    clean = clean_mask(mask, 10, 10, inside_xy=np.array([[36.0, 35.0]]), outside_xy=np.array([[11.0, 10.0]]))
    assert not clean[10, 11]
    assert clean[20, 20]
    assert clean[35, 36]
    assert not clean[35, 6]
