"""Volumes through a network that finds what is bright: masks, refinement, memory, laziness, snapshots."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

HEURISTICS = HeuristicsConfig()


@pytest.fixture
def predictor(network):
    return EfficientMedSAM2VolumePredictor(network)


def dice(a, b):
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def both_ways(predictor, state, obj_id, start, count):
    for reverse, frames in ((False, range(start + 1, count)), (True, range(start - 1, -1, -1))):
        for _ in predictor.propagate_object(state, obj_id, start, frames, reverse):
            pass
    return np.stack([predictor.slice_mask(state, obj_id, f) for f in range(count)])


def test_a_box_becomes_the_ball_and_nothing_else(predictor, scene):
    volume, left, _ = scene
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    frame, ids, logits = predictor.add_new_points_or_box(state, 10, "liver", box=[13, 25, 43, 55])
    assert (frame, ids) == (10, ["liver"])
    assert logits.shape == (1, 1, 96, 96)
    assert dice((logits[0, 0] > 0).numpy(), left[10]) > 0.95
    result = both_ways(predictor, state, "liver", 10, 24)
    assert dice(result, left) > 0.93
    assert not result[0].any()
    assert predictor.slice_score(state, "liver", 10) > 0.85
    assert predictor.slice_score(state, "liver", 0) < 0.1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_slicing_axis(predictor, scene, axis):
    volume, left, _ = scene
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1), axis=axis)
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (
        volume.shape[axis],
        *np.take(volume, 0, axis).shape,
    )
    start = (10, 40, 28)[axis]
    truth = left.take(start, axis)
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = [columns[0], rows[0], columns[-1], rows[-1]]
    predictor.add_new_points_or_box(state, start, 1, box=box)
    assert dice(predictor.slice_mask(state, 1, start), truth) > 0.93
    assert dice(both_ways(predictor, state, 1, start, volume.shape[axis]), np.moveaxis(left, axis, 0)) > 0.9


def test_objects_do_not_know_of_each_other(predictor, scene):
    volume, _, right = scene
    alone = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(alone, 10, 1, box=[13, 25, 43, 55])
    first = [logits[0].numpy() for _, _, logits in predictor.propagate_in_video(alone)]
    together = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(together, 10, 1, box=[13, 25, 43, 55])
    predictor.add_new_points_or_box(together, 12, 2, points=[[70, 60]], labels=[1])
    frames = list(predictor.propagate_in_video(together))
    assert [f for f, _, _ in frames] == list(range(10, 24))
    assert all(ids == [1, 2] for _, ids, _ in frames)
    assert all(np.array_equal(a, logits[0].numpy()) for a, (_, _, logits) in zip(first, frames))
    assert dice(predictor.slice_mask(together, 2, 16), right[16]) > 0.93


def test_a_click_on_a_followed_slice_corrects_it_and_leads_from_there(predictor, scene):
    volume, left, right = scene
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    both_ways(predictor, state, 1, 10, 24)
    # The user wants both balls from slice 12 on.
    predictor.add_new_points_or_box(state, 12, 1, points=[[70, 60]], labels=[1])
    assert dice(predictor.slice_mask(state, 1, 12), left[12] | right[12]) > 0.93
    assert state["tracks"][1].prompts[12].refines
    for f, _, _ in predictor.propagate_object(state, 1, 12, range(13, 17)):
        assert f in range(13, 17)
    assert dice(predictor.slice_mask(state, 1, 13), left[13] | right[13]) > 0.93
    # A negative click takes it away again, and earlier clicks can be kept.
    predictor.add_new_points_or_box(state, 12, 1, points=[[28, 40]], labels=[0], clear_old_points=False)
    assert len(state["tracks"][1].prompts[12].points) == 2
    assert dice(predictor.slice_mask(state, 1, 12), right[12]) > 0.93


def test_conditioning_slices_stay_as_they_were_made(predictor, scene):
    volume, left, _ = scene
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    mask = np.zeros((96, 96), bool)
    mask[35:45, 20:35] = True
    _, _, logits = predictor.add_new_mask(state, 8, 1, mask)
    assert ((logits[0, 0] > 0).numpy() == mask).all()
    for _ in predictor.propagate_in_video(state, start_frame_idx=8):
        pass
    assert (predictor.slice_mask(state, 1, 8) == mask).all()
    assert predictor.slice_score(state, 1, 8) == 1.0
    assert dice(predictor.slice_mask(state, 1, 10), left[10]) > 0.93


@pytest.mark.parametrize(("certainty", "last"), [(0.4, 7), (0.6, 39)])
def test_far_from_prompts_it_takes_more_to_believe_in_the_object(predictor, network, certainty, last):
    """A rod of radius 12 mm, slices of 2 mm: after half a radius a logit of 0.4 is not enough, one of 0.6 always is."""
    network.certainty = certainty
    rows, columns = np.ogrid[:96, :96]
    rod = (rows - 48) ** 2 + (columns - 48) ** 2 <= 12**2
    state = predictor.init_state(np.repeat(rod[None].astype(np.float32), 40, axis=0), spacing=(2, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 5, 1, box=[36, 36, 60, 60])
    found = [f for f, mask, _ in predictor.propagate_object(state, 1, 5, range(6, 40)) if mask.any()]
    assert found == list(range(6, last + 1))
    # Shown again further on, the object is believed to be on every slice between.
    predictor.add_new_points_or_box(state, 35, 1, box=[36, 36, 60, 60])
    between = [f for f, mask, _ in predictor.propagate_object(state, 1, 5, range(6, 35)) if mask.any()]
    assert between == list(range(6, 35))


def test_an_empty_mask_may_be_given(predictor, scene):
    state = predictor.init_state(scene[0], window=(0, 1))
    _, _, logits = predictor.add_new_mask(state, 3, 1, np.zeros((96, 96)))
    assert not (logits > 0).any()
    frames = list(predictor.propagate_object(state, 1, 3, range(4, 8)))
    assert not any(mask.any() for _, mask, _ in frames)


def test_only_touched_slices_are_encoded(predictor, network, scene):
    state = predictor.init_state(scene[0], spacing=(3, 1, 1))
    assert network.encoded == 0
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    assert network.encoded == 1
    list(predictor.propagate_object(state, 1, 10, [11, 12]))
    touched = network.encoded
    assert touched == 3 + 2 * len(HEURISTICS.orthogonal_prior_places), "the orthogonal prior encodes slices as well"
    # Again: all from the cache.
    list(predictor.propagate_object(state, 1, 10, [11, 12]))
    assert network.encoded == touched
    predictor.prefetch(state, 13, 1)
    assert network.encoded == touched + 1
    list(predictor.propagate_object(state, 1, 10, [11, 12, 13]))
    assert network.encoded == touched + 1


def test_cache_keeps_its_budget(network, scene):
    predictor = EfficientMedSAM2VolumePredictor(network, feature_cache_bytes=60_000)
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    for _ in predictor.propagate_object(state, 1, 10, range(11, 24)):
        assert 0 < state["cached_features"].nbytes <= 60_000
    with pytest.raises(ValueError, match="budget"):
        list(EfficientMedSAM2VolumePredictor(network, feature_cache_bytes=-1).init_state(scene[0]))


@pytest.mark.parametrize("depth", [40, 160])
def test_what_is_kept_does_not_grow_with_the_number_of_slices(network, depth):
    """Memories are bounded; of a slice there remain its mask in bits and a few numbers."""
    volume = np.zeros((depth, 64, 64), np.float32)
    volume[:, 20:40, 20:40] = 1
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(volume, spacing=(0.5, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 0, 1, box=[20, 20, 39, 39])
    for _ in predictor.propagate_object(state, 1, 0, range(1, depth)):
        assert len(state["tracks"][1].memories) <= 1 + network.config.max_memories
    results = state["tracks"][1].results
    assert len(results) == depth
    assert all(len(result.mask.data) <= 50 for result in results.values())
    assert sum(result.logits is not None for result in results.values()) == 1
    assert network.largest_bank == network.config.max_memories
    assert max(abs(d) for distances in network.distances for d in distances[:-1]) <= 40
    assert all(distances == sorted(distances, key=abs) for distances in network.distances), "the nearest first"


def test_memory_is_in_mm_and_takes_conditioning_slices_from_both_sides(predictor, network, scene):
    state = predictor.init_state(scene[0], spacing=(15, 1, 1), window=(0, 1))
    for f in (4, 8, 10, 12, 14):
        predictor.add_new_mask(state, f, 1, scene[1][10])
    network.distances.clear()
    list(predictor.propagate_object(state, 1, 8, [9]))
    assert len(network.distances[0]) == HEURISTICS.memory_conditioning
    assert sorted(network.distances[0]) == [-15, 15, 45]
    list(predictor.propagate_object(state, 1, 14, [15, 16, 17, 18, 19]))
    # Besides conditioning slices, only two slices of 15 mm lie within 40 mm.
    assert len(network.distances[-1]) == HEURISTICS.memory_conditioning + 2
    assert {-15, -30} < set(network.distances[-1])


@pytest.mark.parametrize(
    ("slice_mm", "pixel_mm", "counts_as"),
    [(1.0, 1.0, 7.4), (1.0, 2.0, 14.8), (1.0, 5.0, HEURISTICS.neighbour_distance_mm), (30.0, 1.0, 30.0)],
)
def test_a_neighbour_leads_from_half_a_radius_away(predictor, network, scene, slice_mm, pixel_mm, counts_as):
    """The object's radius is 15 pixels."""
    state = predictor.init_state(scene[0], spacing=(slice_mm, pixel_mm, pixel_mm), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    network.neighbours.clear()
    list(predictor.propagate_object(state, 1, 10, [11, 12]))
    list(predictor.propagate_object(state, 1, 10, [9, 8], reverse=True))
    assert network.neighbours == pytest.approx([counts_as, counts_as, -counts_as, -counts_as], rel=0.05)


def test_what_lies_behind_a_corrected_slice_does_not_lead(predictor, scene):
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 6, 1, points=[[28, 40]], labels=[1])
    both_ways(predictor, state, 1, 6, 24)
    predictor.add_new_mask(state, 12, 1, scene[2][12])
    track = state["tracks"][1]
    assert track.leading_slices(13, 12, reverse=False) == [12, 6]
    assert track.leading_slices(11, 12, reverse=True) == [12, 6]
    assert track.leading_slices(9, 6, reverse=False)[:3] == [8, 7, 6]


