"""One question, one answer: masks, rounding, the slice of a line, and clicks that a mask never contradicts."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_predictor import OraclePredictor
from scene import FIRST, LAST, SHAPE, first_tube, make_session, run

from EfficientMedSAM2Lib.core.geometry import line_axis, nearest_index, nearest_voxel
from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.predictors.inputs import as_mask

# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [1, 255, 3, 1.0, 0.7, True])
def test_a_mask_may_be_numbers_of_any_kind(inside):
    session, _, _ = make_session()
    outside = 0.01 if inside == 0.7 else 0
    session.add_initial_seg_interaction(np.where(first_tube(), inside, outside))
    assert np.array_equal(session.mask(), first_tube())


def test_a_mask_may_be_a_tensor():
    torch = pytest.importorskip("torch")
    for given in (torch.tensor(first_tube()), torch.tensor(first_tube() * 0.9, requires_grad=True, dtype=torch.float)):
        session, _, _ = make_session()
        session.add_initial_seg_interaction(given)
        assert np.array_equal(session.mask(), first_tube())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (2, "several labels"),
        (2.0, "several labels"),
        (1j, "real numbers"),
    ],
)
def test_a_mask_that_may_mean_anything_is_refused_by_everyone(wrong, message):
    mask = first_tube().astype(type(wrong))
    mask[10, 0, 0] = wrong
    session, _, _ = make_session()
    with pytest.raises(ValueError, match=message):
        session.add_initial_seg_interaction(mask)
    with pytest.raises(ValueError, match=message):
        as_mask(mask[10])
    assert session.segments == ()


def test_a_volume_may_be_a_tensor_with_gradient_or_in_bfloat16():
    torch = pytest.importorskip("torch")
    for given in (torch.ones(SHAPE, requires_grad=True), torch.ones(SHAPE, dtype=torch.bfloat16)):
        session = InteractiveSession(OraclePredictor(first_tube()))
        session.set_image(given)
        assert session.shape_kji == SHAPE


# --- rounding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0, 1e-9, -1e-9, -1e-6])
def test_what_lies_between_two_slices_is_on_one_of_them_for_all_prompts(noise):
    for below in (9, 10, 11, 12):
        between = below + 0.5 + noise
        expected = below + 1
        assert nearest_index(between) == expected
        assert nearest_voxel((5.0, 7.0, between), SHAPE)[0] == expected
        session, _, _ = make_session()
        session.add_point_interaction((between, 7, 6), segment="point")
        session.add_line_interaction((between, 5, 4), (between, 10, 9), segment="line")
        assert session.prompts("point")[0].index == expected
        assert session.prompts("line")[0].index == expected


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0])
def test_a_line_of_a_tilted_view_is_on_the_slice_through_its_middle(axis):
    session, predictor, _ = make_session(spacing_kji=(1.0, 1.0, 1.0))
    # in a view that is tilted about i: both ends in one column of voxels, so that other planes hold the line as well
    session.add_line_interaction((9.2, 5, 6), (10.9, 10, 6), axis=axis)
    (line,) = session.prompts()
    assert (line.axis, line.index) == (0, 10)
    assert (line.start_kji, line.end_kji) == ((10, 5, 6), (10, 10, 6))
    assert "crosses 3 slices; it counts on slice 10" in session.last_message
    assert list(predictor.states[0]["objects"][1]) == [10]


def test_a_line_beyond_the_last_slice_still_counts_when_its_middle_is_inside():
    session, _, _ = make_session()
    session.add_line_interaction((-0.9, 14, 13), (0.8, 16, 17), axis=0)
    assert session.prompts()[0].index == 0


def test_a_line_across_the_slices_is_on_another_axis():
    assert line_axis([[4, 5, 6], [14, 5, 9]], (3, 1, 1), 0) == 1
    assert line_axis([[4, 5, 6], [14, 9, 6]], (3, 1, 1), 0) == 2
    assert line_axis([[4, 5, 6], [4, 9, 6]], (3, 1, 1), 0) == 0
    assert line_axis([[4, 5, 6], [5, 25, 6]], (1, 1, 1), 0) == 0, "3 degrees are an unsteady hand"


# --- clicks ----------------------------------------------------------------------------------------------------------


class Deaf(OraclePredictor):
    """Hears no negative clicks and forgets positive ones: its masks are always the first tube."""

    def slice_mask(self, state, obj_id, frame_idx):
        return first_tube()[frame_idx].copy() if obj_id in state["objects"] else None


def deaf_session():
    session = InteractiveSession(Deaf(first_tube()))
    session.set_image(np.where(first_tube(), 60, -80).astype(np.int16), np.diag([1, 1, 3, 1.0]), modality="CT")
    return session


def test_a_mask_that_goes_past_a_click_is_put_right_and_that_is_said():
    session = deaf_session()
    session.add_point_interaction((10, 7, 6))
    assert session.last_message == ""
    session.add_point_interaction((10, 8, 8), include_interaction=False)
    assert not session.mask()[10, 8, 8]
    assert "went past a click" in session.last_message
    session.add_point_interaction((10, 15, 15))
    assert session.mask()[10, 15, 15]
    assert "went past 2 clicks" in session.last_message
    session.add_point_interaction((10, 8, 8), include_interaction=True)
    assert session.mask()[10, 8, 8], "the newest click on a voxel counts"


def test_a_negative_click_that_waited_is_heard_when_propagation_comes():
    session, predictor, _ = make_session()
    session.add_point_interaction((8, 7, 6), include_interaction=False)
    assert "counts from the first positive" in session.last_message
    session.add_point_interaction((10, 7, 6))
    updates = run(session.propagate())
    assert {update.index for update in updates} >= set(range(FIRST, LAST + 1)) - {10}
    assert not session.mask()[8, 7, 6]
    assert predictor.states[0]["objects"][1][8]["points"] == [(6.0, 7.0, 0)]
    assert 8 in session.conditioning_slices()
    assert session.undo() is not None
    assert not session.mask()[8].any()


def test_a_negative_box_over_a_click_counts_and_says_so():
    session = deaf_session()
    session.add_point_interaction((10, 7, 6))
    session.add_bbox_interaction([[10, 11], [7, 9], [5, 8]], include_interaction=False)
    assert not session.mask()[10, 7, 6]
    assert session.last_message == "Positive clicks in this box count no more (1)."
    session.add_point_interaction((10, 9, 9))
    assert not session.mask()[10, 7, 6]
