"""A propagated slice is asked about again: without memory, too, or with a task by the box of its mask alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.second_pass import second_pass_by_task, with_memoryless_mask
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrediction, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

WHOLE = Viewport(0.0, 0.0, 16.0, 16.0)


def rectangle(rows, columns, logit=4.0):
    """Logits of a rectangle, as sure that the rest is not the object."""
    logits = np.full((16, 16), -logit, np.float32)
    logits[slice(*rows), slice(*columns)] = logit
    return logits


def prediction(propagated, memoryless):
    masks = np.stack([propagated] * 3)
    return SlicePrediction(WHOLE, masks, np.ones(3), 3.0, None, None, None, memoryless)


def test_the_mean_of_both_is_taken_of_the_mask_that_was_chosen():
    before = prediction(rectangle((2, 12), (3, 11), 2.0), rectangle((3, 13), (3, 11), 6.0))
    found = with_memoryless_mask(before, 1, 0.7)
    assert found.logits[1, 2, 5] == -2.0  # 2 and -6: without memory the network is surer
    assert found.logits[1, 12, 5] == 2.0
    np.testing.assert_array_equal(found.logits[0], before.logits[0])


def test_another_object_changes_nothing():
    before = prediction(rectangle((2, 12), (3, 11)), rectangle((2, 12), (3, 6)))
    assert with_memoryless_mask(before, 1, 0.7) is before


@pytest.fixture(scope="module")
def shipped():
    return build_efficient_medsam2_model("efficientnet", device="cpu")


def propagated(model, volume, mask, **rules):
    predictor = EfficientMedSAM2VolumePredictor(model)
    state = predictor.init_state(volume, spacing=(1.0, 1.0, 1.0))
    rows, columns = np.nonzero(mask[10])
    box = [columns.min(), rows.min(), columns.max(), rows.max()]
    predictor.add_new_points_or_box(state, 10, 1, box=box)
    before, model.heuristics = model.heuristics, HeuristicsConfig(**rules)
    masks = {index: logits[0, 0] > 0 for index, _, logits in predictor.propagate_in_video(state)}
    model.heuristics = before
    return masks, state["tracks"][1].results


def test_the_next_slices_follow_what_was_propagated(shipped, scene):
    volume, left, _ = scene
    noisy = volume + np.random.default_rng(0).normal(0, 0.6, volume.shape).astype(np.float32)
    masks, results = propagated(shipped, noisy, left)
    _, without = propagated(shipped, noisy, left, memoryless_pass=False)
    assert results.keys() == without.keys()
    changed = 0
    for index, result in results.items():
        assert result.as_propagated().mask == without[index].mask
        assert np.array_equal(result.mask.full(volume.shape[1:]), masks[index])
        changed += result.mask != without[index].mask
    assert changed > 3


def first_mask():
    return SlicePrediction(WHOLE, np.stack([rectangle((4, 12), (2, 12))] * 3), np.full(3, 0.7), 3.0, None, None, None)


def asked(answer):
    """A network that answers so, and what it was asked."""
    seen = []

    def ask(prompts, informed):
        seen.append((prompts, informed))
        return SlicePrediction(WHOLE, np.stack([answer] * 3), np.full(3, 0.9), -1.0, None, None, None)

    return ask, seen


def test_a_task_is_asked_by_the_box_of_the_first_mask_alone():
    neighbour = PlacedLogits.from_mask(np.ones((16, 16), bool))
    ask, seen = asked(rectangle((5, 11), (3, 11)))
    heuristics = HeuristicsConfig(task_box_margin=0.1)
    found = second_pass_by_task(first_mask(), SlicePrompts(neighbour=neighbour, neighbour_mm=3.0), ask, heuristics)
    ((prompts, informed),) = seen
    # first and last pixels 2, 4, 11, 11; a tenth of 9 and of 7 on each side
    np.testing.assert_allclose(prompts.box, [1.1, 3.3, 11.9, 11.7])
    assert prompts.neighbour is None
    assert prompts.earlier is None
    assert informed is None
    np.testing.assert_array_equal(found.logits[0], rectangle((5, 11), (3, 11)))
    # given a box, the network believes in an object; what it believed before it was given one counts
    assert found.object_logit == 3.0
    np.testing.assert_array_equal(found.iou, np.full(3, 0.7))


@pytest.mark.parametrize("first_is_empty", [True, False])
def test_where_a_task_finds_nothing_the_first_mask_stays(first_is_empty):
    first = first_mask()
    if first_is_empty:
        first = dataclasses.replace(first, logits=np.full_like(first.logits, -4.0))
    ask, _ = asked(np.full((16, 16), -4.0, np.float32))
    assert second_pass_by_task(first, SlicePrompts(), ask, HeuristicsConfig()) is first
