"""Undo and redo: prompts and masks together, bounded, exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import SHAPE, first_tube, make_session, run

from EfficientMedSAM2Lib.core.masks import BitVolume, PackedMask


def test_undo_and_redo_take_prompt_and_mask_together():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    one = session.mask()
    session.add_point_interaction((10, 15, 15), True)
    two = session.mask()
    assert session.undo() == [[10, 11], [14, 17], [13, 18]]
    assert np.array_equal(session.mask(), one)
    assert len(session.prompts()) == 1
    assert len(predictor.states[0]["objects"][1][10]["points"]) == 1
    assert session.undo() == [[10, 11], [5, 11], [4, 10]]
    assert not session.mask().any()
    assert session.prompts() == ()
    assert predictor.states[0]["objects"] == {}
    assert session.undo() is None
    assert not session.can_undo
    session.redo()
    session.redo()
    assert session.redo() is None
    assert np.array_equal(session.mask(), two)
    assert len(predictor.states[0]["objects"][1][10]["points"]) == 2


def test_undo_brings_back_scores_and_staleness():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    scores = session.scores()
    session.add_point_interaction((14, 5, 4), False)
    stale = session.stale_slices()
    assert stale
    run(session.propagate())
    session.undo()
    assert session.stale_slices() == stale
    session.undo()
    assert session.stale_slices() == []
    assert session.scores() == scores


def test_a_new_action_forgets_what_was_undone():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.undo()
    session.add_point_interaction((10, 15, 15), True)
    assert not session.can_redo
    assert session.redo() is None


def test_removing_a_segment_can_be_undone():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True, segment="a")
    session.add_point_interaction((10, 15, 15), True, segment="b")
    run(session.propagate("a"))
    assert session.remove_segment("a") == [[4, 18], [5, 11], [4, 10]]
    assert session.segments == ("b",)
    assert 1 not in predictor.states[0]["objects"]
    assert session.undo() == [[4, 18], [5, 11], [4, 10]]
    assert session.segments == ("a", "b")
    assert np.array_equal(session.mask("a"), first_tube())
    session.redo()
    assert session.segments == ("b",)
    session.undo()
    predictor.forget_calls()
    run(session.propagate("a"))
    assert predictor.propagated == []


def test_a_failing_prompt_changes_nothing():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    mask = session.mask()
    predictor.fail_at = 11
    with pytest.raises(MemoryError):
        session.add_point_interaction((11, 7, 6), True)
    with pytest.raises(MemoryError):
        session.add_point_interaction((11, 7, 6), True, segment="new")
    assert np.array_equal(session.mask(), mask)
    assert session.segments == ("1",)
    assert len(session.prompts()) == 1
    assert session.undo() is not None
    assert session.undo() is None


def test_reset_clears_everything():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True, segment="a")
    session.add_point_interaction((12, 15, 15), True, segment="b")
    assert session.reset_interactions() == [[10, 13], [5, 17], [4, 18]]
    assert session.segments == ()
    assert not session.can_undo
    assert predictor.states[0]["objects"] == {}
    assert session.add_point_interaction((10, 7, 6), True, segment="a") == [[10, 11], [5, 11], [4, 10]]


def test_levels_and_bytes_are_bounded():
    session, _, _ = make_session(max_undo_steps=3)
    for k in range(5, 12):
        session.add_point_interaction((k, 7, 6), True)
    undone = 0
    while session.can_undo:
        session.undo()
        undone += 1
    assert undone == 3
    assert session.mask().any(axis=(1, 2)).nonzero()[0].tolist() == [5, 6, 7, 8]

    session, _, _ = make_session(max_undo_bytes=1)
    session.add_point_interaction((5, 7, 6), True)
    session.add_point_interaction((6, 7, 6), True)
    assert session.undo() is not None
    assert session.undo() is None


def test_history_holds_changes_not_volumes():
    truth = np.zeros((64, 128, 128), dtype=bool)
    truth[:, 30:90, 30:90] = True
    session, _, _ = make_session(truth)
    for k in range(40):
        session.add_point_interaction((k, 60, 60), True)
    assert session._history.nbytes < truth.size / 100


# --- bits


masks = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 20)).map(
        lambda shape: np.random.default_rng(seed).random(shape) < np.random.default_rng(seed).random()
    )
)


@given(masks)
def test_packed_masks_unpack_to_the_same(mask):
    packed = PackedMask.pack(mask)
    assert np.array_equal(packed.full(mask.shape), mask)
    volume = BitVolume(mask.shape)
    volume.flip(packed)
    assert np.array_equal(volume.read(), mask)
    assert volume.bounding_box() == packed.box
    volume.flip(packed)
    assert not volume.read().any()


@given(masks, st.data())
def test_bit_volumes_read_and_write_boxes_like_arrays(mask, data):
    volume = BitVolume(mask.shape)
    volume.write([[0, n] for n in mask.shape], mask)
    box = []
    for size in mask.shape:
        low = data.draw(st.integers(0, size - 1))
        box.append([low, data.draw(st.integers(low + 1, size))])
    region = tuple(slice(*bounds) for bounds in box)
    assert np.array_equal(volume.read(box), mask[region])
    expected = mask.copy()
    expected[region] = ~mask[region]
    volume.write(box, ~mask[region])
    assert np.array_equal(volume.read(), expected)


def test_mask_of_a_box_is_a_copy():
    session, _, _ = make_session()
    box = session.add_point_interaction((10, 7, 6), True)
    part = session.mask(bbox_kji=box)
    assert part.all()
    part[:] = False
    assert session.mask().sum() == 36
    assert session.mask().shape == SHAPE
