"""What prompts mean: points, boxes, lines, masks, exclusions, on every axis."""

from __future__ import annotations

import numpy as np
import pytest
from scene import FIRST, LAST, SHAPE, first_tube, make_session, repeat_prompts, run

from EfficientMedSAM2Lib.interaction import BoxPrompt, LinePrompt, MaskPrompt, PointPrompt, line_to_prompts
from EfficientMedSAM2Lib.interaction.prompting import mask_slices
from EfficientMedSAM2Lib.interaction.prompts import box_xyxy


def test_point_segments_its_slice_and_returns_the_changed_box():
    session, _, _ = make_session()
    assert session.add_point_interaction((10, 7, 6), True) == [[10, 11], [5, 11], [4, 10]]
    expected = np.zeros(SHAPE, dtype=bool)
    expected[10] = first_tube()[10]
    assert np.array_equal(session.mask(), expected)
    assert session.mask().dtype == bool
    assert session.scores() == {10: 0.9}
    assert session.last_message == ""


def test_points_on_one_slice_add_up():
    session, predictor, truth = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.add_point_interaction((10, 15, 15), True)
    assert np.array_equal(session.mask()[10], truth[10])
    box = session.add_point_interaction((10, 5, 4), False)
    assert box == [[10, 11], [5, 7], [4, 6]]
    state = predictor.states[0]["objects"][1][10]
    assert state["points"] == [(6.0, 7.0, 1), (15.0, 15.0, 1), (4.0, 5.0, 0)]


def test_box_first_is_kept_when_points_follow():
    session, predictor, _ = make_session()
    session.add_bbox_interaction([[10, 11], [5, 9], [4, 10]], True)
    session.add_point_interaction((10, 15, 15), True)
    state = predictor.states[0]["objects"][1][10]
    assert state["box"] == (4.0, 5.0, 9.0, 8.0)
    assert len(state["points"]) == 1
    assert session.mask()[10, 5:9, 4:10].all()
    assert not session.mask()[10, 9:11, 4:10].any()


def test_box_after_points_keeps_the_points():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 15, 15), True)
    session.add_bbox_interaction([[10, 11], [5, 9], [4, 10]], True)
    state = predictor.states[0]["objects"][1][10]
    assert state["points"] == [(15.0, 15.0, 1)]
    assert session.mask()[10, 15, 15]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_prompts_work_along_every_axis(axis):
    session, predictor, _ = make_session()
    box = session.add_point_interaction((10, 7, 6), True, axis=axis)
    expected = first_tube()
    keep = [slice(None)] * 3
    keep[axis] = slice((10, 7, 6)[axis], (10, 7, 6)[axis] + 1)
    assert np.array_equal(session.mask()[tuple(keep)], expected[tuple(keep)])
    assert session.mask().sum() == expected[tuple(keep)].sum()
    assert box[axis] == [(10, 7, 6)[axis], (10, 7, 6)[axis] + 1]
    assert [state["axis"] for state in predictor.states] == [axis]
    run(session.propagate())
    assert np.array_equal(session.mask(), expected)


def test_flat_axis_of_a_box_tells_its_slice():
    session, _, _ = make_session()
    session.add_bbox_interaction([[2, 20], [7, 8], [4, 10]], True)
    (prompt,) = session.prompts()
    assert (prompt.axis, prompt.index) == (1, 7)


def test_states_share_one_volume():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True, axis=0)
    session.add_point_interaction((10, 7, 6), True, axis=2)
    assert len(predictor.states) == 2
    assert np.shares_memory(predictor.states[0]["volume"], predictor.states[1]["volume"])


def test_a_click_corrects_the_mask_that_is_visible_on_another_axis():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    before = session.mask()
    box = session.add_point_interaction((10, 7, 6), False, axis=2)
    assert predictor.given_masks == [6]
    after = session.mask()
    assert box == [[9, 12], [6, 9], [6, 7]]
    assert (before & ~after).sum() == 9
    assert not (after & ~before).any()


@pytest.mark.parametrize("across", [1, 2])
def test_propagation_keeps_slices_prompted_across_it(across):
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    box = session.add_point_interaction((10, 7, 6), False, axis=across)
    corrected = tuple(slice(*bounds) for bounds in box)
    assert box[0] == [9, 12]
    session.add_point_interaction((14, 9, 9), False, axis=0)
    assert 11 in session.stale_slices(axis=0)
    run(session.propagate(axis=0))
    assert not session.mask()[corrected].any()
    assert session.mask()[12, 5:11, 4:10].all()


