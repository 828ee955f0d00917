from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.metrics import next_click
from EfficientMedSAM2Lib.evaluation.prompts import jittered_box, tight_box


def rectangle(rows: slice, columns: slice, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def test_tight_box_is_first_and_last_pixels():
    assert tight_box(rectangle(slice(4, 9), slice(20, 31))).tolist() == [20, 4, 30, 8]
    with pytest.raises(ValueError, match="empty"):
        tight_box(np.zeros((5, 5), bool))


@given(seed=st.integers(0, 2**32 - 1), top=st.integers(0, 20), height=st.integers(4, 20), width=st.integers(4, 60))
def test_jitter_moves_sides_by_five_percent_at_most_and_stays_on_the_slice(seed, top, height, width):
    mask = rectangle(slice(top, top + height), slice(0, width))
    moved = jittered_box(mask, np.random.default_rng(seed))
    error = np.abs(moved - tight_box(mask))
    assert (error <= 0.05 * np.array([width, height, width, height]) + 1e-9).all()
    assert moved.min() >= 0
    assert moved[2] <= 59
    assert moved[3] <= 39
    assert (moved[2:] > moved[:2]).all()


def test_jitter_is_used_and_repeatable():
    mask = rectangle(slice(5, 35), slice(10, 50))
    first, again, other = (jittered_box(mask, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


def test_first_click_is_the_middle_of_the_object():
    truth = rectangle(slice(10, 21), slice(30, 41))
    assert next_click(np.zeros_like(truth), truth) == ((35, 15), True)


def test_click_is_negative_where_too_much_was_found():
    truth = rectangle(slice(2, 6), slice(2, 6))
    found = truth | rectangle(slice(20, 31), slice(40, 51))
    assert next_click(found, truth) == ((45, 25), False)


def test_click_goes_to_the_largest_error_and_lies_in_it():
    truth = rectangle(slice(5, 30), slice(5, 15)) | rectangle(slice(5, 30), slice(30, 55))
    (x, y), positive = next_click(np.zeros_like(truth), truth)
    assert positive
    assert x >= 30
    assert truth[y, x]


def test_touching_errors_of_both_kinds_are_told_apart():
    truth, found = rectangle(slice(10, 20), slice(0, 30)), rectangle(slice(10, 20), slice(30, 55))
    (x, _), positive = next_click(found, truth)
    assert positive
    assert x < 30


def test_click_on_an_object_at_the_rim_stays_away_from_the_rim():
    (x, y), _ = next_click(np.zeros((40, 60), bool), rectangle(slice(0, 11), slice(0, 11)))
    assert (x, y) == (5, 5)


def test_no_error_needs_no_click():
    truth = rectangle(slice(1, 5), slice(1, 5))
    assert next_click(truth, truth) is None
