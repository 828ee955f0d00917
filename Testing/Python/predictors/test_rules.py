"""Every rule of `HeuristicsConfig`: what it does, and that it no longer does it when it is switched off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.models.config import ContextConfig
from EfficientMedSAM2Lib.predictors import (
    EfficientMedSAM2ImagePredictor,
    EfficientMedSAM2VolumePredictor,
    viewport_choice,
)
from EfficientMedSAM2Lib.predictors.slices.rejection import rejects_earlier
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SlicePrompts
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.runtimes.tasks import Task

NO_CLICKS = np.zeros((0, 2))
SQUARE = ((400, 400), (1.0, 1.0))
LEFT = (28, 40)


def _zoom(network, volume):
    return viewport_choice.viewport_for_box((100, 100, 149, 149), NO_CLICKS, *SQUARE, network.heuristics).width < 200


def _viewport_grid(network, volume):
    boxes = [(100, 100, 149 + more, 149) for more in (0, 2)]
    first, second = (viewport_choice.viewport_for_box(box, NO_CLICKS, *SQUARE, network.heuristics) for box in boxes)
    return first == second


def _keep_viewport(network, volume):
    return viewport_choice.keeps_viewport(
        Viewport(100, 100, 100, 100), (125, 125, 174, 174), SQUARE[0], network.heuristics
    )


def _narrow_viewports(network, volume):
    return (
        len(
            viewport_choice.viewports_for_clicks(np.array([[200.0, 200.0]]), np.array([1]), *SQUARE, network.heuristics)
        )
        == 3
    )


def _sure_viewport(network, volume):
    """One viewport is encoded of a click that the network is sure of, and the fitted one."""
    click(network, volume)
    return network.encoded == 2


def _candidate_score(network, volume):
    logits = np.full((1, 2, 64, 64), -1.0)
    logits[0, 0, 30:33, 30:33] = 1  # small
    logits[0, 1, 10:40, 10:40] = 1
    viewport, iou = Viewport(0, 0, 64, 64), np.array([[0.9, 0.8]])
    return viewport_choice.choose_candidate([viewport], logits, iou, np.ones(1), (64, 64), network.heuristics)[1] == 1


def _refit_viewport(network, volume):
    click(network, volume)
    return network.decoded == 2


def _rejection(network, volume):
    clicks, everything = np.array([(28.0, 40.0), (48.0, 48.0)]), PlacedLogits.from_mask(np.ones((96, 96), bool))
    return rejects_earlier(SlicePrompts(clicks, np.array([1, 0]), earlier=everything), network.heuristics)


def _second_pass(network, volume):
    """Slices without prompts are decoded twice, the second time without the neighbour's mask ..."""
    network.heuristics = network.heuristics.without(["orthogonal_prior", "memoryless_pass"])
    return _decodings_of_two_slices(network, volume) == 4


def _memoryless_pass(network, volume):
    """... and a third time without memory."""
    network.heuristics = network.heuristics.without(["orthogonal_prior"])
    return _decodings_of_two_slices(network, volume) == 6


def _task_box(network, volume):
    """With a task they are decoded twice, the second time in the light of a box alone."""
    network.heuristics = network.heuristics.without(["orthogonal_prior", "memoryless_pass"])
    boxes, encode = [], network.encode_prompts
    network.encode_prompts = lambda prompts: boxes.append(prompts.boxes.isfinite().all()) or encode(prompts)
    network.task = Task("disc", "efficientnet", weights_sha256="", cases=2)
    assert _decodings_of_two_slices(network, volume) == 4
    return sum(map(bool, boxes)) == 2


def _task_view(network, volume):
    """With a task, a click is read in one viewport of the structure's size, and its single mask is meant."""
    network.heuristics = network.heuristics.without(["refit_viewport", "sure_viewport"])
    network.task = Task("disc", "efficientnet", weights_sha256="", cases=2, size_mm=30.0)
    click(network, volume)
    return network.encoded == 1


def _decodings_of_two_slices(network, volume):
    predictor, state = opened(network, volume)
    predictor.add_new_mask(state, 10, 1, volume[10] > 0.5)
    network.decoded = 0
    list(predictor.propagate_object(state, 1, 10, range(11, 13)))
    assert len(network.neighbours) == 2
    return network.decoded


def _roundness(network, volume):
    network.heuristics = network.heuristics.without(["second_pass"])  # it asks for the network's own mask again
    predictor = EfficientMedSAM2ImagePredictor(network)
    predictor.set_image(volume[10], window=(0, 1))
    logits = predictor.predict(box=[13, 25, 43, 55], multimask_output=False, return_logits=True)[0]
    return bool((logits > 8).any())  # the network's own are 8 at most


def _click_context(network, volume):
    predictor, state = opened(network, volume)
    predictor.add_new_mask(state, 10, 1, volume[10] > 0.5)
    network.neighbours.clear()
    predictor.add_new_points_or_box(state, 11, 1, points=[LEFT], labels=[1])
    return set(network.neighbours) == {3.0}


def _neighbour_mask(network, volume):
    follow(network, volume, range(11, 13))
    return len(network.neighbours) == 2


def _neighbour_distance(network, volume):
    """Half a radius of the object is more than the 3 mm between slices."""
    follow(network, volume, range(11, 13))
    return network.neighbours[0] > 3.0


def _memory_range(network, volume):
    predictor, state = opened(network, volume, slice_mm=15)
    predictor.add_new_mask(state, 10, 1, volume[10] > 0.5)
    list(predictor.propagate_object(state, 1, 10, range(11, 16)))
    return sorted(network.distances[-1], key=abs) == [-15, -30, -75]  # the last one was prompted


