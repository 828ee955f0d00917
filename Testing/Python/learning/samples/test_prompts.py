from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.learning.samples import prompts

SEEDS = st.integers(0, 2**32 - 1)


def ellipse(seed: int, size: int = 256) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:size, :size]
    center, radii = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.01, 0.28, 2) * size + 1.0
    return ((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2 <= 1


def test_tight_boxes_are_half_open() -> None:
    masks = torch.zeros(2, 64, 64)
    masks[0, 10:20, 5:45] = 1
    boxes = prompts.tight_boxes(masks)
    assert boxes[0].tolist() == [5, 10, 45, 20]
    assert boxes[1].tolist() == [16, 16, 48, 48]


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_boxes_stay_close_to_the_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(np.stack([ellipse(seed), ellipse(seed + 1)])).float()
    tight = prompts.tight_boxes(masks)
    boxes = prompts.random_boxes(masks, rng, jitter=0.05, loose_probability=0.0)
    spans = (tight[:, 2:] - tight[:, :2]).repeat(1, 2)
    assert bool(((boxes - tight).abs() <= 0.101 * spans + 1.0).all())
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())


def test_boxes_may_be_a_voxel_off_at_the_far_end_only() -> None:
    rng = np.random.default_rng(0)
    masks = torch.zeros(300, 64, 64)
    masks[:, 16:32, 16:32] = 1
    scale = torch.full((300,), 4.0)
    boxes = prompts.random_boxes(masks, rng, jitter=0.0, loose_probability=0.0, pixel_scale=scale)
    assert boxes[:, :2].unique().tolist() == [16.0]
    assert boxes[:, 2:].unique().tolist() == [28.0, 32.0, 36.0]


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_clicks_are_inside_and_negative_clicks_outside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = ellipse(seed)
    for _ in range(5):
        x, y = prompts.random_click(mask, rng)
        assert mask[int(y), int(x)]
        x, y = prompts.negative_click(mask, rng)
        assert not mask[int(y), int(x)]


def test_clicks_say_when_there_is_no_object() -> None:
    assert prompts.random_click(np.zeros((64, 64), bool), np.random.default_rng(0)) is None
    assert prompts.negative_click(np.ones((64, 64), bool), np.random.default_rng(0)) is None
    assert prompts.recist_line(np.zeros((64, 64), bool), np.random.default_rng(0)) is None


@pytest.mark.parametrize("size", [64, 256])
def test_corrective_click_is_the_middle_of_the_largest_error(size: int) -> None:
    unit = size // 64
    truth = np.zeros((size, size), bool)
    truth[10 * unit : 40 * unit, 10 * unit : 40 * unit] = True
    predicted = truth.copy()
    predicted[10 * unit : 30 * unit, 10 * unit : 30 * unit] = False  # missed
    predicted[50 * unit : 56 * unit, 50 * unit : 56 * unit] = True  # too much, but smaller
    x, y, label = prompts.corrective_click(predicted, truth)
    assert label == 1
    assert (x, y) == pytest.approx((20 * unit, 20 * unit), abs=1.01 * unit)
    x, y, label = prompts.corrective_click(predicted | truth, truth)
    assert label == 0
    assert (x, y) == pytest.approx((53 * unit, 53 * unit), abs=1.01 * unit)
    assert prompts.corrective_click(truth, truth) is None


def test_corrective_click_finds_errors_of_one_pixel() -> None:
    truth = np.zeros((256, 256), bool)
    truth[101, 57] = True
    assert prompts.corrective_click(np.zeros_like(truth), truth) == (57.5, 101.5, 1)


def test_corrective_clicks_pad_where_nothing_is_wrong() -> None:
    truth = torch.zeros(2, 64, 64)
    truth[:, 10:30, 10:30] = 1
    predicted = truth.bool().clone()
    predicted[1] = False
    points, labels = prompts.corrective_clicks(predicted, truth)
    assert labels.tolist() == [[-1], [1]]
    assert points[1, 0].tolist() == pytest.approx([20, 20], abs=1.01)


def test_recist_line_is_the_longest_diameter() -> None:
    mask = np.zeros((128, 128), bool)
    mask[60:70, 20:100] = True
    line = prompts.recist_line(mask, np.random.default_rng(0))
    assert np.linalg.norm(line[1] - line[0]) == pytest.approx(80, rel=0.15)
    assert abs(line[1, 0] - line[0, 0]) > 65


def test_degraded_masks_differ_but_resemble() -> None:
    masks = torch.from_numpy(np.stack([ellipse(seed) for seed in range(40)])).float()
    masks[0] = 0
    worse = prompts.degraded_masks(masks, np.random.default_rng(0))
    assert not worse[0].any()
    assert set(worse.unique().tolist()) <= {0.0, 1.0}
    overlap = 2 * (worse * masks).sum((1, 2)) / (worse.sum((1, 2)) + masks.sum((1, 2))).clamp(min=1)
    assert overlap[1:].median() > 0.6
    assert (overlap[1:] < 0.999).float().mean() > 0.7
