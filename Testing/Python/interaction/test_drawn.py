"""Scribbles, lassos, and an earlier result that corrections are propagated into."""

from __future__ import annotations

import numpy as np
import pytest
from scene import FIRST, LAST, SHAPE, first_tube, make_session, repeat_prompts, run

from EfficientMedSAM2Lib.interaction import LassoPrompt, ScribblePrompt
from EfficientMedSAM2Lib.interaction.prompts import centre_line_points


def drawn(k, j, i):
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[k, j, i] = 1
    return mask


def outline(k, j0, j1, i0, i1):
    """A rectangle's closed line on slice k."""
    mask = drawn(k, slice(j0, j1), slice(i0, i1))
    mask[k, j0 + 1 : j1 - 1, i0 + 1 : i1 - 1] = 0
    return mask


def test_points_lie_on_the_middle_of_a_scribble():
    line = np.zeros((40, 60), bool)
    line[18:23, 5:50] = True
    points = centre_line_points(line)
    assert len(points) == 5
    assert {y for _, y in points} == {20}
    assert min(x for x, _ in points) <= 10
    assert max(x for x, _ in points) >= 45
    assert min(abs(a[0] - b[0]) for a in points for b in points if a != b) >= 6
    ring = np.hypot(*np.mgrid[-20:20, -20:20])
    for x, y in centre_line_points((ring > 12) & (ring < 16)):
        assert 12.5 < ring[y, x] < 15.5, "the middle of a ring is not its centre"
    dot = np.zeros((9, 9), bool)
    dot[4, 7] = True
    assert centre_line_points(dot) == [(7, 4)]
    assert centre_line_points(np.zeros((9, 9), bool)) == []


def test_a_scribble_finds_the_object_and_is_inside_it():
    session, predictor, _ = make_session()
    scribble = drawn(10, 7, slice(5, 13))  # three voxels beyond the tube's edge
    box = session.add_scribble_interaction(scribble)
    expected = first_tube()[10] | (scribble[10] > 0)
    assert np.array_equal(session.mask()[10], expected)
    assert box == [[10, 11], [5, 11], [4, 13]]
    assert predictor.prompted == [10]
    assert predictor.given_masks == [10], "what is propagated from is what the user sees"
    assert [type(p) for p in session.prompts()] == [ScribblePrompt]
    run(session.propagate())
    assert np.array_equal(session.mask()[11], first_tube()[11])
    # a click that only corrects elsewhere keeps it
    session.add_point_interaction((10, 10, 9), False)
    assert session.mask()[10][scribble[10] > 0].all()
    session.undo()
    session.undo()
    assert session.undo() == [[10, 11], [5, 11], [4, 13]]
    assert not session.mask().any()
    session.redo()
    assert np.array_equal(session.mask()[10], expected)


def test_a_negative_scribble_takes_its_voxels_away_and_keeps_them_out():
    session, _, _ = make_session()
    assert session.add_scribble_interaction(drawn(12, 9, slice(4, 10)), False) is None
    assert "marks nothing" in session.last_message
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    expected = first_tube()
    expected[12, 9, 4:10] = False
    assert np.array_equal(session.mask(), expected)
    session.add_scribble_interaction(drawn(10, 8, slice(4, 10)), False)
    assert not session.mask()[10, 8, 4:10].any()
    assert session.mask()[10, 5, 4:10].all()
    # a positive click on it says the opposite
    session.add_point_interaction((10, 8, 6), True)
    assert session.mask()[10, 8, 6]


def test_a_scribble_over_several_slices_prompts_each():
    session, predictor, _ = make_session()
    session.add_scribble_interaction(drawn(slice(8, 12), slice(7, 9), slice(5, 7)))
    assert predictor.prompted == [8, 9, 10, 11]
    assert np.array_equal(session.mask()[8:12], first_tube()[8:12])
    assert session.undo() is not None
    assert not session.can_undo, "one action"


def test_a_scribble_is_read_on_the_slice_that_it_is_flat_on():
    session, _, _ = make_session()
    session.add_scribble_interaction(drawn(slice(6, 14), 7, slice(5, 7)))
    assert session.slicing_axis() == 1
    assert np.array_equal(session.mask()[:, 7], first_tube()[:, 7])


@pytest.mark.parametrize("filled", [True, False])
def test_a_lasso_keeps_the_object_within(filled):
    session, _, truth = make_session()
    lasso = drawn(10, slice(4, 18), slice(3, 8)) if filled else outline(10, 4, 18, 3, 8)
    session.add_lasso_interaction(lasso)
    expected = truth[10].copy()
    expected[:, 8:] = False
    assert np.array_equal(session.mask()[10], expected), "the tube is cut where the lasso cuts it"
    run(session.propagate(limits=(10, 12)))
    assert np.array_equal(session.mask()[11], first_tube()[11]), "on other slices it says nothing"
    session.add_point_interaction((10, 7, 9), True)
    assert np.array_equal(session.mask()[10], first_tube()[10]), "a click beyond it lifts it"


