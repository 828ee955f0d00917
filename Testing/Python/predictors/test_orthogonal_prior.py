"""Orthogonal slices through a mask, and what they say of the object on other slices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.volume.frames import PictureFrames, TensorFrames, VolumeContext, VolumeFrames
from EfficientMedSAM2Lib.predictors.volume.orthogonal_prior import (
    OrthogonalPrior,
    OrthogonalSlice,
    _part_on,
    segment_orthogonal_slices,
)

WINDOW = IntensityWindow(0.0, 1.0)
HEURISTICS = HeuristicsConfig()
PLACES, EDGE = HEURISTICS.orthogonal_prior_places, HEURISTICS.orthogonal_prior_edge
SCORES, STRENGTH = HEURISTICS.orthogonal_prior_scores, HEURISTICS.orthogonal_prior_logit


def orthogonal_prior(network, volume, mask, index, spacing, frames=None):
    frames = frames or VolumeFrames(volume, 0)
    context = VolumeContext(frames, WINDOW, spacing[1:], spacing[0], FeatureCache(0))
    return segment_orthogonal_slices(SlicePredictor(network), context, PackedMask.pack(mask), index)


@pytest.mark.parametrize("spacing", [(3, 1, 1), (1.5, 0.5, 0.5), (3, 1, 1.6)])
def test_a_ball_is_seen_where_it_is(network, scene, spacing):
    volume, left, _ = scene
    found = orthogonal_prior(network, volume, left[10], 10, spacing)
    assert sorted(one.along for one in found.found) == [0] * len(PLACES) + [1] * len(PLACES)
    viewport = Viewport(0, 0, 96, 96)
    for index in range(24):
        inside = found.prior(index, viewport, 96, HEURISTICS) > 0
        truth = left[index]
        assert abs(int(inside.sum()) - int(truth.sum())) <= 0.2 * truth.sum() + 12
        assert (inside & ~left[10]).sum() <= 40
    assert len(np.unique(found.prior(20, viewport, 96, HEURISTICS))) == 1, "nothing of the ball is on slice 20"


def test_what_it_says_is_placed_by_the_view():
    """A cylinder of radius 10 around (50, 40), three slices deep."""
    edges = np.full((5, 2), np.nan)
    half = np.sqrt(10**2 - 6**2)
    slices = []
    for along, centre, other in ((0, 50, 40), (1, 40, 50)):
        for place, reach in ((other - 6, half), (other, 10), (other + 6, half)):
            seen = edges.copy()
            seen[1:4] = centre - reach, centre + reach
            slices.append(OrthogonalSlice(along, place, seen, 0.9))
    prior = OrthogonalPrior(10.0, tuple(slices), 1.0)
    for viewport in (Viewport(30, 20, 40, 40), Viewport(0, 10, 80, 60), Viewport(44, 33, 12, 12)):
        logits = prior.prior(2, viewport, 64, HEURISTICS)
        x = viewport.x0 - 0.5 + (np.arange(64) + 0.5) * viewport.width / 64
        y = viewport.y0 - 0.5 + (np.arange(64) + 0.5) * viewport.height / 64
        distance = np.hypot(x[None] - 50, y[:, None] - 40)
        assert (logits[distance < 8] > 0).all()
        assert (logits[distance > 12] < 0).all()
        assert np.allclose(logits[distance < 10 - 10 * EDGE - 2], STRENGTH)
        assert np.allclose(logits[distance > 10 + 10 * EDGE + 2], -STRENGTH)
    assert np.allclose(prior.prior(0, Viewport(0, 0, 96, 96), 8, HEURISTICS), -STRENGTH)


@pytest.mark.parametrize(
    ("score", "strength"),
    [(0.3, 0), (SCORES[0], 0), (sum(SCORES) / 2, STRENGTH / 2), (SCORES[1], STRENGTH), (1, STRENGTH)],
)
def test_it_says_as_much_as_the_orthogonal_slices_are_sure(score, strength):
    nothing = np.full((3, 2), np.nan)
    prior = OrthogonalPrior(2.0, (OrthogonalSlice(0, 1, nothing, score), OrthogonalSlice(1, 1, nothing, score)), 1.0)
    assert np.allclose(prior.prior(1, Viewport(0, 0, 4, 4), 4, HEURISTICS), -strength)


def test_a_single_line_says_nothing():
    edges = np.array([[1.0, 3.0]])
    prior = OrthogonalPrior(2.0, (OrthogonalSlice(0, 1, edges, 1.0),), 1.0)
    assert not prior.prior(0, Viewport(0, 0, 4, 4), 4, HEURISTICS).any()


def test_where_there_are_no_orthogonal_slices(network, scene, tmp_path):
    """Slices too far apart for the object, and slices that are no volume's."""
    import torch
    from PIL import Image

    volume, left, _ = scene
    assert orthogonal_prior(network, volume, left[10], 10, (16, 1, 1)) is None
    assert network.encoded == 0
    Image.new("RGB", (96, 96)).save(tmp_path / "0.png")
    for frames in (TensorFrames(torch.zeros(24, 3, 96, 96), 96, 96), PictureFrames(tmp_path)):
        assert orthogonal_prior(network, volume, left[10], 10, (3, 1, 1), frames) is None


