from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.metrics import dice, intersection_over_union
from EfficientMedSAM2Lib.evaluation import metrics


def square(size: int, start: int, side: int) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[start : start + side, start : start + side] = True
    return mask


def test_overlap_of_half_shifted_squares():
    a, b = np.zeros((4, 20), bool), np.zeros((4, 20), bool)
    a[:, 0:8], b[:, 4:12] = True, True
    assert dice(a, b) == pytest.approx(0.5)
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)


def test_two_empty_masks_agree_and_one_empty_mask_does_not():
    empty, full = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    assert dice(empty, empty) == 1.0
    assert metrics.surface_dice(empty, empty, (1, 1)) == 1.0
    assert dice(empty, full) == 0.0
    assert metrics.surface_dice(empty, full, (1, 1)) == 0.0


@given(shift=st.integers(0, 6), spacing=st.floats(0.3, 3.0))
def test_surface_dice_is_perfect_exactly_while_the_shift_is_within_the_tolerance(shift: int, spacing: float):
    a, b = square(48, 10, 20), np.roll(square(48, 10, 20), shift, axis=1)
    value = metrics.surface_dice(a, b, (spacing, spacing), tolerance_mm=2.0)
    assert (value == 1.0) == (shift * spacing <= 2.0)


def test_surface_dice_uses_the_spacing_of_each_axis():
    a, b = square(40, 10, 16), np.roll(square(40, 10, 16), 3, axis=0)
    assert metrics.surface_dice(a, b, (0.5, 5.0)) == 1.0
    assert metrics.surface_dice(a, b, (5.0, 0.5)) < 1.0


def test_surface_dice_works_in_volumes():
    ball = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0) < 6
    assert metrics.surface_dice(ball, np.roll(ball, 1, axis=2), (1.0, 1.0, 1.0)) == 1.0


def test_five_perfect_clicks_have_an_area_of_four():
    assert metrics.click_auc([1.0] * 5) == pytest.approx(4.0)
    assert metrics.click_auc([0.0, 0.5, 1.0]) == pytest.approx(1.0)


def test_clicks_needed_counts_from_one_and_says_when_never():
    assert metrics.clicks_needed([0.9, 0.95], 0.85) == 1
    assert metrics.clicks_needed([0.1, 0.86, 0.2], 0.85) == 2
    assert metrics.clicks_needed([0.1, 0.2, 0.3], 0.85) == 4


@given(side=st.integers(2, 30))
def test_a_square_of_any_size_is_solid(side: int):
    assert metrics.solidity(square(40, 3, side)) == pytest.approx(1.0)


def test_compact_are_squares_but_not_rings_crosses_or_pairs():
    ring = square(40, 5, 24) & ~square(40, 9, 16)
    cross = np.zeros((40, 40), bool)
    cross[18:21], cross[:, 18:21] = True, True
    pair = square(40, 2, 8) | square(40, 25, 8)
    assert metrics.is_compact(square(40, 5, 24))
    assert not any(metrics.is_compact(mask) for mask in (ring, cross, pair, np.zeros((9, 9), bool)))


@pytest.mark.parametrize(("side", "name"), [(10, "small"), (30, "medium"), (80, "large")])
def test_size_classes(side: int, name: str):
    assert metrics.size_class(square(100, 0, side)) == name