def test_roi_prompts_its_middle_slice_and_limits_propagation():
    session, _predictor, _ = make_session()
    session.add_bbox_interaction([[8, 14], [4, 12], [3, 11]], True)
    assert session.conditioning_slices() == [11]
    assert session.slices_to_propagate() == [8, 9, 10, 12, 13]
    run(session.propagate())
    assert session.mask().any(axis=(1, 2)).nonzero()[0].tolist() == [8, 9, 10, 11, 12, 13]
    # explicit limits win, and a slice prompted outside widens the range
    assert session.slices_to_propagate(limits=(0, 24)) == [*range(8), *range(14, 24)]
    session.add_point_interaction((16, 7, 6), True)
    assert session.slices_to_propagate() == [12, 13, 14, 15]
    session.add_point_interaction((6, 7, 6), True)
    assert session.slices_to_propagate() == [7, 8, 9, 10, 12, 13, 14, 15]


def test_negative_box_removes_voxels_for_good():
    session, _predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    box = session.add_bbox_interaction([[12, 16], [5, 11], [4, 7]], False)
    assert box == [[12, 16], [5, 11], [4, 7]]
    assert not session.mask()[12:16, :, 4:7].any()
    assert session.mask()[12:16, 5:11, 7:10].all()
    assert 10 in session.conditioning_slices()
    run(session.propagate())
    assert not session.mask()[12:16, :, 4:7].any()
    assert session.mask()[16, 5:11, 7:10].all()


def test_negative_box_is_lifted_by_a_positive_point_inside():
    session, _, _ = make_session()
    session.add_bbox_interaction([[10, 11], [4, 12], [3, 11]], True)
    session.add_bbox_interaction([[10, 11], [4, 8], [3, 11]], False)
    assert not session.mask()[10, 5:8].any()
    session.add_point_interaction((10, 9, 8), True)
    assert not session.mask()[10, 5:8].any()
    session.add_point_interaction((10, 6, 6), True)
    assert session.mask()[10, 5:11, 4:10].all()


def test_negative_box_across_the_slices_does_not_turn_the_propagation():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.add_bbox_interaction([[2, 20], [5, 11], [6, 7]], False, axis=2)
    assert not session.mask()[10, :, 6].any()
    run(session.propagate())
    assert {state["axis"] for state in predictor.states} == {0}
    expected = first_tube()
    expected[2:20, 5:11, 6] = False
    assert np.array_equal(session.mask(), expected)


def test_negative_point_alone_waits_for_a_positive_one():
    session, predictor, _ = make_session()
    assert session.add_point_interaction((10, 5, 4), False) is None
    assert "negative point alone" in session.last_message
    assert predictor.prompted == []
    with pytest.raises(ValueError, match="no prompted slice"):
        session.propagate()
    session.add_point_interaction((10, 8, 8), True)
    assert predictor.states[0]["objects"][1][10]["points"] == [(4.0, 5.0, 0), (8.0, 8.0, 1)]


def test_line_gives_points_and_a_box_on_its_slice():
    session, predictor, _ = make_session()
    box = session.add_line_interaction((10, 5, 4.0), (10, 10, 9.0))
    assert box == [[10, 11], [5, 11], [4, 10]]
    state = predictor.states[0]["objects"][1][10]
    assert [p[2] for p in state["points"]] == [1, 1, 1]
    assert state["points"][1][:2] == (6.5, 7.5)
    assert state["box"] is not None


def test_line_prompts_follow_the_line_and_the_spacing():
    points, box = line_to_prompts((10, 10), (30, 10), margin=0.0, short_axis_ratio=0.5)
    assert points.tolist() == [[15, 10], [20, 10], [25, 10]]
    np.testing.assert_allclose(box, [10, 5, 30, 15])
    # pixels twice as tall: the same lesion in mm is half as many pixels high
    _, box = line_to_prompts((10, 10), (30, 10), spacing_xy_mm=(1.0, 2.0), margin=0.0, short_axis_ratio=0.5)
    np.testing.assert_allclose(box, [10, 7.5, 30, 12.5])
    # slanted: the box holds both ends and is smaller than the square around the circle
    _, box = line_to_prompts((0, 0), (20, 20), margin=0.0)
    radius = np.hypot(20, 20) / 2
    assert box[0] <= 0
    assert box[2] >= 20
    assert box[2] - box[0] < 2 * radius


def test_initial_mask_is_written_as_it_is_and_protected():
    session, predictor, _ = make_session()
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[8:16, 6:9, 5:8] = 3
    session.add_point_interaction((10, 15, 15), True)
    box = session.add_initial_seg_interaction(mask)
    assert np.array_equal(session.mask(), mask > 0)
    assert box == [[8, 16], [6, 17], [5, 18]]
    assert [type(p) for p in session.prompts()] == [MaskPrompt]
    assert len(predictor.given_masks) == 3
    predictor.forget_calls()
    run(session.propagate())
    assert predictor.given_masks == [15], "passes start from the borders of the mask; 8 was given before"
    assert np.array_equal(session.mask()[8:16], mask[8:16] > 0)
    assert np.array_equal(session.mask()[16 : LAST + 1], first_tube()[16 : LAST + 1])
    assert np.array_equal(session.mask()[FIRST:8], first_tube()[FIRST:8])


