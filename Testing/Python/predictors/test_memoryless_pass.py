"""A propagated slice is segmented without memory, too; the next slices follow what was propagated."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.memoryless_pass import with_memoryless_mask
from EfficientMedSAM2Lib.predictors.slices.slice_data import SlicePrediction
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
    noisy = volume + np.random.default_rng(0).normal(0, 0.3, volume.shape).astype(np.float32)
    masks, results = propagated(shipped, noisy, left)
    _, without = propagated(shipped, noisy, left, memoryless_pass=False)
    assert results.keys() == without.keys()
    changed = 0
    for index, result in results.items():
        assert result.as_propagated().mask == without[index].mask
        assert np.array_equal(result.mask.full(volume.shape[1:]), masks[index])
        changed += result.mask != without[index].mask
    assert changed > 3