def test_an_empty_lasso_is_taken_at_its_word():
    session, predictor, _ = make_session()
    session.add_lasso_interaction(outline(20, 2, 8, 12, 18))
    expected = np.zeros(SHAPE[1:], bool)
    expected[2:8, 12:18] = True
    assert np.array_equal(session.mask()[20], expected)
    assert "what it encloses is taken as it is" in session.last_message
    assert predictor.given_masks == [20]


def test_a_lasso_that_empties_its_slice_says_what_follows():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    session.add_lasso_interaction(outline(10, 1, 18, 1, 18), False)
    assert not session.mask()[10].any()
    assert session.last_message.startswith("The slice is empty now")


def test_a_negative_lasso_takes_away_what_it_encloses():
    session, _, _ = make_session()
    session.add_initial_seg_interaction(first_tube())
    session.add_lasso_interaction(outline(12, 6, 10, 5, 9), False)
    expected = first_tube()
    expected[12, 6:10, 5:9] = False
    assert np.array_equal(session.mask(), expected)
    assert [type(p) for p in session.prompts()][1:] == [LassoPrompt]
    session.undo()
    assert np.array_equal(session.mask(), first_tube())


def test_later_prompts_win():
    session, _, _ = make_session()
    session.add_scribble_interaction(drawn(10, 7, slice(5, 13)))
    session.add_scribble_interaction(drawn(10, 7, slice(11, 13)), False)
    assert session.mask()[10, 7, 5:11].all()
    assert not session.mask()[10, 7, 11:13].any()
    session.add_initial_seg_interaction(first_tube()[10], index=10)
    session.add_point_interaction((10, 5, 4), False)
    assert session.mask()[10, 7, 4:10].all()
    assert not session.mask()[10, 7, 10:].any(), "a painted slice is not cut by what was drawn before"


@pytest.mark.parametrize("call", ["add_scribble_interaction", "add_lasso_interaction"])
def test_what_cannot_be_drawn(call):
    session, _, _ = make_session()
    with pytest.raises(ValueError, match=r"in an array of the volume's shape \(24, 20, 22\), not \(20, 22\)"):
        getattr(session, call)(np.ones(SHAPE[1:]))
    with pytest.raises(ValueError, match="is empty; draw it"):
        getattr(session, call)(np.zeros(SHAPE))
    assert session.segments == ()


def test_drawn_prompts_are_replayed():
    session, _, _ = make_session()
    session.add_scribble_interaction(drawn(10, 7, slice(5, 13)))
    session.add_lasso_interaction(outline(12, 4, 12, 3, 8))
    session.add_scribble_interaction(drawn(9, 7, slice(5, 7)), False)
    other, _, _ = make_session()
    repeat_prompts(session, other)
    assert np.array_equal(other.mask(), session.mask())


def test_a_correction_spreads_into_an_earlier_result():
    """An earlier result that leaves half of the tube away on all slices: one click brings it back around the click, and
    what it says of far slices stays."""
    session, predictor, _ = make_session(spacing_kji=(3.0, 1.0, 1.0))
    earlier = first_tube()
    earlier[:, 8:] = False
    session.add_initial_seg_interaction(earlier, fixed=False)
    assert np.array_equal(session.mask(), earlier)
    assert run(session.propagate()) == [], "an earlier result is up to date"
    before = list(predictor.given_masks)
    assert len(before) == 3
    session.add_point_interaction((10, 9, 6), True)
    assert np.array_equal(session.mask()[9], earlier[9]), "until it is propagated"
    run(session.propagate())
    mask = session.mask()
    assert np.array_equal(mask[8:12], first_tube()[8:12])
    far = [k for k in before if abs(k - 10) * 3.0 > 10]
    assert far
    for k in far:
        assert np.array_equal(mask[k], earlier[k])
    assert not mask[:FIRST].any()
    assert not mask[LAST + 1 :].any()


def test_a_fixed_result_is_changed_on_its_slice_alone():
    session, _, _ = make_session()
    earlier = first_tube()
    earlier[:, 8:] = False
    session.add_initial_seg_interaction(earlier)
    session.add_point_interaction((10, 9, 6), True)
    run(session.propagate())
    changed = np.flatnonzero((session.mask() != earlier).any(axis=(1, 2)))
    assert changed.tolist() == [10]