def test_masks_on_single_slices_are_filled_in_between():
    session, predictor, _ = make_session()
    for index in (6, 14):
        session.add_initial_seg_interaction(first_tube()[index], index=index)
    assert predictor.given_masks == [6, 14]
    run(session.propagate(limits=(6, 15)))
    assert np.array_equal(session.mask()[6:15], first_tube()[6:15])
    assert predictor.propagated == [13, 12, 11, 7, 8, 9, 10]


def test_an_empty_slice_mask_says_that_the_structure_is_not_there():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    box = session.add_initial_seg_interaction(np.zeros(SHAPE[1:]), index=17)
    assert box == [[17, 18], [5, 11], [4, 10]]
    assert not session.mask()[17].any()


def test_mask_slices_are_the_largest_of_each_part():
    assert mask_slices({3: 10}) == [3]
    assert mask_slices({3: 10, 4: 20}) == [3, 4]
    assert mask_slices({i: i for i in range(9)}) == [2, 5, 8]
    assert mask_slices({1: 5, 5: 5, 9: 5}) == [1, 5, 9]
    assert len(mask_slices({2 * i: 1 for i in range(100)})) == 16


def test_a_click_on_a_given_slice_corrects_it():
    session, predictor, _ = make_session()
    session.add_initial_seg_interaction(first_tube())
    not_given = next(i for i in range(FIRST, LAST) if i not in predictor.given_masks)
    session.add_point_interaction((not_given, 5, 4), False)
    expected = first_tube()
    expected[not_given, 5:7, 4:6] = False
    assert np.array_equal(session.mask(), expected)


def test_segments_are_independent():
    session, _, truth = make_session()
    session.add_point_interaction((10, 7, 6), True, segment="kidney")
    session.add_point_interaction((10, 15, 15), True, segment="vessel")
    assert session.segments == ("kidney", "vessel")
    assert np.array_equal(session.mask("kidney")[10] | session.mask("vessel")[10], truth[10])
    assert not (session.mask("kidney") & session.mask("vessel")).any()
    run(session.propagate("kidney"))
    assert session.mask("vessel").sum() == truth[10, 12:].sum()


def test_prompts_are_listed_and_replayed():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.add_bbox_interaction([[8, 13], [4, 12], [3, 11]], True)
    session.add_line_interaction((12, 5, 4), (12, 10, 9))
    session.add_bbox_interaction([[10, 11], [5, 7], [4, 6]], False)
    session.add_initial_seg_interaction(first_tube()[5], index=5, segment="2")
    assert [type(p) for p in session.prompts("1")] == [PointPrompt, BoxPrompt, LinePrompt, BoxPrompt]
    other, _, _ = make_session()
    repeat_prompts(session, other)
    assert np.array_equal(other.mask("1"), session.mask("1"))
    assert np.array_equal(other.mask("2"), session.mask("2"))
    assert [other.prompts(name) for name in "12"] == [session.prompts(name) for name in "12"]


def test_box_of_one_pixel_keeps_an_extent():
    np.testing.assert_array_equal(box_xyxy([[3, 4], [5, 6], [7, 12]], 0), [7, 4.5, 11, 5.5])


def test_slices_are_answered_anew_from_other_prompts_as_one_step():
    session, _predictor, truth = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.add_point_interaction((10, 15, 15), True)
    first, second = session.prompts()
    assert session.answer_anew(0, [10], [first]) == [[10, 11], [5, 17], [4, 18]]
    assert np.array_equal(session.mask()[10], first_tube()[10])
    assert session.prompts() == (first,)
    assert session.answer_anew(0, [10], []) == [[10, 11], [5, 11], [4, 10]]
    assert not session.mask().any()
    assert session.conditioning_slices() == []
    session.undo()
    session.undo()
    assert np.array_equal(session.mask()[10], truth[10])
    assert session.prompts() == (first, second)


def test_a_given_slice_is_as_it_was_given_when_its_clicks_are_taken_away():
    session, _, _ = make_session()
    given = first_tube()
    given[:, 5] = False
    session.add_initial_seg_interaction(given, fixed=False)
    session.add_point_interaction((10, 5, 6), True)
    assert session.mask()[10, 5].any()
    session.answer_anew(0, [10], [])
    assert np.array_equal(session.mask(), given)
    run(session.propagate())
    assert np.array_equal(session.mask()[10], given[10])