def test_snapshot_and_restore_are_exact(predictor, scene):
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    assert predictor.snapshot_object(state, 1) is None
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    list(predictor.propagate_object(state, 1, 10, range(11, 16)))
    before = predictor.snapshot_object(state, 1)
    masks = [predictor.slice_mask(state, 1, f) for f in range(24)]
    future = [m.copy() for _, m, _ in predictor.propagate_object(state, 1, 10, range(16, 20))]
    predictor.add_new_points_or_box(state, 12, 1, points=[[70, 60]], labels=[1])
    list(predictor.propagate_object(state, 1, 12, range(13, 24)))
    predictor.restore_object(state, 1, before)
    again = [predictor.slice_mask(state, 1, f) for f in range(24)]
    assert all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(masks, again))
    assert all(
        np.array_equal(a, b) for a, (_, b, _) in zip(future, predictor.propagate_object(state, 1, 10, range(16, 20)))
    )
    predictor.restore_object(state, 1, None)
    assert state["obj_ids"] == []
    assert predictor.slice_mask(state, 1, 10) is None
    predictor.restore_object(state, 1, before)
    assert np.array_equal(predictor.slice_mask(state, 1, 12), masks[12])


def test_taking_prompts_back(predictor, scene):
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    list(predictor.propagate_object(state, 1, 10, range(11, 16)))
    predictor.add_new_points_or_box(state, 12, 1, points=[[70, 60]], labels=[1])
    frame, ids, logits = predictor.clear_all_prompts_in_frame(state, 12, 1)
    assert (frame, ids, tuple(logits.shape)) == (12, [1], (1, 1, 96, 96))
    assert predictor.slice_mask(state, 1, 12) is not None
    assert predictor.clear_all_prompts_in_frame(state, 10, 1, need_output=False) is None
    assert predictor.slice_mask(state, 1, 10) is None
    with pytest.raises(RuntimeError, match="object id 1"):
        list(predictor.propagate_in_video(state))