def test_colours(network, scene):
    volume, left, _ = scene
    grey, colour = (
        orthogonal_prior(network, v, left[10], 10, (3, 1, 1)) for v in (volume, np.repeat(volume[..., None], 3, -1))
    )
    assert all(np.array_equal(a.edges, b.edges, equal_nan=True) for a, b in zip(grey.found, colour.found))


def test_orthogonal_slices_are_segmented_once_for_each_mask(network, scene):
    """Not again in a second run; again after a correction."""
    volume, left, _ = scene
    network.heuristics = network.heuristics.without(
        ["second_pass", "memoryless_pass"]
    )  # orthogonal slices have neither
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_mask(state, 10, 1, left[10])

    def decoded(frames, reverse):
        before = network.decoded
        list(predictor.propagate_object(state, 1, 10, frames, reverse))
        return network.decoded - before

    assert decoded([11, 12], False) == 2 + 2 * len(PLACES)
    assert decoded([9, 8], True) == 2
    smaller = left[10].copy()
    smaller[:38] = False
    predictor.add_new_mask(state, 10, 1, smaller)
    assert decoded([11], False) == 1 + 2 * len(PLACES)
    predictor.add_new_mask(state, 14, 1, left[10])
    assert decoded([11, 12, 13], False) == 3, "between two slices that were shown the masks of both lead"


@pytest.mark.slow
def test_a_mask_that_floods_its_surroundings_is_held_back():
    """A ball in tissue that is hardly darker: from slice to slice the mask shrinks too slowly."""
    from EfficientMedSAM2Lib import build_efficient_medsam2_model

    generator = np.random.default_rng(3)
    k, j, i = np.mgrid[:40, :128, :128]
    ball = (2 * (k - 20)) ** 2 + (j - 64) ** 2 + (i - 60) ** 2 < 22**2
    muscle = (j > 30) & (j < 100) & (i > 20) & (i < 110) & ~ball
    volume = (0.55 * ball + 0.5 * muscle + generator.normal(0, 0.05, ball.shape)).astype(np.float32)
    predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model("efficientnet", runtime="onnx"))

    def propagated():
        state = predictor.init_state(volume, spacing=(2, 1, 1), window=(0, 1))
        predictor.add_new_points_or_box(state, 20, 1, box=[38, 42, 82, 86])
        for reverse in (False, True):
            list(predictor.propagate_in_video(state, start_frame_idx=20, reverse=reverse))
        found = np.stack([predictor.slice_mask(state, 1, f) for f in range(40)])
        return 2 * (found & ball).sum() / (found.sum() + ball.sum())

    with_prior = propagated()
    predictor.model.heuristics = HEURISTICS.without(["orthogonal_prior"])
    without = propagated()
    assert with_prior > max(without + 0.01, 0.85)


def test_only_what_goes_on_from_the_line_belongs_to_it():
    mask = np.zeros((6, 12), bool)
    mask[2, 1:5] = mask[2, 8:10] = True  # the line is the first of two runs
    mask[1, 3:7] = True
    mask[0, 9:11] = True  # touches nothing
    mask[3, 4:9] = True  # goes on, and meets the second run from below
    mask[5] = True  # beyond a gap
    part = _part_on(mask, 2, 1, 5)
    assert part.sum(axis=1).tolist() == [0, 4, 4, 5, 0, 0]
    assert not _part_on(mask, 2, 5, 7).any()


@pytest.mark.slow
def test_neither_orthogonal_slices_nor_clicks_need_scipy():
    """Its import takes half a second, and a quarter of the memory of a propagation."""
    code = """
import sys
import subprocess
import sys

import numpy as np
from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor, build_efficient_medsam2_model
y, x = np.mgrid[:64, :64]
volume = np.stack([(np.hypot(x - 32, y - 32) < 14).astype(np.float32)] * 5)
predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model("mobilenet", runtime="onnx"))
state = predictor.init_state(volume, spacing=(1, 1, 1), window=(0, 1))
for label, point in ((1, (20, 32)), (0, (36, 32))):
    predictor.add_new_points_or_box(state, 2, 1, points=[point], labels=[label])
predictor.add_new_points_or_box(state, 2, 1, box=[17, 17, 46, 46])
list(predictor.propagate_in_video(state, start_frame_idx=2))
assert state["tracks"][1].orthogonal_priors[2][1] is not None
print([name for name in sys.modules if name.split(".")[0] == "scipy"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
