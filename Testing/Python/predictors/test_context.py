"""What the context network says of other slices, and what propagation makes of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from stub_network import StubNetwork

from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.models.config import ContextConfig
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.volume.context import predict_context
from EfficientMedSAM2Lib.predictors.volume.frames import VolumeContext, VolumeFrames

WHOLE = Viewport(0, 0, 96, 96)
RULES = HeuristicsConfig()
LOGIT, PRESENCE = RULES.context_logit, RULES.context_presence_logit
CONTEXT = ContextConfig()


class ContextStub(StubNetwork):
    """Its context network calls bright what is bright, connected or not, and counts how often it is asked."""

    def __init__(self, context=CONTEXT):
        super().__init__()
        self.config = dataclasses.replace(self.config, context=context, mask_stride=4)
        self.cubes = []

    def context_logits(self, cubes):
        self.cubes.append(cubes[0].numpy())
        image = cubes[:, 0]
        return torch.where(image > (image.min() + image.max()) / 2, 8.0, -8.0)


@pytest.fixture
def context_network():
    return ContextStub()


def ask(network, volume, masks, spacing=(3, 1, 1)):
    known = {index: PackedMask.pack(mask) for index, mask in masks.items()}
    window = IntensityWindow(0.0, 1.0)
    context = VolumeContext(VolumeFrames(volume, 0), window, spacing[1:], spacing[0], FeatureCache(0))
    return predict_context(SlicePredictor(network), context, known)


@pytest.mark.parametrize("spacing", [(3, 1, 1), (1.5, 0.5, 0.5), (3, 1, 1.6)])
def test_a_ball_is_found_where_it_is_and_the_other_is_not(context_network, scene, spacing):
    volume, left, right = scene
    found = ask(context_network, volume, {10: left[10]}, spacing)
    for index in range(24):
        inside = found.prior(index, WHOLE, 96, LOGIT) > 0
        wrong = inside ^ left[index]
        assert wrong.sum() <= 0.2 * left[index].sum() + 12
        assert not (inside & right[index]).any()
        if left[index].sum() != 0 or index < 4 or index > 16:
            assert (found.presence(index, PRESENCE) > 0) == (left[index].sum() > 12)


def test_a_view_shows_the_same_place(context_network, scene):
    volume, left, _ = scene
    found = ask(context_network, volume, {10: left[10]})
    whole = found.prior(11, WHOLE, 96, LOGIT)
    viewport = Viewport(20, 30, 24, 24)
    np.testing.assert_allclose(found.prior(11, viewport, 24, LOGIT), whole[30:54, 20:44], atol=1e-4)
    outside = found.prior(11, Viewport(-40, -40, 20, 20), 8, LOGIT)
    assert (outside == -LOGIT).all()
    assert found.prior(10, WHOLE, 96, LOGIT).max() == pytest.approx(LOGIT)


def test_the_cube_grows_while_the_object_goes_on(context_network):
    """A column through all slices, far longer than wide."""
    j, i = np.mgrid[0:96, 0:96]
    disk = (j - 48) ** 2 + (i - 48) ** 2 < 8**2
    volume = np.repeat(disk[None].astype(np.float32), 100, axis=0)
    volume[:40] = 0
    found = ask(context_network, volume, {50: disk}, (1, 1, 1))
    assert len(context_network.cubes) == 1 + RULES.context_growths
    assert found.cube.side_mm == pytest.approx(RULES.context_width * 15 * RULES.context_growth**RULES.context_growths)
    assert found.presence(80, PRESENCE) > 0
    assert found.presence(90, PRESENCE) == 0, "nothing is known beyond a cube whose end the object reaches"
    assert (found.prior(90, WHOLE, 32, LOGIT) == 0).all()
    assert found.presence(30, PRESENCE) == found.presence(5, PRESENCE) == -PRESENCE
    assert (found.prior(5, WHOLE, 32, LOGIT) == -LOGIT).all()


def test_an_object_that_ends_is_looked_at_once(context_network, scene):
    volume, left, _ = scene
    ask(context_network, volume, {10: left[10]})
    assert len(context_network.cubes) == 1


def test_all_known_slices_are_told_and_lie_in_the_cube(context_network, scene):
    volume, left, _ = scene
    nothing = np.zeros_like(left[0])
    found = ask(context_network, volume, {7: left[7], 13: left[13], 18: nothing})
    told = context_network.cubes[0][1]
    for index, is_there in ((7, True), (13, True), (18, False)):
        slab = found.cube.slab(0, index)
        assert slab.any()
        assert (told[slab] > 0).any() == is_there
        assert (told[slab] < 0).any()
    assert ask(context_network, volume, {18: nothing}) is None


def test_colours_are_seen_as_grey(context_network, scene):
    volume, left, _ = scene
    grey, colour = (ask(context_network, v, {10: left[10]}) for v in (volume, np.repeat(volume[..., None], 3, axis=-1)))
    assert np.array_equal(grey.logits, colour.logits)


def propagated(predictor, volume, mask, index=10):
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_mask(state, index, 1, mask)
    found = np.zeros(volume.shape, bool)
    for reverse, frames in ((False, range(index, 24)), (True, range(index, -1, -1))):
        for number, part, _ in predictor.propagate_object(state, 1, index, frames, reverse):
            found[number] = part
    return state, found


def test_propagation_asks_it_once_and_segments_no_orthogonal_slices(context_network, scene):
    volume, left, _ = scene
    predictor = EfficientMedSAM2VolumePredictor(context_network)
    state, found = propagated(predictor, volume, left[10])
    assert len(context_network.cubes) == 1
    assert not state["tracks"][1].orthogonal_priors
    assert ndimage.sum(found & left) >= 0.95 * left.sum()
    assert (found & ~left).sum() <= 0.05 * left.sum()
    predictor.add_new_mask(state, 12, 1, left[12])
    list(predictor.propagate_object(state, 1, 12, range(12, 20)))
    assert len(context_network.cubes) == 2, "another known mask, another answer"


def test_where_it_finds_nothing_the_object_is_absent(scene):
    """A network of slices that finds the ball everywhere is told where it ends."""
    left = scene[1]
    column = np.repeat(left[10][None].astype(np.float32), 24, axis=0)
    network = ContextStub()
    network.certainty = 2.0
    network.context_logits = lambda cubes: torch.where(cubes[:, 1] > 0, 8.0, -8.0)
    _, found = propagated(EfficientMedSAM2VolumePredictor(network), column, left[10])
    assert found[10].any()
    assert not found[:8].any()
    assert not found[13:].any()
    # Between two slices on which the user showed the object it is there.
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(column, spacing=(3, 1, 1), window=(0, 1))
    for index in (4, 16):
        predictor.add_new_mask(state, index, 1, left[10])
    assert all(part.any() for _, part, _ in predictor.propagate_object(state, 1, 4, range(4, 16)))


@pytest.mark.parametrize("way", ["weights", "rules", "frames"])
def test_without_it_cuts_from_the_side_tell(scene, way):
    volume, left, _ = scene
    stub = ContextStub(None if way == "weights" else CONTEXT)
    if way == "rules":
        stub.heuristics = RULES.without(["context"])
    predictor = EfficientMedSAM2VolumePredictor(stub)
    if way == "frames":
        state = predictor.init_state(torch.from_numpy(volume)[:, None].repeat(1, 3, 1, 1), 96, 96)
        predictor.add_new_mask(state, 10, 1, left[10])
        list(predictor.propagate_object(state, 1, 10, range(10, 13)))
    else:
        state, _ = propagated(predictor, volume, left[10])
    assert not stub.cubes
    assert 10 in state["tracks"][1].orthogonal_priors


def test_its_mask_can_be_the_prompt_of_a_slice(context_network, scene):
    volume, left, _ = scene
    predictor = EfficientMedSAM2VolumePredictor(context_network)
    seen = []
    encode = context_network.encode_prompts
    context_network.encode_prompts = lambda prompts: seen.append(prompts.neighbour_logits) or encode(prompts)
    _, found = propagated(predictor, volume, left[10])
    told = [logits for logits in seen if logits is not None]
    areas = [int((logits > 0).sum()) for logits in told[:4]]
    assert areas == sorted(areas, reverse=True), "each slice has its own, not that of the slice before"
    assert areas[0] > areas[3]
    assert (found & left).sum() >= 0.95 * left.sum()