def _presence_threshold(network, volume):
    """An object logit of 0.4 is believed less far away."""
    network.certainty = 0.4
    cylinder = np.repeat(volume[10:11], 24, axis=0)
    masks = follow(network, cylinder, range(11, 24))
    assert masks[0].any()
    return not masks[-1].any()


def _distance_uncertainty(network, volume):
    """Masks that are alike have lower scores further away, also where the presence threshold is off."""
    network.heuristics = network.heuristics.without(["presence_threshold"])
    predictor, state = opened(network, np.repeat(volume[10:11], 24, axis=0))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    scores = [score for _, _, score in predictor.propagate_object(state, 1, 10, range(11, 24))]
    return scores[0] > scores[-1]


def _orthogonal_prior(network, volume):
    follow(network, volume, [11])
    return network.encoded > 3


def _context(network, volume):
    asked = with_context(network, lambda cubes: torch.where(cubes[:, 1] > 0, 8.0, -8.0))
    follow(network, volume, [11])
    return len(asked) > 0


def _context_presence(network, volume):
    """The context network finds the object on the known slice alone; the other one, everywhere."""
    network.certainty = 2.0
    with_context(network, lambda cubes: torch.where(cubes[:, 1] > 0, 8.0, -8.0))
    masks = follow(network, np.repeat(volume[10:11], 24, axis=0), range(11, 16))
    return not masks[-1].any()


def _context_prompt(network, volume):
    """The context network finds a strip of the object."""
    strip = torch.full((64, 64, 64), -8.0)
    strip[:, 30:34, 20:44] = 8.0
    with_context(network, lambda cubes: strip[None])
    told, encode = [], network.encode_prompts
    network.encode_prompts = lambda prompts: told.append(prompts.neighbour_logits) or encode(prompts)
    masks = follow(network, np.repeat(volume[10:11], 24, axis=0), range(11, 13))
    assert masks[0].sum() > 500
    areas = [int((logits > 0).sum()) for logits in told if logits is not None]
    return max(areas) < 0.5 * np.pi * 16**2


EFFECTS = {
    "zoom": _zoom,
    "viewport_grid": _viewport_grid,
    "keep_viewport": _keep_viewport,
    "narrow_viewports": _narrow_viewports,
    "sure_viewport": _sure_viewport,
    "candidate_score": _candidate_score,
    "refit_viewport": _refit_viewport,
    "second_pass": _second_pass,
    "memoryless_pass": _memoryless_pass,
    "task_box": _task_box,
    "task_view": _task_view,
    "rejection": _rejection,
    "roundness": _roundness,
    "click_context": _click_context,
    "neighbour_mask": _neighbour_mask,
    "neighbour_distance": _neighbour_distance,
    "memory_range": _memory_range,
    "presence_threshold": _presence_threshold,
    "distance_uncertainty": _distance_uncertainty,
    "orthogonal_prior": _orthogonal_prior,
    "context": _context,
    "context_presence": _context_presence,
    "context_prompt": _context_prompt,
}


def with_context(network, answer):
    """Give a stub a context network; returns the list of what it will be asked."""
    asked = []
    network.config = dataclasses.replace(network.config, context=ContextConfig())
    network.context_logits = lambda cubes: asked.append(cubes) or answer(cubes)
    return asked


def click(network, volume):
    predictor = EfficientMedSAM2ImagePredictor(network)
    # Small in its slice, so that a viewport fitted around it is wanted.
    large = np.zeros((200, 200), np.float32)
    large[50:146, 50:146] = volume[10]
    predictor.set_image(large, window=(0, 1))
    predictor.predict(point_coords=[(50 + LEFT[0], 50 + LEFT[1])], point_labels=[1])


def opened(network, volume, slice_mm=3):
    predictor = EfficientMedSAM2VolumePredictor(network)
    return predictor, predictor.init_state(volume, spacing=(slice_mm, 1, 1), window=(0, 1))


def follow(network, volume, frames):
    predictor, state = opened(network, volume)
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    return [mask for _, mask, _ in predictor.propagate_object(state, 1, 10, frames)]


def test_every_rule_is_listed_here():
    assert tuple(EFFECTS) == HeuristicsConfig.rules()


@pytest.mark.parametrize("rule", EFFECTS)
@pytest.mark.parametrize("is_on", [True, False])
def test_a_rule_works_only_while_it_is_on(rule, is_on, network, scene):
    if not is_on:
        network.heuristics = network.heuristics.without([rule])
    assert EFFECTS[rule](network, scene[0]) == is_on


@pytest.mark.parametrize("empties", [False, True])
def test_behind_a_given_mask_the_object_is_believed_to_go_on(empties, network, scene):
    """But not behind one that says that the object is not there."""
    network.certainty = 0.4
    predictor, state = opened(network, np.repeat(scene[0][10:11], 24, axis=0))
    predictor.add_new_mask(state, 10, 1, scene[0][10] > 0.5)
    if empties:
        predictor.add_new_mask(state, 11, 1, np.zeros(scene[0][10].shape, bool))
    start = 11 if empties else 10
    masks = [mask for _, mask, _ in predictor.propagate_object(state, 1, start, range(start + 1, 24))]
    assert masks[-1].any() != empties


def test_numbers_are_those_of_the_weights(network, scene):
    network.heuristics = HeuristicsConfig.from_json('{"neighbour_distance_mm": 7.0}')
    follow(network, scene[0], range(11, 13))
    assert set(network.neighbours) == {7.0}
