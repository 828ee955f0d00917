"""A click deep in the mask of another object: that mask is forgotten, unless it stands for more than clicks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.image_predictor import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.predictors.slices import rejection
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport

HEURISTICS = HeuristicsConfig()
DEPTH, FIRST_CLICKS = HEURISTICS.rejection_depth, HEURISTICS.rejection_clicks
CENTRE, RADIUS = (50.0, 40.0), 30.0
WHOLE = Viewport(0, 0, 100, 100)


def rejects_earlier(prompts):
    return rejection.rejects_earlier(prompts, HEURISTICS)


def disc(viewport=WHOLE, cells=100):
    """Logits of a disc, on a grid of cells over a viewport."""
    x = viewport.x0 - 0.5 + (np.arange(cells) + 0.5) * viewport.width / cells
    y = viewport.y0 - 0.5 + (np.arange(cells) + 0.5) * viewport.height / cells
    return PlacedLogits(RADIUS - np.hypot(x[None] - CENTRE[0], y[:, None] - CENTRE[1]), viewport)


def clicks(*depths_and_labels, earlier=None, **more):
    """Prompts with clicks on the way from the disc's border to its middle."""
    points = np.array([[CENTRE[0] - RADIUS + depth, CENTRE[1]] for depth, _ in depths_and_labels])
    return SlicePrompts(points, np.array([label for _, label in depths_and_labels]), earlier=earlier or disc(), **more)


@given(st.floats(3, 28), st.floats(-5, 28), st.sampled_from([(0, 0, 100, 100), (10, 5, 80, 70), (-20, -20, 150, 150)]))
def test_what_counts_is_the_depth_of_the_clicks(inside, outside, viewport):
    margin = 2.0  # cells of the grid
    prompts = clicks((inside, 1), (outside, 0), earlier=disc(Viewport(*viewport), 128))
    if outside > DEPTH * inside + margin:
        assert rejects_earlier(prompts)
    if outside < DEPTH * inside - margin:
        assert not rejects_earlier(prompts)


@pytest.mark.parametrize("inside", [-3.0, -3.5, -20.0])
@pytest.mark.parametrize("outside", [-2.6, -4.9, -60.0])
def test_clicks_beside_the_mask_say_nothing_against_it(inside, outside):
    """Wherever in their cells of a coarse grid they lie."""
    assert not rejects_earlier(clicks((inside, 1), (outside, 0), earlier=disc(WHOLE, 20)))


def test_later_clicks_correct():
    first = clicks((5, 1), (25, 0), *[(-3, 0)] * (FIRST_CLICKS - 2))
    later = clicks((5, 1), (25, 0), *[(-3, 0)] * (FIRST_CLICKS - 1))
    assert rejects_earlier(first)
    assert not rejects_earlier(later)


def test_a_mask_that_stands_for_more_than_clicks_is_kept():
    prompts = clicks((5, 1), (25, 0))
    assert rejects_earlier(prompts)
    for more in (
        {"trusts_earlier": True},
        {"box": np.array([20.0, 10, 80, 70])},
        {"neighbour": disc()},
        {"earlier": None},
    ):
        assert not rejects_earlier(dataclasses.replace(prompts, **more))
    assert not rejects_earlier(clicks((5, 1), (3, 1)))
    assert not rejects_earlier(clicks((25, 0)))


LEFT, RIGHT, BETWEEN = (28, 40), (70, 60), (48, 48)


@pytest.fixture
def flooded(scene, network):
    """Predictor of a slice with two balls, both balls, the left one, and logits that call all of it the object."""
    volume, left, right = scene
    predictor = EfficientMedSAM2ImagePredictor(network)
    predictor.set_image(volume[12], window=(0, 1))
    return predictor, (left | right)[12], left[12], np.full((1, 256, 256), 8.0, np.float32)


def test_the_network_is_asked_without_it(flooded):
    predictor, both, left, everything = flooded
    options = {"mask_input": everything, "multimask_output": False}
    corrected, _, _ = predictor.predict(point_coords=[LEFT, (28, 3)], point_labels=[1, 0], **options)
    assert dice(corrected[0], both) > 0.9, "a click near the mask's border corrects it"
    anew, _, _ = predictor.predict(point_coords=[LEFT, BETWEEN], point_labels=[1, 0], **options)
    assert dice(anew[0], left) > 0.9, "one in its middle rejects it"


def test_a_mask_of_the_user_s_own_is_corrected(scene, network):
    volume, left, right = scene
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(volume, window=(0, 1))
    predictor.add_new_mask(state, 12, 1, np.ones(volume.shape[1:], bool))
    predictor.add_new_points_or_box(state, 12, 1, points=[LEFT], labels=[1])
    predictor.add_new_points_or_box(state, 12, 1, points=[BETWEEN], labels=[0])
    assert dice(predictor.slice_mask(state, 1, 12), (left | right)[12]) > 0.9


def dice(a, b):
    a, b = a > 0, b > 0
    return 2 * (a & b).sum() / (a.sum() + b.sum())