def test_the_generator_can_be_dropped_at_any_slice(predictor, scene):
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    run = predictor.propagate_object(state, 1, 10, range(11, 24))
    next(run)
    next(run)
    run.close()
    assert predictor.slice_mask(state, 1, 12) is not None
    assert predictor.slice_mask(state, 1, 13) is None


def test_prefetch_beside_propagation(predictor, scene):
    """Another thread fills the cache at the same time; results are the same."""
    left = scene[1]
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    errors = []

    def work():
        try:
            for f in range(24):
                predictor.prefetch(state, f, 1)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    result = both_ways(predictor, state, 1, 10, 24)
    thread.join()
    assert errors == []
    assert dice(result, left) > 0.93


def test_holes_are_filled_in_mask_and_logits(network, scene):
    volume = scene[0].copy()
    volume[10, 40, 28] = 0
    predictor = EfficientMedSAM2VolumePredictor(network, fill_hole_area=4)
    state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
    _, _, logits = predictor.add_new_points_or_box(state, 10, 1, box=[13, 25, 43, 55])
    mask = predictor.slice_mask(state, 1, 10)
    assert mask[40, 28]
    assert ((logits[0, 0] > 0).numpy() == mask).all()


def test_overlap_is_left_to_the_surer(network, scene):
    predictor = EfficientMedSAM2VolumePredictor(network, non_overlap_masks=True)
    state = predictor.init_state(scene[0], window=(0, 1))
    mask = np.zeros((96, 96), bool)
    mask[10:50, 10:50] = True
    predictor.add_new_mask(state, 10, 1, mask)
    _, _, logits = predictor.add_new_points_or_box(state, 10, 2, box=[13, 25, 43, 55])
    assert ((logits[:, 0] > 0).sum(0) <= 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [[1, 1]]}, "together"),
        ({}, "at least one of points or box"),
        ({"box": [1, 1, 9, 9], "clear_old_points": False}, "clear_old_points=True"),
        ({"points": [[1, np.nan]], "labels": [1]}, "finite"),
        ({"frame_idx": 24, "box": [1, 1, 9, 9]}, "0 to 23"),
        ({"frame_idx": -1, "box": [1, 1, 9, 9]}, "0 to 23"),
    ],
)
def test_bad_prompts_say_what_is_wrong_and_leave_no_object(predictor, scene, arguments, message):
    state = predictor.init_state(scene[0])
    with pytest.raises(ValueError, match=message):
        predictor.add_new_points_or_box(state, **{"frame_idx": 3, "obj_id": 1, **arguments})
    assert state["obj_ids"] == []
    with pytest.raises(RuntimeError, match="any object"):
        list(predictor.propagate_in_video(state))
    with pytest.raises(KeyError, match="no object id"):
        list(predictor.propagate_object(state, 1, 3, [4]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"volume": None}, "Give a volume"),
        ({"volume": np.zeros((4, 5))}, r"\(D,H,W\)"),
        ({"volume": np.zeros((4, 5, 0))}, "not empty"),
        ({"volume": np.zeros((4, 5, 6, 2))}, r"\(D,H,W,3\)"),
        ({"volume": np.zeros((4, 5, 6), complex)}, "real numbers"),
        ({"spacing": (1, 1)}, "3 positive"),
        ({"spacing": (1, 0, 1)}, "3 positive"),
        ({"axis": 3}, "0, 1 or 2"),
        ({"window": (5, 5)}, "low < high"),
        ({"window": "odd"}, "preset"),
        ({"volume": "/nowhere/at/all"}, "folder"),
    ],
)
def test_bad_volumes_say_what_is_wrong(predictor, arguments, message):
    with pytest.raises(ValueError, match=message):
        predictor.init_state(**{"volume": np.zeros((4, 5, 6)), **arguments})
