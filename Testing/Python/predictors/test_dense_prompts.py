"""What prompts say of the pixels around them, and that predictors hand it to a network that takes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.core.appearance import Intensities
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig
from EfficientMedSAM2Lib.models.bundles import SCRIBBLE_INSIDE
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import grey, known_pixels
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SliceImage, SlicePrompts
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor


def known(**given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nothing = {
        "boxes": np.full((1, 4), np.nan),
        "points": np.zeros((1, 0, 2)),
        "labels": np.zeros((1, 0), int),
        "mask_logits": np.zeros((1, 128, 128)),
        "has_mask": np.zeros(1, bool),
        "neighbour_logits": np.zeros((1, 128, 128)),
        "has_neighbour": np.zeros(1, bool),
        "drawn": np.zeros((1, 3, 128, 128)),
    }
    return known_pixels(**{**nothing, **given}, image_size=256)


def test_a_box_leaves_its_rim_open() -> None:
    inside, outside = known(boxes=np.array([[64.0, 64.0, 191.0, 191.0]]))
    assert inside[0, 64, 64] == 1
    assert outside[0, 10, 10] == 1
    assert inside[0, 34, 34] == outside[0, 34, 34] == 0
    assert not (inside * outside).any()


def test_clicks_weigh_more_than_an_earlier_mask() -> None:
    mask = np.where(np.indices((128, 128))[1] < 64, 5.0, -5.0)[None]
    points, labels = np.array([[[200.0, 100.0], [20.0, 100.0]]]), np.array([[1, 0]])
    inside, outside = known(mask_logits=mask, has_mask=np.ones(1, bool), points=points, labels=labels)
    assert inside[0, 50, 100] > 1
    assert outside[0, 50, 100] == 0
    assert outside[0, 50, 10] > 1
    assert inside[0, 100, 30] == 1


def test_around_a_lone_click_all_else_is_surroundings() -> None:
    inside, outside = known(points=np.array([[[100.0, 60.0], [0.0, 0.0]]]), labels=np.array([[1, -1]]))
    assert inside[0, 30, 50] > 1
    assert outside[0, 0, 0] == 1
    assert (inside > 0).sum() < 120


def test_grey_is_the_mean_of_colours_and_of_pixels() -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[:, 0, :2, :2] = 3.0
    np.testing.assert_allclose(grey(image, 4)[0, 0], [1.0, 0, 0, 0])
    repeated = np.broadcast_to(image[:, :1], image.shape)
    np.testing.assert_allclose(grey(repeated, 4)[0, 0], [3.0, 0, 0, 0])


@pytest.fixture(scope="module")
def network() -> EfficientMedSAM2:
    torch.manual_seed(0)
    return EfficientMedSAM2(ModelConfig("mobilenet", mask_stride=2)).eval()


def test_scribbles_reach_the_network(network: EfficientMedSAM2, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(network, "encode_prompts", lambda p, f=network.encode_prompts: asked.append(p) or f(p))
    image = SliceImage(np.random.default_rng(0).normal(size=(90, 110)), IntensityWindow(0.0, 1.0), (1.0, 1.0))
    scribble = np.zeros((90, 110), bool)
    scribble[40, 50:60] = True
    prompts = SlicePrompts(box=np.array([30.0, 20, 80, 60]), scribble=PlacedLogits.from_mask(scribble))
    SlicePredictor(network).predict(image, prompts, FeatureCache(1 << 24))
    dense = asked[0].dense.numpy()
    assert dense.shape == (1, 5, 128, 128)
    assert dense[0, SCRIBBLE_INSIDE].any()
    assert dense[0, :2].any()


def test_a_propagated_slice_knows_what_the_object_looks_like(network: EfficientMedSAM2) -> None:
    volume = np.zeros((6, 60, 60), np.float32)
    volume[1:5, 20:40, 20:40] = 100
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(volume)
    mask = volume[2] > 0
    predictor.add_new_mask(state, 2, 1, mask)
    memory = state["tracks"][1].memories[2]
    assert memory.appearance is not None
    assert memory.appearance.ratio.max() > 0.5
    for _ in predictor.propagate_in_video(state, 2):
        pass
    assert state["tracks"][1].memories[3].appearance is None


def test_a_slice_that_is_asked_about_again_is_blurred_once(
    network: EfficientMedSAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    blurred, asked = [], []
    monkeypatch.setattr(Intensities, "of", staticmethod(lambda i, f=Intensities.of: blurred.append(i) or f(i)))
    monkeypatch.setattr(network, "encode_prompts", lambda p, f=network.encode_prompts: asked.append(p) or f(p))
    image = SliceImage(np.random.default_rng(0).normal(size=(90, 110)), IntensityWindow(0.0, 1.0), (1.0, 1.0))
    predictor, cache = SlicePredictor(network), FeatureCache(1 << 24)
    viewport = predictor.predict(image, SlicePrompts(box=np.array([30.0, 20, 80, 60])), cache)[0].viewport
    clicked = SlicePrompts(np.array([[50.0, 40.0]]), np.array([1]))
    predictor.predict(image, clicked, cache, viewport)
    assert len(asked) == 3  # the box, its second pass, the click
    assert len(blurred) == 1
    assert not np.array_equal(asked[0].dense, asked[2].dense)
