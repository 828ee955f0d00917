"""A mask that the prompts say little about is segmented once more with itself as a prompt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor

BOX = [20, 24, 70, 66]


@pytest.fixture
def image():
    y, x = np.mgrid[:96, :96]
    disc = np.hypot(y - 45, x - 45) < 20
    return (disc + np.random.default_rng(0).normal(0, 0.3, disc.shape)).astype(np.float32)


@pytest.fixture
def once(model):
    """The network, which answers once."""
    before = model.heuristics
    # grids of viewports as they are: box and mask are seen in the same one
    model.heuristics = HeuristicsConfig().without(["second_pass"])
    yield model
    model.heuristics = before


def predicted(model, image, **prompts):
    predictor = EfficientMedSAM2ImagePredictor(model)
    predictor.set_image(image)
    return predictor.predict(**{"multimask_output": False, "return_logits": True, **prompts})


def test_it_is_the_answer_to_box_and_first_mask_with_the_first_score(once, image):
    masks, scores, low_res = predicted(once, image, box=BOX)
    second, _, _ = predicted(once, image, box=BOX, mask_input=low_res)
    once.heuristics = HeuristicsConfig()
    found, found_scores, _ = predicted(once, image, box=BOX)
    assert not np.array_equal(masks, second)
    # the first mask comes back through the grid of the whole image, and loses a little on the way
    np.testing.assert_allclose(found, second, atol=0.35)
    np.testing.assert_array_equal(found_scores, scores)


def test_it_keeps_as_much_of_the_first_mask_as_wanted(once, image):
    _, _, first = predicted(once, image, box=BOX)
    once.heuristics = HeuristicsConfig()
    _, _, second = predicted(once, image, box=BOX)
    once.heuristics = dataclasses.replace(HeuristicsConfig(), second_pass_kept=0.5)
    _, _, kept = predicted(once, image, box=BOX)
    # as above, both come back through the grid of the whole image
    inside = (np.abs(first) < 25) & (np.abs(second) < 25)
    np.testing.assert_allclose((kept - second)[inside], 2 * np.tanh(first[inside] / 4), atol=0.15)


@pytest.mark.parametrize(
    "prompts",
    [
        {"point_coords": [[45, 45]], "point_labels": [1]},
        {"box": BOX, "point_coords": [[45, 45]], "point_labels": [1]},
        {"box": BOX, "multimask_output": True},
        {"box": BOX, "mask_input": np.ones((1, 256, 256), np.float32)},
    ],
)
def test_prompts_that_say_more_are_answered_once(once, image, prompts):
    first = predicted(once, image, **prompts)
    once.heuristics = HeuristicsConfig()
    for before, after in zip(first, predicted(once, image, **prompts)):
        np.testing.assert_array_equal(before, after)


def test_a_mask_that_is_less_sure_than_wanted_stays(once, image):
    masks, scores, _ = predicted(once, image, box=BOX)
    for wanted, stays in ((scores[0] + 0.01, True), (scores[0] - 0.01, False)):
        once.heuristics = dataclasses.replace(HeuristicsConfig(), second_pass_score=float(wanted))
        assert np.array_equal(predicted(once, image, box=BOX)[0], masks) is stays