def ras(*indices_kji, spacing_kji=(3.0, 1.0, 1.0)):
    """RAS positions of voxels of `make_session`'s volume."""
    return (np.array(indices_kji, float) * spacing_kji)[:, ::-1]


def test_lines_in_ras_are_what_is_drawn_in_voxels():
    by_line, _, _ = make_session()
    by_mask, _, _ = make_session()
    by_line.add_scribble_interaction(ras((10.3, 7, 5), (9.8, 7, 12)))
    by_mask.add_scribble_interaction(drawn(10, 7, slice(5, 13)))
    by_line.add_lasso_interaction(ras((12, 3.5, 2.5), (12.4, 3.5, 11.5), (12, 12.5, 11.5), (11.8, 12.5, 2.5)))
    by_mask.add_lasso_interaction(drawn(12, slice(4, 13), slice(3, 12)))
    by_line.add_lasso_interaction(ras((14, 7.5, 2), (14, 7.5, 12), (14, 12, 12), (14, 12, 2)), False)
    by_mask.add_lasso_interaction(drawn(14, slice(8, 12), slice(2, 12)), False)
    assert by_line.prompts() == by_mask.prompts()
    assert np.array_equal(by_line.mask(), by_mask.mask())
    assert by_line.mask()[12, 5:11, 4:10].all()


def test_lines_go_where_the_grid_says(oblique_matrix):
    session, _, _ = make_session()
    volume = np.where(first_tube(), 60, -80).astype(np.int16)
    session.set_image(volume, oblique_matrix, modality="CT")
    corners = np.array([(12, 3.5, 2.5), (12, 3.5, 11.5), (12, 12.5, 11.5), (12, 12.5, 2.5)])[:, ::-1]
    session.add_lasso_interaction(corners @ oblique_matrix[:3, :3].T + oblique_matrix[:3, 3])
    assert np.array_equal(session.mask()[12], first_tube()[12])


@pytest.fixture
def oblique_matrix():
    cos, sin = np.cos(0.5), np.sin(0.5)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cos, 0, sin], [0, -1, 0], [-sin, 0, cos]]) * (1.0, 1.0, 3.0)
    matrix[:3, 3] = (-50, 20, 300)
    return matrix


def test_a_scribble_across_slices_is_on_each_of_them_and_one_in_another_plane_on_that():
    session, _, _ = make_session()
    session.add_scribble_interaction(ras((8, 6, 5), (12, 9, 8)))
    (prompt,) = session.prompts()
    assert (prompt.axis, prompt.mask.bounds[0]) == (0, (8, 13))
    assert session.conditioning_slices() == [8, 9, 10, 11, 12]
    session.add_scribble_interaction(ras((8, 7, 5), (12, 7, 8)), segment="coronal")
    assert session.prompts("coronal")[0].axis == 1
    session.add_scribble_interaction(ras((8, 7, 5), (12, 7, 8)), segment="axial", axis=0)
    assert session.conditioning_slices("axial") == [8, 9, 10, 11, 12]
    session.add_lasso_interaction(ras((2, 7, 2), (19, 7, 2), (19, 7, 12), (2, 7, 12)), segment="lasso")
    assert session.conditioning_slices("lasso") == [7]
    assert session.slicing_axis("lasso") == 1


@pytest.mark.parametrize(
    ("call", "points", "message"),
    [
        ("lasso", ras((8, 3, 2), (12, 3, 12), (12, 12, 12), (9, 12, 2)), "lies on no slice.*by 2.0 voxels"),
        ("lasso", ras((12, 3, 2), (12, 3, 12)), "needs 3 or more points"),
        ("lasso", ras((12, 3, 2), (12, 3, 12), (12, 3, 8)), "encloses no voxel"),
        ("lasso", ras((40, 3, 2), (40, 3, 12), (40, 12, 8)), "Slice 40 is outside"),
        ("lasso", ras((12, 43, 2), (12, 43, 12), (12, 52, 8)), "encloses no voxel"),
        ("lasso", ras((12, 3, np.nan), (12, 3, 12), (12, 9, 8)), "finite"),
        ("scribble", ras((12, 3, 2), (12, 3, 40)), "outside the volume"),
        ("scribble", ras((12, 3, 22.2)), "outside the volume"),
        ("scribble", np.zeros((0, 3)), "needs 1 or more points"),
    ],
)
def test_lines_that_cannot_be_used_are_refused_in_one_sentence(call, points, message):
    session, _, _ = make_session()
    with pytest.raises(ValueError, match=message) as error:
        getattr(session, f"add_{call}_interaction")(points)
    assert "\n" not in str(error.value)
    assert session.segments == ()
